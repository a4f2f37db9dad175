//! Postgres: what differs from SQLite.

mod pool;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};

pub(super) use self::pool::Lease;
use self::pool::LeasingPool;
use super::{StoreError, StoreOptions};

/// A gate's view of a Postgres database.
#[derive(Debug)]
pub struct PostgresStore {
    pub(super) pool: LeasingPool,
    pub(super) limit: Duration,
}

impl PostgresStore {
    /// Prepares a pool. Nothing is connected yet, so a gate can start while its database is away.
    ///
    /// # Errors
    ///
    /// The URL cannot be parsed.
    pub fn open(url: &str, options: &StoreOptions) -> Result<PostgresStore, StoreError> {
        let connect = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::Unavailable("the postgres URL cannot be parsed".into()))?
            .application_name("console-gate")
            // A statement that the client has given up on must not go on holding locks.
            .options([("statement_timeout", format!("{}", options.timeout.as_millis() * 5))])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.timeout)
            // The next statement finds out; a ping before each would double every round trip.
            .test_before_acquire(false)
            .connect_lazy_with(connect);
        // A round trip that takes longer than this is not worth waiting for: a new connection takes less.
        let pool = LeasingPool::new(pool, options.timeout / 4);
        Ok(PostgresStore { pool, limit: options.timeout })
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<pool::LeasedTransaction, sqlx::Error> {
        self.pool.begin().await
    }

    /// The pool, for tests that must reach around the gate.
    pub fn pool(&self) -> &PgPool {
        self.pool.inner()
    }
}
