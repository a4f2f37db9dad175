//! The findings of commands, and their reports: text for human readers, JSON for programs, SARIF for a code host.
//!
//! A [`Finding`] has an id that never changes its meaning, so that a pipeline can rely on it.

pub mod json;
pub mod rules;
pub mod sarif;
pub mod style;
pub mod text;

use clap::ValueEnum;
use policy::diagnostic::{Diagnostic, Lines};
use serde::Serialize;

/// The output format of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person
    Text,
    /// For a program
    Json,
    /// For a code host: SARIF 2.1.0
    Sarif,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The gate would refuse the file, or callers would gain or lose access by mistake.
    Error,
    /// Review it before it goes live.
    Warning,
    /// Worth knowing.
    Note,
}

impl Level {
    /// The word for it, also in SARIF.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// The place of a finding. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

/// One finding of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable identifier of the kind of finding, such as `unreachable`.
    pub id: &'static str,
    pub level: Level,
    pub place: Option<Location>,
    /// One sentence, without a full stop.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
}

impl Finding {
    /// A finding of a kind that the rules list.
    pub fn new(id: &'static str, place: Option<Location>, message: impl Into<String>) -> Finding {
        Finding { id, level: rules::level_of(id), place, message: message.into(), suggestion: None }
    }

    /// A finding in a file whose text is available.
    pub fn in_file(path: &str, lines: &Lines<'_>, found: &Diagnostic) -> Finding {
        let (line, column) = lines.position(found.span.start);
        Finding {
            id: found.code,
            level: rules::level_of(found.code),
            place: Some(Location { file: path.to_owned(), line, column }),
            message: found.message.clone(),
            suggestion: found.suggestion.clone(),
        }
    }
}
