//! Answers by which Console refused requests that the gate had let in: 401, 403, or a redirect to its login page (302).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::ids::InstanceId;

use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError, storable};

/// How often one gate process saw one such answer in one hour, so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalTotal {
    pub hour: DateTime<Utc>,
    /// Empty for a row without one.
    pub cluster: Arc<str>,
    pub route: Arc<str>,
    /// What had let the requests in: `v2` or `legacy`.
    pub gate: &'static str,
    pub status: u16,
    pub count: i64,
    pub last_seen_at: DateTime<Utc>,
}

/// What all gates saw of one such answer since a time.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredRefusals {
    pub cluster: String,
    pub route: String,
    pub gate: String,
    pub status: i64,
    pub count: i64,
    pub last_seen_at_utc: DateTime<Utc>,
}

impl Store {
    /// Writes the totals of a gate process, in one statement. A total that is there already is replaced.
    pub async fn write_refusals(
        &self,
        instance: &InstanceId,
        totals: &[RefusalTotal],
    ) -> Result<(), StoreError> {
        if totals.is_empty() {
            return Ok(());
        }
        let mut write = Statement::insert(INSERT, COLUMNS, REPLACE).once();
        for total in totals {
            write
                .push(instance.as_str())
                .push(total.hour)
                .push(storable(&total.cluster))
                .push(storable(&total.route))
                .push(total.gate)
                .push(i64::from(total.status))
                .push(total.count)
                .push(total.last_seen_at);
        }
        self.execute(write).await.map(drop)
    }

    /// What was seen since, by cluster, route, gate and status, the most frequent first.
    pub async fn refusals(&self, since: DateTime<Utc>) -> Result<Vec<StoredRefusals>, StoreError> {
        self.all(sql(LIST).bind(since)).await
    }

    /// Deletes the hours that began before `end`.
    pub async fn forget_refusals(&self, end: DateTime<Utc>) -> Result<(), StoreError> {
        self.execute(sql(FORGET).bind(end)).await.map(drop)
    }
}

/// The values of a row.
const COLUMNS: usize = 8;

const INSERT: &str = "
    INSERT INTO gate_upstream_refusals (
        instance_id, hour_utc, cluster, route, gate, status, count, last_seen_at_utc
    ) ";

/// A total only grows, so an older one that arrives late changes nothing.
const REPLACE: &str = "
    ON CONFLICT (instance_id, hour_utc, cluster, route, gate, status) DO UPDATE
       SET count = excluded.count, last_seen_at_utc = excluded.last_seen_at_utc
     WHERE gate_upstream_refusals.count < excluded.count";

const LIST: &str = "
    SELECT cluster, route, gate, status, CAST(SUM(count) AS BIGINT) AS count,
           MAX(last_seen_at_utc) AS last_seen_at_utc
      FROM gate_upstream_refusals
     WHERE last_seen_at_utc >= $1
     GROUP BY cluster, route, gate, status
     ORDER BY count DESC, cluster, route, gate, status";

const FORGET: &str = "DELETE FROM gate_upstream_refusals WHERE hour_utc < $1";
