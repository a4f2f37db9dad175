//! What the soak gate is judged by besides drift: the kill-switch's last flip, and what shadow mode has judged.

use chrono::{DateTime, Utc};
use workbench::drift::Key;

use crate::engine::sql::sql;
use crate::{Store, StoreError};

impl Store {
    /// The last flip of `FLAG_RBAC_V2`; `None` where it was never flipped.
    pub async fn rbac_v2_flip(&self) -> Result<Option<Flip>, StoreError> {
        self.first(sql(FLIP)).await
    }

    /// The requests of a cluster that both gates judged in the hours from `since` on, by row and caller.
    pub async fn judged_in_shadow(
        &self,
        cluster: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<StoredUse>, StoreError> {
        self.all(sql(JUDGED).bind(cluster).bind(since)).await
    }

    /// The requests behind a disagreement, the most frequent first; at most `limit`.
    pub async fn requests_behind(&self, key: &Key, limit: u32) -> Result<Vec<StoredRequest>, StoreError> {
        let behind = sql(BEHIND).bind(&key.route).bind(key.actor_kind.word()).bind(&key.actor_id);
        self.all(behind.bind(i64::from(limit))).await
    }
}

/// A flip of the kill-switch.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Flip {
    pub enabled: bool,
    pub changed_at_utc: DateTime<Utc>,
}

/// How often both gates judged a caller on a row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredUse {
    pub route: String,
    pub actor_kind: String,
    pub actor_id: String,
    pub count: i64,
}

/// Requests for one path.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredRequest {
    pub method: String,
    /// Empty where an hour had too many.
    pub path: String,
    pub answer: String,
    pub count: i64,
    pub last_seen_at_utc: DateTime<Utc>,
}

const FLIP: &str = "SELECT enabled, changed_at_utc FROM gate_flags WHERE name = 'FLAG_RBAC_V2'";

const JUDGED: &str = "
    SELECT route, actor_kind, actor_id, CAST(SUM(count) AS BIGINT) AS count
      FROM gate_decisions
     WHERE cluster = $1 AND gate = 'shadow' AND hour_utc >= $2
     GROUP BY route, actor_kind, actor_id
     ORDER BY route, actor_kind, actor_id";

const BEHIND: &str = "
    SELECT method, path, answer, CAST(SUM(count) AS BIGINT) AS count, MAX(last_seen_at_utc) AS last_seen_at_utc
      FROM gate_decisions
     WHERE route = $1 AND actor_kind = $2 AND actor_id = $3 AND gate = 'shadow'
     GROUP BY method, path, answer
     ORDER BY count DESC, method, path, answer
     LIMIT $4";
