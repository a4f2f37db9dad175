//! The claims of checkpoints, rows and the head of the commands' chain about rows, checked once all rows have been
//! read.
//!
//! Stored for each chain, each checkpoint and each erasure; not for each row.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use uuid::Uuid;

use super::row::Said;
use super::{Fault, Kind};
use crate::chain::{CONTROL, Head, Mac};
use crate::event::ChainHead;
use crate::hexadecimal;

/// The source of a claim about a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    Checkpoint,
    /// The first row of another chain, by its id.
    ChainStarted(Uuid),
    /// `gate_audit_control`. It is not a proof, because an attacker can change it too; but it has to be changed.
    ControlHead,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Witness::Checkpoint => f.write_str("checkpoint"),
            Witness::ChainStarted(row) => write!(f, "chain_started {row}"),
            Witness::ControlHead => f.write_str("gate_audit_control"),
        }
    }
}

/// The macs that rows of one chain had, by place. If two witnesses of one place disagree, one of the rows that they saw
/// was sealed again.
pub(super) type Witnesses = BTreeMap<i64, Vec<(Mac, Witness)>>;

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Witnesses of chains that have not been read yet.
    known: HashMap<String, Witnesses>,
    /// The farthest head of each chain that any witness names.
    farthest: BTreeMap<String, (i64, Witness)>,
    /// The chains that a checkpoint names.
    checkpointed: HashSet<String>,
    /// The ends of the chains that have been read.
    ends: HashMap<String, (i64, Mac)>,
    /// Findings about a chain that were made after it was read.
    late: Vec<Fault>,
    /// The head in `gate_audit_control`.
    control: Option<Head>,
    /// How many rows, and customers' events, name each event as the one that erased them.
    erased: BTreeMap<String, (u64, u64)>,
    /// How many each event claims to have erased.
    erasures: BTreeMap<String, (u64, u64)>,
    /// How many rows of each table of grants had no sealed row when the sealing of grants began.
    unsealed: Option<BTreeMap<String, u64>>,
    /// How many have no sealed row now.
    found_unsealed: BTreeMap<&'static str, u64>,
}

impl Claims {
    pub(super) fn checkpoint(&mut self, chain: &str, head: Head) {
        self.checkpointed.insert(chain.to_owned());
        self.witness(chain, head, Witness::Checkpoint);
    }

    pub(super) fn control_head(&mut self, head: Head) {
        self.control = Some(head);
        if head.sequence > 0 {
            self.reach(CONTROL, head.sequence, Witness::ControlHead);
        }
    }

    /// The mac that `gate_audit_control` records for this place, if it records one.
    pub(super) fn control_says(&self, chain: &str, place: i64) -> Option<Mac> {
        self.control.filter(|head| chain == CONTROL && head.sequence == place).map(|head| head.mac)
    }

    fn witness(&mut self, chain: &str, head: Head, by: Witness) {
        self.reach(chain, head.sequence, by);
        let known = self.known.entry(chain.to_owned()).or_default().entry(head.sequence).or_default();
        if !known.iter().any(|(mac, _)| *mac == head.mac) {
            known.push((head.mac, by));
        }
    }

    fn reach(&mut self, chain: &str, sequence: i64, by: Witness) {
        if self.farthest.get(chain).is_none_or(|(farthest, _)| *farthest < sequence) {
            self.farthest.insert(chain.to_owned(), (sequence, by));
        }
    }

    /// The witnesses of a chain before it is read.
    pub(super) fn witnesses(&mut self, chain: &str) -> Witnesses {
        self.known.remove(chain).unwrap_or_default()
    }

    pub(super) fn chain_ended(&mut self, chain: String, sequence: i64, mac: Mac) {
        self.ends.insert(chain, (sequence, mac));
    }

    pub(super) fn erased(&mut self, event: &str) {
        self.erased.entry(event.to_owned()).or_default().0 += 1;
    }

    pub(super) fn customer_erased(&mut self, event: &str) {
        self.erased.entry(event.to_owned()).or_default().1 += 1;
    }

    pub(super) fn unsealed(&mut self, table: &'static str) {
        *self.found_unsealed.entry(table).or_default() += 1;
    }

    /// Takes the claims of a proven row.
    pub(super) fn said(&mut self, said: Said, row: &Uuid) {
        match said {
            Said::Nothing => {}
            Said::Erased { rows, customer_rows } => {
                self.erasures.insert(row.to_string(), (rows, customer_rows));
            }
            Said::Unsealed(tables) => {
                let known = self.unsealed.get_or_insert_default();
                for (table, count) in tables {
                    let most = known.entry(table).or_default();
                    *most = count.max(*most);
                }
            }
            Said::Heads(heads) => heads.iter().for_each(|head| self.named(head, *row)),
        }
    }

    /// A head that the first row of a chain names. That chain may already have been read, or be read later.
    fn named(&mut self, head: &ChainHead, row: Uuid) {
        let by = Witness::ChainStarted(row);
        let Some(mac) = hexadecimal::decode(&head.mac) else { return };
        match self.ends.get(&head.chain) {
            None => self.witness(&head.chain, Head { sequence: head.sequence, mac }, by),
            Some((end, last)) => {
                if *end == head.sequence && *last != mac {
                    let kind = Kind::Rewritten { witness: by.to_string() };
                    let finding = about(&head.chain, head.sequence, kind);
                    // One finding per chain is enough.
                    if !self.late.iter().any(|late| late.chain == finding.chain) {
                        self.late.push(finding);
                    }
                }
                self.reach(&head.chain, head.sequence, by);
            }
        }
    }

    /// The number of chains read that no checkpoint names.
    pub(super) fn without_checkpoint(&self) -> u64 {
        self.ends.keys().filter(|chain| !self.checkpointed.contains(*chain)).count() as u64
    }

    pub(super) fn settle(self) -> Vec<Fault> {
        let mut findings = Vec::new();
        for (chain, (head, witness)) in &self.farthest {
            let end = self.ends.get(chain).map_or(0, |(end, _)| *end);
            if *head > end {
                let kind = Kind::Cut { head: *head, witness: witness.to_string() };
                findings.push(about(chain, end + 1, kind));
            }
        }
        findings.extend(self.beyond_the_head());
        findings.extend(self.late);
        if let Some(known) = &self.unsealed {
            for (table, found) in &self.found_unsealed {
                let before = known.get(*table).copied().unwrap_or_default();
                if *found > before {
                    let kind = Kind::Unrecorded { table, found: *found, before };
                    findings.push(Fault::of(kind));
                }
            }
        }
        let mut events: Vec<_> = self.erased.keys().chain(self.erasures.keys()).collect();
        events.sort();
        events.dedup();
        for event in events {
            let found = self.erased.get(event).copied().unwrap_or_default();
            let expected = self.erasures.get(event).copied();
            let tables = [
                ("gate_audit_events", found.0, expected.map(|rows| rows.0)),
                ("customer_audit_events", found.1, expected.map(|rows| rows.1)),
            ];
            for (table, found, expected) in tables {
                if expected.unwrap_or(0) != found {
                    let kind = Kind::ErasureUnaccounted { table, event: event.clone(), found, expected };
                    findings.push(Fault { row: Some(event.clone()), ..Fault::of(kind) });
                }
            }
        }
        findings
    }

    /// Rows of the commands' chain beyond its recorded head.
    fn beyond_the_head(&self) -> Option<Fault> {
        let head = self.control?.sequence;
        let end = self.ends.get(CONTROL).map_or(0, |(end, _)| *end);
        (end > head).then(|| about(CONTROL, end, Kind::ControlHead { says: Some(head) }))
    }
}

fn about(chain: &str, sequence: i64, kind: Kind) -> Fault {
    Fault { chain: Some(chain.to_owned()), sequence: Some(sequence), ..Fault::of(kind) }
}
