//! Sign-offs: who has explained which disagreement, and what the explanation is about.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::audit::Note;
use crate::decision::Direction;
use crate::drift::{Fingerprints, Key, SignOff};
use crate::rbac::census::CallerKind;

/// Keeps sign-offs.
#[async_trait]
pub trait SignOffStore {
    /// Keeps a sign-off, with an audit record, in one transaction. A disagreement has one: a later one replaces it.
    async fn sign_off(&self, sign_off: &SignOff, note: &Note) -> Result<(), StoreError>;

    /// Takes a sign-off back; `false` when there is none.
    async fn withdraw_sign_off(&self, key: &Key, note: &Note) -> Result<bool, StoreError>;

    /// Every sign-off, whether it still stands or not.
    async fn sign_offs(&self) -> Result<Vec<SignOff>, StoreError>;
}

const KEEP: &str = "
    INSERT INTO gate_drift_signoffs (
        route, actor_kind, actor_id, direction, reason, signed_by, signed_at_utc, demand_sha256, grants_sha256
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (route, actor_kind, actor_id, direction) DO UPDATE
       SET reason = excluded.reason, signed_by = excluded.signed_by, signed_at_utc = excluded.signed_at_utc,
           demand_sha256 = excluded.demand_sha256, grants_sha256 = excluded.grants_sha256";

const WITHDRAW: &str = "
    DELETE FROM gate_drift_signoffs
     WHERE route = $1 AND actor_kind = $2 AND actor_id = $3 AND direction = $4";

const LIST: &str = "SELECT * FROM gate_drift_signoffs ORDER BY route, actor_kind, actor_id, direction";

#[derive(sqlx::FromRow)]
struct Stored {
    route: String,
    actor_kind: String,
    actor_id: String,
    direction: String,
    reason: String,
    signed_by: String,
    signed_at_utc: DateTime<Utc>,
    demand_sha256: String,
    grants_sha256: String,
}

impl TryFrom<Stored> for SignOff {
    type Error = StoreError;

    fn try_from(row: Stored) -> Result<Self, StoreError> {
        let broken = |what: &str| StoreError::Broken(format!("gate_drift_signoffs has an unknown {what}"));
        Ok(SignOff {
            key: Key {
                route: row.route,
                actor_kind: CallerKind::parse(&row.actor_kind).ok_or_else(|| broken("actor_kind"))?,
                actor_id: row.actor_id,
                direction: Direction::parse(&row.direction).ok_or_else(|| broken("direction"))?,
            },
            reason: row.reason,
            signed_by: row.signed_by,
            signed_at_utc: row.signed_at_utc,
            fingerprints: Fingerprints { demand_sha256: row.demand_sha256, grants_sha256: row.grants_sha256 },
        })
    }
}

macro_rules! sign_off_store {
    ($store:ty) => {
        #[async_trait]
        impl SignOffStore for $store {
            async fn sign_off(&self, sign_off: &SignOff, note: &Note) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let SignOff { key, fingerprints, .. } = sign_off;
                    let mut transaction = self.begin().await?;
                    Self::enter(&mut transaction, note).await?;
                    sqlx::query(KEEP)
                        .bind(&key.route)
                        .bind(key.actor_kind.word())
                        .bind(&key.actor_id)
                        .bind(key.direction.word())
                        .bind(&sign_off.reason)
                        .bind(&sign_off.signed_by)
                        .bind(sign_off.signed_at_utc)
                        .bind(&fingerprints.demand_sha256)
                        .bind(&fingerprints.grants_sha256)
                        .execute(&mut *transaction)
                        .await?;
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn withdraw_sign_off(&self, key: &Key, note: &Note) -> Result<bool, StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    Self::enter(&mut transaction, note).await?;
                    let withdrawn = sqlx::query(WITHDRAW)
                        .bind(&key.route)
                        .bind(key.actor_kind.word())
                        .bind(&key.actor_id)
                        .bind(key.direction.word())
                        .execute(&mut *transaction)
                        .await?;
                    if withdrawn.rows_affected() == 0 {
                        transaction.rollback().await?;
                        return Ok(false);
                    }
                    transaction.commit().await?;
                    Ok(true)
                })
                .await
            }

            async fn sign_offs(&self) -> Result<Vec<SignOff>, StoreError> {
                bounded(self.limit, async {
                    let rows: Vec<Stored> = sqlx::query_as(LIST).fetch_all(&self.pool).await?;
                    rows.into_iter().map(SignOff::try_from).collect()
                })
                .await
            }
        }
    };
}

sign_off_store!(PostgresStore);
sign_off_store!(SqliteStore);
