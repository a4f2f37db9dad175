//! Whether the rows in the database are the rows that were sealed.
//!
//! Rows come in one pass, all rows of a chain together and in the order of their sequence. As long as each row's mac
//! follows from the row before, only the end of the chain is kept. A row that does not follow opens a window of
//! [`WINDOW`] rows, in which [`placement`] determines the place that each mac was made for:
//!
//! ```text
//!   ... 41 -> 42    43'   44 -> 45 -> 46 ...       43 was edited: 44 follows from the mac that 43 still carries
//!   ... 41 -> 42          44 -> 45 -> 46 ...       43 was removed: 45 follows from 44, and 44 from nothing
//!   ... 41 -> 42    44    43    45 -> 46 ...       reordered: 43 follows from 42, wherever it is
//!   ... 41 -> 42    x     43 -> 44 -> 45 ...       inserted: 43 follows from 42, x from nothing
//! ```
//!
//! and fast reading resumes at the first row that follows from its neighbour again.
//!
//! # Limits of the classification
//!
//! That something was changed is proved; the kind of change is the simplest explanation that fits.
//!
//! - A row that was moved by more than the window is reported as removed at its old place and inserted at its new one.
//! - An attacker without the key can append: a last row whose mac follows from nothing but whose hash is right is
//!   reported as inserted, although it could be the true last row with another mac.
//! - The first row after a gap, or after a row whose mac was changed with its content, has no predecessor to prove it.
//!   It is counted in [`Summary::unproven`] and is a separate finding only if it contradicts its own hashes.
//! - Rows without a link belong to no chain, so their origin is unknown.
//! - A cut tail is found only if a checkpoint or the first row of a later chain names a head beyond it; rows that
//!   nothing has named yet (up to a minute or 1,000 rows) can be cut unnoticed. `gate_audit_control` also names the end
//!   of the commands' chain, but an attacker who cuts the chain can set it back.
//! - The event that an erased row names is not sealed; only the number of rows that name it is. Two erased rows could
//!   swap their events.
//! - An attacker with the key can write a new history. A checkpoint in a place that the attacker cannot reach reveals
//!   it ([`Kind::Rewritten`]).

mod claims;
mod customers;
mod grants;
mod judge;
mod placement;
mod row;

use std::collections::VecDeque;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use self::claims::{Claims, Witnesses};
pub use self::customers::StoredCustomer;
pub use self::grants::{GrantContent, GrantTable, SealedGrant, StoredGrant};
use self::row::LinkedRow;
use super::chain::{CONTROL, Head, Link, Mac};
use super::checkpoint::Checkpoint;
use super::event::{AuditRecord, ChainHead};
use super::hexadecimal;
use super::keys::KeyRing;

/// The number of rows that are examined together where a row does not follow.
pub const WINDOW: usize = 64;

/// The chain-related part of a database row.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    pub record: AuditRecord,
    /// `None` if any of its columns except the salt is NULL.
    pub link: Option<Link>,
    /// The id of the `admin_erased` event that blanked the row.
    pub erased_by: Option<String>,
}

/// The ids of those rows of one chain, in the order of their sequence, that are not as they were sealed after the row before. Nothing
/// proves the place of the first, which is compared with its own hashes alone.
pub fn changed_rows(
    keys: &KeyRing,
    chain: &str,
    rows: impl IntoIterator<Item = StoredRow>,
) -> Vec<uuid::Uuid> {
    let mut changed = Vec::new();
    let mut before: Option<(i64, Mac)> = None;
    let mut text = String::new();
    for StoredRow { record, link, erased_by } in rows {
        let id = record.id;
        let linked = link.map(|link| LinkedRow::read(&record, link, erased_by.as_deref(), &mut text));
        let follows = |row: &LinkedRow| {
            before.as_ref().is_none_or(|(place, mac)| {
                row.stored == place + 1 && row.follows(keys, chain, row.stored, mac)
            })
        };
        if !linked.as_ref().is_some_and(|row| row.is_whole && follows(row)) {
            changed.push(id);
        }
        before = linked.and_then(|row| Some((row.stored, row.mac?)));
    }
    changed
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The chain, if the fault is about one.
    pub chain: Option<String>,
    /// As stored; for a missing row, the number that it must have had. If there are several rows, the first of them.
    pub sequence: Option<i64>,
    /// The last of the rows.
    pub last: Option<i64>,
    /// The row's id, if the fault is about a single row.
    pub row: Option<String>,
    /// The customer's event, if the fault is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_event: Option<String>,
    /// The table of grants, if the fault is about a row there; the row's id is `row`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<&'static str>,
    #[serde(flatten)]
    pub kind: Kind,
}

impl Fault {
    fn of(kind: Kind) -> Fault {
        Fault { chain: None, sequence: None, last: None, row: None, customer_event: None, table: None, kind }
    }
}

/// The kinds of finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The row differs from its sealed form.
    Edited,
    /// Rows `sequence` to `last` are missing.
    Removed,
    /// The row was never sealed into this chain, or exists twice.
    Inserted,
    /// Rows `sequence` to `last` have numbers other than those with which they were sealed; the first belongs at
    /// `belongs_at`.
    Reordered { belongs_at: i64 },
    /// The chain had rows up to `head` according to `witness`, but now ends before `sequence`.
    Cut { head: i64, witness: String },
    /// `gate_audit_control`, from which commands read the end of their chain, does not match the rows: its row is
    /// missing or not a valid head (`None`), names a MAC other than the last row's, or was set back.
    ControlHead { says: Option<i64> },
    /// The chain is in order, but according to the witness the row had another mac: it was sealed again.
    Rewritten { witness: String },
    /// The row has no link.
    Unsealed,
    /// Rows `sequence` to `last` were sealed with a key that is not in the ring.
    UnknownKey { key: String },
    /// A checkpoint that is malformed, or not ours.
    BadCheckpoint { line: u64, reason: String },
    /// A table of grants has more rows without a sealed row than when the sealing of grants began.
    Unrecorded {
        #[serde(rename = "unrecorded_in")]
        table: &'static str,
        found: u64,
        before: u64,
    },
    /// Blanked rows and the `admin_erased` event disagree: `found` rows name it, and it states `expected`. `None` if
    /// there is no such event.
    ErasureUnaccounted { table: &'static str, event: String, found: u64, expected: Option<u64> },
}

/// The scope of the verification, and the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub rows: u64,
    pub chains: u64,
    pub checkpoints: u64,
    /// Chains that no checkpoint names: rows cut off their ends may go unnoticed.
    pub chains_without_checkpoint: u64,
    /// Rows whose personal values were blanked.
    pub erased: u64,
    /// Rows whose predecessor is missing or changed, so that nothing proves them.
    pub unproven: u64,
    /// Customers' events with a twin in a chain, and how many of them are erased.
    pub customer_events: u64,
    pub customer_events_erased: u64,
    /// Rows of the tables of grants that were compared with their sealed rows, and those from before there were any.
    pub grants: u64,
    pub grants_before_sealing: u64,
    pub findings: u64,
    /// The earliest and the latest time of a row.
    pub first_at: Option<DateTime<Utc>>,
    pub last_at: Option<DateTime<Utc>>,
}

impl Summary {
    /// Whether every row is as it was sealed and no row is known to be missing.
    pub fn is_clean(&self) -> bool {
        self.findings == 0
    }
}

/// The end of a chain: the place and the mac of the last row that counts.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    sequence: i64,
    mac: Mac,
    /// Whether the mac is known to be the original one.
    is_proven: bool,
}

/// Neighbouring rows that are displaced by the same number.
#[derive(Clone, Debug)]
struct Renumbered {
    first: i64,
    last: i64,
    displacement: i64,
    row: String,
}

/// A range of rows with one unknown key.
#[derive(Clone, Debug)]
struct Unknown {
    first: i64,
    last: i64,
    key: String,
    row: String,
}

/// The current chain.
#[derive(Debug)]
struct Current {
    id: String,
    anchor: Anchor,
    /// The difference between a row's place and its stored sequence.
    shift: i64,
    buffer: VecDeque<LinkedRow>,
    renumbered: Option<Renumbered>,
    unknown: Option<Unknown>,
    /// The claims of others about its rows.
    witnesses: Witnesses,
}

/// Takes rows one by one and reports each finding as soon as it is known.
pub struct Verifier<F> {
    keys: KeyRing,
    report: F,
    summary: Summary,
    claims: Claims,
    current: Option<Current>,
    text: String,
}

impl<F: FnMut(Fault)> Verifier<F> {
    /// A verifier that knows these keys and passes its findings to `report`.
    pub fn new(keys: KeyRing, report: F) -> Self {
        let (summary, claims) = Default::default();
        Verifier { keys, report, summary, claims, current: None, text: String::new() }
    }

    /// Takes a line of the checkpoints, numbered from 1. All of them come before the first row; blank lines are
    /// ignored.
    pub fn checkpoint(&mut self, number: u64, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        self.summary.checkpoints += 1;
        let parsed = Checkpoint::parse(line);
        match parsed.as_ref().map_err(Clone::clone).and_then(|checkpoint| checkpoint.check(&self.keys)) {
            Ok((chain, head)) => self.claims.checkpoint(chain, head),
            Err(error) => {
                let kind = Kind::BadCheckpoint { line: number, reason: error.to_string() };
                self.find(None, None, None, kind);
            }
        }
    }

    /// Takes the head in `gate_audit_control`, before the first row and as of the same moment; `None` if its row is
    /// missing.
    pub fn control_head(&mut self, said: Option<&ChainHead>) {
        match said.and_then(control_head) {
            Some(head) => self.claims.control_head(head),
            None => self.find_control_head(said.map(|said| said.sequence)),
        }
    }

    /// Takes the next row. The rows of a chain must come together, in the order of their sequence.
    pub fn row(&mut self, stored: StoredRow) {
        self.summary.rows += 1;
        let at = stored.record.occurred_at;
        self.summary.first_at = Some(self.summary.first_at.map_or(at, |first| first.min(at)));
        self.summary.last_at = Some(self.summary.last_at.map_or(at, |last| last.max(at)));
        if let Some(event) = &stored.erased_by {
            self.summary.erased += 1;
            self.claims.erased(event);
        }
        let Some(link) = stored.link else {
            return self.find(None, None, Some(stored.record.id.to_string()), Kind::Unsealed);
        };
        if self.current.as_ref().is_none_or(|current| current.id != link.chain_id) {
            self.end_chain();
            self.begin_chain(link.chain_id.clone());
        }
        let row = LinkedRow::read(&stored.record, link, stored.erased_by.as_deref(), &mut self.text);
        if let Some(current) = &mut self.current {
            current.buffer.push_back(row);
        }
        self.advance(false);
    }

    /// Ends the last chain and compares the rows with the claims of checkpoints, other chains and erasures.
    pub fn finish(mut self) -> Summary {
        self.end_chain();
        self.summary.chains_without_checkpoint = self.claims.without_checkpoint();
        for finding in std::mem::take(&mut self.claims).settle() {
            self.summary.findings += 1;
            (self.report)(finding);
        }
        self.summary
    }

    fn begin_chain(&mut self, id: String) {
        self.summary.chains += 1;
        self.current = Some(Current {
            anchor: Anchor { sequence: 0, mac: [0; 32], is_proven: true },
            shift: 0,
            buffer: VecDeque::with_capacity(WINDOW),
            renumbered: None,
            unknown: None,
            witnesses: self.claims.witnesses(&id),
            id,
        });
    }

    fn end_chain(&mut self) {
        self.advance(true);
        self.flush_renumbered();
        self.flush_unknown();
        if let Some(current) = self.current.take() {
            self.claims.chain_ended(current.id, current.anchor.sequence, current.anchor.mac);
        }
    }

    /// Processes the buffer as far as it can be judged.
    fn advance(&mut self, at_end: bool) {
        while let Some(current) = &mut self.current {
            let Some(row) = current.buffer.front() else { return };
            let next = current.anchor.sequence.saturating_add(1);
            let is_next = row.stored.checked_add(current.shift) == Some(next);
            if is_next && row.is_whole && row.follows(&self.keys, &current.id, next, &current.anchor.mac) {
                let Some(row) = current.buffer.pop_front() else { return };
                self.accept(row, next);
            } else if is_next && !self.keys.knows(&row.key_id) && row.mac.is_some() {
                let Some(row) = current.buffer.pop_front() else { return };
                self.pass_unknown(&row, next);
            } else if !at_end && current.buffer.len() < WINDOW {
                return;
            } else {
                self.judge(at_end);
            }
        }
    }

    /// Accepts a row that is as it was sealed; its content counts.
    fn accept(&mut self, row: LinkedRow, place: i64) {
        let Some(current) = &mut self.current else { return };
        let Some(mac) = row.mac else { return };
        current.anchor = Anchor { sequence: place, mac, is_proven: true };
        self.flush_unknown();
        self.count_sealed(row, place);
    }

    /// Compares a proven row with the claims of witnesses about its place, and takes its own claims.
    fn count_sealed(&mut self, row: LinkedRow, place: i64) {
        let Some(current) = &mut self.current else { return };
        let witnesses = current.witnesses.remove(&place).unwrap_or_default();
        let control = self.claims.control_says(&current.id, place);
        if let Some((_, witness)) = witnesses.iter().find(|(mac, _)| Some(*mac) != row.mac) {
            self.find_row(&row, Kind::Rewritten { witness: witness.to_string() });
        } else if control.is_some_and(|mac| Some(mac) != row.mac) {
            self.find_control_head(Some(place));
        }
        self.note_place(&row, place);
        self.claims.said(row.said, &row.id);
    }

    /// Passes a row with an unknown key. Only its hashes can be checked; the next row shows whether its mac is right.
    fn pass_unknown(&mut self, row: &LinkedRow, place: i64) {
        if let (Some(current), Some(mac)) = (&mut self.current, row.mac) {
            current.anchor = Anchor { sequence: place, mac, is_proven: false };
        }
        self.note_unknown(row);
        self.note_place(row, place);
        if !row.is_whole {
            self.find_row(row, Kind::Edited);
        }
    }

    fn note_unknown(&mut self, row: &LinkedRow) {
        let Some(current) = &mut self.current else { return };
        if let Some(unknown) = &mut current.unknown
            && unknown.key == row.key_id
            && unknown.last.checked_add(1) == Some(row.stored)
        {
            unknown.last = row.stored;
            return;
        }
        let (first, key, id) = (row.stored, row.key_id.clone(), row.id.to_string());
        self.flush_unknown();
        if let Some(current) = &mut self.current {
            current.unknown = Some(Unknown { first, last: first, key, row: id });
        }
    }

    /// Records the place where the row belongs, if it is displaced.
    fn note_place(&mut self, row: &LinkedRow, place: i64) {
        let Some(current) = &mut self.current else { return };
        let displacement = place.saturating_sub(row.stored);
        if displacement == 0 && current.renumbered.is_none() {
            return;
        }
        if let Some(run) = &mut current.renumbered
            && run.displacement == displacement
            && run.last.checked_add(1) == Some(row.stored)
        {
            run.last = row.stored;
            return;
        }
        self.flush_renumbered();
        if let Some(current) = &mut self.current
            && displacement != 0
        {
            let (first, row) = (row.stored, row.id.to_string());
            current.renumbered = Some(Renumbered { first, last: first, displacement, row });
        }
    }

    fn flush_renumbered(&mut self) {
        let Some(run) = self.current.as_mut().and_then(|current| current.renumbered.take()) else { return };
        let kind = Kind::Reordered { belongs_at: run.first.saturating_add(run.displacement) };
        self.find(Some(run.first), Some(run.last), (run.first == run.last).then_some(run.row), kind);
    }

    fn flush_unknown(&mut self) {
        let Some(range) = self.current.as_mut().and_then(|current| current.unknown.take()) else { return };
        let row = (range.first == range.last).then_some(range.row);
        self.find(Some(range.first), Some(range.last), row, Kind::UnknownKey { key: range.key });
    }

    fn find_row(&mut self, row: &LinkedRow, kind: Kind) {
        self.find(Some(row.stored), Some(row.stored), Some(row.id.to_string()), kind);
    }

    fn find(&mut self, sequence: Option<i64>, last: Option<i64>, row: Option<String>, kind: Kind) {
        let chain = self.current.as_ref().map(|current| current.id.clone()).filter(|_| sequence.is_some());
        self.summary.findings += 1;
        (self.report)(Fault { chain, sequence, last, row, ..Fault::of(kind) });
    }

    fn find_control_head(&mut self, stated: Option<i64>) {
        self.summary.findings += 1;
        let kind = Kind::ControlHead { says: stated };
        (self.report)(Fault { chain: Some(CONTROL.to_owned()), sequence: stated, ..Fault::of(kind) });
    }
}

/// The head in a row of `gate_audit_control`, if it is valid: a head of no rows has a mac of zeros.
fn control_head(said: &ChainHead) -> Option<Head> {
    let head = Head { sequence: said.sequence, mac: hexadecimal::decode(&said.mac)? };
    (head.sequence > 0 || head == Head::default()).then_some(head)
}

impl<F> fmt::Debug for Verifier<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("summary", &self.summary).finish_non_exhaustive()
    }
}
