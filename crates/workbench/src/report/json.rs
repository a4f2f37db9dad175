//! Findings for a program: one object, `{"summary": {...}, "findings": [...]}`.

use serde::Serialize;

use super::Finding;

/// The JSON output. A command that reports more flattens it into an object of its own.
#[derive(Debug, Serialize)]
pub struct Report<'a, S> {
    /// The command's own counts.
    pub summary: S,
    pub findings: &'a [Finding],
}
