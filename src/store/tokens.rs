//! Machine tokens: only their hashes are here.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledger::Note;
use policy::identity::machine_token::TokenDigest;
use policy::ids::MachineTokenId;
use policy::rbac::LegacyRole;
use sqlx::Row as _;

use super::lenient::{readable_times, time};
use super::{PostgresStore, SqliteStore, StoreError, bounded};

/// Enrols and revokes machine tokens.
#[async_trait]
pub trait TokenStore {
    /// Stores a token's hash and its groups, with an audit record, in one transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when the name is taken or a group does not exist.
    async fn create_token(&self, token: &NewToken, note: &Note) -> Result<(), StoreError>;

    /// Revokes a token by name; `false` when no live token has that name.
    async fn revoke_token(&self, name: &str, now: DateTime<Utc>, note: &Note) -> Result<bool, StoreError>;

    /// Every token, by name.
    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError>;
}

/// A token that is being enrolled.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub id: MachineTokenId,
    pub name: String,
    pub digest: TokenDigest,
    pub groups: Vec<String>,
    /// What it holds while a row is on its legacy gate.
    pub legacy: Vec<LegacyRole>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token as it is listed. Its hash is left out. A time that cannot be read is none.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StoredToken {
    pub id: String,
    pub name: String,
    pub created_by: String,
    pub created_at_utc: Option<DateTime<Utc>>,
    /// Whether it ends by itself; if its end cannot be read, it has ended.
    pub is_limited: bool,
    pub expires_at_utc: Option<DateTime<Utc>>,
    pub is_revoked: bool,
    pub revoked_at_utc: Option<DateTime<Utc>>,
}

const CREATE: &str = "
    INSERT INTO gate_machine_tokens (id, name, token_sha256, created_by, created_at_utc, expires_at_utc)
    VALUES ($1, $2, $3, $4, $5, $6)";

const ENROL: &str = "
    INSERT INTO gate_machine_token_groups (token_id, group_id, granted_by, granted_at_utc)
    SELECT $1, g.id, $3, $4 FROM rbac_groups g WHERE g.name = $2";

const LEGACY: &str = "INSERT INTO gate_machine_token_legacy_roles (token_id, role) VALUES ($1, $2)";

const REVOKE: &str =
    "UPDATE gate_machine_tokens SET revoked_at_utc = $2 WHERE name = $1 AND revoked_at_utc IS NULL";

const LIST: &str = "
    SELECT id, name, created_by,
           CASE WHEN created_at_utc > $1 AND created_at_utc < $2 THEN created_at_utc END AS created_at_utc,
           expires_at_utc IS NOT NULL AS is_limited,
           CASE WHEN expires_at_utc > $1 AND expires_at_utc < $2 THEN expires_at_utc END AS expires_at_utc,
           revoked_at_utc IS NOT NULL AS is_revoked,
           CASE WHEN revoked_at_utc > $1 AND revoked_at_utc < $2 THEN revoked_at_utc END AS revoked_at_utc
      FROM gate_machine_tokens
     ORDER BY name";

macro_rules! token_store {
    ($store:ty) => {
        #[async_trait]
        impl TokenStore for $store {
            async fn create_token(&self, token: &NewToken, note: &Note) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    Self::enter(&mut transaction, note).await?;
                    sqlx::query(CREATE)
                        .bind(token.id.as_str())
                        .bind(&token.name)
                        .bind(token.digest.to_hex())
                        .bind(&token.created_by)
                        .bind(token.created_at)
                        .bind(token.expires_at)
                        .execute(&mut *transaction)
                        .await?;
                    for group in &token.groups {
                        let enrolled = sqlx::query(ENROL)
                            .bind(token.id.as_str())
                            .bind(group)
                            .bind(&token.created_by)
                            .bind(token.created_at)
                            .execute(&mut *transaction)
                            .await?;
                        if enrolled.rows_affected() != 1 {
                            return Err(StoreError::Conflict(format!("there is no group `{group}`")));
                        }
                    }
                    for role in &token.legacy {
                        sqlx::query(LEGACY)
                            .bind(token.id.as_str())
                            .bind(role.as_str())
                            .execute(&mut *transaction)
                            .await?;
                    }
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn revoke_token(
                &self,
                name: &str,
                now: DateTime<Utc>,
                note: &Note,
            ) -> Result<bool, StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    Self::enter(&mut transaction, note).await?;
                    let revoked = sqlx::query(REVOKE).bind(name).bind(now).execute(&mut *transaction).await?;
                    if revoked.rows_affected() == 0 {
                        transaction.rollback().await?;
                        return Ok(false);
                    }
                    transaction.commit().await?;
                    Ok(true)
                })
                .await
            }

            async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
                bounded(self.limit, async {
                    let (first, last) = readable_times();
                    let mut tokens = Vec::new();
                    for row in sqlx::query(LIST).bind(first).bind(last).fetch_all(&self.pool).await? {
                        tokens.push(StoredToken {
                            id: row.try_get("id")?,
                            name: row.try_get("name")?,
                            created_by: row.try_get("created_by")?,
                            created_at_utc: time(&row, "created_at_utc")?,
                            is_limited: row.try_get("is_limited")?,
                            expires_at_utc: time(&row, "expires_at_utc")?,
                            is_revoked: row.try_get("is_revoked")?,
                            revoked_at_utc: time(&row, "revoked_at_utc")?,
                        });
                    }
                    Ok(tokens)
                })
                .await
            }
        }
    };
}

token_store!(PostgresStore);
token_store!(SqliteStore);
