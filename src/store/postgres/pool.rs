//! A pool that gives up what does not come back.
//!
//! sqlx pings each connection on its way back to the pool, for as long as that takes. Where packets vanish, the kernel
//! takes a quarter of an hour to notice, and behind a proxy that has forgotten the connection it never does; until then
//! the pool has a connection less. A hole of seconds could so cost all of them, and the gate would answer 503 long after
//! its database is back. Here the way back has a bound, and a connection that exceeds it is dropped and replaced.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// A pool whose connections are on lease.
#[derive(Clone, Debug)]
pub(crate) struct LeasingPool {
    pool: PgPool,
    patience: Duration,
}

impl LeasingPool {
    /// A connection may take `patience` on its way back.
    pub(crate) fn new(pool: PgPool, patience: Duration) -> LeasingPool {
        LeasingPool { pool, patience }
    }

    pub(crate) fn inner(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) async fn acquire(&self) -> Result<Lease, Error> {
        let connection = self.pool.acquire().await?;
        Ok(Lease { connection, patience: self.patience, closes: false })
    }

    pub(crate) async fn begin(&self) -> Result<LeasedTransaction, Error> {
        let mut lease = self.acquire().await?;
        // Until the commit, whatever ends the lease ends the connection, and so the transaction.
        lease.close_on_drop();
        lease.execute("BEGIN").await?;
        Ok(LeasedTransaction { lease })
    }
}

/// A connection until it goes back.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: PoolConnection<Postgres>,
    patience: Duration,
    closes: bool,
}

impl Lease {
    /// Lets the connection end with the lease.
    pub(crate) fn close_on_drop(&mut self) {
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

/// A transaction on a leased connection; it is undone unless it is committed.
#[derive(Debug)]
pub(crate) struct LeasedTransaction {
    lease: Lease,
}

impl LeasedTransaction {
    pub(crate) async fn commit(self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    pub(crate) async fn rollback(self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), Error> {
        self.lease.execute(statement).await?;
        self.lease.closes = false;
        Ok(())
    }
}

impl Deref for LeasedTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.lease
    }
}

impl DerefMut for LeasedTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.lease
    }
}

impl<'p> Executor<'p> for &'p LeasingPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let all = async move {
            let mut lease = pool.acquire().await?;
            lease.fetch_many(query).try_collect::<Vec<_>>().await
        };
        stream::once(all).map_ok(|all| stream::iter(all.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.describe(sql).await })
    }
}
