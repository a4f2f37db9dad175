//! Disagreements between the two gates, counted per route, caller, direction and mapping.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::audit::drift::DriftRecord;

/// Records and lists drift.
#[async_trait]
pub trait DriftStore {
    /// Adds each disagreement's count to its row, in one transaction.
    async fn record_drift(&self, events: &[DriftRecord]) -> Result<(), StoreError>;

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

const LIST: &str = "SELECT * FROM gate_drift_events ORDER BY last_seen_at_utc DESC, id";

macro_rules! drift_store {
    ($store:ty) => {
        #[async_trait]
        impl DriftStore for $store {
            async fn record_drift(&self, events: &[DriftRecord]) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    for event in events {
                        sqlx::query(RECORD)
                            .bind(event.id.to_string())
                            .bind(event.seen_at)
                            .bind(event.cluster.as_deref())
                            .bind(&event.route)
                            .bind(event.method)
                            .bind(event.actor_kind)
                            .bind(&event.actor_id)
                            .bind(event.direction)
                            .bind(event.legacy_answer)
                            .bind(event.v2_answer)
                            .bind(event.reason)
                            .bind(&event.mapping_sha256)
                            .bind(event.epoch)
                            .bind(&event.request_id)
                            .bind(event.count)
                            .execute(&mut *transaction)
                            .await?;
                    }
                    Ok(transaction.commit().await?)
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
