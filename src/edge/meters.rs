//! The metrics that every request adds to, looked up once.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::traffic::OUTCOMES;

/// The handles of the metrics.
pub(super) struct Meters {
    /// In the order of [`OUTCOMES`].
    outcomes: [Counter; OUTCOMES.len()],
    seconds: Histogram,
    decision_seconds: Histogram,
}

impl Meters {
    pub(super) fn new() -> Meters {
        Meters {
            outcomes: OUTCOMES.map(|outcome| counter!("gate_requests_total", "outcome" => outcome)),
            seconds: histogram!("gate_request_seconds"),
            decision_seconds: histogram!("gate_decision_seconds"),
        }
    }

    /// A request was permitted or not.
    pub(super) fn decided(&self, took: Duration) {
        self.decision_seconds.record(took);
    }

    /// A request has ended.
    pub(super) fn ended(&self, outcome: &str, took: Duration) {
        self.count(outcome);
        self.seconds.record(took);
    }

    /// One more request with this outcome.
    pub(super) fn count(&self, outcome: &str) {
        let place = OUTCOMES.iter().position(|known| *known == outcome);
        if let Some(counter) = place.and_then(|place| self.outcomes.get(place)) {
            counter.increment(1);
        }
    }
}
