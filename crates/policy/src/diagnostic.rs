//! Findings in a TOML file: what is wrong, where, and what was probably meant.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One finding in a TOML file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable identifier of the kind of finding, such as `unknown-key`.
    pub code: &'static str,
    /// The bytes of the file that the finding is about.
    pub span: Range<usize>,
    /// One sentence, lower case, no final stop.
    pub message: String,
    /// What to do about it, when there is an obvious answer.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// A finding without a suggestion.
    pub fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Diagnostic { code, span, message: message.into(), suggestion: None }
    }

    /// The same finding with `suggestion`.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// The findings that an audit row holds, and the bytes of each.
const BRIEF: usize = 20;
const LONGEST_LINE: usize = 1_000;

/// The beginning of a text, at most so many bytes of it.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Every finding in one file, in the order of their places.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    path: String,
    source: String,
    findings: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Collects `findings` about `source`, which was read from `path`.
    pub fn new(path: &str, source: &str, mut findings: Vec<Diagnostic>) -> Self {
        findings.sort_by_key(|finding| finding.span.start);
        findings.dedup();
        Diagnostics { path: path.to_owned(), source: source.to_owned(), findings }
    }

    /// The findings.
    pub fn findings(&self) -> &[Diagnostic] {
        &self.findings
    }

    /// The line and column (both from 1, column in characters) where a finding begins.
    pub fn position(&self, finding: &Diagnostic) -> (usize, usize) {
        position(&self.source, finding.span.start)
    }

    /// One line a finding: `path:line:column: message`, for logs.
    pub fn one_line_each(&self) -> String {
        self.lines(self.findings.len()).join("\n")
    }

    /// The first findings, one line each, and how many more there are: for audit rows, which are kept for ever. No row
    /// grows with the file.
    pub fn in_brief(&self) -> String {
        let mut lines: Vec<String> =
            self.lines(BRIEF).iter().map(|line| cut(line, LONGEST_LINE).to_owned()).collect();
        if self.findings.len() > BRIEF {
            let (more, all) = (self.findings.len() - BRIEF, self.findings.len());
            lines.push(format!("and {more} more, {all} findings in all"));
        }
        lines.join("\n")
    }

    fn lines(&self, most: usize) -> Vec<String> {
        let lines = Lines::new(&self.source);
        let found = self.findings.iter().take(most).map(|finding| {
            let (line, column) = lines.position(finding.span.start);
            format!("{}:{line}:{column}: {} [{}]", self.path, finding.message, finding.code)
        });
        found.collect()
    }
}

/// The line and column of a byte offset, both counted from 1.
pub fn position(source: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &source[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A text and where its lines begin: for many places in one text, each of which [`position`] would search it for.
#[derive(Debug)]
pub struct Lines<'s> {
    source: &'s str,
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    /// Reads the text once.
    pub fn new(source: &'s str) -> Lines<'s> {
        let after_newlines = source.match_indices('\n').map(|(newline, _)| newline + 1);
        Lines { source, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// What [`position`] says.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let (_, column) = position(&self.source[self.starts[line]..], offset - self.starts[line]);
        (line + 1, column)
    }

    /// Counted from 0.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// The whole lines that hold a span, and where they begin.
    fn around(&self, span: &Range<usize>) -> (&'s str, usize) {
        let start = self.starts[self.line(span.start)];
        let end = self.starts.get(self.line(span.end) + 1).copied().unwrap_or(self.source.len());
        (&self.source[start..end], start)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        let lines = Lines::new(&self.source);
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&excerpt(&self.path, &lines, finding, Level::ERROR, &renderer))?;
        }
        Ok(())
    }
}

/// A finding with the lines that it is about, its place underlined.
pub fn excerpt(
    path: &str,
    lines: &Lines<'_>,
    finding: &Diagnostic,
    level: Level<'_>,
    renderer: &Renderer,
) -> String {
    let end = finding.span.end.min(lines.source.len());
    let start = finding.span.start.min(end);
    // Only these: the renderer goes through all that it is given.
    let (source, base) = lines.around(&(start..end));
    let snippet = Snippet::source(source)
        .path(path)
        .line_start(lines.line(start) + 1)
        .annotation(AnnotationKind::Primary.span(start - base..end - base).label(""));
    let mut group = level.primary_title(&finding.message).id(finding.code).element(snippet);
    if let Some(suggestion) = &finding.suggestion {
        group = group.element(Level::HELP.message(suggestion));
    }
    renderer.render(&[group])
}

impl std::error::Error for Diagnostics {}

/// What a person probably meant where TOML could not be read.
pub fn meant_in_toml(source: &str, span: &Range<usize>, message: &str) -> Option<&'static str> {
    let start = source.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = source.get(start..)?.lines().next().unwrap_or_default().trim_start();
    if line.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        return Some("use straight quotes");
    }
    if message.contains("duplicate key") {
        return Some("the same name is above already: keep one of the two");
    }
    let first = line.split([' ', ',']).next().unwrap_or_default();
    if first == "*" || crate::method::Method::parse(first).is_some() {
        return Some("write the route in quotes: \"GET /path\" = { ... }");
    }
    let is_unquoted = message.contains("must be quoted") || message.contains("invalid boolean");
    is_unquoted.then_some("text is written in quotes")
}

/// The closest of `known` to `given`, when it is close enough to be what was meant.
pub fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(given, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(given.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An audit row is never deleted, whatever somebody writes into a file.
    #[test]
    fn what_is_recorded_is_bounded() {
        let of = |count: usize| {
            let finding = |number| Diagnostic::new("code", 0..1, format!("{number} {}", "é".repeat(5_000)));
            Diagnostics::new("routes.toml", "text", (0..count).map(finding).collect()).in_brief()
        };
        assert_eq!(of(BRIEF).lines().count(), BRIEF);
        let brief = of(100_000);
        assert_eq!(brief.lines().count(), BRIEF + 1);
        assert!(brief.ends_with("\nand 99980 more, 100000 findings in all"), "{brief}");
        assert!(brief.len() < (BRIEF + 1) * (LONGEST_LINE + 1));
    }

    proptest! {
        #[test]
        fn lines_know_every_position(source in "[a\né]{0,30}", offset in 0..40_usize) {
            prop_assert_eq!(Lines::new(&source).position(offset), position(&source, offset));
        }
    }
}
