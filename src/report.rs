//! What commands find, and how it is told: text for a person, JSON for a program, SARIF for a code host.
//!
//! A [`Finding`] has an id that never changes its meaning, so that a pipeline can hold on to it.

use serde::Serialize;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The gate would refuse it, or somebody would be let in or locked out by mistake.
    Error,
    /// Somebody should look at it before it goes live.
    Warning,
    /// Worth knowing.
    Note,
}

/// Where something was found. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

/// One thing that a command found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable identifier of the kind of finding, such as `unreachable`.
    pub id: &'static str,
    pub level: Level,
    pub place: Option<Place>,
    /// One sentence, no final stop.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
    Sarif,
}

/// Prints findings.
pub fn print(findings: &[Finding], format: Format) {
    let _ = (findings, format);
}
