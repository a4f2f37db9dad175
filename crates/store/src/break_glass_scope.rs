//! Snapshots of what a break-glass session would open, and the declared windows in which that may be changed.

use chrono::{DateTime, Utc};
use ledger::Note;
use serde::Serialize;

use crate::alerts::NewAlert;
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError, storable};

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotCause {
    Night,
    WindowOpened,
    WindowClosed,
}

impl SnapshotCause {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            SnapshotCause::Night => "night",
            SnapshotCause::WindowOpened => "window_opened",
            SnapshotCause::WindowClosed => "window_closed",
        }
    }
}

/// A snapshot.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    /// A UUID v7.
    pub id: String,
    pub taken_at: DateTime<Utc>,
    pub cause: SnapshotCause,
    pub window: Option<String>,
    /// In JSON.
    pub composition: String,
    /// Since the last one, in JSON.
    pub changes: String,
    /// Whether it requires an alert.
    pub is_alert: bool,
}

/// A snapshot that requires an alert.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SnapshotToAlert {
    pub id: String,
    pub taken_at: DateTime<Utc>,
    /// In JSON.
    pub changes: String,
}

/// A time in which a change of the roles is expected.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct ChangeWindow {
    /// A UUID v4.
    pub id: String,
    pub opened_at: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub opened_by: String,
    pub reason: String,
    pub closed_at: Option<DateTime<Utc>>,
}

impl Store {
    /// What the last snapshot has, in JSON; `None` before the first one.
    pub async fn last_glass_snapshot(&self) -> Result<Option<String>, StoreError> {
        let last: Option<(String,)> = self.first(sql(LAST)).await?;
        Ok(last.map(|(composition,)| composition))
    }

    /// Keeps a snapshot, with a record where it has something to say.
    pub async fn add_glass_snapshot(
        &self,
        snapshot: &NewSnapshot,
        note: Option<&Note>,
    ) -> Result<(), StoreError> {
        let insert = sql(INSERT)
            .bind(snapshot.id.as_str())
            .bind(snapshot.taken_at)
            .bind(snapshot.cause.word())
            .bind(snapshot.window.as_deref())
            .bind(storable(&snapshot.composition))
            .bind(storable(&snapshot.changes))
            .bind(snapshot.is_alert);
        match note {
            None => self.execute(insert).await.map(drop),
            Some(note) => self.change(note, async |change| change.execute(insert).await.map(drop)).await,
        }
    }

    /// The snapshots that require an alert and have none yet.
    pub async fn glass_snapshots_to_alert(&self) -> Result<Vec<SnapshotToAlert>, StoreError> {
        self.all(sql(TO_ALERT)).await
    }

    /// Puts the alert of a snapshot into the outbox, once.
    pub async fn alert_of_glass_snapshot(&self, id: &str, alerts: &[NewAlert]) -> Result<(), StoreError> {
        self.bounded(async {
            let mut transaction = self.pool.begin().await?;
            transaction.add_alerts(alerts).await?;
            transaction.execute(sql(ALERTED).bind(id)).await?;
            transaction.commit().await
        })
        .await
    }

    /// Opens a window, with its record.
    pub async fn open_window(&self, window: &ChangeWindow, note: &Note) -> Result<(), StoreError> {
        let insert = sql(OPEN)
            .bind(window.id.as_str())
            .bind(window.opened_at)
            .bind(window.until)
            .bind(storable(&window.opened_by))
            .bind(storable(&window.reason));
        self.change(note, async |change| change.execute(insert).await.map(drop)).await
    }

    /// Closes a window, with its record; `false` where it is closed already, and nothing was done.
    pub async fn close_window(&self, id: &str, now: DateTime<Utc>, note: &Note) -> Result<bool, StoreError> {
        let close = sql(CLOSE).bind(id).bind(now);
        self.change(note, async |change| change.execute_or_undo(close).await).await
    }

    /// The windows that were not closed, even if their time is over.
    pub async fn open_windows(&self) -> Result<Vec<ChangeWindow>, StoreError> {
        self.all(Statement::joined(&[WINDOWS, "WHERE closed_at_utc IS NULL ORDER BY opened_at_utc, id"]))
            .await
    }

    /// The newest windows first.
    pub async fn windows(&self, limit: u32) -> Result<Vec<ChangeWindow>, StoreError> {
        let list = Statement::joined(&[WINDOWS, "ORDER BY opened_at_utc DESC, id LIMIT $1"]);
        self.all(list.bind(i64::from(limit))).await
    }
}

const LAST: &str =
    "SELECT composition FROM gate_break_glass_snapshots ORDER BY taken_at_utc DESC, id DESC LIMIT 1";
const INSERT: &str = "
    INSERT INTO gate_break_glass_snapshots (id, taken_at_utc, cause, window_id, composition, changes, is_to_alert)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const TO_ALERT: &str = "
    SELECT id, taken_at_utc AS taken_at, changes FROM gate_break_glass_snapshots WHERE is_to_alert ORDER BY id";
const ALERTED: &str = "UPDATE gate_break_glass_snapshots SET is_to_alert = FALSE WHERE id = $1";
const OPEN: &str = "
    INSERT INTO gate_change_windows (id, opened_at_utc, until_utc, opened_by, reason) VALUES ($1, $2, $3, $4, $5)";
const CLOSE: &str =
    "UPDATE gate_change_windows SET closed_at_utc = $2 WHERE id = $1 AND closed_at_utc IS NULL";
const WINDOWS: &str = "
    SELECT id, opened_at_utc AS opened_at, until_utc AS until, opened_by, reason, closed_at_utc AS closed_at
      FROM gate_change_windows ";
