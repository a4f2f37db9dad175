//! What is wrong with a TOML file: where, why, and what was probably meant.

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

    /// One line a finding: `path:line:column: message`, for logs and audit rows.
    pub fn one_line_each(&self) -> String {
        let lines: Vec<String> = self
            .findings
            .iter()
            .map(|finding| {
                let (line, column) = self.position(finding);
                format!("{}:{line}:{column}: {} [{}]", self.path, finding.message, finding.code)
            })
            .collect();
        lines.join("\n")
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

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&excerpt(&self.path, &self.source, finding, Level::ERROR, &renderer))?;
        }
        Ok(())
    }
}

/// A finding with the lines that it is about, its place underlined.
pub(crate) fn excerpt(
    path: &str,
    source: &str,
    finding: &Diagnostic,
    level: Level<'_>,
    renderer: &Renderer,
) -> String {
    let end = finding.span.end.min(source.len());
    let start = finding.span.start.min(end);
    let snippet =
        Snippet::source(source).path(path).annotation(AnnotationKind::Primary.span(start..end).label(""));
    let mut group = level.primary_title(&finding.message).id(finding.code).element(snippet);
    if let Some(suggestion) = &finding.suggestion {
        group = group.element(Level::HELP.message(suggestion));
    }
    renderer.render(&[group])
}

impl std::error::Error for Diagnostics {}

/// The closest of `known` to `given`, when it is close enough to be what was meant.
pub fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(given, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(given.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
