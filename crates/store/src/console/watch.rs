//! Triggers on Console's tables: each change of what the gate reads raises the epoch, for every writer.
//!
//! Which tables and columns the SELECTs of `[console]` read is asked of the database, through views too. A change of other
//! columns raises nothing. What was put where is written down (`gate_console_watch`), and each read of the control row
//! compares it with the catalog: while something is missing, Console is read for each request.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::console::Relation;
use crate::engine::connection::Pool;
use crate::schema::terms::MigrationTerms;
use crate::{Store, StoreError};

/// Every trigger and function that is put on Console's tables is named so.
pub(crate) const PREFIX: &str = "console_gate_";

/// What was put on Console's tables, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    pub tables: Vec<WatchedTable>,
    /// Why a change might go unnoticed, each with its remedy. Then Console is read for each request.
    pub gaps: Vec<String>,
    /// Whether anything was changed now.
    pub is_new: bool,
    /// The statements that put triggers there or took some off, now.
    pub statements: Vec<String>,
}

impl Watch {
    /// The triggers, by name and table.
    pub(crate) fn triggers(&self) -> impl Iterator<Item = String> {
        self.tables
            .iter()
            .flat_map(|table| table.triggers.iter().map(|trigger| format!("{trigger} on {}", table.name)))
    }
}

/// A table of Console's with triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedTable {
    /// With its schema, where there are schemas.
    pub name: String,
    /// The columns of which a change counts; a row that is added or removed always does.
    pub columns: Vec<String>,
    pub relations: BTreeSet<Relation>,
    pub triggers: Vec<String>,
}

impl fmt::Display for WatchedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relations: Vec<&str> = self.relations.iter().map(|relation| relation.key()).collect();
        let of = if relations.is_empty() { "watch".to_owned() } else { relations.join(", ") };
        write!(f, "{} for {of}: rows, and changes of {}", self.name, self.columns.join(", "))
    }
}

/// What a trigger on a base table does besides raising the epoch.
#[derive(Clone, Debug, Default)]
struct Duties {
    relations: BTreeSet<Relation>,
    columns: BTreeSet<String>,
    /// The column that is a session's id, where a change of a row concerns that session alone.
    session: Option<String>,
    /// The column that is an admin's id, who is forgotten with the row.
    admin: Option<String>,
}

impl Duties {
    /// Reads more of the table than sessions: then a change concerns everybody.
    fn is_of_sessions_alone(&self) -> bool {
        self.relations.iter().all(|relation| *relation == Relation::Sessions)
    }
}

/// Why triggers were not put there.
pub(crate) enum Fault {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Fault::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sql(error) => error.into(),
            Fault::Store(error) => error,
        }
    }
}

/// Between two tries to get the locks.
const PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Puts the epoch's triggers on the tables that the SELECTs of `[console]` read, in place of what was there before, all
    /// or none. Where all of it is there already, nothing is locked or changed.
    ///
    /// # Errors
    ///
    /// A SELECT cannot be read, a named table or column is not there, or the database did not take it.
    pub async fn install_triggers(&self) -> Result<Watch, StoreError> {
        self.install_triggers_within(MigrationTerms::default()).await
    }

    /// As [`Store::install_triggers`], with the patience for locks that `terms` say.
    ///
    /// # Errors
    ///
    /// As of [`Store::install_triggers`].
    pub async fn install_triggers_within(&self, terms: MigrationTerms) -> Result<Watch, StoreError> {
        // In a box: what it holds while it waits would be a part of every caller's future.
        let watch = match &self.pool {
            Pool::Postgres(pool) => Box::pin(postgres::install(pool, &self.console, terms)).await?,
            Pool::Sqlite(pool) => Box::pin(sqlite::install(pool, &self.console)).await?,
        };
        self.console.forget();
        Ok(watch)
    }

    /// Why changes of what the gate reads would go unheard, each with its remedy. Nothing is changed or locked. Empty where
    /// nothing keeps `migrate` from putting its triggers there, and on SQLite.
    ///
    /// # Errors
    ///
    /// A SELECT cannot be read, or the database did not answer.
    pub async fn unheard(&self) -> Result<Vec<String>, StoreError> {
        match &self.pool {
            Pool::Postgres(pool) => Box::pin(postgres::unheard(pool, &self.console)).await,
            Pool::Sqlite(_) => Ok(Vec::new()),
        }
    }
}

/// A short name for the triggers' functions of a table, the same each time.
fn short(table: &str) -> String {
    let hash = policy::mapping::parse::sha256_of(table).to_string();
    hash.chars().take(12).collect()
}

/// Why nothing is watched although triggers could be.
fn unwatched(console: &crate::console::Console) -> Option<String> {
    if !console.relations.triggers {
        return Some("`[console] triggers` is false".to_owned());
    }
    let (relation, word) = console.relations.changes_by_itself(console.dialect)?;
    Some(format!(
        "{relation}: `{word}` changes its result without a write: return the end as `until` or `ends`"
    ))
}
