//! Which disagreements the log was told of lately: one that happens with every request must not fill it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::DriftEvent;

/// One line a disagreement in this time.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// Disagreements that are logged separately; beyond them, new ones are in the metric and the table only.
const MOST: usize = 10_000;

/// What the log was told of, by the hash of the disagreement.
#[derive(Default)]
pub(super) struct Told {
    hasher: RandomState,
    lately: Mutex<HashMap<u64, Line>>,
}

struct Line {
    at: Instant,
    /// Occurrences since.
    since: u64,
}

impl Told {
    /// Whether this occurrence is one for the log, and how many there were since the last one that was.
    pub(super) fn is_due(&self, event: &DriftEvent<'_>) -> Option<u64> {
        self.is_due_at(self.hasher.hash_one(event), Instant::now())
    }

    fn is_due_at(&self, disagreement: u64, now: Instant) -> Option<u64> {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lately.get_mut(&disagreement) {
            if now.duration_since(line.at) < EVERY {
                line.since += 1;
                return None;
            }
            line.at = now;
            return Some(std::mem::take(&mut line.since));
        }
        if lately.len() >= MOST {
            lately.retain(|_, line| now.duration_since(line.at) < EVERY);
        }
        if lately.len() >= MOST {
            return None;
        }
        lately.insert(disagreement, Line { at: now, since: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_some_minutes_is_logged_and_the_others_are_counted() {
        let told = Told::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let table = [
            (1, 0, Some(0)),
            (1, 1, None),
            (2, 1, Some(0)),
            (1, 299, None),
            (1, 300, Some(2)),
            (1, 301, None),
            (1, 900, Some(1)),
            (2, 900, Some(0)),
        ];
        for (disagreement, seconds, expected) in table {
            assert_eq!(told.is_due_at(disagreement, at(seconds)), expected, "{disagreement} {seconds}");
        }
    }

    #[test]
    fn it_takes_a_bounded_memory() {
        let told = Told::default();
        let start = Instant::now();
        let due = (0..2 * MOST as u64).filter(|one| told.is_due_at(*one, start).is_some()).count();
        assert_eq!(due, MOST);
        assert_eq!(told.is_due_at(u64::MAX, start + EVERY), Some(0), "the old ones make room");
    }
}
