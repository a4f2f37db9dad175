//! Postgres: what differs from SQLite.

mod pool;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};

pub(super) use self::pool::Lease;
use self::pool::LeasingPool;
use super::{RESERVED, StoreError, StoreOptions};

/// A gate's view of a Postgres database.
#[derive(Debug)]
pub struct PostgresStore {
    pub(super) pool: LeasingPool,
    /// For the control row alone, which every strict request waits for: nobody else's statements may be in its way.
    pub(super) control_pool: LeasingPool,
    /// For the audit's writer alone, which every 403 waits for.
    pub(super) audit_pool: LeasingPool,
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
            .map_err(|_| StoreError::Unusable("the postgres URL cannot be parsed".into()))?
            .application_name("console-gate")
            // A statement that the client has given up on must not go on holding locks.
            .options([("statement_timeout", format!("{}", options.timeout.as_millis() * 5))])
            .disable_statement_logging();
        let pool = |most| {
            let pool = PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(options.timeout)
                // The next statement finds out; a ping before each would double every round trip.
                .test_before_acquire(false)
                .connect_lazy_with(connect.clone());
            // A round trip that takes longer than this is not worth waiting for: a new connection takes less.
            LeasingPool::new(pool, options.timeout / 4)
        };
        Ok(PostgresStore {
            pool: pool(options.max_connections),
            control_pool: pool(RESERVED),
            audit_pool: pool(RESERVED),
            limit: options.timeout,
        })
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<pool::LeasedTransaction, sqlx::Error> {
        self.pool.begin().await
    }

    /// Begins a transaction of the audit's writer.
    pub(super) async fn begin_audit(&self) -> Result<pool::LeasedTransaction, sqlx::Error> {
        self.audit_pool.begin().await
    }

    /// The pool, for tests that must reach around the gate.
    pub fn pool(&self) -> &PgPool {
        self.pool.inner()
    }
}
