//! Distinguishes a complete file from one that is being written.
//!
//! A copy in progress looks like a shorter file, and the beginning of a `routes.toml` is a valid one: with fewer rows,
//! and different answers to the requests of the missing rows. So a look counts only if the look before saw the same, a
//! settling time ago. A copy that pauses for longer than that is found only by `rows = N`, the count in the mapping
//! itself.

use std::time::{Duration, Instant};

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The seen state counts.
    Settled,
    /// The file may be in the middle of a write. A look after `again` may find it settled; it has been unsettled for
    /// `since`.
    Changing { again: Duration, since: Duration },
}

/// Two looks that agree.
#[derive(Debug)]
pub(super) struct Settling<T> {
    settle: Duration,
    settled: Option<T>,
    /// The last seen state if it has not settled, and since when it is unchanged.
    pending: Option<(T, Instant)>,
    /// Since when nothing has settled.
    changing: Option<Instant>,
}

impl<T: PartialEq> Settling<T> {
    pub(super) fn new(settle: Duration) -> Settling<T> {
        Settling { settle, settled: None, pending: None, changing: None }
    }

    /// The time between two looks that agree.
    pub(super) fn time(&self) -> Duration {
        self.settle
    }

    /// Notes what a look between `began` and `ended` saw.
    pub(super) fn note(&mut self, seen: T, began: Instant, ended: Instant) -> Look {
        if self.settled.as_ref() == Some(&seen) {
            self.pending = None;
            self.changing = None;
            return Look::Settled;
        }
        let since = began.saturating_duration_since(*self.changing.get_or_insert(began));
        match &self.pending {
            Some((before, at)) if *before == seen => {
                // From the end of the first look to the beginning of this one, the file did not change.
                let same_for = began.saturating_duration_since(*at);
                if same_for < self.settle {
                    return Look::Changing { again: self.settle - same_for, since };
                }
                self.settled = Some(seen);
                self.pending = None;
                self.changing = None;
                Look::Settled
            }
            _ => {
                self.pending = Some((seen, ended));
                Look::Changing { again: self.settle, since }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(500);

    /// Looks of no duration, `millis` after the beginning: what was seen, and whether it counts.
    fn looks(table: &[(u64, &'static str, bool)]) {
        let beginning = Instant::now();
        let mut settling = Settling::new(SETTLE);
        for (millis, seen, counts) in table {
            let at = beginning + Duration::from_millis(*millis);
            let look = settling.note(*seen, at, at);
            assert_eq!(look == Look::Settled, *counts, "{seen} after {millis} ms: {look:?}");
        }
    }

    #[test]
    fn the_first_look_never_counts() {
        looks(&[(0, "a", false), (499, "a", false), (500, "a", true), (501, "a", true)]);
    }

    #[test]
    fn a_copy_in_steps_counts_when_it_is_whole() {
        looks(&[
            (0, "whole", false),
            (500, "whole", true),
            (600, "", false),
            (700, "4 KiB", false),
            (1_100, "4 KiB", false),
            (1_190, "8 KiB", false),
            (1_689, "8 KiB", false),
            (1_690, "new", false),
            (2_189, "new", false),
            (2_190, "new", true),
        ]);
    }

    #[test]
    fn what_comes_back_counts_at_once_only_if_it_is_the_very_same() {
        looks(&[
            (0, "a", false),
            (500, "a", true),
            (600, "gone", false),
            (700, "a", true),
            (800, "b", false),
        ]);
        // Between two states for ever: never.
        looks(&[
            (0, "a", false),
            (400, "b", false),
            (900, "a", false),
            (1_400, "b", false),
            (5_000, "a", false),
        ]);
    }

    #[test]
    fn a_look_that_takes_long_is_counted_from_its_end() {
        let beginning = Instant::now();
        let after = |millis| beginning + Duration::from_millis(millis);
        let mut settling = Settling::new(SETTLE);
        assert!(matches!(settling.note('a', after(0), after(300)), Look::Changing { .. }));
        let again = Look::Changing { again: Duration::from_millis(100), since: Duration::from_millis(700) };
        assert_eq!(settling.note('a', after(700), after(900)), again);
        assert_eq!(settling.note('a', after(800), after(900)), Look::Settled);
    }

    #[test]
    fn it_says_for_how_long_nothing_has_settled() {
        let beginning = Instant::now();
        let mut settling = Settling::new(SETTLE);
        for number in 0..100_u64 {
            let at = beginning + Duration::from_millis(number * 400);
            let expected = Look::Changing { again: SETTLE, since: at - beginning };
            assert_eq!(settling.note(number, at, at), expected);
        }
    }
}
