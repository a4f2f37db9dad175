//! SQLite: what differs from Postgres.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlitePool};

use super::{StoreError, StoreOptions};

/// A gate's view of a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) pool: SqlitePool,
    pub(super) limit: Duration,
}

impl SqliteStore {
    /// Opens the file, creating it where there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or is no database.
    pub async fn open(path: &Path, options: &StoreOptions) -> Result<SqliteStore, StoreError> {
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A denial is durable before its 403 leaves, so a commit must reach the disk, not only the log's buffer.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.timeout)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.timeout)
            .test_before_acquire(false)
            .connect_with(connect)
            .await
            .map_err(|error| {
                let cause = match &error {
                    sqlx::Error::Database(refusal) => refusal.message().to_owned(),
                    other => other.to_string(),
                };
                StoreError::Unavailable(format!("`{}` cannot be opened: {cause}", path.display()))
            })?;
        Ok(SqliteStore { pool, limit: options.timeout })
    }

    /// The pool, for tests that must reach around the gate.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}
