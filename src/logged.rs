//! The gate's own errors as they leave the log: for an error tracker, and for `/errors` at the admin address.
//!
//! They name routes, clusters, mappings and requests. Ids of callers, paths and addresses stay in the log and the
//! audit.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::Context;

/// The fields that a report can be searched by.
const TAGS: [&str; 4] = ["cluster", "direction", "reason", "route"];
/// Further fields of a report. Every other field stays in the log.
const BESIDE: [&str; 7] = ["diagnostics", "error", "mapping", "request_id", "rows", "running", "spool"];
/// The maximum characters of one field.
const FIELD: usize = 500;
/// Errors to keep. Beyond this number, the least recently seen one is dropped.
const KEPT: usize = 16;

/// Whether it is an error that the gate itself logged. Libraries log the data that they received.
pub fn is_own_error(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() == Level::ERROR && (target == "console_gate" || target.starts_with("console_gate::"))
}

/// The fields of a logged event that may leave the log.
#[derive(Debug, Default)]
pub struct Fields {
    pub message: String,
    pub tags: BTreeMap<&'static str, String>,
    pub beside: BTreeMap<&'static str, String>,
}

impl Fields {
    /// Those of `event`.
    pub fn of(event: &Event<'_>) -> Fields {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields
    }

    fn keep(&mut self, field: &Field, text: &str) {
        let text = text.chars().take(FIELD).collect();
        let name = field.name();
        if name == "message" {
            self.message = text;
        } else if TAGS.contains(&name) {
            self.tags.insert(name, text);
        } else if BESIDE.contains(&name) {
            self.beside.insert(name, text);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, &format!("{value:?}"));
    }
}

/// An error that the gate logged, with its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedError {
    pub message: String,
    /// The fields of its last occurrence.
    pub fields: BTreeMap<&'static str, String>,
    pub count: u64,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

/// The last different errors of this process, the newest last.
static RECENT: Mutex<VecDeque<LoggedError>> = Mutex::new(VecDeque::new());

/// A layer of the log that keeps the last errors.
#[derive(Clone, Copy, Debug)]
pub struct KeepRecent;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for KeepRecent {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if is_own_error(event.metadata()) {
            let mut kept = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
            keep(&mut kept, Fields::of(event), Utc::now());
        }
    }
}

/// The last different errors, the newest first.
pub fn recent() -> Vec<LoggedError> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

fn keep(kept: &mut VecDeque<LoggedError>, fields: Fields, now: DateTime<Utc>) {
    let Fields { message, tags, mut beside } = fields;
    beside.extend(tags);
    let known = kept
        .iter()
        .position(|error| error.message == message && error.fields.get("error") == beside.get("error"));
    let before = known.and_then(|at| kept.remove(at));
    let (count, first_at) = before.map_or((0, now), |before| (before.count, before.first_at));
    kept.push_back(LoggedError { message, fields: beside, count: count + 1, first_at, last_at: now });
    if kept.len() > KEPT {
        kept.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_error_is_counted_and_the_oldest_is_dropped() {
        let mut kept = VecDeque::new();
        let at = |second: usize| DateTime::from_timestamp(second as i64, 0).expect("a time");
        let error = |number: usize| Fields {
            message: "it failed".to_owned(),
            beside: BTreeMap::from([("error", format!("cause {number}"))]),
            ..Fields::default()
        };
        for (second, number) in [0, 1, 0].into_iter().enumerate() {
            keep(&mut kept, error(number), at(second));
        }
        let counted: Vec<_> =
            kept.iter().map(|one| (&*one.fields["error"], one.count, one.first_at, one.last_at)).collect();
        assert_eq!(counted, [("cause 1", 1, at(1), at(1)), ("cause 0", 2, at(0), at(2))]);
        for number in 2..=KEPT {
            keep(&mut kept, error(number), at(number + 2));
        }
        assert_eq!(kept.len(), KEPT);
        assert!(kept.iter().all(|one| one.fields["error"] != "cause 1"), "{kept:?}");
    }
}
