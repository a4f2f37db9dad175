//! The parts of a pattern: the units in which the matcher walks along a path.
//!
//! Source: `werkzeug.routing.rules.Rule._parse_rule`. A part is one segment, except that a converter that crosses
//! slashes makes the rest of the pattern one part with it.

use std::fmt::Write as _;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::captures::Captures;
use crate::mapping::converter::Converter;

/// The rest of a path after some parts: `None` when all segments are used up; `Some("")` when one empty segment is
/// left, which is a trailing slash; otherwise the segments, joined by `/`.
pub type Rest<'p> = Option<&'p str>;

/// One step of the walk.
#[derive(Clone, Debug)]
pub enum Part {
    /// Exactly this segment; the empty one is a trailing slash.
    Static(Arc<str>),
    /// A part with variables.
    Dynamic(Arc<DynamicPart>),
}

/// A piece of a dynamic part.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Literal(Box<str>),
    Variable(Converter),
}

/// A part with variables.
#[derive(Debug)]
pub struct DynamicPart {
    pieces: Vec<Piece>,
    takes_rest: bool,
    slash_follows: bool,
    weight: Weight,
    test: Test,
}

/// Werkzeug's `Weighting`: among the dynamic parts at one place, the one with the least weight is tried first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    /// More literals come first: the negated count.
    literals: isize,
    /// Longer literals come first: the negated lengths, in characters.
    literal_lengths: Vec<isize>,
    /// More variables come first: the negated count.
    variables: isize,
    converter_weights: Vec<u32>,
}

/// Why the search prefers one dynamic part to another (Werkzeug's `Weighting`, in its order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Precedence {
    /// It has more literal pieces.
    MoreLiterals,
    /// Its literal pieces are longer.
    LongerLiterals,
    /// It has more variables.
    MoreVariables,
    /// Its converters weigh less.
    LighterConverter { weight: u32, other: u32 },
}

/// How a text is matched against a part.
#[derive(Debug)]
enum Test {
    /// One converter with literals around it: no regex, and no allocation.
    Single { before: Box<str>, converter: Converter, after: Box<str> },
    /// Several converters: only backtracking can find where one ends and the next begins.
    Mixed(Regex),
}

impl DynamicPart {
    /// `takes_rest` is Werkzeug's `final`, `slash_follows` its `suffixed`: the pattern ends with a slash after a part
    /// that takes the rest.
    ///
    /// # Errors
    ///
    /// The regex exceeds the size limit, as it does with huge lengths.
    pub(super) fn new(
        pieces: Vec<Piece>,
        takes_rest: bool,
        slash_follows: bool,
    ) -> Result<DynamicPart, regex::Error> {
        let weight = Weight::of(&pieces);
        let test = Test::of(&pieces)?;
        Ok(DynamicPart { pieces, takes_rest, slash_follows, weight, test })
    }

    /// Whether this equals the part that [`DynamicPart::new`] would make from these arguments.
    pub(super) fn is_of(&self, pieces: &[Piece], takes_rest: bool, slash_follows: bool) -> bool {
        (self.takes_rest, self.slash_follows) == (takes_rest, slash_follows) && self.pieces == pieces
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// Whether the part takes the whole rest of the path, rather than one segment.
    pub fn takes_rest(&self) -> bool {
        self.takes_rest
    }

    /// The text with which every match begins.
    pub fn leading_literal(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text,
            _ => "",
        }
    }

    /// Tries the part at the start of `rest`, which the caller has split. If it fits, pushes its values and returns the
    /// remaining path.
    ///
    /// The outer `None` means that the part does not fit; nothing has been pushed in that case.
    pub(crate) fn consume<'p>(
        &self,
        rest: &'p str,
        (segment, after): (&'p str, Rest<'p>),
        captures: &mut Captures<'p>,
    ) -> Option<Rest<'p>> {
        if !self.takes_rest {
            return self.test.accept(segment, captures).then_some(after);
        }
        if !self.slash_follows {
            return self.test.accept(rest, captures).then_some(None);
        }
        // Werkzeug's regex ends in `(?<!/)(/?)` here: one slash may follow, and none may precede it.
        let (text, left) = match rest.strip_suffix('/') {
            Some(text) => (text, Some("")),
            None => (rest, None),
        };
        (!text.ends_with('/') && self.test.accept(text, captures)).then_some(left)
    }

    /// Whether the part fits a whole segment.
    pub fn fits(&self, segment: &str) -> bool {
        !self.takes_rest && self.test.accept(segment, &mut Captures::default())
    }

    /// The text by which Werkzeug distinguishes parts, with converters in place of their regexes. It is unambiguous,
    /// because literals contain no angle brackets.
    pub fn shape(&self) -> String {
        shape_of(&self.pieces, self.slash_follows)
    }
}

/// The shape of a part with these pieces.
pub(super) fn shape_of(pieces: &[Piece], slash_follows: bool) -> String {
    let mut shape = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => shape.push_str(text),
            Piece::Variable(converter) => {
                write!(shape, "{converter}").expect("writing to a string cannot fail");
            }
        }
    }
    if slash_follows {
        shape.push('/');
    }
    shape
}

/// Splits off the first segment. Most segments are short, so a vectorized search would cost more.
pub fn split_segment(rest: &str) -> (&str, Rest<'_>) {
    match rest.bytes().position(|byte| byte == b'/') {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest, None),
    }
}

impl Weight {
    /// Why this weight comes before `other`; `None` if they are equal or `other` is lighter.
    pub fn precedence_over(&self, other: &Weight) -> Option<Precedence> {
        if self >= other {
            return None;
        }
        Some(if self.literals != other.literals {
            Precedence::MoreLiterals
        } else if self.literal_lengths != other.literal_lengths {
            Precedence::LongerLiterals
        } else if self.variables != other.variables {
            Precedence::MoreVariables
        } else {
            let pairs = self.converter_weights.iter().zip(&other.converter_weights);
            let (weight, other) =
                pairs.filter(|(one, other)| one != other).map(|(one, other)| (*one, *other)).next()?;
            Precedence::LighterConverter { weight, other }
        })
    }

    fn of(pieces: &[Piece]) -> Weight {
        let mut literal_lengths = Vec::new();
        let mut converter_weights = Vec::new();
        for piece in pieces {
            match piece {
                // In a part that takes the rest, Werkzeug counts the text between two slashes as a literal.
                Piece::Literal(text) => literal_lengths.extend(
                    text.split('/')
                        .filter(|chunk| !chunk.is_empty())
                        .map(|chunk| -(chunk.chars().count() as isize)),
                ),
                Piece::Variable(converter) => converter_weights.push(converter.weight()),
            }
        }
        Weight {
            literals: -(literal_lengths.len() as isize),
            literal_lengths,
            variables: -(converter_weights.len() as isize),
            converter_weights,
        }
    }
}

impl Test {
    fn of(pieces: &[Piece]) -> Result<Test, regex::Error> {
        use Piece::{Literal, Variable};
        let single = |before: &str, converter: &Converter, after: &str| Test::Single {
            before: before.into(),
            converter: converter.clone(),
            after: after.into(),
        };
        Ok(match pieces {
            [Variable(converter)] => single("", converter, ""),
            [Literal(before), Variable(converter)] => single(before, converter, ""),
            [Variable(converter), Literal(after)] => single("", converter, after),
            [Literal(before), Variable(converter), Literal(after)] => single(before, converter, after),
            pieces => Test::Mixed(mixed_regex(pieces)?),
        })
    }

    fn accept<'p>(&self, text: &'p str, captures: &mut Captures<'p>) -> bool {
        match self {
            Test::Single { before, converter, after } => {
                let value = without_prefix(text, before).and_then(|text| without_suffix(text, after));
                let fitting = value.filter(|value| converter.fits(value));
                fitting.into_iter().for_each(|value| captures.push(value));
                fitting.is_some()
            }
            Test::Mixed(regex) => {
                let found = regex.captures(text);
                let values = found.iter().flat_map(|found| found.iter().skip(1).flatten());
                values.for_each(|value| captures.push(value.as_str()));
                found.is_some()
            }
        }
    }
}

/// Like `strip_prefix`, which also compares an empty prefix. An empty string has no memory of its own, so a processor
/// that prefetches its address searches the page tables in vain: this measured 90 ns, as much as a whole search takes.
fn without_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    if prefix.is_empty() { Some(text) } else { text.strip_prefix(prefix) }
}

fn without_suffix<'t>(text: &'t str, suffix: &str) -> Option<&'t str> {
    if suffix.is_empty() { Some(text) } else { text.strip_suffix(suffix) }
}

/// One group per converter. The crate's leftmost-first semantics equal those of Python's backtracking, so the groups
/// hold the same texts; unlike Python's, the search is linear in the length of the text.
fn mixed_regex(pieces: &[Piece]) -> Result<Regex, regex::Error> {
    let mut source = String::from(r"\A");
    for piece in pieces {
        match piece {
            Piece::Literal(text) => source.push_str(&regex::escape(text)),
            Piece::Variable(converter) => {
                write!(source, "({})", converter.regex()).expect("writing to a string cannot fail");
            }
        }
    }
    source.push_str(r"\z");
    RegexBuilder::new(&source).size_limit(4 << 20).build()
}
