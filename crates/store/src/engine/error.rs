//! What can go wrong in the database, by what an operator has to do about it.

use std::time::Duration;

use sqlx::error::{DatabaseError, UnexpectedNullError};
use sqlx::postgres::PgDatabaseError;

use crate::schema::privileges;

/// What can go wrong in the database. No variant holds a URL, a password or a bound value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, or none in time. A decision that needs the database is refused with 503.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The statement did not finish in time.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// The database refused the statement's content: a retry would fail as well.
    #[error("the database refused a statement: {0}")]
    Refused(String),
    /// Something that must be unique is there already, or a row refers to nothing.
    #[error("{0}")]
    Conflict(String),
    /// A value that the column of a table cannot hold.
    #[error("{0}")]
    OutOfRange(String),
    /// A row holds what it must not.
    #[error("the database holds a broken row: {0}")]
    Broken(String),
    /// The schema is not the one that this gate knows: a table, a column or a type.
    #[error("the schema needs attention: {0}")]
    Schema(String),
    /// The role that the gate connects as may not do it.
    #[error("the database role lacks a right: {0}")]
    Forbidden(String),
    /// The server, or the file, only reads.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// A lock was held by others for longer than the wait.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// It is not the database that the settings mean, or none.
    #[error("the database cannot be used: {0}")]
    Unusable(String),
}

impl StoreError {
    /// Whether the statement can be blamed. It was not carried out then, and never will be; any other error leaves
    /// open whether it was, and may pass: a right can be granted and a table come back.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            StoreError::Refused(_)
                | StoreError::Conflict(_)
                | StoreError::OutOfRange(_)
                | StoreError::Broken(_)
        )
    }

    /// A word for readiness.
    pub fn kind(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Timeout(_) => "timeout",
            StoreError::Refused(_) => "refused",
            StoreError::Conflict(_) => "conflict",
            StoreError::OutOfRange(_) => "out_of_range",
            StoreError::Broken(_) => "broken_row",
            StoreError::Schema(_) => "schema",
            StoreError::Forbidden(_) => "privilege",
            StoreError::ReadOnly(_) => "read_only",
            StoreError::Busy(_) => "busy",
            StoreError::Unusable(_) => "unusable",
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refusal) => refused(refusal.as_ref()),
            sqlx::Error::ColumnDecode { index, source } => {
                // A NULL or a value that is none is the row's fault, another type the table's.
                let problem = source.to_string();
                if problem.starts_with("mismatched types") && !source.is::<UnexpectedNullError>() {
                    StoreError::Schema(format!(
                        "column {index} has another type than the gate reads: {problem}"
                    ))
                } else {
                    StoreError::Broken(format!("column {index}"))
                }
            }
            sqlx::Error::ColumnNotFound(column) => {
                StoreError::Schema(format!("a table lacks the column `{column}`: {MIGRATE}"))
            }
            sqlx::Error::TypeNotFound { type_name } => {
                StoreError::Schema(format!("the type `{type_name}` does not exist: {MIGRATE}"))
            }
            sqlx::Error::RowNotFound => StoreError::Broken("a required row is missing".into()),
            sqlx::Error::Configuration(_) => StoreError::Unusable("the database URL is not usable".into()),
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

/// What helps where the server is a standby.
pub(crate) const PRIMARY: &str = "point `database.url` at the primary";

const MIGRATE: &str = "run `console-gate migrate`";

fn refused(refusal: &dyn DatabaseError) -> StoreError {
    let message = refusal.message();
    if refusal.is_unique_violation() || refusal.is_foreign_key_violation() {
        return StoreError::Conflict(message.to_owned());
    }
    let code = refusal.code();
    let code = code.as_deref().unwrap_or_default();
    match refusal.try_downcast_ref::<PgDatabaseError>() {
        Some(refusal) => postgres(refusal, code),
        None => sqlite(message, code.parse().unwrap_or(0)),
    }
}

/// By class (PostgreSQL, Appendix A).
fn postgres(refusal: &PgDatabaseError, code: &str) -> StoreError {
    let message = refusal.message().to_owned();
    match (code.get(..2).unwrap_or_default(), code) {
        (_, "22P05" | "22021") => StoreError::Refused(format!(
            "{message}: audit rows hold any Unicode text, so the database has to be created with ENCODING 'UTF8'"
        )),
        // Data exception, constraint, a limit such as that of an index row, a trigger's own word.
        ("22" | "23" | "54" | "P0", _) => StoreError::Refused(message),
        (_, "42P05" | "26000") => StoreError::Unavailable(format!(
            "{message}: a pooler hands one connection to several clients; let it keep a connection for a session"
        )),
        (_, "42501") => StoreError::Forbidden(privileges::hint(&message, refusal.routine())),
        ("42" | "3F", _) => StoreError::Schema(schema_hint(message, code)),
        (_, "25006") => StoreError::ReadOnly(format!(
            "{message}: the server is a standby, or `default_transaction_read_only` is set for the role: {PRIMARY}"
        )),
        (_, "3D000") => StoreError::Unusable(format!("{message}: look at `database.url`")),
        ("28", _) => {
            StoreError::Unusable(format!("{message}: check the role and password of `database.url`"))
        }
        _ => StoreError::Unavailable(message),
    }
}

fn schema_hint(message: String, code: &str) -> String {
    match code {
        "42P01" | "42883" | "3F000" => format!(
            "{message}: {MIGRATE}; where it was run, the role's `search_path` has to name the schema that the tables are \
             in, and the role needs USAGE on it"
        ),
        "42703" => format!("{message}: {MIGRATE}; a table of Console's that lacks it has to be given it"),
        _ => message,
    }
}

/// By primary result code, the low byte.
fn sqlite(message: &str, code: u32) -> StoreError {
    let lacks = ["no such table", "no such column", "has no column named", "no such function"];
    match code & 0xff {
        // TOOBIG, CONSTRAINT (a trigger's word too), MISMATCH, RANGE; and an error without a code.
        18 | 19 | 20 | 25 | 0 => StoreError::Refused(message.to_owned()),
        // ERROR
        1 if lacks.iter().any(|words| message.contains(words)) => {
            StoreError::Schema(format!("{message}: {MIGRATE}"))
        }
        // PERM, AUTH
        3 | 23 => StoreError::Forbidden(message.to_owned()),
        // READONLY
        8 => StoreError::ReadOnly(format!(
            "{message}: the file, or the folder that it is in, may not be written by the gate's user"
        )),
        // CORRUPT, CANTOPEN, NOTADB
        11 | 14 | 26 => StoreError::Unusable(message.to_owned()),
        _ => StoreError::Unavailable(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlites_errors_are_distinguished() {
        let table = [
            (1, "no such table: gate_flags", "schema", false),
            (1, "table gate_flags has no column named x", "schema", false),
            (1, "cannot start a transaction within a transaction", "unavailable", false),
            (5, "database is locked", "unavailable", false),
            (8, "attempt to write a readonly database", "read_only", false),
            (1032, "attempt to write a readonly database", "read_only", false),
            (10, "disk I/O error", "unavailable", false),
            (13, "database or disk is full", "unavailable", false),
            (14, "unable to open database file", "unusable", false),
            (26, "file is not a database", "unusable", false),
            (1811, "`gate_audit_events` keeps what it holds", "refused", true),
            (275, "CHECK constraint failed", "refused", true),
            (20, "datatype mismatch", "refused", true),
        ];
        for (code, message, kind, is_final) in table {
            let error = sqlite(message, code);
            assert_eq!((error.kind(), error.is_final()), (kind, is_final), "{code} {message}");
        }
    }
}
