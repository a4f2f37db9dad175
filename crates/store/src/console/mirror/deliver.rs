//! From the outbox to Console's table: in order, each row once.

use std::collections::HashMap;
use std::sync::PoisonError;

use ledger::AuditRecord;
use metrics::counter;

use super::{Mirror, without_values};
use crate::audit::StoredEvent;
use crate::engine::connection::{Connection, Pool};
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError};

/// Rows that are delivered in one transaction.
const CHUNK: i64 = 64;

/// The outcome of a delivery of the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    pub rows: u64,
    /// What still waits.
    pub waiting: u64,
    /// Rows that Console's table refused for what they say.
    pub refused: u64,
    /// Why it refused one of them.
    pub refusal: Option<String>,
    /// Why it went no further.
    pub problem: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Waiting {
    seq: i64,
    event_id: String,
}

impl Store {
    /// Delivers rows that wait, oldest first, until none waits or Console's table does not take one. A row that is refused
    /// for its content is set aside, and the others pass it.
    pub async fn deliver_mirror(&self) -> Result<Delivered, StoreError> {
        let Some(mirror) = self.mirror.get() else { return Ok(Delivered::default()) };
        let mut delivered = Delivered::default();
        loop {
            let (rows, problem) = self.bounded(self.deliver_chunk(mirror)).await?;
            delivered.rows += rows;
            counter!("gate_audit_mirrored_total", "way" => "later").increment(rows);
            if let Some(error) = problem {
                counter!("gate_audit_mirror_failures_total", "kind" => error.kind()).increment(1);
                delivered.problem = Some(without_values(&error));
                break;
            }
            if rows == 0 {
                break;
            }
        }
        let left = self.mirror_outbox().await?;
        let delivered = Delivered { rows: delivered.rows, problem: delivered.problem, ..left };
        *mirror.delivered.lock().unwrap_or_else(PoisonError::into_inner) = delivered.clone();
        Ok(delivered)
    }

    /// The rows of all gates that are not in Console's table, without trying to deliver them.
    pub async fn mirror_outbox(&self) -> Result<Delivered, StoreError> {
        let (waiting, refused, refusal): (i64, i64, Option<String>) =
            self.bounded(async { self.pool.acquire().await?.one(sql(COUNT)).await }).await?;
        let (waiting, refused) = (waiting.unsigned_abs(), refused.unsigned_abs());
        Ok(Delivered { waiting, refused, refusal, ..Delivered::default() })
    }

    /// Lets rows that were refused be tried again: the table or the settings may have been corrected.
    pub async fn retry_refused(&self) -> Result<u64, StoreError> {
        self.execute(sql("UPDATE gate_audit_outbox SET refused = NULL WHERE refused IS NOT NULL")).await
    }

    /// One transaction: how many rows it settled, and why it stopped before the end.
    async fn deliver_chunk(&self, mirror: &Mirror) -> Result<(u64, Option<StoreError>), StoreError> {
        // Few look and find something: the right to write is asked for only then.
        let waits: Option<(i64,)> = self.first(sql(super::OLDEST)).await?;
        if waits.is_none() {
            return Ok((0, None));
        }
        let mut here = self.pool.begin().await?;
        let lock = if let Pool::Postgres(_) = self.pool { " FOR UPDATE" } else { "" };
        let rows: Vec<Waiting> =
            here.all(Statement::composed_once(format!("{WAITING}{lock}")).bind(CHUNK)).await?;
        let records = records(&mut here, &rows).await?;
        let (mut settled, mut problem) = (0, None);
        let all: Vec<&AuditRecord> = rows.iter().filter_map(|row| records.get(&row.event_id)).collect();
        match put(&mut here, mirror, &all).await? {
            Ok(()) => {
                for row in &rows {
                    here.execute(sql(DONE).bind(row.seq)).await?;
                }
                settled = rows.len() as u64;
            }
            Err(error) if error.is_final() => {
                // One of them is to blame, and must not be in the way of the others.
                for row in &rows {
                    let one: Vec<&AuditRecord> = records.get(&row.event_id).into_iter().collect();
                    match put(&mut here, mirror, &one).await? {
                        Ok(()) => drop(here.execute(sql(DONE).bind(row.seq)).await?),
                        Err(error) if error.is_final() => {
                            let why = without_values(&error);
                            tracing::error!(id = %row.event_id, error = %why, "Console's audit table refuses a row");
                            here.execute(sql(REFUSE).bind(row.seq).bind(why)).await?;
                        }
                        Err(error) => {
                            problem = Some(error);
                            break;
                        }
                    }
                    settled += 1;
                }
            }
            Err(error) => problem = Some(error),
        }
        here.commit().await?;
        Ok((settled, problem))
    }
}

/// Puts rows into Console's table, in the transaction of the outbox or, where it is in another database, in one of its
/// own, which is committed first: a row that is there already is not written again.
async fn put(
    here: &mut Connection,
    mirror: &Mirror,
    records: &[&AuditRecord],
) -> Result<Result<(), StoreError>, StoreError> {
    if records.is_empty() {
        return Ok(Ok(()));
    }
    let Some(remote) = &mirror.remote else { return mirror.put(here, records).await };
    let there = async {
        let mut there = remote.pool.begin().await?;
        mirror.put(&mut there, records).await??;
        there.commit().await
    };
    Ok(remote.bounded(there).await)
}

async fn records(
    connection: &mut Connection,
    rows: &[Waiting],
) -> Result<HashMap<String, AuditRecord>, StoreError> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = Statement::among("SELECT * FROM gate_audit_events WHERE id IN ", "").once();
    for row in rows {
        query.push(row.event_id.clone());
    }
    let found: Vec<StoredEvent> = connection.all(query).await?;
    Ok(found.into_iter().map(|row| (row.id.clone(), row.into_row().record)).collect())
}

const WAITING: &str =
    "SELECT seq, event_id FROM gate_audit_outbox WHERE refused IS NULL ORDER BY seq LIMIT $1";
const DONE: &str = "DELETE FROM gate_audit_outbox WHERE seq = $1";
const REFUSE: &str = "UPDATE gate_audit_outbox SET refused = $2 WHERE seq = $1";
const COUNT: &str = "
    SELECT COUNT(*) - COUNT(refused), COUNT(refused), MIN(refused) FROM gate_audit_outbox";
