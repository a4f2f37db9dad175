//! Postgres: how to connect, and a pool that gives up a connection that does not come back.
//!
//! sqlx pings each connection on its way back to the pool, for as long as that takes. Where packets vanish, the kernel
//! takes a quarter of an hour to notice, and behind a proxy that has forgotten the connection it never does; until then
//! the pool has a connection less. A hole of seconds could so cost all of them, and the gate would answer 503 long after
//! its database is back. Here the way back has a bound, and a connection that exceeds it is dropped and replaced.

use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Error, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{StoreError, StoreOptions};

/// How to connect to `url`. Nothing is connected yet, so a gate can start while its database is away.
///
/// # Errors
///
/// The URL cannot be parsed.
pub(super) fn connect_options(url: &str, options: &StoreOptions) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Unusable("the postgres URL cannot be parsed".into()))?
        .application_name("console-gate")
        // A statement that the client has given up on must not go on holding locks.
        .options([("statement_timeout", format!("{}", options.timeout.as_millis() * 5))])
        .disable_statement_logging())
}

/// A pool whose connections have a bound on their way back.
#[derive(Clone, Debug)]
pub(super) struct PostgresPool {
    pub(super) inner: PgPool,
    /// How long a connection may take on its way back.
    patience: Duration,
}

impl PostgresPool {
    /// A pool of at most `most` connections.
    pub(super) fn new(connect: &PgConnectOptions, most: u32, limit: Duration) -> PostgresPool {
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(limit)
            // The next statement finds out; a ping before each would double every round trip.
            .test_before_acquire(false)
            .connect_lazy_with(connect.clone());
        // A round trip that takes longer than this is not worth waiting for: a new connection takes less.
        PostgresPool { inner: pool, patience: limit / 4 }
    }

    /// Connects once, and leaves.
    pub(super) async fn knock(&self) -> Result<(), StoreError> {
        let connection = PgConnection::connect_with(&self.inner.connect_options()).await?;
        // It has answered.
        let _ = connection.close().await;
        Ok(())
    }

    pub(super) async fn acquire(&self) -> Result<Lease, Error> {
        let connection = self.inner.acquire().await?;
        Ok(Lease { connection, patience: self.patience, closes: false })
    }
}

/// A connection until it goes back.
#[derive(Debug)]
pub(super) struct Lease {
    connection: PoolConnection<Postgres>,
    patience: Duration,
    closes: bool,
}

impl Lease {
    /// Lets the connection end with the lease.
    pub(super) fn close_on_drop(&mut self) {
        self.closes = true;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.closes {
            // Bounded by sqlx itself.
            self.connection.close_on_drop();
            return;
        }
        let (patience, returning) = (self.patience, self.connection.return_to_pool());
        // Without a runtime the process is ending, and the connection with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { timeout(patience, returning).await });
        }
    }
}
