//! Findings for a human reader: `path:line:column: level[id]: message`, with the lines of the file if they are
//! available.

use std::fmt::Write as _;

use policy::diagnostic::{self, Diagnostic, Lines};

use super::style::{Style, columns};
use super::{Finding, Level, rules};

/// The indentation of continuation lines.
const INDENT: usize = 4;

/// One finding in a few lines, with a newline at its end.
pub fn finding(finding: &Finding, style: Style) -> String {
    let place = match &finding.place {
        Some(place) => format!("{}:{}:{}: ", place.file, place.line, place.column),
        None => String::new(),
    };
    let word = format!("{}[{}]", finding.level.word(), finding.id);
    // Wrapped like the text without colours, which take no room.
    let plain = wrapped(&format!("{place}{word}: {}", finding.message), columns(), 0, INDENT);
    let mut text = match plain.split_once(&word) {
        Some((before, after)) => {
            format!("{}{}{after}", style.bold(before), style.paint(finding.level, &word))
        }
        None => plain,
    };
    text.push('\n');
    if let Some(suggestion) = &finding.suggestion {
        let help = wrapped(&format!("help: {suggestion}"), columns(), INDENT, INDENT + 6);
        let _ = writeln!(text, "{}", help.replacen("help", &style.bold("help"), 1));
    }
    text
}

/// Findings of one kind, the first `most` of them with their places; `what` is their subject.
pub fn collapsed(findings: &[Finding], most: usize, what: &str, style: Style) -> String {
    let Some(first) = findings.first() else { return String::new() };
    let rule = rules::rule(first.id);
    let summary = rule.map_or("", |rule| rule.summary);
    let word = format!("{}[{}]", first.level.word(), first.id);
    let mut text = format!("{}: {} {what}: {summary}\n", style.paint(first.level, &word), findings.len());
    for one in findings.iter().take(most) {
        let place = one
            .place
            .as_ref()
            .map_or_else(String::new, |place| format!("{}:{}:{}: ", place.file, place.line, place.column));
        let line = wrapped(&format!("{place}{}", one.message), columns(), INDENT, INDENT + 2);
        let _ = writeln!(text, "{line}");
    }
    let more = findings.len().saturating_sub(most);
    let _ = writeln!(text, "{:INDENT$}and {more} more: `--full` lists them", "");
    // Their suggestion, if it is the same for all.
    let shared = first.suggestion.as_deref();
    let shared = shared.filter(|shared| findings.iter().all(|one| one.suggestion.as_deref() == Some(shared)));
    if let Some(help) = shared.or(rule.map(|rule| rule.help)) {
        let help = wrapped(&format!("help: {help}"), columns(), INDENT, INDENT + 6);
        let _ = writeln!(text, "{}", help.replacen("help", &style.bold("help"), 1));
    }
    text
}

/// A finding about an available file, with the lines that it is about and a newline at its end.
pub fn excerpt(path: &str, lines: &Lines<'_>, found: &Diagnostic, style: Style) -> String {
    let level = match rules::level_of(found.code) {
        Level::Error => annotate_snippets::Level::ERROR,
        Level::Warning => annotate_snippets::Level::WARNING,
        Level::Note => annotate_snippets::Level::NOTE,
    };
    let head = format!("{}[{}]: ", rules::level_of(found.code).word(), found.code).chars().count();
    let room = columns() - head.min(columns() / 2);
    let mut fitted = Diagnostic::new(found.code, found.span.clone(), wrapped(&found.message, room, 0, 0));
    if let Some(suggestion) = &found.suggestion {
        fitted = fitted.suggest(wrapped(suggestion, columns() - 16, 0, 0));
    }
    diagnostic::excerpt(path, lines, &fitted, level, &style.renderer()) + "\n"
}

/// `text` in lines of at most `columns` characters: `first` and `next` are the indentations of the first line and of
/// the others. A word longer than a line, or text within backticks, is not broken, so that it can be copied.
pub fn wrapped(text: &str, columns: usize, first: usize, next: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in words(&harmless(text)) {
        let length = word.chars().count();
        if column == 0 {
            lines.extend(std::iter::repeat_n(' ', first));
            column = first;
        } else if column + 1 + length > columns {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', next));
            column = next;
        } else {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// The text split at its spaces, except those in backticks: a route is one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    // Without a second backtick, the first is an ordinary character.
    let closes = text.matches('`').count().is_multiple_of(2);
    let mut is_quoted = false;
    text.split(move |character| {
        is_quoted ^= closes && character == '`';
        character == ' ' && !is_quoted
    })
    .filter(|word| !word.is_empty())
}

/// The text with control characters and characters that reorder letters spelled out: a file's content must neither
/// reach the terminal as a command nor be shown as different text.
pub fn harmless(text: &str) -> String {
    let is_harmful = |letter: char| {
        letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|letter| match letter {
            '\n' => " ".to_owned(),
            letter if is_harmful(letter) => letter.escape_unicode().to_string(),
            letter => letter.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::Location;

    #[test]
    fn a_finding_is_one_paragraph() {
        let place = Location { file: "app/views.py".to_owned(), line: 12, column: 5 };
        let undecided = Finding {
            id: "undecided",
            level: Level::Note,
            place: Some(place),
            message: "`POST /console/customers/<id>/<session_id>/revoke` waits for a decision".to_owned(),
            suggestion: Some("decide".to_owned()),
        };
        let plain = "app/views.py:12:5: note[undecided]:\n    \
                     `POST /console/customers/<id>/<session_id>/revoke` waits for a decision\n    help: decide\n";
        assert_eq!(finding(&undecided, Style::Plain), plain);
        let coloured = finding(&undecided, Style::Coloured);
        assert!(coloured.contains("\x1b[1;92mnote[undecided]\x1b[0m"), "{coloured:?}");
        let nowhere = Finding { place: None, suggestion: None, message: "m".to_owned(), ..undecided };
        assert_eq!(finding(&nowhere, Style::Plain), "note[undecided]: m\n");
    }

    proptest! {
        /// Nothing is lost, no line is too long unless it is one word, and nothing commands the terminal.
        #[test]
        fn wrapping_keeps_every_word(text in "[ -~\u{7}\u{1b}é]{0,200}", columns in 10..60_usize) {
            let lines = wrapped(&text, columns, 2, 4);
            prop_assert!(!lines.contains(|character: char| character.is_control() && character != '\n'));
            let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&lines), letters(&harmless(&text)));
            for line in lines.lines() {
                let is_one_word = words(line.trim_start()).nth(1).is_none();
                prop_assert!(line.chars().count() <= columns || is_one_word, "{line:?}");
            }
        }
    }
}
