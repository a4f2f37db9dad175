//! The epoch and the switches: one row, read before every decision that asks for a role.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::audit::Note;
use crate::ids::Epoch;

/// The name of the kill-switch in `gate_flags` and `console_flag_promotions`.
pub const RBAC_V2_FLAG: &str = "FLAG_RBAC_V2";

/// What one epoch read tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRow {
    pub epoch: Epoch,
    /// `gate_flags`; `None` where nobody has flipped the flag yet.
    pub rbac_v2: Option<bool>,
    /// Whether `console_flag_promotions` has the flag promoted to production (I-11).
    pub promoted: bool,
}

/// Reads and flips what stands above the mapping.
#[async_trait]
pub trait ControlStore {
    /// One read of the epoch and the switches, in one snapshot.
    async fn control(&self) -> Result<ControlRow, StoreError>;

    /// Sets `FLAG_RBAC_V2` and writes `note` in the same transaction; the epoch rises with it.
    async fn set_rbac_v2(
        &self,
        enabled: bool,
        by: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<(), StoreError>;
}

pub(super) const CONTROL: &str = "
    SELECT e.epoch AS epoch,
           (SELECT f.enabled FROM gate_flags f WHERE f.name = 'FLAG_RBAC_V2') AS rbac_v2,
           EXISTS (SELECT 1 FROM console_flag_promotions p
                    WHERE p.flag = 'FLAG_RBAC_V2' AND p.current_env = 'production') AS promoted
      FROM gate_epoch e
     WHERE e.id = 1";

/// Set again to what it is, it has not changed: the soak gate counts from its last change.
const SET_FLAG: &str = "
    INSERT INTO gate_flags (name, enabled, changed_by, changed_at_utc)
    VALUES ('FLAG_RBAC_V2', $1, $2, $3)
    ON CONFLICT (name) DO UPDATE
       SET enabled = excluded.enabled,
           changed_by = CASE WHEN gate_flags.enabled = excluded.enabled THEN gate_flags.changed_by
                             ELSE excluded.changed_by END,
           changed_at_utc = CASE WHEN gate_flags.enabled = excluded.enabled THEN gate_flags.changed_at_utc
                                 ELSE excluded.changed_at_utc END";

/// The control row as it is stored.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    epoch: i64,
    rbac_v2: Option<bool>,
    promoted: bool,
}

impl From<Row> for ControlRow {
    fn from(row: Row) -> Self {
        ControlRow { epoch: Epoch(row.epoch), rbac_v2: row.rbac_v2, promoted: row.promoted }
    }
}

macro_rules! control_store {
    ($store:ty) => {
        #[async_trait]
        impl ControlStore for $store {
            async fn control(&self) -> Result<ControlRow, StoreError> {
                bounded(self.limit, async {
                    let row: Option<Row> = sqlx::query_as(CONTROL).fetch_optional(&self.pool).await?;
                    row.map(Into::into).ok_or_else(|| StoreError::Broken("gate_epoch has no row".into()))
                })
                .await
            }

            async fn set_rbac_v2(
                &self,
                enabled: bool,
                by: &str,
                now: DateTime<Utc>,
                note: &Note,
            ) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    // Audit first (I-9): when the record cannot be written, the flag does not move.
                    Self::enter(&mut transaction, note).await?;
                    sqlx::query(SET_FLAG).bind(enabled).bind(by).bind(now).execute(&mut *transaction).await?;
                    Ok(transaction.commit().await?)
                })
                .await
            }
        }
    };
}

control_store!(PostgresStore);
control_store!(SqliteStore);
