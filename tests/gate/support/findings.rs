//! Everything that a table of cases finds wrong, reported at once.

/// Gathers what is wrong, so that one broken row does not hide the next.
#[derive(Default)]
pub struct Findings {
    checked: usize,
    wrong: Vec<String>,
}

impl Findings {
    /// Counts a check, and keeps what `describe` says if it does not hold.
    pub fn check(&mut self, holds: bool, describe: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.wrong.push(describe());
        }
    }

    /// Counts a check that two values are equal.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a table of cases reads better without a `&` on every value"
    )]
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        self.check(found == expected, || format!("{what}: found {found:?}, expected {expected:?}"));
    }

    /// Fails the test if anything was wrong, or if fewer than `least` checks were made: a loop over nothing proves
    /// nothing.
    #[track_caller]
    pub fn conclude(self, least: usize) {
        assert!(self.checked >= least, "only {} checks were made, expected {least} or more", self.checked);
        assert!(
            self.wrong.is_empty(),
            "{} of {} checks failed; the first of them:\n{}",
            self.wrong.len(),
            self.checked,
            self.wrong[..self.wrong.len().min(20)].join("\n")
        );
    }
}
