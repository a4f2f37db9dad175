//! `quiet = ["/favicon.ico", ...]`: paths that clients request on their own and that no row covers. Every caller gets
//! 404, and no audit row is written.
//!
//! Each entry names one decoded path. A path that a row covers has an owner who decides about it, so listing it as
//! quiet is a mistake.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::matcher::{MatchOutcome, Matcher};
use super::reader::Reader;
use super::table::Row;
use crate::diagnostic::{Diagnostic, Lines};
use crate::method::Method;

/// A longer list would be a way to switch the audit off.
const MOST: usize = 100;
/// In bytes.
const LONGEST: usize = 256;

/// The paths in the list; invalid ones are reported.
pub(super) fn paths(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Vec<Spanned<String>> {
    let listed = reader.strings(value, "quiet").unwrap_or_default();
    if listed.len() > MOST {
        let message = format!("`quiet` names {} paths, and may name {MOST}", listed.len());
        reader.report(Diagnostic::new("bad-quiet-path", value.span(), message));
    }
    let mut known = BTreeSet::new();
    for path in &listed {
        let text = path.get_ref();
        if let Some(problem) = problem(text) {
            reader.report(
                Diagnostic::new("bad-quiet-path", path.span(), format!("`{text}` {problem}"))
                    .suggest("write one whole path, such as \"/favicon.ico\""),
            );
        } else if !known.insert(text) {
            reader.report(Diagnostic::new(
                "bad-quiet-path",
                path.span(),
                format!("`{text}` is in `quiet` twice"),
            ));
        }
    }
    listed
}

/// Why no request can have this path, or why it could stand for several.
fn problem(path: &str) -> Option<&'static str> {
    let segments = || path.split('/').skip(1);
    if !path.starts_with('/') {
        Some("does not begin with a slash")
    } else if path == "/" {
        Some("is Console's first page, which is not noise")
    } else if path.len() > LONGEST {
        Some("is too long")
    } else if path.contains(['<', '>', '*']) {
        Some("is a pattern, and `quiet` takes exact paths")
    } else if path.contains(['?', '#', '%', '\\']) || path.chars().any(|one| one.is_control() || one == ' ') {
        Some("contains a character that no decoded path has, or a query")
    } else if path.contains("//") || segments().any(|segment| matches!(segment, "." | "..")) {
        Some("contains an empty segment or a dot segment")
    } else {
        None
    }
}

/// Reports the paths that a row covers for any method.
pub(super) fn check_rows(
    reader: &mut Reader,
    quiet: &[Spanned<String>],
    matcher: &Matcher,
    rows: &[Row],
    source: &str,
) {
    let lines = Lines::new(source);
    for path in quiet {
        let Some(row) = covering(path.get_ref(), matcher).map(|rule| &rows[rule]) else { continue };
        let (line, _) = lines.position(row.offset);
        let span: Range<usize> = path.span();
        reader.report(
            Diagnostic::new(
                "quiet-row",
                span,
                format!("`{}` (line {line}) covers `{}`, so it cannot be quiet", row.route, path.get_ref()),
            )
            .suggest("remove it from `quiet`, or the row"),
        );
    }
}

fn covering(path: &str, matcher: &Matcher) -> Option<usize> {
    Method::ALL.into_iter().find_map(|method| match matcher.find(path, method) {
        MatchOutcome::Match { rule, .. }
        | MatchOutcome::SlashRedirect { rule }
        | MatchOutcome::MergeRedirect { rule, .. } => Some(rule),
        MatchOutcome::MethodMismatch { .. } | MatchOutcome::NotFound => None,
    })
}
