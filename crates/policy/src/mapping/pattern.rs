//! URL patterns as `routes.toml` has them: Flask's own rule syntax, and prefixes.
//!
//! Source: `werkzeug.routing.rules`, Werkzeug 3.1. Every pattern that is accepted here means the same to the gate as to
//! Flask. Patterns that Werkzeug accepts and then crashes on, and patterns that can never match because the request
//! firewall refuses such paths, are refused here, at load time: a row that never matches looks like protection but
//! gives none.
//!
//! One form is the gate's own: `/console/beta/*`, a prefix, covers `/console/beta`, `/console/beta/` and all paths
//! below, unless another pattern answers.

mod captures;
mod parser;
mod part;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub(crate) use self::captures::Captures;
pub use self::part::Precedence;
pub use self::part::{DynamicPart, Part, Piece, Rest, split_segment};
pub(crate) use self::shared::SharedParts;
use super::converter::Converter;
pub use super::pattern_error::{PatternError, PatternProblem, unreachable_character};

/// A parsed pattern. It keeps its text, by which two patterns are also compared. A clone is the same pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    /// Text that ends with the pattern's text.
    source: Arc<str>,
    /// Where the pattern's text begins in `source`.
    start: usize,
    kind: PatternKind,
    /// The parts after the leading slash. An exact pattern that ends with a slash has an empty static part last.
    parts: Box<[Part]>,
    variables: Arc<[Variable]>,
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
    name: Arc<str>,
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
    /// The first fault from the left; see [`PatternProblem`].
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        parser::parse(&text.into(), 0, &mut SharedParts::default())
    }

    /// Parses the pattern at the end of `source`, from `start` on, and reuses parts of other patterns from `shared`.
    pub(super) fn parse_shared(
        source: &Arc<str>,
        start: usize,
        shared: &mut SharedParts,
    ) -> Result<Pattern, PatternError> {
        parser::parse(source, start, shared)
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.0.source[self.0.start..]
    }

    /// The text without the parts that do not matter for the search: the names of the variables and the ranges of
    /// numbers.
    pub fn shape(&self) -> String {
        parser::shape(self.parts(), self.kind())
    }

    /// Whether the shapes are equal: if so, both patterns match the same paths in the same way.
    pub fn has_shape_of(&self, other: &Pattern) -> bool {
        let (parts, others) = (self.parts(), other.parts());
        let mut pairs = parts.iter().zip(others);
        self.kind() == other.kind()
            && parts.len() == others.len()
            && pairs.all(|(part, other)| match (part, other) {
                (Part::Static(text), Part::Static(other)) => text == other,
                (Part::Dynamic(part), Part::Dynamic(other)) => part.shape() == other.shape(),
                (Part::Static(_), Part::Dynamic(_)) | (Part::Dynamic(_), Part::Static(_)) => false,
            })
    }

    /// Whether this is a Flask rule or a prefix.
    pub fn kind(&self) -> PatternKind {
        self.0.kind
    }

    /// The variables from left to right.
    pub fn variables(&self) -> &[Variable] {
        &self.0.variables
    }

    /// Whether the pattern ends with a slash (Werkzeug's `is_branch`): a request without that slash is redirected.
    pub fn ends_with_slash(&self) -> bool {
        self.as_str().ends_with('/')
    }

    /// The parts after the leading slash.
    pub fn parts(&self) -> &[Part] {
        &self.0.parts
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        Pattern::parse(text)
    }
}
