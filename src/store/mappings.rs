//! Activated mappings: their texts, their history, and the pin of a rollback.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::audit::Note;
use crate::ids::MappingSha256;

/// Keeps what was activated, so that any of it can be activated again.
#[async_trait]
pub trait MappingStore {
    /// Records an activation, or a refusal, with its audit record, in one transaction. The text is kept by its hash.
    async fn record_activation(
        &self,
        activation: &Activation,
        content: &str,
        note: &Note,
    ) -> Result<(), StoreError>;

    /// The latest activations and refusals first.
    async fn activations(&self, limit: u32) -> Result<Vec<StoredActivation>, StoreError>;

    /// The text of a mapping that was once seen.
    async fn mapping_text(&self, sha256: &MappingSha256) -> Result<Option<String>, StoreError>;

    /// The mapping that a rollback pinned.
    async fn pin(&self) -> Result<Option<Pin>, StoreError>;

    /// Pins a mapping (`Some`) or lets the file rule again (`None`).
    async fn set_pin(&self, pin: Option<&Pin>, by: &str, now: DateTime<Utc>) -> Result<(), StoreError>;
}

/// One activation or refusal.
#[derive(Clone, Debug)]
pub struct Activation {
    pub id: uuid::Uuid,
    pub sha256: MappingSha256,
    pub activated_at: DateTime<Utc>,
    /// `file`, `signal`, `start`, or `rollback by` whom.
    pub activated_by: String,
    pub instance: String,
    /// `activated` or `refused`.
    pub outcome: &'static str,
    pub diagnostics: Option<String>,
    pub previous: Option<MappingSha256>,
}

/// An activation as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredActivation {
    pub sha256: String,
    pub activated_at_utc: DateTime<Utc>,
    pub activated_by: String,
    pub instance: String,
    pub outcome: String,
    pub diagnostics: Option<String>,
    pub previous_sha256: Option<String>,
}

/// A rollback's pin: this mapping rules until the file is no longer the one that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub sha256: MappingSha256,
    /// Who rolled back.
    pub by: String,
    /// The file that the rollback left; a gate does not pick it up again until it changes.
    pub replaced_file_sha256: Option<MappingSha256>,
}

const KEEP_TEXT: &str = "
    INSERT INTO gate_mappings (sha256, content, first_seen_at_utc) VALUES ($1, $2, $3)
    ON CONFLICT (sha256) DO NOTHING";

const RECORD: &str = "
    INSERT INTO gate_mapping_activations (
        id, sha256, activated_at_utc, activated_by, instance, outcome, diagnostics, previous_sha256
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const LIST: &str = "
    SELECT sha256, activated_at_utc, activated_by, instance, outcome, diagnostics, previous_sha256
      FROM gate_mapping_activations
     ORDER BY activated_at_utc DESC, id DESC
     LIMIT $1";

const TEXT: &str = "SELECT content FROM gate_mappings WHERE sha256 = $1";

const PIN: &str = "SELECT sha256, pinned_by, replaced_file_sha256 FROM gate_mapping_pin WHERE id = 1 AND sha256 IS NOT NULL";

const SET_PIN: &str = "
    INSERT INTO gate_mapping_pin (id, sha256, pinned_by, pinned_at_utc, replaced_file_sha256)
    VALUES (1, $1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE
       SET sha256 = excluded.sha256, pinned_by = excluded.pinned_by, pinned_at_utc = excluded.pinned_at_utc,
           replaced_file_sha256 = excluded.replaced_file_sha256";

macro_rules! mapping_store {
    ($store:ty) => {
        #[async_trait]
        impl MappingStore for $store {
            async fn record_activation(
                &self,
                activation: &Activation,
                content: &str,
                note: &Note,
            ) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    Self::enter(&mut transaction, note).await?;
                    sqlx::query(KEEP_TEXT)
                        .bind(activation.sha256.as_str())
                        .bind(content)
                        .bind(activation.activated_at)
                        .execute(&mut *transaction)
                        .await?;
                    sqlx::query(RECORD)
                        .bind(activation.id.to_string())
                        .bind(activation.sha256.as_str())
                        .bind(activation.activated_at)
                        .bind(&activation.activated_by)
                        .bind(&activation.instance)
                        .bind(activation.outcome)
                        .bind(activation.diagnostics.as_deref())
                        .bind(activation.previous.as_ref().map(|sha256| sha256.as_str()))
                        .execute(&mut *transaction)
                        .await?;
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn activations(&self, limit: u32) -> Result<Vec<StoredActivation>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_as(LIST).bind(i64::from(limit)).fetch_all(&self.pool).await?)
                })
                .await
            }

            async fn mapping_text(&self, sha256: &MappingSha256) -> Result<Option<String>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_scalar(TEXT).bind(sha256.as_str()).fetch_optional(&self.pool).await?)
                })
                .await
            }

            async fn pin(&self) -> Result<Option<Pin>, StoreError> {
                bounded(self.limit, async {
                    let row: Option<(String, String, Option<String>)> =
                        sqlx::query_as(PIN).fetch_optional(&self.pool).await?;
                    Ok(row.map(|(sha256, by, replaced)| Pin {
                        sha256: MappingSha256::new(sha256),
                        by,
                        replaced_file_sha256: replaced.map(MappingSha256::new),
                    }))
                })
                .await
            }

            async fn set_pin(
                &self,
                pin: Option<&Pin>,
                by: &str,
                now: DateTime<Utc>,
            ) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let replaced = pin.and_then(|pin| pin.replaced_file_sha256.as_ref());
                    sqlx::query(SET_PIN)
                        .bind(pin.map(|pin| pin.sha256.as_str()))
                        .bind(by)
                        .bind(now)
                        .bind(replaced.map(|sha256| sha256.as_str()))
                        .execute(&self.pool)
                        .await?;
                    Ok(())
                })
                .await
            }
        }
    };
}

mapping_store!(PostgresStore);
mapping_store!(SqliteStore);
