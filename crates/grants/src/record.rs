//! The customers' events about grants and revocations (RBAC V2 design, I-5).

use ledger::customer::CustomerEvent;
use ledger::{Notary, Note};
use policy::rbac::census::CallerKind;
use serde_json::json;
use store::rbac_changes::GrantRow;

use super::By;
use super::plan::Plan;

/// The tenant of events that concern no customer, and the source of all events.
const PLATFORM: &str = "platform";
const SOURCE: &str = "console-gate";

/// The kind of actor in customers' events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    Admin,
    Service,
    /// The gate itself, or the operator of a command: its name is the name of an account, not an admin's id.
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

/// The rows of `customer_audit_events` for the grants and revocations of a plan: one for each row of
/// `rbac_grants_audit`, which names the admin concerned and is deleted when that admin is erased. The tenant is the
/// ticket's customer, if there is one.
pub fn customers_events(
    notary: &Notary,
    plan: &Plan,
    by: By<'_>,
    kind: ActorKind,
    request_id: Option<&str>,
) -> Vec<Note> {
    customers_events_of(notary, &plan.rows, by, kind, request_id)
}

/// The same for rows that do not come from a plan.
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
