//! Findings in a TOML file: the mistake, its place, and the probable intention.

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

/// The most findings that an audit row holds, and the most bytes of each.
const BRIEF: usize = 20;
const LONGEST_LINE: usize = 1_000;

/// The beginning of a text, at most `most` bytes long.
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

    /// The first findings, one line each, and the number of further ones: for audit rows, which are kept forever. No
    /// row grows with the file.
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

/// A text and where its lines begin. For many places in one text, where each call of [`position`] would search the
/// whole text.
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

    /// The result of [`position`].
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let (_, column) = position(&self.source[self.starts[line]..], offset - self.starts[line]);
        (line + 1, column)
    }

    /// The line, counted from 0.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// The whole lines that contain a span, and where they begin.
    pub fn around(&self, span: &Range<usize>) -> (&'s str, usize) {
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

/// A finding with the lines that it is about; its place is underlined.
pub fn excerpt(
    path: &str,
    lines: &Lines<'_>,
    finding: &Diagnostic,
    level: Level<'_>,
    renderer: &Renderer,
) -> String {
    let end = finding.span.end.min(lines.source.len());
    let start = finding.span.start.min(end);
    // Only these lines, because the renderer goes through everything that it is given.
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

/// The TOML syntax errors of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syntax {
    Sound,
    /// Names that occur twice: the rest can be read and judged.
    Repeats(Vec<Diagnostic>),
    /// The one mistake to report. After it the parser guesses what belongs where, and each further finding may result
    /// from a wrong guess.
    Broken(Diagnostic),
}

impl Syntax {
    /// Judges the parser's errors about `source`.
    pub fn of(source: &str, errors: &[toml::de::Error]) -> Syntax {
        let finding = |error: &toml::de::Error| {
            let span = error.span().unwrap_or(0..source.len().min(1));
            let meant = meant_in_toml(source, &span, error.message());
            let finding = Diagnostic::new("syntax", span, error.message());
            match meant {
                Some(meant) => finding.suggest(meant),
                None => finding,
            }
        };
        let is_repeat = |error: &&toml::de::Error| error.message().contains("duplicate key");
        let others = errors.iter().filter(|error| !is_repeat(error)).map(finding);
        let Some(first) = others.min_by_key(|finding| finding.span.start) else {
            let repeats: Vec<Diagnostic> = errors.iter().map(finding).collect();
            return if repeats.is_empty() { Syntax::Sound } else { Syntax::Repeats(repeats) };
        };
        let cause = conflict(source).or_else(|| unclosed(source));
        // An unclosed bracket before the place where the parser failed is the cause.
        let cause = cause.filter(|cause| cause.span.start <= first.span.start);
        Syntax::Broken(cause.unwrap_or(first))
    }
}

/// An unresolved merge conflict.
fn conflict(source: &str) -> Option<Diagnostic> {
    let begins =
        |mark: &'static str| source.split_inclusive('\n').filter(move |line| line.starts_with(mark)).count();
    let count = begins("<<<<<<< ");
    if count == 0 || begins(">>>>>>> ") == 0 {
        return None;
    }
    let start = if source.starts_with("<<<<<<< ") { 0 } else { source.find("\n<<<<<<< ")? + 1 };
    let what = if count == 1 { "a merge conflict is" } else { "merge conflicts are" };
    let more = if count == 1 { String::new() } else { format!(" ({count} in this file)") };
    let message = format!("{what} not resolved{more}");
    let fix = "keep one of the two versions, and delete the lines `<<<<<<<`, `=======` and `>>>>>>>`";
    Some(Diagnostic::new("syntax", start..start + 7, message).suggest(fix))
}

/// The first bracket that is opened and not closed.
fn unclosed(source: &str) -> Option<Diagnostic> {
    let report = |(at, bracket): (usize, u8)| {
        let closing = if bracket == b'{' { '}' } else { ']' };
        let message = format!("`{}` is not closed", char::from(bracket));
        Diagnostic::new("syntax", at..at + 1, message).suggest(format!("add `{closing}`"))
    };
    let bytes = source.as_bytes();
    let mut open: Vec<(usize, u8)> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'#' => line_end(bytes, at),
            b'"' | b'\'' => string_end(bytes, at),
            b'[' | b'{' => {
                open.push((at, *byte));
                at + 1
            }
            b']' | b'}' => {
                let opened = open.pop()?;
                if opened.1 != if *byte == b'}' { b'{' } else { b'[' } {
                    return Some(report(opened));
                }
                at + 1
            }
            _ => at + 1,
        };
    }
    open.first().copied().map(report)
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| from + length)
}

/// The position after the string that begins at `from`: a multi-line string (`"""`), or one of a single line.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let quote = bytes[from];
    let is_long = bytes[from..].starts_with(&[quote; 3]);
    let end: &[u8] = if is_long { &[quote; 3] } else { &[quote] };
    let mut at = from + end.len();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 2,
            b'\n' if !is_long => return at,
            _ if bytes[at..].starts_with(end) => return at + end.len(),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The probable intention of the writer, where the text is not TOML.
fn meant_in_toml(source: &str, span: &Range<usize>, message: &str) -> Option<&'static str> {
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

/// The closest of `known` to `given`, if it is close enough to be the intended name.
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

    #[test]
    fn a_mistake_in_the_syntax_stands_alone_at_its_cause() {
        let rows = "[b.routes]\n\"GET /a\" = { legacy = [\"x\"], role = \"r\" }\n\"GET /b\" = { o = { A = \"r\" } }\n\
                    # { in a comment\nt = \"{ \\\" [\"\n[b.other]\nx = 1\n";
        let without = |what: &str, nth: usize| {
            let at = rows.match_indices(what).nth(nth).expect("it is there").0;
            format!("{}{}", &rows[..at], &rows[at + what.len()..])
        };
        for (text, expected) in [
            (rows.to_owned(), None),
            (without(" }\n", 0), Some((2, "`{` is not closed"))),
            (without(" }\n", 1), Some((3, "`{` is not closed"))),
            (without("}", 1), Some((3, "`{` is not closed"))),
            (without("]", 1), Some((2, "`[` is not closed"))),
            (without("]", 0), Some((1, "`[` is not closed"))),
            (without("]", 2), Some((6, "`[` is not closed"))),
            (
                format!("<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> b\n{rows}"),
                Some((1, "a merge conflict is not resolved")),
            ),
            (
                format!("{rows}<<<<<<< a\n=======\n>>>>>>> b\n<<<<<<< a\n=======\n>>>>>>> b\n"),
                Some((8, "merge conflicts are not resolved (2 in this file)")),
            ),
            (
                rows.replace("x = 1", "x = one"),
                Some((7, "string values must be quoted, expected literal string")),
            ),
            (format!("{rows}y = \"open\nz = one\n"), Some((8, "invalid basic string, expected `\"`"))),
        ] {
            let (_, errors) = toml::de::DeTable::parse_recoverable(&text);
            let found = match Syntax::of(&text, &errors) {
                Syntax::Broken(found) => Some((position(&text, found.span.start).0, found.message)),
                Syntax::Sound => None,
                Syntax::Repeats(repeats) => panic!("{text}\n{repeats:?}"),
            };
            assert_eq!(found.as_ref().map(|(line, words)| (*line, &**words)), expected, "{text}");
        }
        let twice = "a = 1\nb = 2\na = 3\nb = 4\n";
        let (_, errors) = toml::de::DeTable::parse_recoverable(twice);
        let Syntax::Repeats(repeats) = Syntax::of(twice, &errors) else { panic!("{errors:?}") };
        assert_eq!(repeats.len(), 2, "{repeats:?}");
    }

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
