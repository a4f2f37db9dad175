//! Routes that the gate itself serves (`gate = true`): a request that was let in, and who answers it.
//!
//! Every answer leaves through [`Gate::serve_own`], which makes the audit row of a 403 durable first, so that no endpoint can
//! forget it.

use std::net::IpAddr;

use ledger::event::AuditEvent;
use metrics::counter;
use policy::decision::{Denial, Permit};
use policy::firewall::Request;
use policy::ids::RequestId;
use policy::mapping::Mapping;

use tokio::time::{Instant, timeout_at};

use super::offer::Offer;
use super::request::{Incoming, Permitted, Refused, access_denied};
use super::response::{About, Response};
use super::troubles::Whose;
use super::{Gate, Options};
use crate::journal::AuditError;

/// The longest body that such a route takes.
pub const MOST_BODY_BYTES: u64 = 64 * 1024;

/// A request that was let in.
pub struct OwnRequest<'r> {
    pub request: &'r Request,
    pub id: RequestId,
    pub permit: &'r Permit,
    pub body: &'r [u8],
    pub options: &'r Options,
    pub client: Option<IpAddr>,
}

/// An answer of such a route.
pub struct Answer {
    pub response: Response,
    /// Why it is 403.
    pub refusal: Option<Refusal>,
}

/// Why such a route refuses what its row let in, as the audit has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The stable word; empty where the route gives none.
    pub reason: &'static str,
    /// What was missing, if that has names.
    pub required: Vec<String>,
}

/// Answers the requests of the rows that the gate itself serves. They have been decided: checked here are the conditions
/// that no row can express.
#[async_trait::async_trait]
pub trait ServesOwnRoutes: Send + Sync {
    /// The answer to one request; of a 403 with what refuses it.
    async fn serve(&self, request: OwnRequest<'_>) -> Answer;

    /// The access that a denied caller can ask for; `None` where that is nothing, or not known.
    async fn offer(&self, mapping: &Mapping, request: &Request, denial: &Denial) -> Option<Offer>;
}

/// Why a refusal was not recorded.
#[derive(Debug, thiserror::Error)]
enum Unrecorded {
    #[error("a refusal of a route of the gate's own could not be audited: {0}")]
    Audit(#[from] AuditError),
    #[error("a route of the gate's own refused an unauthenticated caller")]
    Unauthenticated,
}

impl Gate {
    /// Answers a permitted request that the gate itself serves. The audit row of a 403 is durable by then; where it is not, the
    /// answer is 503. A refusal has changed nothing, so there is nothing to undo.
    pub async fn serve_own(&self, incoming: &Incoming<'_>, permitted: &Permitted, body: &[u8]) -> Response {
        let Incoming { request, id, .. } = *incoming;
        let permit = &permitted.permit;
        let Some(own) = &self.own_routes else { return Response::unavailable(self.asked(request, id)) };
        let client = incoming.client;
        let answer =
            own.serve(OwnRequest { request, id, permit, body, options: &self.options, client }).await;
        if answer.response.status != 403 {
            return answer.response;
        }
        let refusal = answer.refusal.unwrap_or_default();
        let reason = Some(refusal.reason).filter(|word| !word.is_empty()).unwrap_or("refused");
        let about = About {
            route: permit.route().cloned(),
            cluster: permit.cluster().cloned(),
            actor: permit.principal().map(|principal| principal.id().to_owned()),
            reason: Some(reason),
        };
        match self.record_refusal(incoming, permitted, Refusal { reason, ..refusal }).await {
            Ok(()) => {
                counter!("gate_denials_total", "reason" => reason).increment(1);
                answer.response.about(about)
            }
            Err(error) => {
                let (method, route) = (request.method().as_str(), about.route.as_deref());
                let whose = Whose { method, route, actor: about.actor.as_deref(), upstream: "", id };
                self.troubles.unavailable(&whose, "audit", &error);
                Response::unavailable(self.asked(request, id)).about(About { reason: None, ..about })
            }
        }
    }

    async fn record_refusal(
        &self,
        incoming: &Incoming<'_>,
        permitted: &Permitted,
        Refusal { reason, required }: Refusal,
    ) -> Result<(), Unrecorded> {
        let Permitted { permit, mapping, admitted, .. } = permitted;
        let (principal, admitted) =
            permit.principal().zip(admitted.as_ref()).ok_or(Unrecorded::Unauthenticated)?;
        let refused = Refused { principal, route: permit.route().map(ToString::to_string), reason, required };
        let event = access_denied(refused, admitted, mapping, incoming, self);
        let record = AuditEvent::AccessDenied(Box::new(event)).into_record(self.clock.now());
        let limit = self.options.decision_time;
        let written = timeout_at(Instant::now() + limit, self.audit.write(record)).await;
        Ok(written.unwrap_or(Err(AuditError::Late(limit)))?)
    }
}
