//! The decision log: requests and their ends, added up by the hour.

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::evidence::{Erased, Mark, PATIENCE, row_sha256};
use super::{PostgresStore, SqliteStore, StoreError, bounded, storable};
use crate::journal::decision_log::DecisionRecord;

/// Writes, reads and forgets decisions.
#[async_trait]
pub trait DecisionLogStore {
    /// Adds each record's count to its row, in one transaction, unless the batch that `mark` names is in the database
    /// already. Whoever was erased since is left out.
    async fn log_decisions(&self, records: &[DecisionRecord], mark: &Mark) -> Result<(), StoreError>;

    /// Lets go of the hours that began before `end`.
    async fn forget_decisions(&self, end: DateTime<Utc>) -> Result<(), StoreError>;

    /// What was asked since, added up over the hours, the most frequent first.
    async fn decisions(&self, since: DateTime<Utc>) -> Result<Vec<StoredDecision>, StoreError>;
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

/// 14 values a row, of which SQLite takes 32,766 in a statement; longer statements take longer to read and save nothing.
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

impl PostgresStore {
    async fn add_decisions(connection: &mut sqlx::PgConnection, rows: &Rows<'_>) -> Result<(), StoreError> {
        fn column<'r, T>(rows: &'r Rows<'_>, of: impl Fn(&'r DecisionRecord) -> T) -> Vec<T> {
            rows.values().map(|row| of(row)).collect()
        }
        let statement = sqlx::AssertSqlSafe([INSERT, UNNESTED, ADD].concat());
        sqlx::query(statement)
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
            .await?;
        Ok(())
    }
}

impl SqliteStore {
    async fn add_decisions(
        connection: &mut sqlx::SqliteConnection,
        rows: &Rows<'_>,
    ) -> Result<(), StoreError> {
        let rows: Vec<_> = rows.iter().collect();
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            let mut insert = QueryBuilder::<sqlx::Sqlite>::new(INSERT);
            insert.push_values(rows, |mut values, (key, row)| {
                values
                    .push_bind(&key[..])
                    .push_bind(row.hour)
                    .push_bind(row.method)
                    .push_bind(storable(&row.path))
                    .push_bind(storable(&row.route))
                    .push_bind(storable(&row.cluster))
                    .push_bind(row.gate)
                    .push_bind(row.actor_kind)
                    .push_bind(storable(&row.actor_id))
                    .push_bind(row.answer)
                    .push_bind(row.reason)
                    .push_bind(&*row.mapping_sha256)
                    .push_bind(row.count)
                    .push_bind(row.last_seen_at);
            });
            // Not kept prepared: the next one has another number of rows.
            insert.push(ADD).build().persistent(false).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

macro_rules! decision_log_store {
    ($store:ty) => {
        #[async_trait]
        impl DecisionLogStore for $store {
            async fn log_decisions(&self, records: &[DecisionRecord], mark: &Mark) -> Result<(), StoreError> {
                bounded(self.limit * PATIENCE, async {
                    let mut transaction = self.begin().await?;
                    let Some(erased) = Self::begin_batch(&mut transaction, mark).await? else {
                        return Ok(transaction.rollback().await?);
                    };
                    let rows = rows(records, &erased);
                    if !rows.is_empty() {
                        Self::add_decisions(&mut transaction, &rows).await?;
                    }
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn forget_decisions(&self, end: DateTime<Utc>) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    sqlx::query(FORGET).bind(end).execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }

            async fn decisions(&self, since: DateTime<Utc>) -> Result<Vec<StoredDecision>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_as(LIST).bind(since).fetch_all(&self.pool).await?)
                })
                .await
            }
        }
    };
}

decision_log_store!(PostgresStore);
decision_log_store!(SqliteStore);
