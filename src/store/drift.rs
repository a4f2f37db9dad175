//! Disagreements between the two gates, counted per route, caller, direction and mapping.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::audit::drift::DriftRecord;

/// The route of a row that stands for many: no route is written so.
pub const OVERFLOW: &str = "*";

/// Records and lists drift.
#[async_trait]
pub trait DriftStore {
    /// Adds each disagreement's count to its row, in one transaction. Where there are `most_rows` already, what has no row
    /// is counted in one row for its cluster and direction; several gates that write at once may exceed that by what
    /// each writes then. The ids of the events that made a row are returned.
    async fn record_drift(
        &self,
        events: &[DriftRecord],
        most_rows: u32,
    ) -> Result<Vec<uuid::Uuid>, StoreError>;

    /// Every drift row, the latest first.
    async fn drift(&self) -> Result<Vec<StoredDrift>, StoreError>;
}

/// A drift row as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredDrift {
    pub cluster: Option<String>,
    pub route: String,
    pub method: String,
    pub actor_kind: String,
    pub actor_id: String,
    pub direction: String,
    pub legacy_answer: String,
    pub v2_answer: String,
    pub reason: String,
    pub mapping_sha256: String,
    pub count: i64,
    pub first_seen_at_utc: DateTime<Utc>,
    pub last_seen_at_utc: DateTime<Utc>,
}

const RECORD: &str = "
    INSERT INTO gate_drift_events (
        id, first_seen_at_utc, last_seen_at_utc, cluster, route, method, actor_kind, actor_id, direction,
        legacy_answer, v2_answer, reason, mapping_sha256, epoch, request_id, count
    ) VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT (route, actor_kind, actor_id, direction, mapping_sha256) DO UPDATE
       SET first_seen_at_utc = CASE WHEN excluded.first_seen_at_utc < gate_drift_events.first_seen_at_utc
                                    THEN excluded.first_seen_at_utc ELSE gate_drift_events.first_seen_at_utc END,
           last_seen_at_utc = CASE WHEN excluded.last_seen_at_utc > gate_drift_events.last_seen_at_utc
                                   THEN excluded.last_seen_at_utc ELSE gate_drift_events.last_seen_at_utc END,
           method = excluded.method, reason = excluded.reason, epoch = excluded.epoch,
           request_id = excluded.request_id, count = gate_drift_events.count + excluded.count";

const KNOWN: &str = "
    SELECT COUNT(*) FROM gate_drift_events
     WHERE route = $1 AND actor_kind = $2 AND actor_id = $3 AND direction = $4 AND mapping_sha256 = $5";

/// As far as it matters: a table that is full is not counted to its end.
const ROWS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM gate_drift_events LIMIT $1) AS rows";

const LIST: &str = "SELECT * FROM gate_drift_events ORDER BY last_seen_at_utc DESC, id";

impl StoredDrift {
    /// Whether it stands for disagreements that were too many to be kept one by one.
    pub fn is_overflow(&self) -> bool {
        self.route == OVERFLOW
    }
}

/// The event as it is counted beyond the bound. It names nobody; the cluster takes the place of the actor, so that each
/// has a row of its own.
fn beyond_the_bound(event: &DriftRecord) -> DriftRecord {
    DriftRecord {
        route: OVERFLOW.to_owned(),
        method: OVERFLOW,
        actor_kind: "gate",
        actor_id: event.cluster.clone().unwrap_or_default(),
        reason: "beyond_the_bound",
        mapping_sha256: OVERFLOW.to_owned(),
        ..event.clone()
    }
}

macro_rules! record {
    ($transaction:expr, $event:expr) => {
        sqlx::query(RECORD)
            .bind($event.id.to_string())
            .bind($event.seen_at)
            .bind($event.cluster.as_deref())
            .bind(&$event.route)
            .bind($event.method)
            .bind($event.actor_kind)
            .bind(&$event.actor_id)
            .bind($event.direction)
            .bind($event.legacy_answer)
            .bind($event.v2_answer)
            .bind($event.reason)
            .bind(&$event.mapping_sha256)
            .bind($event.epoch)
            .bind(&$event.request_id)
            .bind($event.count)
            .execute(&mut *$transaction)
            .await?
    };
}

macro_rules! drift_store {
    ($store:ty) => {
        #[async_trait]
        impl DriftStore for $store {
            async fn record_drift(
                &self,
                events: &[DriftRecord],
                most_rows: u32,
            ) -> Result<Vec<uuid::Uuid>, StoreError> {
                // Always in the same order: two gates that write the same rows must not wait for each other in a circle.
                let mut events: Vec<&DriftRecord> = events.iter().collect();
                events.sort_by_cached_key(|event| crate::tally::Repeatable::key(*event));
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    let mut new = Vec::new();
                    // Counted once a batch, and only when something new is in it.
                    let mut room = None;
                    for event in events {
                        let known: i64 = sqlx::query_scalar(KNOWN)
                            .bind(&event.route)
                            .bind(event.actor_kind)
                            .bind(&event.actor_id)
                            .bind(event.direction)
                            .bind(&event.mapping_sha256)
                            .fetch_one(&mut *transaction)
                            .await?;
                        if known > 0 {
                            record!(transaction, event);
                            continue;
                        }
                        let left = match room {
                            Some(left) => left,
                            None => {
                                let most = i64::from(most_rows);
                                let rows: i64 =
                                    sqlx::query_scalar(ROWS).bind(most).fetch_one(&mut *transaction).await?;
                                most - rows
                            }
                        };
                        room = Some(left - 1);
                        if left > 0 {
                            record!(transaction, event);
                            new.push(event.id);
                        } else {
                            let event = &beyond_the_bound(event);
                            record!(transaction, event);
                        }
                    }
                    transaction.commit().await?;
                    Ok(new)
                })
                .await
            }

            async fn drift(&self) -> Result<Vec<StoredDrift>, StoreError> {
                bounded(self.limit, async { Ok(sqlx::query_as(LIST).fetch_all(&self.pool).await?) }).await
            }
        }
    };
}

drift_store!(PostgresStore);
drift_store!(SqliteStore);
