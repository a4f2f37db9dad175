//! The control row that was read last, for reports.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::control::ControlRow;

/// The last control row, and when it was read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: Mutex<Option<(Instant, ControlRow)>>,
}

impl Seen {
    pub(super) fn note(&self, row: &ControlRow) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), row.clone()));
    }

    pub(super) fn last(&self) -> Option<(Duration, ControlRow)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(at, row)| (at.elapsed(), row.clone()))
    }
}
