//! Rows that no request can ever reach, because rows that take precedence answer for all their paths and methods. Only
//! proven cases are reported: rows whose paths can be counted, and prefixes under a `<path:...>` at the same place.

use crate::diagnostic::Diagnostic;
use crate::mapping::catalog_check::place;
use crate::mapping::converter::{Converter, FloatRange, IntegerRange, Length};
use crate::mapping::pattern::{Part, Pattern, PatternKind, Piece};
use crate::mapping::table::{Found, Mapping, Row};
use crate::method::MethodSet;

/// Patterns with more paths than this are not enumerated.
const MOST_PATHS: usize = 1_000;
/// In characters.
const LONGEST_VALUE: u32 = 1_000;

/// Paths that a pattern answers.
pub(super) struct Paths {
    /// One of them, if it is easy to find.
    pub(super) first: Option<String>,
    /// All of them, if they can be enumerated.
    all: Option<Vec<String>>,
}

pub(super) fn rows_that_never_match(mapping: &Mapping) -> Vec<Diagnostic> {
    let remark = |row: &Row| {
        Diagnostic::new(
            "unreachable-row",
            place(row),
            format!("no request ever reaches `{}`: other rows take precedence everywhere", row.route),
        )
        .suggest("remove it, or the rows that take precedence")
    };
    mapping.rows().iter().filter(|row| never_matches(mapping, row)).map(remark).collect()
}

fn never_matches(mapping: &Mapping, row: &Row) -> bool {
    let is_found = |path: &str| {
        row.methods.served().iter().any(|method| match mapping.find(path, method) {
            Found::Row(found) | Found::Redirect(found) => found.offset == row.offset,
            Found::WrongMethod(_) | Found::Nothing => false,
        })
    };
    match row.pattern.kind() {
        PatternKind::Exact => {
            paths_of(&row.pattern).all.is_some_and(|paths| !paths.iter().any(|path| is_found(path)))
        }
        PatternKind::Prefix => {
            let base = base(&row.pattern);
            below_is_covered(mapping, row) && !is_found(base) && !is_found(&format!("{base}/"))
        }
    }
}

/// Whether `<path:...>` rows at the same place have every method of the prefix. They answer for all paths below it:
/// `<path:...>` does not match an empty first segment or line feeds, but the firewall never passes those.
fn below_is_covered(mapping: &Mapping, prefix: &Row) -> bool {
    let covers = |row: &&Row| match row.pattern.parts().split_last() {
        Some((Part::Dynamic(last), before)) => {
            row.pattern.kind() == PatternKind::Exact
                && !row.pattern.ends_with_slash()
                && matches!(last.pieces(), [Piece::Variable(Converter::Path)])
                && statics(before).is_some_and(|segments| Some(segments) == statics(prefix.pattern.parts()))
        }
        _ => false,
    };
    let covered = mapping
        .rows()
        .iter()
        .filter(covers)
        .fold(MethodSet::EMPTY, |methods, row| methods.union(row.methods.served()));
    prefix.methods.served().iter().all(|method| covered.contains(method))
}

fn statics(parts: &[Part]) -> Option<Vec<&str>> {
    parts
        .iter()
        .map(|part| match part {
            Part::Static(text) => Some(&**text),
            Part::Dynamic(_) => None,
        })
        .collect()
}

/// The path of a prefix itself.
fn base(prefix: &Pattern) -> &str {
    prefix.as_str().trim_end_matches("/*")
}

/// Paths of a pattern: every path if all its variables are `<any(...)>`; otherwise some, with one value for each other
/// variable.
pub(super) fn paths_of(pattern: &Pattern) -> Paths {
    if pattern.kind() == PatternKind::Prefix {
        return Paths { first: Some(base(pattern).to_owned()), all: None };
    }
    let mut paths = vec![String::new()];
    let mut is_all = true;
    for piece in pattern.parts().iter().flat_map(pieces) {
        let choices = match piece {
            Piece::Literal(text) => vec![text.into_string()],
            Piece::Variable(Converter::Any(items)) if paths.len() * items.len() <= MOST_PATHS => {
                items.into_iter().map(String::from).collect()
            }
            Piece::Variable(converter) => {
                is_all = false;
                let Some(value) = value_of(&converter) else { return Paths { first: None, all: None } };
                vec![value]
            }
        };
        paths = paths.iter().flat_map(|path| choices.iter().map(move |end| format!("{path}{end}"))).collect();
    }
    Paths { first: paths.first().cloned(), all: is_all.then_some(paths) }
}

/// The pieces of a part, with the slash before it.
fn pieces(part: &Part) -> Vec<Piece> {
    let slash = Piece::Literal("/".into());
    match part {
        Part::Static(text) => vec![slash, Piece::Literal((&**text).into())],
        Part::Dynamic(part) => std::iter::once(slash).chain(part.pieces().iter().cloned()).collect(),
    }
}

/// A value that the converter accepts; `None` if it is longer than a path should be.
fn value_of(converter: &Converter) -> Option<String> {
    let width = |length: u32| (length <= LONGEST_VALUE).then_some(length as usize);
    Some(match converter {
        Converter::String(Length::Exactly(length) | Length::Between(length, _)) => {
            "x".repeat(width(*length)?)
        }
        Converter::Int(IntegerRange { fixed_digits, min, max, .. }) => {
            let value = min.or(max.map(|max| max.min(1))).unwrap_or(1);
            format!("{value:0width$}", width = width(fixed_digits.unwrap_or(1))?)
        }
        Converter::Float(FloatRange { min, max, .. }) => {
            format!("{:?}", min.or(max.map(|max| max.min(1.0))).unwrap_or(1.0))
        }
        Converter::Path => "x".to_owned(),
        Converter::Uuid => "00000000-0000-0000-0000-000000000000".to_owned(),
        Converter::Any(items) => items.first()?.to_string(),
    })
}
