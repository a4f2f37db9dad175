//! What the database has pushed last, and until when it may be trusted.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use metrics::gauge;
use store::control::ControlRow;
use tokio::time::Instant;

/// On which terms a gate takes part in push.
#[derive(Clone, Debug)]
pub struct PushTerms {
    /// Host and process id, for people.
    pub name: String,
    /// How old pushed knowledge may become; also the length of the lease.
    pub max_staleness: Duration,
}

/// The last control row, and until when it may be trusted.
#[derive(Debug, Default)]
pub(super) struct Pushed {
    known: ArcSwapOption<(ControlRow, Instant)>,
}

impl Pushed {
    /// The known row, if it may be trusted at `now`.
    pub(super) fn trusted(&self, now: Instant) -> Option<ControlRow> {
        let known = self.known.load();
        let (row, until) = known.as_deref()?;
        // A change that does not raise the epoch is not pushed.
        (now < *until && row.console_watched).then(|| row.clone())
    }

    /// From now on `row` is known, until `until`.
    pub(super) fn learn(&self, row: ControlRow, until: Instant) {
        self.known.store(Some(Arc::new((row, until))));
        gauge!("gate_push_trusted").set(1.0);
    }

    /// From now on nothing is known.
    pub(super) fn doubt(&self) {
        self.known.store(None);
        gauge!("gate_push_trusted").set(0.0);
    }
}
