//! Gates that answer from pushed knowledge: their leases, and the feed that pushes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use policy::ids::{Epoch, InstanceId};
use sqlx::FromRow as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::control::{ControlRead, ControlReading, ProductionWords, control};
use crate::engine::connection::Pool;
use crate::engine::postgres::PostgresPool;
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError};

/// The channel on which Postgres announces that the epoch rose.
const CHANNEL: &str = "gate_epoch";
/// SQLite announces nothing, so a feed on it looks this often.
const POLL: Duration = Duration::from_millis(100);
/// How long the row of an ended lease is kept, for people.
const KEEP_ENDED: TimeDelta = TimeDelta::days(1);

/// What a gate writes when it renews its lease.
#[derive(Clone, Debug)]
pub struct Renewal {
    pub instance: InstanceId,
    /// Host and process id, for people.
    pub name: String,
    pub started_at: DateTime<Utc>,
    /// The gate's wall clock, for people: no decision rests on it.
    pub now: DateTime<Utc>,
    /// Until when the gate may trust what it reads *after* this renewal, from before the renewal was sent.
    pub length: Duration,
    /// The epoch that the gate acts on already.
    pub acknowledged: Epoch,
}

/// A lease that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub instance: InstanceId,
    pub name: String,
    /// Which renewal it is.
    pub renewals: i64,
    pub length: Duration,
    pub acknowledged: Epoch,
}

/// A sign from the feed that there may be something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The epoch rose to this; `None` where the sign cannot be read. What was known before may be stale.
    Rose(Option<Epoch>),
    /// It is time to look; nothing indicates that the known state is outdated.
    Look,
}

/// One connection of the gate's own, over which changes are heard, leases renewed and the control row read.
///
/// When any of its functions has failed, the feed is to be dropped: it never reconnects by itself, because what was
/// missed between two connections is missed for good.
#[async_trait]
pub trait ControlFeed: Send {
    /// Waits for the next sign. The call may be dropped while it waits; no sign is lost by that.
    async fn hint(&mut self) -> Result<Hint, StoreError>;

    /// A sign that has arrived already, while something else was read from the connection.
    fn waiting_hint(&mut self) -> Option<Hint>;

    /// Reads the control row, and the changes after `known`. When this returns, every sign of an earlier commit that the
    /// database had sent is waiting.
    async fn control(&mut self, known: Option<Epoch>) -> Result<ControlReading, StoreError>;

    /// Renews the lease. When this returns, the renewal is committed: every later read of the leases sees it.
    async fn renew(&mut self, renewal: &Renewal) -> Result<(), StoreError>;
}

impl Store {
    /// Opens a feed on a connection of its own. It hears everything that is committed after this returns.
    pub async fn feed(&self) -> Result<Box<dyn ControlFeed>, StoreError> {
        match &self.pool {
            Pool::Postgres(pool) => {
                let (words, expected) = (self.production_words(), self.console.expected.clone());
                let feed = self.bounded(PostgresFeed::open(pool, words, expected, self.limit.get())).await?;
                Ok(Box::new(feed))
            }
            Pool::Sqlite(_) => {
                let (words, expected) = (self.production_words(), self.console.expected.clone());
                Ok(Box::new(PollingFeed::open(self.control_pool.clone(), words, expected)))
            }
        }
    }

    /// The leases that have not ended, by name.
    pub async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let rows: Vec<LeaseRow> = self.all(sql(LEASES)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Marks leases as ended, each only if it was not renewed since it was read; forgets those that ended a day ago.
    /// Each is a change of its own.
    pub async fn end_leases(&self, leases: &[Lease], now: DateTime<Utc>) -> Result<(), StoreError> {
        self.bounded(async {
            let mut connection = self.pool.acquire().await?;
            for lease in leases {
                connection.execute(sql(END).bind(lease.instance.as_str()).bind(lease.renewals)).await?;
            }
            connection.execute(sql(FORGET).bind(now - KEEP_ENDED)).await.map(drop)
        })
        .await
    }

    /// Forgets an instance that has stopped trusting.
    pub async fn leave(&self, instance: &InstanceId) -> Result<(), StoreError> {
        self.execute(sql(LEAVE).bind(instance.as_str())).await.map(drop)
    }
}

const RENEW: &str = "
    INSERT INTO gate_instances (instance_id, name, started_at_utc, renewed_at_utc, renewals, lease_ms,
                                acknowledged_epoch, ended)
    VALUES ($1, $2, $3, $4, 1, $5, $6, FALSE)
    ON CONFLICT (instance_id) DO UPDATE
       SET renewed_at_utc = excluded.renewed_at_utc, renewals = gate_instances.renewals + 1,
           lease_ms = excluded.lease_ms, acknowledged_epoch = excluded.acknowledged_epoch, ended = FALSE";

const LEASES: &str = "
    SELECT instance_id, name, renewals, lease_ms, acknowledged_epoch
      FROM gate_instances
     WHERE NOT ended
     ORDER BY name, instance_id";

const END: &str = "UPDATE gate_instances SET ended = TRUE WHERE instance_id = $1 AND renewals = $2";
const FORGET: &str = "DELETE FROM gate_instances WHERE ended AND renewed_at_utc < $1";
const LEAVE: &str = "DELETE FROM gate_instances WHERE instance_id = $1";

#[derive(sqlx::FromRow)]
struct LeaseRow {
    instance_id: String,
    name: String,
    renewals: i64,
    lease_ms: i64,
    acknowledged_epoch: i64,
}

impl TryFrom<LeaseRow> for Lease {
    type Error = StoreError;

    fn try_from(row: LeaseRow) -> Result<Self, StoreError> {
        Ok(Lease {
            instance: InstanceId::new(row.instance_id),
            name: row.name,
            renewals: row.renewals,
            length: lease_of(row.lease_ms, "gate_instances")?,
            acknowledged: Epoch(row.acknowledged_epoch),
        })
    }
}

/// The length of a lease as a column holds it.
pub(super) fn lease_millis(length: Duration) -> Result<i64, StoreError> {
    i64::try_from(length.as_millis()).map_err(|_| StoreError::Refused("a lease of that length".into()))
}

/// The length of a lease that `table` holds.
pub(super) fn lease_of(millis: i64, table: &str) -> Result<Duration, StoreError> {
    u64::try_from(millis)
        .map(Duration::from_millis)
        .map_err(|_| StoreError::Broken(format!("a lease in {table} has no length")))
}

fn renew(renewal: &Renewal) -> Result<Statement<'_>, StoreError> {
    let Renewal { instance, name, started_at, now, length, acknowledged } = renewal;
    let length = lease_millis(*length)?;
    let statement = sql(RENEW).bind(instance.as_str()).bind(name).bind(*started_at).bind(*now);
    Ok(statement.bind(length).bind(acknowledged.0))
}

/// LISTEN on a connection of its own.
struct PostgresFeed {
    listener: PgListener,
    words: ProductionWords,
    /// The SELECTs that Console's triggers must be for.
    expected: Option<Arc<str>>,
}

impl PostgresFeed {
    async fn open(
        pool: &PostgresPool,
        words: ProductionWords,
        expected: Option<Arc<str>>,
        limit: Duration,
    ) -> Result<PostgresFeed, StoreError> {
        let options = pool.pinned().await?.application_name("console-gate push");
        // A pool of one connection for the listener alone, which takes its connection from a pool.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(limit)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(PostgresFeed { listener, words, expected })
    }
}

fn read_hint(payload: &str) -> Hint {
    Hint::Rose(payload.parse().ok().map(Epoch))
}

#[async_trait]
impl ControlFeed for PostgresFeed {
    async fn hint(&mut self) -> Result<Hint, StoreError> {
        // Not `recv`, which would reconnect and report nothing.
        match self.listener.try_recv().await? {
            Some(notification) => Ok(read_hint(notification.payload())),
            None => Err(StoreError::Unavailable("the connection that listens was lost".into())),
        }
    }

    fn waiting_hint(&mut self) -> Option<Hint> {
        self.listener.next_buffered().map(|notification| read_hint(notification.payload()))
    }

    async fn control(&mut self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
        // All rows: only then has the answer been read to its end, and every notification before it with it.
        let rows =
            control(known, &self.words, None).for_postgres()?.try_map(|row| ControlRead::from_row(&row));
        ControlReading::of(rows.fetch_all(&mut self.listener).await?, self.expected.as_deref())
    }

    async fn renew(&mut self, renewal: &Renewal) -> Result<(), StoreError> {
        renew(renewal)?.for_postgres()?.execute(&mut self.listener).await?;
        Ok(())
    }
}

/// Looking often.
struct PollingFeed {
    pool: Pool,
    words: ProductionWords,
    expected: Option<Arc<str>>,
    ticks: Interval,
}

impl PollingFeed {
    fn open(pool: Pool, words: ProductionWords, expected: Option<Arc<str>>) -> PollingFeed {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        PollingFeed { pool, words, expected, ticks }
    }
}

#[async_trait]
impl ControlFeed for PollingFeed {
    async fn hint(&mut self) -> Result<Hint, StoreError> {
        self.ticks.tick().await;
        Ok(Hint::Look)
    }

    fn waiting_hint(&mut self) -> Option<Hint> {
        None
    }

    async fn control(&mut self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
        let rows = self.pool.acquire().await?.all(control(known, &self.words, None)).await?;
        ControlReading::of(rows, self.expected.as_deref())
    }

    async fn renew(&mut self, renewal: &Renewal) -> Result<(), StoreError> {
        self.pool.acquire().await?.execute(renew(renewal)?).await.map(drop)
    }
}
