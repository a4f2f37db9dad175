//! Limits repeated lines of the log: an event that occurs with every request must not fill it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line for each subject in this time.
pub(super) const EVERY: Duration = Duration::from_secs(5 * 60);
/// Subjects that are logged separately; beyond this number, new ones are not logged.
const MOST: usize = 10_000;

/// The recent lines, by the hash of their subject.
#[derive(Default)]
pub(crate) struct LogLimit {
    hasher: RandomState,
    lines: Mutex<HashMap<u64, Line>>,
}

struct Line {
    at: Instant,
    /// Occurrences since that line.
    since: u64,
}

impl LogLimit {
    /// Whether to log this occurrence: if so, the number of occurrences since the last logged one.
    pub(crate) fn is_due(&self, subject: &impl Hash) -> Option<u64> {
        self.is_due_at(self.hasher.hash_one(subject), Instant::now())
    }

    fn is_due_at(&self, subject: u64, now: Instant) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&subject) {
            if now.duration_since(line.at) < EVERY {
                line.since += 1;
                return None;
            }
            line.at = now;
            return Some(std::mem::take(&mut line.since));
        }
        if lines.len() >= MOST {
            lines.retain(|_, line| now.duration_since(line.at) < EVERY);
        }
        if lines.len() >= MOST {
            return None;
        }
        lines.insert(subject, Line { at: now, since: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_some_minutes_is_logged_and_the_others_are_counted() {
        let limit = LogLimit::default();
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
        for (subject, seconds, expected) in table {
            assert_eq!(limit.is_due_at(subject, at(seconds)), expected, "{subject} {seconds}");
        }
    }

    #[test]
    fn it_takes_a_bounded_memory() {
        let limit = LogLimit::default();
        let start = Instant::now();
        let due = (0..2 * MOST as u64).filter(|one| limit.is_due_at(*one, start).is_some()).count();
        assert_eq!(due, MOST);
        assert_eq!(limit.is_due_at(u64::MAX, start + EVERY), Some(0), "the old ones make room");
    }
}
