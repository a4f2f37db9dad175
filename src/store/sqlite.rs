//! SQLite: what differs from Postgres.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _, Sqlite, SqliteConnection, SqlitePool};

use super::{RESERVED, StoreError, StoreOptions};

/// A gate's view of a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) pool: SqlitePool,
    /// For the control row alone, which every strict request waits for: nobody else's statements may be in its way.
    pub(super) control_pool: SqlitePool,
    /// For the audit's writer alone, which every 403 waits for.
    pub(super) audit_pool: SqlitePool,
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
        let pool = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .acquire_timeout(options.timeout)
                .test_before_acquire(false)
        };
        let control_pool = pool(RESERVED).connect_lazy_with(connect.clone());
        let audit_pool = pool(RESERVED).connect_lazy_with(connect.clone());
        let pool = pool(options.max_connections).connect_with(connect).await.map_err(|error| {
            let cause = match &error {
                sqlx::Error::Database(refusal) => refusal.message().to_owned(),
                other => other.to_string(),
            };
            StoreError::Unusable(format!("`{}` cannot be opened: {cause}", path.display()))
        })?;
        Ok(SqliteStore { pool, control_pool, audit_pool, limit: options.timeout })
    }

    /// Begins a transaction that will write.
    ///
    /// It waits here for the right to write. A transaction that has read first and then writes is refused at once when
    /// another has written meanwhile, since what it has read may be wrong by then; waiting would not help, so SQLite does
    /// not wait. A third of all drift was lost by that, with eight clients.
    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        Transaction::begin(&self.pool).await
    }

    /// Begins a transaction of the audit's writer.
    pub(super) async fn begin_audit(&self) -> Result<Transaction, sqlx::Error> {
        Transaction::begin(&self.audit_pool).await
    }

    /// The pool, for tests that must reach around the gate.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

/// A transaction that ends with its connection, unless it was ended as it should be.
///
/// sqlx counts how deep a connection is in transactions. When the disk is full, SQLite rolls back by itself and the count
/// is wrong from then on: the next transaction of that connection is a savepoint, whose rollback leaves it open and whose
/// commit commits nothing, though it says so. An audit row was lost by that. So a connection on which anything went
/// wrong inside a transaction is closed.
#[derive(Debug)]
pub(super) struct Transaction {
    connection: PoolConnection<Sqlite>,
    is_over: bool,
}

impl Transaction {
    async fn begin(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        connection.execute("BEGIN IMMEDIATE").await?;
        Ok(Transaction { connection, is_over: false })
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        self.connection.execute(statement).await?;
        self.is_over = true;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_over {
            self.connection.close_on_drop();
        }
    }
}
