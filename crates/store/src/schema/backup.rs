//! Copies of a SQLite database, taken while gates serve, and what has to be known before one is put back.

use std::path::Path;
use std::time::Duration;

use ledger::event::ChainHead;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::StoreError;
use crate::schema::migrations::{self, SchemaState};

/// For a lock that a writer has.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a database has.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Where each chain of the audit ends, by their names.
    pub heads: Vec<ChainHead>,
    /// The rows of the audit, and the time of the newest.
    pub rows: i64,
    pub newest: Option<String>,
    /// How the schema relates to this release.
    pub schema: SchemaState,
}

/// The only connection to a database, which others cannot open until this is dropped.
#[derive(Debug)]
pub struct Alone {
    connection: SqliteConnection,
}

/// Copies a database, as of one moment, into a file that is not there yet. Writers go on meanwhile.
///
/// # Errors
///
/// One of the files cannot be used.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let target = to.to_str().ok_or_else(|| unusable(to, "its name is not UTF-8"))?;
    // VACUUM counts as a write even where it is into another file.
    let mut connection = connect(from, Waits::ForWriters).await?;
    let copied = sqlx::query("VACUUM INTO $1").bind(target).execute(&mut connection).await;
    copied.map_err(|error| unusable(from, cause(&error)))?;
    connection.close().await.map_err(|error| unusable(from, cause(&error)))
}

/// Looks through every page of a database, and at what it has.
///
/// # Errors
///
/// The file is no database, is damaged, or is not of a gate.
pub async fn inspect(file: &Path) -> Result<Contents, StoreError> {
    let mut connection = connect(file, Waits::ToRead).await?;
    let failed = |error: sqlx::Error| unusable(file, cause(&error));
    let found: Vec<(String,)> =
        sqlx::query_as("PRAGMA integrity_check(3)").fetch_all(&mut connection).await.map_err(failed)?;
    if found.iter().any(|(line,)| line != "ok") {
        let found: Vec<&str> = found.iter().map(|(line,)| line.as_str()).collect();
        return Err(unusable(file, format!("it is damaged: {}", found.join("; "))));
    }
    let schema = migrations::state_of_file(&mut connection).await.map_err(|error| unusable(file, error))?;
    if schema.is_new {
        return Err(unusable(file, "it has no table of a gate"));
    }
    let heads: Vec<(String, i64, String)> =
        sqlx::query_as(HEADS).fetch_all(&mut connection).await.map_err(failed)?;
    let (rows, newest): (i64, Option<String>) =
        sqlx::query_as("SELECT COUNT(*), CAST(MAX(occurred_at_utc) AS TEXT) FROM gate_audit_events")
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    let heads = heads.into_iter().map(|(chain, sequence, mac)| ChainHead { chain, sequence, mac }).collect();
    Ok(Contents { heads, rows, newest, schema })
}

/// Locks a database, if no other process has it open, with everything of its log in the file itself.
///
/// # Errors
///
/// Another process has it open: the error names the gates that have reported lately.
pub async fn alone(file: &Path) -> Result<Alone, StoreError> {
    let mut connection = connect(file, Waits::ForNobody).await?;
    // A log is only given up by the last connection.
    let taken = async {
        sqlx::query("PRAGMA locking_mode = EXCLUSIVE").execute(&mut connection).await?;
        let (mode,): (String,) =
            sqlx::query_as("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await?;
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await?;
        Ok::<_, sqlx::Error>(mode)
    };
    match taken.await {
        Ok(mode) if mode == "delete" => Ok(Alone { connection }),
        Ok(_) | Err(_) => {
            // Its own way of locking lets this connection read nothing.
            drop(connection.close().await);
            let names = gates(file).await.unwrap_or_default();
            let who = match names.as_slice() {
                [] => "another process has it open".to_owned(),
                names => format!("it is open, by {} as it seems", names.join(", ")),
            };
            Err(unusable(file, format!("{who}: stop every gate on it, and what else reads or writes it")))
        }
    }
}

impl Alone {
    /// Lets others open it again.
    pub async fn release(self) {
        // The process may end as well: nothing was written.
        let _ = self.connection.close().await;
    }
}

/// The gates that report what they run.
async fn gates(file: &Path) -> Result<Vec<String>, StoreError> {
    let mut connection = connect(file, Waits::ToRead).await?;
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM gate_running ORDER BY name").fetch_all(&mut connection).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    ToRead,
    ForWriters,
    ForNobody,
}

async fn connect(file: &Path, waits: Waits) -> Result<SqliteConnection, StoreError> {
    if !file.is_file() {
        return Err(unusable(file, "there is no such file"));
    }
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .busy_timeout(if waits == Waits::ForNobody { PATIENCE / 10 } else { PATIENCE })
        .disable_statement_logging();
    let options = if waits == Waits::ToRead { options.pragma("query_only", "ON") } else { options };
    options.connect().await.map_err(|error| unusable(file, cause(&error)))
}

fn unusable(file: &Path, why: impl std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("`{}`: {why}", file.display()))
}

fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refusal) => refusal.message().to_owned(),
        other => other.to_string(),
    }
}

/// SQLite takes the other columns from the row of the maximum.
const HEADS: &str = "
    SELECT chain_id, MAX(sequence), mac FROM gate_audit_events
     WHERE chain_id IS NOT NULL GROUP BY chain_id ORDER BY chain_id";
