//! The decision log: requests and their ends, added up by the hour.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use crate::engine::connection::Connection;
use crate::engine::sql::{Statement, sql};
use crate::evidence::{Erased, Mark, row_sha256};
use crate::{Store, StoreError, storable};

/// Some occurrences of one request and its end, within one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    pub hour: DateTime<Utc>,
    pub method: &'static str,
    /// Without its query; empty where the hour had too many.
    pub path: String,
    /// The row; empty where none covers the path.
    pub route: Arc<str>,
    pub cluster: Arc<str>,
    /// `legacy`, `shadow`, `v2` or `none`.
    pub gate: &'static str,
    pub actor_kind: &'static str,
    pub actor_id: String,
    /// `allow`, `deny`, `login`, `unauthorized`, `gone`.
    pub answer: &'static str,
    pub reason: &'static str,
    pub mapping_sha256: Arc<str>,
    pub count: i64,
    pub last_seen_at: DateTime<Utc>,
}

impl DecisionRecord {
    /// The hour that a moment is in.
    pub fn hour_of(moment: DateTime<Utc>) -> DateTime<Utc> {
        moment.duration_trunc(TimeDelta::hours(1)).unwrap_or(moment)
    }

    /// Takes in another record of the same row.
    pub fn absorb(&mut self, other: &DecisionRecord) {
        self.count += other.count;
        self.last_seen_at = self.last_seen_at.max(other.last_seen_at);
        self.reason = other.reason;
    }
}

impl Store {
    /// Adds each record's count to its row, in one transaction, unless the batch that `mark` names is in the database
    /// already. Admins erased since are left out. It may take five times the limit.
    pub async fn log_decisions(&self, records: &[DecisionRecord], mark: &Mark) -> Result<(), StoreError> {
        self.batch(mark, async |connection, erased| {
            let rows = rows(records, erased);
            if rows.is_empty() {
                return Ok(());
            }
            add(connection, &rows).await
        })
        .await
    }

    /// Deletes the hours that began before `end`.
    pub async fn forget_decisions(&self, end: DateTime<Utc>) -> Result<(), StoreError> {
        self.execute(sql(FORGET).bind(end)).await.map(drop)
    }

    /// What was asked since, added up over the hours, the most frequent first.
    pub async fn decisions(&self, since: DateTime<Utc>) -> Result<Vec<StoredDecision>, StoreError> {
        self.all(sql(LIST).bind(since)).await
    }
}

/// A request and its end, over all hours that were asked about.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredDecision {
    pub method: String,
    /// Empty where an hour had too many.
    pub path: String,
    /// Empty where no row covers the path.
    pub route: String,
    pub cluster: String,
    pub gate: String,
    pub actor_kind: String,
    pub actor_id: String,
    pub answer: String,
    pub reason: String,
    pub mapping_sha256: String,
    pub count: i64,
    pub last_seen_at_utc: DateTime<Utc>,
}

const INSERT: &str = "
    INSERT INTO gate_decisions (
        row_sha256, hour_utc, method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256,
        count, last_seen_at_utc
    ) ";

/// Rows by column, so that the statement is the same for any number of them.
const UNNESTED: &str = "
    SELECT * FROM UNNEST($1::bytea[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[],
                         $14::timestamptz[])";

const ADD: &str = "
    ON CONFLICT (row_sha256) DO UPDATE
       SET count = gate_decisions.count + excluded.count, reason = excluded.reason,
           last_seen_at_utc = CASE WHEN excluded.last_seen_at_utc > gate_decisions.last_seen_at_utc
                                   THEN excluded.last_seen_at_utc ELSE gate_decisions.last_seen_at_utc END";

/// The values of a row.
const COLUMNS: usize = 14;
/// SQLite takes 32,766 values in a statement; longer statements take longer to read and save nothing.
const ROWS_PER_STATEMENT: usize = 500;

const FORGET: &str = "DELETE FROM gate_decisions WHERE hour_utc < $1";

const LIST: &str = "
    SELECT method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256,
           CAST(SUM(count) AS BIGINT) AS count, MAX(last_seen_at_utc) AS last_seen_at_utc
      FROM gate_decisions
     WHERE last_seen_at_utc >= $1
     GROUP BY method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256
     ORDER BY count DESC, method, path, route, actor_kind, actor_id, answer, gate, mapping_sha256";

/// Rows by their key, each once and always in the same order: two gates that write the same rows must not wait for each
/// other in a circle.
type Rows<'r> = BTreeMap<[u8; 32], Cow<'r, DecisionRecord>>;

fn rows<'r>(records: &'r [DecisionRecord], erased: &Erased) -> Rows<'r> {
    let mut rows = Rows::new();
    for record in records {
        if erased.covers(record.actor_kind, &record.actor_id, record.last_seen_at) {
            continue;
        }
        rows.entry(key(record))
            .and_modify(|row| row.to_mut().absorb(record))
            .or_insert_with(|| Cow::Borrowed(record));
    }
    rows
}

fn key(record: &DecisionRecord) -> [u8; 32] {
    row_sha256(&[
        &record.hour.timestamp().to_be_bytes(),
        record.method.as_bytes(),
        record.path.as_bytes(),
        record.route.as_bytes(),
        record.gate.as_bytes(),
        record.actor_kind.as_bytes(),
        record.actor_id.as_bytes(),
        record.answer.as_bytes(),
        record.mapping_sha256.as_bytes(),
    ])
}

/// Adds rows. On Postgres by column, on SQLite, which has no arrays, by row.
async fn add(connection: &mut Connection, rows: &Rows<'_>) -> Result<(), StoreError> {
    match connection {
        Connection::Postgres(lease) => Ok(add_by_column(lease, rows).await?),
        Connection::Sqlite(_) => add_by_row(connection, rows).await,
    }
}

async fn add_by_column(connection: &mut sqlx::PgConnection, rows: &Rows<'_>) -> Result<(), sqlx::Error> {
    fn column<'r, T>(rows: &'r Rows<'_>, of: impl Fn(&'r DecisionRecord) -> T) -> Vec<T> {
        rows.values().map(|row| of(row)).collect()
    }
    sqlx::query(sqlx::AssertSqlSafe([INSERT, UNNESTED, ADD].concat()))
        .bind(rows.keys().map(|key| &key[..]).collect::<Vec<_>>())
        .bind(column(rows, |row| row.hour))
        .bind(column(rows, |row| row.method))
        .bind(column(rows, |row| storable(&row.path)))
        .bind(column(rows, |row| storable(&row.route)))
        .bind(column(rows, |row| storable(&row.cluster)))
        .bind(column(rows, |row| row.gate))
        .bind(column(rows, |row| row.actor_kind))
        .bind(column(rows, |row| storable(&row.actor_id)))
        .bind(column(rows, |row| row.answer))
        .bind(column(rows, |row| row.reason))
        .bind(column(rows, |row| &*row.mapping_sha256))
        .bind(column(rows, |row| row.count))
        .bind(column(rows, |row| row.last_seen_at))
        .execute(connection)
        .await
        .map(drop)
}

async fn add_by_row(connection: &mut Connection, rows: &Rows<'_>) -> Result<(), StoreError> {
    let rows: Vec<_> = rows.iter().collect();
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let mut insert = Statement::insert(INSERT, COLUMNS, ADD).once();
        for (key, row) in rows {
            insert
                .push(&key[..])
                .push(row.hour)
                .push(row.method)
                .push(storable(&row.path))
                .push(storable(&row.route))
                .push(storable(&row.cluster))
                .push(row.gate)
                .push(row.actor_kind)
                .push(storable(&row.actor_id))
                .push(row.answer)
                .push(row.reason)
                .push(&*row.mapping_sha256)
                .push(row.count)
                .push(row.last_seen_at);
        }
        connection.execute(insert).await?;
    }
    Ok(())
}
