//! The decision log: requests and their ends, added up by the hour.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::decision_log::DecisionRecord;

/// Writes, reads and forgets decisions.
#[async_trait]
pub trait DecisionLogStore {
    /// Adds each record's count to its row, in one transaction.
    async fn log_decisions(&self, records: &[DecisionRecord]) -> Result<(), StoreError>;

    /// Lets go of the hours that began before `end`.
    async fn forget_decisions(&self, end: DateTime<Utc>) -> Result<(), StoreError>;

    /// What was asked since, added up over the hours, the most frequent first.
    async fn decisions(&self, since: DateTime<Utc>) -> Result<Vec<StoredDecision>, StoreError>;
}

/// A request and its end, over all hours that were asked about.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredDecision {
    pub method: String,
    /// Empty where an hour had too many.
    pub path: String,
    /// Empty where no row covers the path.
    pub route: String,
    pub cluster: String,
    pub gate: String,
    pub actor_kind: String,
    pub actor_id: String,
    pub answer: String,
    pub reason: String,
    pub mapping_sha256: String,
    pub count: i64,
    pub last_seen_at_utc: DateTime<Utc>,
}

const LOG: &str = "
    INSERT INTO gate_decisions (
        hour_utc, method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256, count,
        last_seen_at_utc
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (hour_utc, method, path, route, gate, actor_kind, actor_id, answer, mapping_sha256) DO UPDATE
       SET count = gate_decisions.count + excluded.count, reason = excluded.reason,
           last_seen_at_utc = CASE WHEN excluded.last_seen_at_utc > gate_decisions.last_seen_at_utc
                                   THEN excluded.last_seen_at_utc ELSE gate_decisions.last_seen_at_utc END";

const FORGET: &str = "DELETE FROM gate_decisions WHERE hour_utc < $1";

const LIST: &str = "
    SELECT method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256,
           CAST(SUM(count) AS BIGINT) AS count, MAX(last_seen_at_utc) AS last_seen_at_utc
      FROM gate_decisions
     WHERE last_seen_at_utc >= $1
     GROUP BY method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256
     ORDER BY count DESC, method, path, route, actor_kind, actor_id, answer, gate, mapping_sha256";

macro_rules! decision_log_store {
    ($store:ty) => {
        #[async_trait]
        impl DecisionLogStore for $store {
            async fn log_decisions(&self, records: &[DecisionRecord]) -> Result<(), StoreError> {
                // Always in the same order: two gates that write the same rows must not wait for each other in a circle.
                let mut records: Vec<&DecisionRecord> = records.iter().collect();
                records.sort_by_cached_key(|record| crate::tally::Repeatable::key(*record));
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    for record in records {
                        sqlx::query(LOG)
                            .bind(record.hour)
                            .bind(record.method)
                            .bind(&record.path)
                            .bind(&record.route)
                            .bind(&record.cluster)
                            .bind(record.gate)
                            .bind(record.actor_kind)
                            .bind(&record.actor_id)
                            .bind(record.answer)
                            .bind(record.reason)
                            .bind(&record.mapping_sha256)
                            .bind(record.count)
                            .bind(record.last_seen_at)
                            .execute(&mut *transaction)
                            .await?;
                    }
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn forget_decisions(&self, end: DateTime<Utc>) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    sqlx::query(FORGET).bind(end).execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }

            async fn decisions(&self, since: DateTime<Utc>) -> Result<Vec<StoredDecision>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_as(LIST).bind(since).fetch_all(&self.pool).await?)
                })
                .await
            }
        }
    };
}

decision_log_store!(PostgresStore);
decision_log_store!(SqliteStore);
