//! The ticket that a request names: what the caller is granted for it, and whether it is open, for this request alone.
//!
//! ```text
//! request -> names a ticket and a customer -> a live grant of what the row requires? -> open in FreeScout?
//!                                                                                        \-> read again -> decision
//! ```
//!
//! A ticket can be closed between two requests (T-PEN-6 of the unified-audit threat model), so nothing of this is cached, and
//! an unknown state is 503. FreeScout is asked only for a caller with such a grant: no other caller can cause load on it.

use policy::decision::ticket::{TicketFacts, TicketName};
use policy::decision::{Control, GateInForce, Target, gate_in_force};
use policy::firewall::Request;
use policy::identity::{Principal, Subject};
use policy::ids::{AdminId, Epoch};
use policy::mapping::{Mapping, RowKind, V2Gate};
use policy::rbac::{Access, Requirement};

use super::Gate;
use crate::freshness::AccessError;

/// Knows which tickets are open.
#[async_trait::async_trait]
pub trait TicketDesk: Send + Sync {
    /// Whether the ticket is open now. One that is not ends its grants, so that they stay ended when it is opened again.
    ///
    /// # Errors
    ///
    /// The state could not be read in time.
    async fn is_open(&self, ticket: &str) -> Result<bool, TicketUnknown>;
}

/// Whether a ticket is open is not known, so nothing may be allowed for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TicketUnknown(pub String);

/// What there is to look up for a request.
pub(super) enum TicketQuestion<'m> {
    /// Nothing: the facts are known.
    Known(TicketFacts),
    /// What `admin` is granted for a ticket and a customer.
    Of {
        admin: AdminId,
        name: TicketName,
        requirement: &'m Requirement,
        /// Whether the answer decides. In shadow mode it is only compared: FreeScout is not asked for that, and no request
        /// waits for it.
        decides: bool,
    },
}

/// The caller, and its known access.
pub(super) struct Asker<'a> {
    pub subject: &'a Subject,
    pub principal: Option<&'a Principal>,
    pub control: &'a Control,
    pub access: &'a Access,
}

impl Gate {
    /// What there is to look up, as things are now.
    pub(super) fn ticket_question<'m>(
        &self,
        mapping: &Mapping,
        target: &Target<'m>,
        asker: &Asker<'_>,
        request: &Request,
    ) -> TicketQuestion<'m> {
        let known = TicketQuestion::Known;
        let Target::Row(row, rollout) = target else { return known(TicketFacts::NotAsked) };
        let RowKind::Gated { v2: v2 @ V2Gate::Requires { base, ticket: Some(rule), .. }, .. } = &row.kind
        else {
            return known(TicketFacts::NotAsked);
        };
        // A principal that a probe states holds what the probe specifies, and no grants.
        let (Some(Principal::Admin { id, .. }), false) =
            (asker.principal, matches!(asker.subject, Subject::Stated(_)))
        else {
            return known(TicketFacts::NotAsked);
        };
        let mode = rollout.mode_for(id.as_str(), &asker.access.groups);
        let gate = gate_in_force(v2, mode, asker.control);
        let needs_none = rule.without.iter().any(|role| asker.access.meets(role));
        if needs_none || matches!(gate, GateInForce::Legacy(_)) {
            return known(TicketFacts::NotAsked);
        }
        if self.tickets.is_none() {
            return known(TicketFacts::Off);
        }
        let (path, query) = (request.target().path(), request.target().query());
        match TicketName::of(rule, mapping, path, query, request.method()) {
            None => known(TicketFacts::Unnamed),
            Some(name) => TicketQuestion::Of {
                admin: id.clone(),
                name,
                requirement: base,
                decides: gate == GateInForce::V2,
            },
        }
    }

    /// The grants, and the ticket of which FreeScout has to be asked before they count. Where it need not be asked, the
    /// ticket counts as open.
    pub(super) async fn granted_for_ticket(
        &self,
        question: &TicketQuestion<'_>,
        observed: Epoch,
    ) -> Result<(TicketFacts, Option<String>), AccessError> {
        let TicketQuestion::Of { admin, name, requirement, decides } = question else {
            let TicketQuestion::Known(facts) = question else { return Ok((TicketFacts::NotAsked, None)) };
            return Ok((facts.clone(), None));
        };
        let access = self.access.ticket_access(admin, name, observed).await?;
        if !access.is_enabled {
            return Ok((TicketFacts::Off, None));
        }
        let mut holding = access.holding;
        let asks = *decides && holding.meets(requirement);
        holding.is_open = !decides;
        Ok((TicketFacts::Named(holding), asks.then(|| name.ticket.clone())))
    }

    /// Whether the ticket is open in FreeScout.
    pub(super) async fn is_ticket_open(&self, ticket: &str) -> Result<bool, AccessError> {
        let unknown = |error: TicketUnknown| AccessError::Ticket(error.0);
        match &self.tickets {
            Some(desk) => desk.is_open(ticket).await.map_err(unknown),
            None => Err(AccessError::Ticket("no FreeScout is configured".to_owned())),
        }
    }
}

/// The facts with FreeScout's state of the ticket.
pub(super) fn with_state(facts: TicketFacts, is_open: bool) -> TicketFacts {
    match facts {
        TicketFacts::Named(mut holding) => {
            holding.is_open = is_open;
            TicketFacts::Named(holding)
        }
        other => other,
    }
}
