//! Disagreements between the two gates, counted per route, caller, direction and mapping.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use policy::ids::RequestId;

use crate::engine::connection::Connection;
use crate::engine::sql::{Statement, sql};
use crate::evidence::{Erased, Mark, row_sha256};
use crate::{Store, StoreError, storable};

/// The route of a row that counts many disagreements: no route is written so.
pub const OVERFLOW: &str = "*";

/// Some occurrences of one disagreement. Fields outside the key are those of the latest request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftRecord {
    pub id: uuid::Uuid,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// Empty for a row without one.
    pub cluster: Arc<str>,
    pub route: Arc<str>,
    pub method: &'static str,
    pub actor_kind: &'static str,
    pub actor_id: String,
    /// `would_newly_deny` or `would_newly_allow`.
    pub direction: &'static str,
    pub legacy_answer: &'static str,
    pub v2_answer: &'static str,
    /// Why the stricter gate refuses: each reason is a row of its own.
    pub reason: &'static str,
    pub mapping_sha256: Arc<str>,
    pub epoch: i64,
    pub request_id: RequestId,
    pub count: i64,
}

impl DriftRecord {
    /// Takes in another record of the same disagreement.
    pub fn absorb(&mut self, other: &DriftRecord) {
        self.count += other.count;
        self.first_seen_at = self.first_seen_at.min(other.first_seen_at);
        self.last_seen_at = self.last_seen_at.max(other.last_seen_at);
        self.method = other.method;
        self.epoch = other.epoch;
        self.request_id = other.request_id;
    }
}

impl Store {
    /// Adds each disagreement's count to its row, in one transaction, unless the batch that `mark` names is in the
    /// database already. Admins erased since are left out. Where there are `most_rows` already, what has no row is
    /// counted in one row for its cluster and direction; several gates that write at once may exceed that by what each
    /// writes then. The ids of the events that made a row are returned. It may take five times the limit.
    pub async fn record_drift(
        &self,
        events: &[DriftRecord],
        most_rows: u32,
        mark: &Mark,
    ) -> Result<Vec<uuid::Uuid>, StoreError> {
        self.batch(mark, async |connection, erased| {
            let distinct = distinct(events, erased);
            if distinct.is_empty() {
                return Ok(Vec::new());
            }
            add_batch(connection, distinct, most_rows).await
        })
        .await
    }

    /// Every drift row, the latest first.
    pub async fn drift(&self) -> Result<Vec<StoredDrift>, StoreError> {
        self.all(sql(LIST)).await
    }
}

/// A drift row as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredDrift {
    pub cluster: Option<String>,
    pub route: String,
    pub method: String,
    pub actor_kind: String,
    pub actor_id: String,
    pub direction: String,
    pub legacy_answer: String,
    pub v2_answer: String,
    pub reason: String,
    pub mapping_sha256: String,
    pub count: i64,
    pub first_seen_at_utc: DateTime<Utc>,
    pub last_seen_at_utc: DateTime<Utc>,
}

const INSERT: &str = "
    INSERT INTO gate_drift_events (
        row_sha256, id, first_seen_at_utc, last_seen_at_utc, cluster, route, method, actor_kind, actor_id, direction,
        legacy_answer, v2_answer, reason, mapping_sha256, epoch, request_id, count
    ) ";

/// A row that was there keeps its id, so an id that comes back is that of a new row.
const ADD: &str = "
    ON CONFLICT (row_sha256) DO UPDATE
       SET first_seen_at_utc = CASE WHEN excluded.first_seen_at_utc < gate_drift_events.first_seen_at_utc
                                    THEN excluded.first_seen_at_utc ELSE gate_drift_events.first_seen_at_utc END,
           last_seen_at_utc = CASE WHEN excluded.last_seen_at_utc > gate_drift_events.last_seen_at_utc
                                   THEN excluded.last_seen_at_utc ELSE gate_drift_events.last_seen_at_utc END,
           method = excluded.method, reason = excluded.reason, epoch = excluded.epoch,
           request_id = excluded.request_id, count = gate_drift_events.count + excluded.count
    RETURNING id";

/// The values of a row.
const COLUMNS: usize = 17;
/// SQLite takes 32,766 values in a statement.
const ROWS_PER_STATEMENT: usize = 500;

/// As far as it matters: a table that is full is not counted to its end.
const ROWS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM gate_drift_events LIMIT $1) AS rows";

const KNOWN: &str = "SELECT row_sha256 FROM gate_drift_events WHERE row_sha256 IN ";

const LIST: &str = "
    SELECT cluster, route, method, actor_kind, actor_id, direction, legacy_answer, v2_answer, reason, mapping_sha256,
           count, first_seen_at_utc, last_seen_at_utc
      FROM gate_drift_events
     ORDER BY last_seen_at_utc DESC, id";

impl StoredDrift {
    /// Whether it counts disagreements that were too many to be kept one by one.
    pub fn is_overflow(&self) -> bool {
        self.route == OVERFLOW
    }
}

/// The event as it is counted beyond the bound. It names no actor; the cluster takes the actor's place, so that each
/// cluster has a row of its own.
fn beyond_the_bound(event: DriftRecord) -> DriftRecord {
    DriftRecord {
        route: OVERFLOW.into(),
        method: OVERFLOW,
        actor_kind: "gate",
        actor_id: event.cluster.to_string(),
        reason: "beyond_the_bound",
        mapping_sha256: OVERFLOW.into(),
        ..event
    }
}

type Key = [u8; 32];

fn key(event: &DriftRecord) -> Key {
    row_sha256(&[
        event.route.as_bytes(),
        event.actor_kind.as_bytes(),
        event.actor_id.as_bytes(),
        event.direction.as_bytes(),
        event.mapping_sha256.as_bytes(),
        event.reason.as_bytes(),
    ])
}

/// Each disagreement once, in the order in which they were first seen, without erased admins.
fn distinct(events: &[DriftRecord], erased: &Erased) -> Vec<(Key, DriftRecord)> {
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut distinct: Vec<(Key, DriftRecord)> = Vec::new();
    for event in events {
        if erased.covers(event.actor_kind, &event.actor_id, event.last_seen_at) {
            continue;
        }
        match places.entry(key(event)) {
            Entry::Occupied(place) => distinct[*place.get()].1.absorb(event),
            Entry::Vacant(place) => {
                let key = *place.key();
                place.insert(distinct.len());
                distinct.push((key, event.clone()));
            }
        }
    }
    distinct
}

/// The rows to write, always in the same order, since two gates that write the same rows must not wait for each other in a
/// circle. For `room` of those that are not known there is room.
fn within_room(
    distinct: Vec<(Key, DriftRecord)>,
    known: &HashSet<Key>,
    room: i64,
) -> BTreeMap<Key, DriftRecord> {
    let mut room = room;
    let mut rows: BTreeMap<Key, DriftRecord> = BTreeMap::new();
    for (own, event) in distinct {
        let is_kept = known.contains(&own) || room > 0;
        if is_kept && !known.contains(&own) {
            room -= 1;
        }
        let event = if is_kept { event } else { beyond_the_bound(event) };
        rows.entry(key(&event)).and_modify(|row| row.absorb(&event)).or_insert(event);
    }
    rows
}

/// Adds rows, and returns the ids of the rows that were added to or made.
async fn add(
    connection: &mut Connection,
    rows: &BTreeMap<Key, DriftRecord>,
) -> Result<HashSet<String>, StoreError> {
    let mut ids = HashSet::new();
    let rows: Vec<(&Key, &DriftRecord)> = rows.iter().collect();
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let mut insert = Statement::insert(INSERT, COLUMNS, ADD).once();
        for (key, event) in rows {
            insert
                .push(&key[..])
                .push(event.id.to_string())
                .push(event.first_seen_at)
                .push(event.last_seen_at)
                .push(storable(&event.cluster))
                .push(storable(&event.route))
                .push(event.method)
                .push(event.actor_kind)
                .push(storable(&event.actor_id))
                .push(event.direction)
                .push(event.legacy_answer)
                .push(event.v2_answer)
                .push(event.reason)
                .push(&*event.mapping_sha256)
                .push(event.epoch)
                .push(event.request_id.to_string())
                .push(event.count);
        }
        let added: Vec<(String,)> = connection.all(insert).await?;
        ids.extend(added.into_iter().map(|(id,)| id));
    }
    Ok(ids)
}

/// Which of the disagreements have a row.
async fn known(connection: &mut Connection, keys: &[(Key, DriftRecord)]) -> Result<HashSet<Key>, StoreError> {
    let mut known = HashSet::new();
    for keys in keys.chunks(ROWS_PER_STATEMENT) {
        let mut query = Statement::among(KNOWN, "").once();
        for (key, _) in keys {
            query.push(&key[..]);
        }
        let found: Vec<(Vec<u8>,)> = connection.all(query).await?;
        known.extend(found.into_iter().filter_map(|(key,)| Key::try_from(key).ok()));
    }
    Ok(known)
}

/// Writes a batch inside its transaction; the ids of the events that made a row.
async fn add_batch(
    connection: &mut Connection,
    distinct: Vec<(Key, DriftRecord)>,
    most_rows: u32,
) -> Result<Vec<uuid::Uuid>, StoreError> {
    let known = known(connection, &distinct).await?;
    let most = i64::from(most_rows);
    let room = if known.len() == distinct.len() {
        0
    } else {
        let (rows,): (i64,) = connection.one(sql(ROWS).bind(most)).await?;
        most - rows
    };
    let rows = within_room(distinct, &known, room);
    let ids = add(connection, &rows).await?;
    let is_new = |event: &&DriftRecord| &*event.route != OVERFLOW && ids.contains(&event.id.to_string());
    Ok(rows.values().filter(is_new).map(|event| event.id).collect())
}
