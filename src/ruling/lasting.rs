//! Exchanges that last: WebSockets, and responses whose end Console decides.
//!
//! They were permitted when they began. While they last, the same question is asked again, so that who loses a session or a
//! role loses them too.

use std::time::Duration;

use metrics::counter;
use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Question, decide};
use policy::firewall::Request;
use policy::mapping::Mapping;
use tokio::time::{Instant, sleep};

use super::Gate;
use super::request::{Admitted, principal_of, target};

/// How often.
const PERIOD: Duration = Duration::from_secs(1);
/// How long an exchange goes on while the question cannot be answered: a database that fails over takes this long.
const GRACE: Duration = Duration::from_secs(30);

impl Gate {
    /// Returns when the exchange that was admitted would not be admitted any more.
    pub(crate) async fn until_refused(&self, request: &Request, admitted: Option<&Admitted>) {
        // Where no caller was asked for, no answer about one can change.
        let Some(admitted) = admitted else { return std::future::pending().await };
        let mut known = Instant::now();
        loop {
            sleep(PERIOD).await;
            match self.still_admits(request, admitted).await {
                Some(true) => known = Instant::now(),
                None if known.elapsed() < GRACE => {}
                Some(false) | None => break,
            }
        }
        counter!("gate_exchanges_ended_total").increment(1);
    }

    /// Whether the caller would be admitted now; `None` where that cannot be known.
    async fn still_admits(&self, request: &Request, admitted: &Admitted) -> Option<bool> {
        let mapping: &Mapping = &self.mappings.running();
        let target = target(mapping, request);
        let deadline = Instant::now() + self.options.decision_time;
        let subject = admitted.subject();
        let (control, access) = self.observe(subject, self.freshness(&target), deadline).await.ok()?;
        let Some(principal) = principal_of(subject, &access) else { return Some(false) };
        let rests_on_the_request =
            |row: &policy::mapping::Row| !row.kind.body_rules().is_empty() || row.kind.ticket().is_some();
        if target.row().is_some_and(rests_on_the_request) {
            // The body has been sent on, and the ticket was open: what can still be said is who asks.
            return Some(true);
        }
        let caller = Caller::Known(&principal, &access);
        let (control, body) = (Some(&control), &BodyFacts::NotRead);
        let question = Question { upgrade: request.upgrade(), target, caller, control, body };
        Some(decide(&question).outcome.is_ok())
    }
}
