//! The result of a search.

use crate::mapping::pattern::{Captures, Variable};
use crate::method::MethodSet;

/// The answer for one request. Rules are indices into the list from which the matcher was built.
#[derive(Clone, Debug)]
pub enum MatchOutcome<'a> {
    /// The rule that runs.
    Match {
        /// Which one.
        rule: usize,
        /// The values of its variables; none for a prefix.
        values: Values<'a>,
    },
    /// Only the final slash is missing: Werkzeug answers 308 to the path with it, whatever the method.
    SlashRedirect {
        /// The rule that would then run.
        rule: usize,
    },
    /// The path contains `//`: Werkzeug answers 308 to the path with single slashes.
    MergeRedirect {
        /// The rule that would then run, unless one of its values is out of range.
        rule: usize,
        /// Whether a final slash is added, too.
        adds_slash: bool,
    },
    /// There are rules for the path, but none with the method (405).
    MethodMismatch {
        /// The methods of those rules; never empty.
        allowed: MethodSet,
    },
    /// No rule for the path (404).
    NotFound,
}

/// The values of a matched pattern's variables, as the decoded path has them.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    variables: &'a [Variable],
    captures: Captures<'a>,
}

impl<'a> Values<'a> {
    pub(super) fn new(variables: &'a [Variable], captures: Captures<'a>) -> Values<'a> {
        debug_assert_eq!(variables.len(), captures.len());
        Values { variables, captures }
    }

    pub(super) fn none() -> Values<'a> {
        Values { variables: &[], captures: Captures::default() }
    }

    /// Whether every value is in its variable's range.
    pub(super) fn convert(&self) -> bool {
        self.variables
            .iter()
            .zip(self.captures.iter())
            .all(|(variable, value)| variable.converter().converts(value))
    }

    /// Names and values from left to right.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.variables.iter().map(Variable::name).zip(self.captures.iter())
    }

    /// The value of one variable.
    pub fn named(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}
