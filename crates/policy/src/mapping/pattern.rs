//! URL patterns as `routes.toml` has them: Flask's own rule syntax, and prefixes.
//!
//! Source: `werkzeug.routing.rules`, Werkzeug 3.1. Every pattern that is accepted here means to the gate what it
//! means to Flask. What Werkzeug accepts and then crashes on, or what can never match because the request firewall
//! refuses such paths, is refused here, at load time: a row that never matches reads as protection and is none.
//!
//! One form is the gate's own: `/console/beta/*`, a prefix, covers `/console/beta`, `/console/beta/` and all
//! paths below, as far as no other pattern answers.

mod captures;
mod parser;
mod part;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub(crate) use self::captures::Captures;
pub use self::part::Precedence;
pub use self::part::{DynamicPart, Part, Piece, Rest, split_segment};
use super::converter::Converter;
pub use super::pattern_error::{PatternError, PatternProblem, unreachable_character};

/// A parsed pattern. It remembers its text, which is also what two patterns are compared by.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Box<str>,
    shape: Box<str>,
    kind: PatternKind,
    /// The parts after the leading slash. An exact pattern that ends with a slash has an empty static part last.
    parts: Vec<Part>,
    variables: Vec<Variable>,
}

/// What a pattern covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternKind {
    /// One path for each choice of values: a Flask rule.
    Exact,
    /// A path and everything below it: written with `/*` at the end.
    Prefix,
}

/// A variable of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    name: Box<str>,
    converter: Converter,
}

impl Variable {
    /// The name; unique within the pattern.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the variable accepts.
    pub fn converter(&self) -> &Converter {
        &self.converter
    }
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// The first fault from the left, see [`PatternProblem`].
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        parser::parse(text)
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The text without what does not matter for the search: the names of the variables and the ranges of
    /// numbers. Two patterns match the same paths in the same way if their shapes are equal.
    pub fn shape(&self) -> &str {
        &self.shape
    }

    /// Whether this is a Flask rule or a prefix.
    pub fn kind(&self) -> PatternKind {
        self.kind
    }

    /// The variables from left to right.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Whether the pattern ends with a slash (Werkzeug's `is_branch`): without it, a request is redirected.
    pub fn ends_with_slash(&self) -> bool {
        self.source.ends_with('/')
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        Pattern::parse(text)
    }
}
