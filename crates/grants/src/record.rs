//! The customers' events of what is granted and revoked (RBAC V2 design, I-5).

use ledger::customer::CustomerEvent;
use ledger::{Notary, Note};
use policy::rbac::census::CallerKind;
use serde_json::json;
use store::rbac_changes::GrantRow;

use super::By;
use super::plan::Plan;

/// The tenant of events that concern no customer, and who reports them.
const PLATFORM: &str = "platform";
const SOURCE: &str = "console-gate";

/// Who acts, as customers' events have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    Admin,
    Service,
    /// The gate itself, and the operator of a command: its name is an account's and no admin's id.
    System,
}

impl ActorKind {
    const fn word(self) -> &'static str {
        match self {
            ActorKind::Admin => "admin",
            ActorKind::Service => "service",
            ActorKind::System => "system",
        }
    }
}

impl From<CallerKind> for ActorKind {
    fn from(kind: CallerKind) -> ActorKind {
        match kind {
            CallerKind::Admin => ActorKind::Admin,
            CallerKind::Machine => ActorKind::Service,
        }
    }
}

/// The rows of `customer_audit_events` for what a plan grants and ends: one for each row of `rbac_grants_audit`, which names
/// whom it is about and goes when that admin is erased. The tenant is the ticket's customer, where there is one.
pub fn customers_events(
    notary: &Notary,
    plan: &Plan,
    by: By<'_>,
    kind: ActorKind,
    request_id: Option<&str>,
) -> Vec<Note> {
    customers_events_of(notary, &plan.rows, by, kind, request_id)
}

/// The same for rows that no plan made.
pub fn customers_events_of(
    notary: &Notary,
    rows: &[GrantRow],
    by: By<'_>,
    kind: ActorKind,
    request_id: Option<&str>,
) -> Vec<Note> {
    let event = |row: &GrantRow| {
        let mut detail = json!({ "group": row.group, "role": row.role });
        if let Some(of) = &row.ticket {
            detail["ticket"] = json!(of.ticket);
            detail["reason"] = json!(of.end);
        }
        CustomerEvent {
            id: uuid::Uuid::new_v4(),
            tenant_id: row.ticket.as_ref().map_or_else(|| PLATFORM.to_owned(), |of| of.customer.to_string()),
            dimension: "operator_interaction".to_owned(),
            action: format!("operator.rbac.{}", if row.is_grant { "grant" } else { "revoke" }),
            occurred_at: by.now,
            source: SOURCE.to_owned(),
            actor_kind: kind.word().to_owned(),
            actor_id: Some(by.name.to_owned()),
            subject_id: Some(row.id.to_string()),
            request_id: request_id.map(ToOwned::to_owned),
            detail: Some(detail),
            salt: None,
        }
    };
    rows.iter().map(|row| notary.note_of_customer(event(row), by.now)).collect()
}
