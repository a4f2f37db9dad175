//! Waits for locks on Postgres without blocking the statements behind.
//!
//! A statement that changes a table waits for every transaction that has touched it, and all that follow that statement
//! wait for it. So each try waits for half a second at most, gives up what it has, and lets the others pass before the
//! next. The work itself is not bounded: an index of a large table takes as long as it takes.
//!
//! A migration that queues for a lock makes all behind it wait, so it tries for half a second at a time.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::migrate::{Migrate as _, MigrateError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::batch::{Batch, Done, Failed, postgres};
use super::progress::{LockHolder, Progress, listed};
use super::{MigrationTerms, Watcher};
use crate::StoreError;
use crate::engine::connection::Connection;
use crate::engine::postgres::PostgresPool;

/// How long a try may wait before the run looks up who holds the lock.
const LOOK: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Something that may have to wait for a lock.
#[derive(Clone, Copy)]
pub(super) enum Step<'m> {
    /// Takes the lock that keeps other migration runs out.
    Lock,
    Run(&'m Batch<'m>),
}

/// A migration run on a connection of its own.
pub(super) struct Patience<'a> {
    connection: Connection,
    observer: Observer,
    terms: MigrationTerms,
    watcher: Watcher<'a>,
}

impl<'a> Patience<'a> {
    pub(super) async fn begin(
        pool: &PostgresPool,
        terms: MigrationTerms,
        watcher: Watcher<'a>,
    ) -> Result<Patience<'a>, StoreError> {
        let mut lease = pool.acquire().await?;
        // The migration lock and the settings are the session's: they must not outlive this run in the pool.
        lease.close_on_drop();
        let lock_timeout = terms.lock_timeout.as_millis();
        let settings = format!("SET statement_timeout = 0; SET lock_timeout = {lock_timeout}");
        lease.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *lease).await?;
        let options = pool.pinned().await?;
        let observer = Observer { options, pid, connection: None, holders: Vec::new() };
        Ok(Patience { connection: Connection::Postgres(lease), observer, terms, watcher })
    }

    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        postgres(&mut self.connection)
    }

    /// Tries a step until it succeeds, and returns what the successful try did and how long it took.
    pub(super) async fn take(&mut self, step: Step<'_>) -> Result<(Done, Duration), StoreError> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        for tries in 1.. {
            let failed = match self.attempt(step).await {
                Ok(done) => return Ok(done),
                Err(failed) if !is_about_a_lock(&failed) => return Err(failed.into()),
                Err(failed) => failed,
            };
            let holders = std::mem::take(&mut self.observer.holders);
            if began.elapsed() + pause > self.terms.patience {
                tracing::debug!(error = %StoreError::from(failed), "the last try");
                return Err(gave_up(step, tries, began.elapsed(), &holders));
            }
            (self.watcher)(Progress::Waiting { what: step.name(), tries, holders });
            // The next statement would end what failed; until then it must hold nothing either.
            self.connection()?.execute("SELECT 1").await?;
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(StoreError::Busy(format!("{} was tried too often", step.name())))
    }

    async fn attempt(&mut self, step: Step<'_>) -> Result<(Done, Duration), Failed> {
        let Patience { connection, observer, .. } = self;
        let began = Instant::now();
        tokio::select! {
            outcome = step.run(connection) => outcome.map(|done| (done, began.elapsed())),
            never = observer.watch() => match never {},
        }
    }
}

impl Step<'_> {
    fn name(&self) -> String {
        match self {
            Step::Lock => "the migration lock: another `migrate` runs".to_owned(),
            Step::Run(batch) => batch.name.clone(),
        }
    }

    async fn run(self, connection: &mut Connection) -> Result<Done, Failed> {
        match self {
            Step::Lock => match postgres(connection)?.lock().await {
                Ok(()) => Ok(Done::default()),
                Err(MigrateError::Execute(error)) => Err(Failed::in_part("the migration lock", error)),
                Err(other) => Err(Failed::Store(StoreError::Schema(other.to_string()))),
            },
            Step::Run(batch) => batch.run(connection).await,
        }
    }
}

/// Whether others were in the way: the lock was not free in time, or waiting for it would have been a deadlock.
fn is_about_a_lock(failed: &Failed) -> bool {
    let Failed::Part { error, .. } = failed else { return false };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

fn gave_up(step: Step<'_>, tries: u32, after: Duration, holders: &[LockHolder]) -> StoreError {
    StoreError::Busy(format!(
        "{} got no lock in {tries} tries within {} s; it is held by {}. Nothing of it was applied. End \
         that session (`pg_terminate_backend`), or run `console-gate migrate` again at a quieter time",
        step.name(),
        after.as_secs(),
        listed(holders)
    ))
}

/// Looks, over a connection of its own, who is in the way of the run.
struct Observer {
    options: PgConnectOptions,
    /// The run's own process.
    pid: i32,
    connection: Option<PgConnection>,
    /// Who was seen last.
    holders: Vec<LockHolder>,
}

const HOLDERS: &str = "
    SELECT b.pid, a.usename::text AS role, a.application_name AS application, a.state,
           extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS transaction_seconds,
           extract(epoch FROM clock_timestamp() - a.query_start)::bigint AS statement_seconds
      FROM unnest(pg_blocking_pids($1)) AS b(pid)
      LEFT JOIN pg_stat_activity a ON a.pid = b.pid
     ORDER BY b.pid";

impl Observer {
    async fn watch(&mut self) -> Infallible {
        loop {
            sleep(LOOK).await;
            // A run goes on even if the sessions that it waits for cannot be listed.
            if let Ok(holders) = self.look().await
                && !holders.is_empty()
            {
                self.holders = holders;
            }
        }
    }

    async fn look(&mut self) -> Result<Vec<LockHolder>, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.options).await?,
        };
        let holders = sqlx::query_as(HOLDERS).bind(self.pid).fetch_all(&mut connection).await?;
        self.connection = Some(connection);
        Ok(holders)
    }
}
