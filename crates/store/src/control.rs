//! The epoch and the switches: one row, read before every decision that asks for a role.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ledger::Note;
use policy::ids::{Epoch, SessionId};

use crate::engine::error::PRIMARY;
use crate::engine::sql::{Statement, sql};
use crate::engine::tolerant::{Lenient, readable_times};
use crate::{Store, StoreError};

/// The name of the kill-switch in `gate_flags` and `console_flag_promotions`.
pub const RBAC_V2_FLAG: &str = "FLAG_RBAC_V2";

/// The result of one read of the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRow {
    pub epoch: Epoch,
    /// `gate_flags`; `None` where the flag was never flipped.
    pub rbac_v2: Option<bool>,
    /// Whether `console_flag_promotions` has the flag promoted to production (RBAC V2 design, I-11).
    pub promoted: bool,
    /// Whether a change of the rows read from Console raises the epoch. Otherwise earlier reads of Console are invalid.
    pub console_watched: bool,
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

impl Store {
    /// One read of the epoch and the switches, and of the changes after `known`, in one snapshot. Without `known`, no
    /// change is listed.
    pub async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
        let words = self.production_words();
        let whole_at = self.watch_whole_at.load();
        let read = async {
            let mut connection = self.control_connections.take_or(&self.control_pool).await?;
            let statement = control(known, &words, whole_at.as_deref().map(String::as_str));
            let rows: Vec<ControlRead> = connection.all(statement).await?;
            connection.keep();
            Ok(rows)
        };
        let rows = self.bounded(read).await?;
        let is_at = rows.first().and_then(|row| row.state.as_ref().filter(|_| row.watched_selects.is_some()));
        if is_at != whole_at.as_deref() {
            self.watch_whole_at.store(is_at.cloned().map(Arc::new));
        }
        ControlReading::of(rows, self.console.expected.as_deref())
    }

    /// One read of the epoch and the switches, in one snapshot.
    pub async fn control(&self) -> Result<ControlRow, StoreError> {
        Ok(self.control_since(None).await?.row)
    }

    /// Sets `FLAG_RBAC_V2` and writes `note` in the same transaction; the epoch rises with it.
    pub async fn set_rbac_v2(
        &self,
        enabled: bool,
        by: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<(), StoreError> {
        let set = sql(SET_FLAG).bind(enabled).bind(by).bind(now);
        self.change(note, async |change| change.execute(set).await.map(drop)).await
    }
}

impl Store {
    /// Sets which words of `console_flag_promotions.current_env` mean production; the first call counts.
    pub fn set_production_words(&self, words: &[String]) {
        let words = ProductionWords::of(words.iter().map(String::as_str));
        if self.production.set(words).is_err() {
            tracing::debug!("the words for production are set already");
        }
    }

    pub(super) fn production_words(&self) -> ProductionWords {
        self.production.get().cloned().unwrap_or_default()
    }

    /// The promotions, by flag.
    pub async fn promotions(&self) -> Result<Vec<StoredPromotion>, StoreError> {
        let (first, last) = readable_times();
        self.all(sql(PROMOTIONS).bind(first).bind(last)).await
    }

    /// Promotes a flag to an environment, and writes `note` in the same transaction; the epoch rises with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where the flag has no row: a migration writes the first one (RBAC V2 design, I-11).
    pub async fn promote(
        &self,
        flag: &str,
        environment: &str,
        by: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<(), StoreError> {
        self.change(note, async |change| {
            let update = sql(PROMOTE).bind(flag).bind(environment).bind(by).bind(now);
            match change.execute(update).await? {
                0 => Err(StoreError::Conflict(format!(
                    "`{flag}` has no row in `console_flag_promotions`: invariant I-11 wants a migration to write it first. \
                     Add to the migrations of the table's owner: INSERT INTO console_flag_promotions (flag, risk, \
                     current_env, promoted_by) VALUES ('{}', 'high', 'staging', 'migration')",
                    flag.replace('\'', "''")
                ))),
                _ => Ok(()),
            }
        })
        .await
    }
}

/// A row of `console_flag_promotions`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredPromotion {
    pub flag: String,
    pub environment: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    pub promoted_by: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub promoted_at_utc: Option<DateTime<Utc>>,
}

const PROMOTIONS: &str = "
    SELECT CAST(flag AS TEXT) AS flag, CAST(current_env AS TEXT) AS environment,
           CAST(promoted_by AS TEXT) AS promoted_by,
           CASE WHEN promoted_at_utc > $1 AND promoted_at_utc < $2 THEN promoted_at_utc END AS promoted_at_utc
      FROM console_flag_promotions WHERE flag IS NOT NULL ORDER BY 1";

const PROMOTE: &str = "
    UPDATE console_flag_promotions SET current_env = $2, promoted_by = $3, promoted_at_utc = $4 WHERE flag = $1";

/// The control row in the words of a database. `$is_whole` is whether all that was put on Console's tables is there yet, and
/// `$state` names the state of the database in which that was found.
macro_rules! control {
    ($is_standby:expr, $state:expr, $is_whole:expr) => {
        concat!(
            "
    SELECT ",
            $is_standby,
            " AS is_standby,
           e.epoch AS epoch,
           (SELECT f.enabled FROM gate_flags f WHERE f.name = 'FLAG_RBAC_V2') AS rbac_v2,
           EXISTS (SELECT 1 FROM console_flag_promotions p
                    WHERE p.flag = 'FLAG_RBAC_V2'
                      AND REPLACE($2, '\u{1e}' || p.current_env || '\u{1f}', '') <> $2) AS promoted,
           (SELECT w.selects FROM gate_console_watched w WHERE w.id = 1 AND (",
            $is_whole,
            ")) AS watched_selects,
           ",
            $state,
            " AS state,
           c.epoch AS changed_epoch,
           c.session_id AS session_id
      FROM gate_epoch e
      LEFT JOIN gate_session_changes c ON c.epoch > $1
     WHERE e.id = 1
     ORDER BY c.epoch"
        )
    };
}

/// How many of the gate's triggers fire on the tables `w.table_ids`: Console's own, those of RBAC V2, whether
/// the gate or Console made them, and the gate's own by which it decides.
macro_rules! triggers {
    () => {
        "(SELECT count(*) FROM pg_catalog.pg_trigger p
           WHERE p.tgrelid = ANY (w.table_ids) AND p.tgenabled IN ('O', 'A')
             AND (starts_with(p.tgname::text, 'console_gate_') OR p.tgname IN ('gate_epoch_on_write',
                  'gate_epoch_on_login_change', 'gate_epoch_on_login_delete')))"
    };
}

/// The parts of the tables `w.table_ids`.
macro_rules! parts {
    () => {
        "(SELECT COALESCE(string_agg(i.inhparent::text || ' ' || i.inhrelid::text, ',' ORDER BY i.inhparent, i.inhrelid), '')
            FROM pg_catalog.pg_inherits i WHERE i.inhparent = ANY (w.table_ids))"
    };
}

/// The versions of the views `w.view_ids`.
macro_rules! views {
    () => {
        "(SELECT COALESCE(string_agg(r.ev_class::text || ' ' || r.xmin::text, ',' ORDER BY r.ev_class, r.oid), '')
            FROM pg_catalog.pg_rewrite r WHERE r.ev_class = ANY (w.view_ids))"
    };
}

/// The columns `w.column_tables`, `w.column_numbers`: their names, and the versions of their definitions. No trigger hears of
/// a change of those, which can give a column other values.
macro_rules! columns {
    () => {
        "(SELECT COALESCE(string_agg(a.attname::text || ' ' || a.xmin::text, ',' ORDER BY a.attrelid, a.attnum), '')
            FROM unnest(w.column_tables, w.column_numbers) AS c(of_table, number)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.of_table AND a.attnum = c.number AND NOT a.attisdropped)"
    };
}

/// Whether all that was written down is as it was.
macro_rules! is_whole {
    () => {
        concat!(
            "w.triggers = ",
            triggers!(),
            " AND w.parts = ",
            parts!(),
            " AND w.views = ",
            views!(),
            " AND w.columns = ",
            columns!()
        )
    };
}

/// A name of the database's state: which transactions of which run of the server the statement sees. Under the same name the
/// same rows are seen, those of the catalogs too: a transaction that has changed any is numbered, so that its end changes
/// the snapshot.
macro_rules! state {
    () => {
        "(pg_current_snapshot()::text || ' ' || pg_postmaster_start_time()::text)"
    };
}

/// To look at the catalogs takes longer than all the rest. So it is done once for each state of the database: `$3` is the last
/// one in which they were looked at, and all was there.
const CONTROL_ON_POSTGRES: &str =
    control!("pg_is_in_recovery()", state!(), concat!("$3 = ", state!(), " OR ", is_whole!()));

/// The fingerprint of the SELECTs for which all is as it was.
pub(super) const WHOLE_ON_POSTGRES: &str =
    concat!("SELECT w.selects FROM gate_console_watched w WHERE w.id = 1 AND ", is_whole!());

/// Writes down the columns as they are: a GRANT on one is a new version of it.
pub(super) const SAME_COLUMNS: &str =
    concat!("UPDATE gate_console_watched w SET columns = ", columns!(), " WHERE w.id = 1");

/// Writes down what there is of these tables, views and columns.
pub(super) const WATCHED_ON_POSTGRES: &str = concat!(
    "INSERT INTO gate_console_watched (
         id, selects, table_ids, view_ids, column_tables, column_numbers, triggers, parts, views, columns
     )
     SELECT 1, $1, w.table_ids, w.view_ids, w.column_tables, w.column_numbers, ",
    triggers!(),
    ", ",
    parts!(),
    ", ",
    views!(),
    ", ",
    columns!(),
    " FROM (SELECT $2::bigint[]::oid[] AS table_ids, $3::bigint[]::oid[] AS view_ids,
                   $4::bigint[]::oid[] AS column_tables, $5::smallint[] AS column_numbers) w"
);

/// While the schema is the same one, nothing has gone; else each is looked at. That is quick, so `$3` is of no use here.
const CONTROL_ON_SQLITE: &str = control!(
    "FALSE",
    "NULLIF($3, $3)",
    "w.schema_version = (SELECT schema_version FROM pragma_schema_version)
             OR NOT EXISTS (
                    SELECT t.aspect, CASE t.aspect WHEN 'view' THEN t.object ELSE t.name END, t.state
                      FROM gate_console_watch t WHERE t.aspect <> 'parts'
                    EXCEPT SELECT s.type, s.name, s.sql FROM sqlite_schema s)
                AND NOT EXISTS (SELECT 1 FROM gate_console_watch t
                     WHERE t.aspect = 'parts' AND t.state <> (SELECT COALESCE(group_concat(s.sql, ' '), '') FROM (
                         SELECT sql FROM sqlite_schema
                          WHERE tbl_name = t.object AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY name) s))"
);

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

/// The statement that reads the control row, and the changes after `known`. `words` are those of [`ProductionWords`];
/// `whole_at` is the [`ControlRead::state`] of an earlier answer in which all that watches Console's tables was there.
pub(super) fn control<'q>(
    known: Option<Epoch>,
    words: &ProductionWords,
    whole_at: Option<&str>,
) -> Statement<'q> {
    let control = Statement::of(CONTROL_ON_POSTGRES, CONTROL_ON_SQLITE);
    control
        .bind(known.map_or(i64::MAX, |known| known.0))
        .bind(words.0.to_string())
        .bind(whole_at.map(str::to_owned))
}

/// The words of `console_flag_promotions.current_env` that mean production, as one text: each between two marks, so
/// that a statement looks a word up without knowing how many there are.
#[derive(Clone, Debug)]
pub(super) struct ProductionWords(Arc<str>);

/// Before and after each word; no word has them.
const MARKS: [char; 2] = ['\u{1e}', '\u{1f}'];

impl ProductionWords {
    pub(super) fn of<'w>(words: impl IntoIterator<Item = &'w str>) -> ProductionWords {
        let [before, after] = MARKS;
        let marked = words.into_iter().map(|word| format!("{before}{}{after}", word.replace(MARKS, " ")));
        ProductionWords(marked.collect::<String>().into())
    }

    /// As an argument.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl Default for ProductionWords {
    fn default() -> Self {
        ProductionWords::of(PRODUCTION)
    }
}

/// The words that mean production unless the settings say otherwise.
pub const PRODUCTION: [&str; 2] = ["production", "prod"];

/// The control row as it is read, once for each change. A session's id that cannot be read is in no cookie: its change
/// goes unlisted, and the row is read all the same.
#[derive(sqlx::FromRow)]
pub(super) struct ControlRead {
    is_standby: bool,
    epoch: i64,
    rbac_v2: Option<bool>,
    promoted: bool,
    watched_selects: Option<String>,
    state: Option<String>,
    changed_epoch: Option<i64>,
    #[sqlx(try_from = "Lenient<String>")]
    session_id: Option<String>,
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

    /// Whether everything is as it was at `from`, except who is logged in.
    pub fn only_sessions_changed_since(&self, from: Epoch) -> bool {
        self.row.epoch >= from && self.last_for_everybody(from).is_none()
    }

    /// From the rows as they were read, for a gate that expects its triggers to be for the SELECTs of `expected`.
    pub(super) fn of(rows: Vec<ControlRead>, expected: Option<&str>) -> Result<ControlReading, StoreError> {
        let first = rows.first().ok_or_else(|| StoreError::Broken("gate_epoch has no row".into()))?;
        if first.is_standby {
            // What it does not have yet was committed all the same.
            return Err(StoreError::ReadOnly(format!(
                "the server is a standby, which may lag behind: {PRIMARY}"
            )));
        }
        let row = ControlRow {
            epoch: Epoch(first.epoch),
            rbac_v2: first.rbac_v2,
            promoted: first.promoted,
            console_watched: expected.is_some() && first.watched_selects.as_deref() == expected,
        };
        let changes = rows.into_iter().filter_map(|row| {
            let (epoch, session) = (row.changed_epoch?, row.session_id?);
            Some(SessionChange { epoch: Epoch(epoch), session: SessionId::new(session) })
        });
        Ok(ControlReading { changes: changes.collect(), row })
    }
}
