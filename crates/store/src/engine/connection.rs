//! Pools, connections and transactions of the database that was chosen at start.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::{Error, Executor as _, Sqlite, SqlitePool};
use tokio::time::timeout;

use crate::StoreError;
use crate::engine::postgres::{Lease, PostgresPool};
use crate::engine::sql::{Record, Statement};

/// For the end of a connection that is not needed any more.
const CLOSING: Duration = Duration::from_secs(1);

/// A pool of connections. It connects when a connection is first needed.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Postgres(PostgresPool),
    Sqlite(SqlitePool),
}

impl Pool {
    /// A connection of the pool, to which it goes back when it is dropped.
    ///
    /// What may have to connect is a future of 14 KB. It is boxed, because whatever waits for it is moved some times, and
    /// so that nothing is moved where a connection [was kept](crate::engine::reused).
    pub(crate) async fn acquire(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Pool::Postgres(pool) => Connection::Postgres(Box::pin(pool.acquire()).await?),
            Pool::Sqlite(pool) => Connection::Sqlite(Box::pin(pool.acquire()).await?),
        })
    }

    /// Lets connections be made for `limit` from now on, and closes those that nothing uses.
    pub(crate) async fn renew(&self, limit: Duration) -> Result<(), StoreError> {
        match self {
            Pool::Postgres(pool) => {
                pool.connect_anew().await?;
                while let Some(connection) = pool.inner.try_acquire() {
                    let _ = timeout(CLOSING, connection.close()).await;
                }
            }
            Pool::Sqlite(pool) => {
                pool.set_connect_options(pool.connect_options().as_ref().clone().busy_timeout(limit));
                while let Some(connection) = pool.try_acquire() {
                    let _ = timeout(CLOSING, connection.close()).await;
                }
            }
        }
        Ok(())
    }

    /// The connections that are open, those of them that nothing uses, and how many there may be.
    pub(crate) fn counts(&self) -> (u32, usize, u32) {
        match self {
            Pool::Postgres(PostgresPool { inner, .. }) => {
                (inner.size(), inner.num_idle(), inner.options().get_max_connections())
            }
            Pool::Sqlite(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
        }
    }

    /// Begins a transaction that will write.
    ///
    /// On SQLite it waits here for the right to write. A transaction that has read first and then writes is refused at
    /// once when another has written meanwhile, since what it has read may be wrong by then; waiting would not help, so
    /// SQLite does not wait. A third of all drift was lost by that, with eight clients.
    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        let mut transaction = Transaction { connection: self.acquire().await?, is_over: false };
        let begin = if let Pool::Postgres(_) = self { "BEGIN" } else { "BEGIN IMMEDIATE" };
        transaction.run(begin).await?;
        Ok(transaction)
    }

    /// Begins a transaction that only reads, all of it from one snapshot.
    pub(crate) async fn begin_reading(&self) -> Result<Transaction, StoreError> {
        let mut transaction = Transaction { connection: self.acquire().await?, is_over: false };
        let begin = match self {
            Pool::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            Pool::Sqlite(_) => "BEGIN DEFERRED",
        };
        transaction.run(begin).await?;
        Ok(transaction)
    }
}

/// A connection to either database.
#[derive(Debug)]
pub(crate) enum Connection {
    Postgres(Lease),
    Sqlite(PoolConnection<Sqlite>),
}

impl Connection {
    /// Runs a statement, and returns the number of rows that it inserted, updated or deleted.
    pub(crate) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        Ok(match self {
            Connection::Postgres(to) => statement.for_postgres()?.execute(&mut **to).await?.rows_affected(),
            Connection::Sqlite(to) => statement.for_sqlite()?.execute(&mut **to).await?.rows_affected(),
        })
    }

    /// All rows that a statement yields.
    pub(crate) async fn all<T: Record>(&mut self, statement: Statement<'_>) -> Result<Vec<T>, StoreError> {
        Ok(match self {
            Connection::Postgres(to) => {
                statement.for_postgres()?.try_map(|row| T::from_row(&row)).fetch_all(&mut **to).await?
            }
            Connection::Sqlite(to) => {
                statement.for_sqlite()?.try_map(|row| T::from_row(&row)).fetch_all(&mut **to).await?
            }
        })
    }

    /// The first row that a statement yields; `None` if it yields none.
    pub(crate) async fn first<T: Record>(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Option<T>, StoreError> {
        Ok(match self {
            Connection::Postgres(to) => {
                statement.for_postgres()?.try_map(|row| T::from_row(&row)).fetch_optional(&mut **to).await?
            }
            Connection::Sqlite(to) => {
                statement.for_sqlite()?.try_map(|row| T::from_row(&row)).fetch_optional(&mut **to).await?
            }
        })
    }

    /// The first row of a statement that always yields one.
    pub(crate) async fn one<T: Record>(&mut self, statement: Statement<'_>) -> Result<T, StoreError> {
        Ok(self.first(statement).await?.ok_or(Error::RowNotFound)?)
    }

    /// The rows that a statement yields, as they come.
    pub(crate) fn stream<T: Record>(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<BoxStream<'_, Result<T, StoreError>>, StoreError> {
        Ok(match self {
            Connection::Postgres(to) => {
                let rows = statement.for_postgres()?.fetch(&mut **to);
                rows.map(|row| Ok(T::from_row(&row?)?)).boxed()
            }
            Connection::Sqlite(to) => {
                let rows = statement.for_sqlite()?.fetch(&mut **to);
                rows.map(|row| Ok(T::from_row(&row?)?)).boxed()
            }
        })
    }

    /// Runs a command without arguments, and does not prepare it.
    pub(crate) async fn run(&mut self, command: &'static str) -> Result<(), StoreError> {
        match self {
            Connection::Postgres(to) => to.execute(command).await.map(drop)?,
            Connection::Sqlite(to) => to.execute(command).await.map(drop)?,
        }
        Ok(())
    }

    /// Closes the connection when it is dropped, instead of returning it to its pool.
    pub(crate) fn close_on_drop(&mut self) {
        match self {
            Connection::Postgres(lease) => lease.close_on_drop(),
            Connection::Sqlite(connection) => connection.close_on_drop(),
        }
    }
}

/// A transaction, undone by closing its connection unless it is committed or rolled back.
///
/// sqlx counts how deep a connection is in transactions. When the disk is full, SQLite rolls back by itself and the count
/// is wrong from then on: the next transaction of that connection is a savepoint, whose rollback leaves it open and whose
/// commit reports success and commits nothing. An audit row was lost by that. So sqlx's own transactions are not used, and
/// a connection on which anything went wrong inside a transaction is closed.
#[derive(Debug)]
pub(crate) struct Transaction {
    connection: Connection,
    is_over: bool,
}

impl Transaction {
    /// Makes the changes durable.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    /// Undoes the changes, and keeps the connection.
    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    /// The error that ends the transaction. One about a value does not concern the connection, which is kept.
    pub(crate) async fn given_up(self, error: StoreError) -> StoreError {
        if let StoreError::Refused(_) = error
            && let Err(worse) = self.rollback().await
        {
            return worse;
        }
        error
    }

    async fn end(mut self, command: &'static str) -> Result<(), StoreError> {
        self.run(command).await?;
        self.is_over = true;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
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
