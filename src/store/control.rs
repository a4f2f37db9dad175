//! The epoch and the switches: one row, read before every decision that asks for a role.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledger::Note;
use policy::ids::{Epoch, SessionId};
use sqlx::{ColumnIndex, Decode, FromRow, Type};

use super::lenient::text;
use super::{PostgresStore, SqliteStore, StoreError, bounded};

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

/// A session's row changed when the epoch rose to `epoch`, and nothing changed with it that anybody else's access is read
/// from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChange {
    pub epoch: Epoch,
    pub session: SessionId,
}

/// The control row, and the changes since an earlier read that concern some sessions alone, oldest first. A number between
/// the two that is not among them concerns everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlReading {
    pub row: ControlRow,
    pub changes: Vec<SessionChange>,
}

/// Reads and flips what stands above the mapping.
#[async_trait]
pub trait ControlStore {
    /// One read of the epoch and the switches, and of the changes after `known`, in one snapshot. Without `known`, no
    /// change is listed.
    async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError>;

    /// One read of the epoch and the switches, in one snapshot.
    async fn control(&self) -> Result<ControlRow, StoreError> {
        Ok(self.control_since(None).await?.row)
    }

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
                    WHERE p.flag = 'FLAG_RBAC_V2' AND p.current_env = 'production') AS promoted,
           c.epoch AS changed_epoch,
           c.session_id AS session_id
      FROM gate_epoch e
      LEFT JOIN gate_session_changes c ON c.epoch > $1
     WHERE e.id = 1
     ORDER BY c.epoch";

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

/// What [`CONTROL`] takes: the epoch after which changes are listed.
pub(super) fn after(known: Option<Epoch>) -> i64 {
    known.map_or(i64::MAX, |known| known.0)
}

/// The control row as it is read, once for each change.
pub(super) struct Row {
    epoch: i64,
    rbac_v2: Option<bool>,
    promoted: bool,
    changed_epoch: Option<i64>,
    session_id: Option<String>,
}

/// A session's id that cannot be read is in no cookie: its change goes unlisted, and the row is read all the same.
impl<'r, R> FromRow<'r, R> for Row
where
    R: sqlx::Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    Option<bool>: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Row, sqlx::Error> {
        Ok(Row {
            epoch: row.try_get("epoch")?,
            rbac_v2: row.try_get("rbac_v2")?,
            promoted: row.try_get("promoted")?,
            changed_epoch: row.try_get("changed_epoch")?,
            session_id: text(row, "session_id")?,
        })
    }
}

impl ControlReading {
    /// The last change after `from` that concerns everybody; `None` where each of them is listed with its sessions.
    pub fn last_for_everybody(&self, from: Epoch) -> Option<Epoch> {
        let listed: BTreeSet<Epoch> = self.changes.iter().map(|change| change.epoch).collect();
        let mut last = self.row.epoch;
        while last > from && listed.contains(&last) {
            last = Epoch(last.0 - 1);
        }
        (last > from).then_some(last)
    }

    /// Whether everything is as it was at `from`, but for who is logged in.
    pub fn only_sessions_changed_since(&self, from: Epoch) -> bool {
        self.row.epoch >= from && self.last_for_everybody(from).is_none()
    }

    pub(super) fn of(rows: Vec<Row>) -> Result<ControlReading, StoreError> {
        let first = rows.first().ok_or_else(|| StoreError::Broken("gate_epoch has no row".into()))?;
        let row = ControlRow { epoch: Epoch(first.epoch), rbac_v2: first.rbac_v2, promoted: first.promoted };
        let changes = rows.into_iter().filter_map(|row| {
            let (epoch, session) = (row.changed_epoch?, row.session_id?);
            Some(SessionChange { epoch: Epoch(epoch), session: SessionId::new(session) })
        });
        Ok(ControlReading { changes: changes.collect(), row })
    }
}

macro_rules! control_store {
    ($store:ty) => {
        #[async_trait]
        impl ControlStore for $store {
            async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
                bounded(self.limit, async {
                    let query = sqlx::query_as(CONTROL).bind(after(known));
                    ControlReading::of(query.fetch_all(&self.control_pool).await?)
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
