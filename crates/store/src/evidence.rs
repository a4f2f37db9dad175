//! How far each gate's evidence goes, where it has a hole, and who was erased while a gate still had rows to write.
//!
//! Drift and the decision log are written behind the answers, in batches. Each batch begins its transaction with the
//! gate's mark ([`Mark`]), which does two things. The mark holds the batch's number, so a batch whose commit is
//! uncertain can be written again and counts once. And an erasure locks every mark before it removes anything: a batch
//! is either committed by then, and removed with the rest, or begins afterwards, and sees who was erased.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use policy::ids::InstanceId;
use sha2::{Digest as _, Sha256};

use crate::engine::connection::Connection;
use crate::engine::sql::sql;
use crate::signoffs::erase_sign_offs;
use crate::{Store, StoreError, bounded, storable};

/// How long erased admins are remembered. No gate keeps unwritten evidence for that long.
pub const ERASED_FOR: TimeDelta = TimeDelta::hours(24);
/// How much the clocks of two machines may differ.
const CLOCKS: TimeDelta = TimeDelta::minutes(1);
/// How many times longer a batch may take than an operation that a decision waits for: no request waits for a batch.
const PATIENCE: u32 = 5;

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    Drift,
    Decisions,
}

impl EvidenceKind {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            EvidenceKind::Drift => "drift",
            EvidenceKind::Decisions => "decisions",
        }
    }
}

/// What a gate reports about its evidence with each batch, and now and then without one.
#[derive(Clone, Debug)]
pub struct Mark {
    pub instance: InstanceId,
    pub kind: EvidenceKind,
    /// Host and process id, for people.
    pub gate: Arc<str>,
    pub started_at: DateTime<Utc>,
    /// Names the batch; each that is committed has a greater one.
    pub batch: i64,
    /// Everything that the gate saw before is in the database, or in a gap.
    pub complete_until: DateTime<Utc>,
    /// The gate stops, and this is all.
    pub has_ended: bool,
}

/// Occurrences that were seen and are not in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub id: uuid::Uuid,
    pub kind: EvidenceKind,
    /// Empty for paths without a row.
    pub cluster: Arc<str>,
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub occurrences: i64,
    /// The stable word for why.
    pub cause: &'static str,
    pub gate: Arc<str>,
}

/// A gap as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredGap {
    pub kind: String,
    pub cluster: String,
    pub since_utc: DateTime<Utc>,
    pub until_utc: DateTime<Utc>,
    pub occurrences: i64,
    pub cause: String,
    pub gate: String,
}

/// A gate that has ended without its last word, or cannot reach the database.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SilentGate {
    pub kind: String,
    pub gate: String,
    pub complete_until_utc: DateTime<Utc>,
}

impl Store {
    /// Keeps gaps, and brings those up to date that are there already: doing it twice changes nothing more.
    pub async fn record_gaps(&self, gaps: &[Gap]) -> Result<(), StoreError> {
        self.bounded(async {
            let mut transaction = self.pool.begin().await?;
            for gap in gaps {
                let record = sql(RECORD_GAP)
                    .bind(gap.id.to_string())
                    .bind(gap.kind.word())
                    .bind(storable(&gap.cluster))
                    .bind(gap.since)
                    .bind(gap.until)
                    .bind(gap.occurrences)
                    .bind(gap.cause)
                    .bind(&*gap.gate);
                transaction.execute(record).await?;
            }
            transaction.commit().await
        })
        .await
    }

    /// The gaps that ended at `since` or later, in the order of time.
    pub async fn gaps(&self, since: DateTime<Utc>) -> Result<Vec<StoredGap>, StoreError> {
        self.all(sql(GAPS).bind(since)).await
    }

    /// The gates that wrote last at `since` or later, but before `before`, and did not mark that as their last write.
    pub async fn silent_gates(
        &self,
        since: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<Vec<SilentGate>, StoreError> {
        self.all(sql(SILENT).bind(since).bind(before)).await
    }

    /// Writes a batch in one transaction that begins with `mark`, unless it is in the database already. `work` leaves out
    /// the rows of erased admins. It may take [`PATIENCE`] times the limit.
    pub(super) async fn batch<T: Default>(
        &self,
        mark: &Mark,
        work: impl AsyncFnOnce(&mut Connection, &Erased) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        bounded(self.limit.get() * PATIENCE, async {
            let mut transaction = self.pool.begin().await?;
            let Some(erased) = begin_batch(&mut transaction, mark).await? else {
                transaction.rollback().await?;
                return Ok(T::default());
            };
            let written = work(&mut transaction, &erased).await?;
            transaction.commit().await?;
            Ok(written)
        })
        .await
    }
}

/// SHA-256 of what makes a row what it is: each part with its length before it, so that no two lists of parts are one text.
pub(super) fn row_sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The actors whose rows must not be written any more.
#[derive(Debug, Default)]
pub(super) struct Erased(HashMap<[u8; 32], DateTime<Utc>>);

impl Erased {
    /// Whether a row that was last added to at that time belongs to an admin erased since.
    pub(super) fn covers(&self, actor_kind: &str, actor_id: &str, last_seen: DateTime<Utc>) -> bool {
        if self.0.is_empty() || actor_kind != "admin" {
            return false;
        }
        self.0.get(&actor_sha256(actor_id)).is_some_and(|erased_at| last_seen <= *erased_at + CLOCKS)
    }
}

fn actor_sha256(actor_id: &str) -> [u8; 32] {
    Sha256::digest(actor_id.as_bytes()).into()
}

/// The guard keeps a batch from being written twice.
const MARK: &str = "
    INSERT INTO gate_evidence_marks (
        instance_id, kind, gate, started_at_utc, batch, complete_until_utc, ended_at_utc
    ) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (instance_id, kind) DO UPDATE
       SET batch = excluded.batch, complete_until_utc = excluded.complete_until_utc, ended_at_utc = excluded.ended_at_utc
     WHERE gate_evidence_marks.batch < excluded.batch";

const RECORD_GAP: &str = "
    INSERT INTO gate_evidence_gaps (id, kind, cluster, since_utc, until_utc, occurrences, cause, gate)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (id) DO UPDATE
       SET since_utc = excluded.since_utc, until_utc = excluded.until_utc, occurrences = excluded.occurrences";

const GAPS: &str = "
    SELECT kind, cluster, since_utc, until_utc, occurrences, cause, gate
      FROM gate_evidence_gaps
     WHERE until_utc >= $1
     ORDER BY since_utc, id";

const SILENT: &str = "
    SELECT kind, gate, complete_until_utc
      FROM gate_evidence_marks
     WHERE ended_at_utc IS NULL AND complete_until_utc >= $1 AND complete_until_utc < $2
     ORDER BY complete_until_utc, instance_id, kind";

const ERASED: &str = "SELECT actor_sha256, erased_at_utc FROM gate_erased_actors";
const FORGET_ERASED: &str = "DELETE FROM gate_erased_actors WHERE erased_at_utc < $1";

/// Changes nothing, and waits for every batch that is being written.
const LOCK_MARKS: &str = "UPDATE gate_evidence_marks SET batch = batch WHERE ended_at_utc IS NULL";
const REMEMBER_ERASED: &str = "
    INSERT INTO gate_erased_actors (actor_sha256, erased_at_utc) VALUES ($1, $2)
    ON CONFLICT (actor_sha256) DO UPDATE SET erased_at_utc = excluded.erased_at_utc";
const ERASE: [&str; 2] = [
    "DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = $1",
    "DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = $1",
];

/// Writes the mark, as the first thing in a batch's transaction, and reads who was erased lately. `None`: the batch is in
/// the database already.
async fn begin_batch(connection: &mut Connection, mark: &Mark) -> Result<Option<Erased>, StoreError> {
    let write = sql(MARK)
        .bind(mark.instance.as_str())
        .bind(mark.kind.word())
        .bind(&*mark.gate)
        .bind(mark.started_at)
        .bind(mark.batch)
        .bind(mark.complete_until)
        .bind(mark.has_ended.then_some(mark.complete_until));
    if connection.execute(write).await? == 0 {
        return Ok(None);
    }
    let rows: Vec<(Vec<u8>, DateTime<Utc>)> = connection.all(sql(ERASED)).await?;
    // Longer than the retention, to allow for clocks that differ.
    let forgotten = mark.complete_until - ERASED_FOR - CLOCKS * 2;
    if rows.iter().any(|(_, erased_at)| *erased_at < forgotten) {
        connection.execute(sql(FORGET_ERASED).bind(forgotten)).await?;
    }
    let erased = rows.into_iter().map(|(actor, erased_at)| match actor.try_into() {
        Ok(actor) => Ok((actor, erased_at)),
        Err(_) => Err(StoreError::Broken("gate_erased_actors has a value that is not a SHA-256".into())),
    });
    Ok(Some(Erased(erased.collect::<Result<_, _>>()?)))
}

/// Removes what the evidence holds of an admin, and sees to it that no gate brings it back.
pub(super) async fn erase_evidence(
    connection: &mut Connection,
    actor_id: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    connection.execute(sql(LOCK_MARKS)).await?;
    let actor = actor_sha256(actor_id);
    connection.execute(sql(REMEMBER_ERASED).bind(&actor[..]).bind(now)).await?;
    for statement in ERASE {
        connection.execute(sql(statement).bind(actor_id)).await?;
    }
    erase_sign_offs(connection, actor_id).await
}
