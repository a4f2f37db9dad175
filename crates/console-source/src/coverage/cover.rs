//! Which row covers a rule of Console.

use policy::mapping::converter::{Converter, IntegerRange, Length};
use policy::mapping::pattern::{Part, Pattern, PatternKind, Piece};
use policy::mapping::{Mapping, Row};
use policy::method::Method;

/// How a mapping covers one method of a rule.
#[derive(Clone, Copy, Debug)]
pub enum Cover<'m> {
    /// A row with the same pattern, names of variables aside.
    Own(&'m Row),
    /// A row for the same path with other converters or another slash at the end; and the row that decides a
    /// request to the rule, which is another one or none if the first is too narrow.
    Alike {
        row: &'m Row,
        decides: Option<&'m Row>,
    },
    /// A prefix row.
    Prefix(&'m Row),
    /// A row with a variable where the rule has a text, or a wider converter.
    Wider(&'m Row),
    Nothing,
}

impl<'m> Cover<'m> {
    /// The row that decides a request to the rule.
    pub fn row(self) -> Option<&'m Row> {
        match self {
            Cover::Own(row) | Cover::Prefix(row) | Cover::Wider(row) => Some(row),
            Cover::Alike { decides, .. } => decides,
            Cover::Nothing => None,
        }
    }
}

/// The cover of `pattern`, which must be a rule and no prefix.
pub fn cover<'m>(mapping: &'m Mapping, pattern: &Pattern, method: Method) -> Cover<'m> {
    let rules = || {
        mapping.rows().iter().filter(|row| serves(row, method) && row.pattern.kind() == PatternKind::Exact)
    };
    if let Some(row) = rules().find(|row| row.pattern.has_shape_of(pattern)) {
        return Cover::Own(row);
    }
    let example = example(pattern);
    let decides = mapping.find(&example, method).row();
    let outline = outline(pattern);
    if let Some(row) = rules().find(|row| self::outline(&row.pattern) == outline) {
        return Cover::Alike { row, decides };
    }
    match decides {
        Some(row) if row.pattern.kind() == PatternKind::Prefix => Cover::Prefix(row),
        Some(row) => Cover::Wider(row),
        None => Cover::Nothing,
    }
}

fn serves(row: &Row, method: Method) -> bool {
    row.methods.served().contains(method)
}

/// The pattern without converters and without a slash at its end.
pub fn outline(pattern: &Pattern) -> String {
    let mut outline = String::new();
    for part in pattern.parts() {
        outline.push('/');
        match part {
            Part::Static(text) => outline.push_str(text),
            Part::Dynamic(part) => part.pieces().iter().for_each(|piece| match piece {
                Piece::Literal(text) => outline.push_str(text),
                Piece::Variable(_) => outline.push_str("<>"),
            }),
        }
    }
    outline.truncate(outline.trim_end_matches('/').len());
    outline
}

/// Whether two patterns have the same variables, but for their names.
pub(super) fn same_converters(one: &Pattern, other: &Pattern) -> bool {
    let converters = |pattern: &Pattern| {
        pattern.variables().iter().map(|variable| variable.converter().clone()).collect::<Vec<_>>()
    };
    converters(one) == converters(other)
}

/// `<id> is <int> in Console and <string> in the row`
pub(super) fn differences(pattern: &Pattern, row: &Row) -> String {
    let pairs = pattern.variables().iter().zip(row.pattern.variables());
    let differing = pairs.filter(|(one, other)| one.converter() != other.converter());
    let phrases: Vec<String> = differing
        .map(|(one, other)| {
            let (console, gate) = (one.converter().to_string(), other.converter().to_string());
            if console == gate {
                format!("the range of `{}`", one.name())
            } else {
                format!("`{}` is `{console}` in Console and `{gate}` in the row", one.name())
            }
        })
        .collect();
    phrases.join(", ")
}

/// A path that the pattern matches, with values that no other pattern has written out.
fn example(pattern: &Pattern) -> String {
    let mut path = String::new();
    for part in pattern.parts() {
        match part {
            // After a part that takes the rest, the slash at the end is a part as well.
            Part::Static(text) => {
                path.push('/');
                path.push_str(text);
            }
            Part::Dynamic(part) => {
                path.push('/');
                part.pieces().iter().for_each(|piece| match piece {
                    Piece::Literal(text) => path.push_str(text),
                    Piece::Variable(converter) => path.push_str(&value(converter)),
                });
            }
        }
    }
    path
}

/// A text that a converter takes.
fn value(converter: &Converter) -> String {
    let text = |length: usize| "any-value".chars().cycle().take(length).collect::<String>();
    match converter {
        Converter::String(Length::Exactly(length)) => text(*length as usize),
        Converter::String(Length::Between(min, max)) => {
            text(max.map_or(9, |max| max as usize).min(9).max(*min as usize))
        }
        Converter::Int(range) => integer(range),
        Converter::Float(range) => {
            let least = range.min.unwrap_or(0.5);
            format!("{:?}", range.max.map_or(least, |max| least.min(max)))
        }
        Converter::Path => "any-value/any-value".to_owned(),
        Converter::Uuid => "00000000-0000-4000-8000-000000000000".to_owned(),
        Converter::Any(items) => items.first().map(ToString::to_string).unwrap_or_default(),
    }
}

fn integer(range: &IntegerRange) -> String {
    let least = range.min.unwrap_or(1);
    let value = range.max.map_or(least, |max| least.min(max));
    let width = range.fixed_digits.unwrap_or(1) as usize;
    format!("{value:0width$}")
}
