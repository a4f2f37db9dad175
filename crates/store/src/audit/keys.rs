//! The fingerprints of the keys that have sealed rows.

use chrono::{DateTime, Utc};
use ledger::chain::{Head, Link};

use crate::engine::sql::sql;
use crate::{Store, StoreError};

/// A row as it was sealed, and the mac of the row before it.
#[derive(sqlx::FromRow)]
struct SealedRow {
    chain_id: String,
    sequence: i64,
    key_id: String,
    personal_digest: String,
    content_hash: String,
    mac: String,
    previous: Option<String>,
}

impl Store {
    /// Keeps the fingerprint of the key with that id where none is kept yet, and returns the one that is kept.
    pub async fn keep_audit_key(
        &self,
        id: &str,
        fingerprint: &str,
        now: DateTime<Utc>,
    ) -> Result<String, StoreError> {
        if let Some(kept) = self.audit_key(id).await? {
            return Ok(kept);
        }
        let keep = sql(KEEP).bind(id).bind(fingerprint).bind(now);
        self.bounded(async { self.pool.acquire().await?.execute(keep).await }).await?;
        // Another gate may have been quicker.
        Ok(self.audit_key(id).await?.unwrap_or_else(|| fingerprint.to_owned()))
    }

    /// The fingerprint of the key with that id, if one is kept.
    pub async fn audit_key(&self, id: &str) -> Result<Option<String>, StoreError> {
        let kept: Option<(String,)> = self.first(sql(KEPT).bind(id)).await?;
        Ok(kept.map(|(fingerprint,)| fingerprint))
    }

    /// The newest rows that say that the key with that id sealed them, each with the mac of the row before it.
    pub async fn sealed_with(&self, key: &str) -> Result<Vec<(Link, String)>, StoreError> {
        let rows: Vec<SealedRow> = self.all(sql(SEALED).bind(key)).await?;
        let zeros = || Head::default().named("").mac;
        let pair = |row: SealedRow| {
            let previous = if row.sequence == 1 { Some(zeros()) } else { row.previous };
            let SealedRow { chain_id, sequence, key_id, personal_digest, content_hash, mac, .. } = row;
            let personal_salt = None;
            let link = Link { chain_id, sequence, key_id, personal_salt, personal_digest, content_hash, mac };
            Some((link, previous?))
        };
        Ok(rows.into_iter().filter_map(pair).collect())
    }
}

const KEPT: &str = "SELECT fingerprint FROM gate_audit_keys WHERE key_id = $1";

const KEEP: &str = "
    INSERT INTO gate_audit_keys (key_id, fingerprint, first_seen_at_utc) VALUES ($1, $2, $3)
    ON CONFLICT (key_id) DO NOTHING";

/// Among the newest rows alone: no index finds the rows of a key.
const SEALED: &str = "
    SELECT e.chain_id, e.sequence, e.key_id, e.personal_digest, e.content_hash, e.mac, p.mac AS previous
      FROM (SELECT * FROM gate_audit_events ORDER BY occurred_at_utc DESC, id DESC LIMIT 1000) e
      LEFT JOIN gate_audit_events p ON p.chain_id = e.chain_id AND p.sequence = e.sequence - 1
     WHERE e.key_id = $1 LIMIT 8";
