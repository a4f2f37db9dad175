//! Rows of the access tables that cannot be used as they are written.
//!
//! Console's own tables may have no constraints, and people edit them by hand. An unusable row grants nothing and has
//! no effect on other principals; it is counted, and the log and `console-gate check` name it.

use std::fmt;
use std::sync::Arc;

use super::LegacyRole;

/// The defect of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlawKind {
    /// A legacy role that is not a word: empty, or with white space, commas or quotes in it.
    MalformedRole,
    /// An id, a name or a time that is missing or cannot be read.
    Unusable,
    /// A grant to or of something that does not exist.
    Dangling,
    /// A switch or promotion that differs from its name, or from its environment's, only in case or spaces.
    Misspelt,
    /// Console's legacy roles cannot be read at all: their table is gone, or the settings specify that there are none.
    NoLegacyRoles,
}

impl FlawKind {
    /// Every kind.
    pub const ALL: [FlawKind; 5] = [
        FlawKind::MalformedRole,
        FlawKind::Unusable,
        FlawKind::Dangling,
        FlawKind::Misspelt,
        FlawKind::NoLegacyRoles,
    ];

    /// The stable word, which is also the id of the finding.
    pub const fn word(self) -> &'static str {
        match self {
            FlawKind::MalformedRole => "malformed-role-word",
            FlawKind::Unusable => "unusable-row",
            FlawKind::Dangling => "dangling-grant",
            FlawKind::Misspelt => "misspelt-switch",
            FlawKind::NoLegacyRoles => "no-legacy-roles",
        }
    }

    /// The kind of a stable word.
    pub fn parse(word: &str) -> Option<FlawKind> {
        FlawKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// An unusable row, with its defect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flaw {
    pub kind: FlawKind,
    pub table: Arc<str>,
    /// The column that cannot be used.
    pub column: Arc<str>,
    /// The value of the column; `None` if it is empty or cannot be read.
    pub word: Option<Arc<str>>,
    /// The id of the subject of the row; `None` if it is unknown.
    pub holder: Option<Arc<str>>,
}

impl fmt::Display for Flaw {
    /// The defect and its place, without the subject.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flaw { kind, table, column, word, .. } = self;
        if *kind == FlawKind::NoLegacyRoles {
            let why = word.as_deref().unwrap_or("the table is gone");
            return write!(
                f,
                "Console's legacy roles cannot be read ({why}): rows on their legacy gate are refused"
            );
        }
        match word {
            Some(word) => write!(f, "`{table}.{column}` is `{word}`")?,
            None => return write!(f, "`{table}.{column}` is empty or cannot be read"),
        }
        match kind {
            FlawKind::MalformedRole => write!(f, ", and {}", LegacyRole::FORM),
            FlawKind::Unusable => f.write_str(", which is not a valid time"),
            FlawKind::Dangling => f.write_str(", which does not exist"),
            FlawKind::Misspelt => f.write_str(", which the gate does not recognise"),
            FlawKind::NoLegacyRoles => Ok(()),
        }
    }
}
