//! What rows and checkpoints say of other rows, settled when all have been read.
//!
//! Kept for each chain, each checkpoint and each erasure; not for each row.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::row::Said;
use super::{Finding, Kind};
use crate::audit::chain::{Head, Mac};
use crate::audit::event::ChainHead;
use crate::audit::hexadecimal;

#[derive(Debug, Default)]
pub(super) struct Claims {
    checkpoints: HashMap<String, BTreeMap<i64, Mac>>,
    /// The farthest head of each chain that a `chain_started` names, and the event's id.
    heads: BTreeMap<String, (ChainHead, Uuid)>,
    /// Where the chains end that were read.
    ends: HashMap<String, (i64, Mac)>,
    /// The farthest checkpoint of each chain.
    farthest: BTreeMap<String, i64>,
    /// How many rows name an event as what erased them.
    erased: BTreeMap<String, u64>,
    /// How many rows an event says that it erased.
    erasures: BTreeMap<String, u64>,
}

impl Claims {
    pub(super) fn checkpoint(&mut self, chain: &str, head: Head) {
        self.checkpoints.entry(chain.to_owned()).or_default().insert(head.sequence, head.mac);
        let farthest = self.farthest.entry(chain.to_owned()).or_default();
        *farthest = head.sequence.max(*farthest);
    }

    /// The checkpoints of a chain that is about to be read.
    pub(super) fn witnesses(&mut self, chain: &str) -> BTreeMap<i64, Mac> {
        self.checkpoints.remove(chain).unwrap_or_default()
    }

    pub(super) fn chain_ended(&mut self, chain: String, sequence: i64, mac: Mac) {
        self.ends.insert(chain, (sequence, mac));
    }

    pub(super) fn erased(&mut self, event: &str) {
        *self.erased.entry(event.to_owned()).or_default() += 1;
    }

    /// Takes what a proven row says.
    pub(super) fn said(&mut self, said: Said, row: &Uuid) {
        match said {
            Said::Nothing => {}
            Said::Erased(rows) => {
                self.erasures.insert(row.to_string(), rows);
            }
            Said::Heads(heads) => {
                for head in heads {
                    match self.heads.get(&head.chain) {
                        Some((known, _)) if known.sequence >= head.sequence => {}
                        _ => drop(self.heads.insert(head.chain.clone(), (head, *row))),
                    }
                }
            }
        }
    }

    pub(super) fn settle(self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (chain, &head) in &self.farthest {
            findings.extend(self.cut(chain, head, "checkpoint".to_owned()));
        }
        for (chain, (head, witness)) in &self.heads {
            // One finding a chain is enough: the witness that knows more.
            if self.farthest.get(chain).is_some_and(|farthest| *farthest >= head.sequence) {
                continue;
            }
            let witness = format!("chain_started {witness}");
            match self.ends.get(chain) {
                Some((end, mac)) if *end == head.sequence && hexadecimal::encode(mac) != head.mac => {
                    findings.push(about(chain, head.sequence, Kind::Rewritten { witness }));
                }
                _ => findings.extend(self.cut(chain, head.sequence, witness)),
            }
        }
        let events =
            self.erased.keys().chain(self.erasures.keys().filter(|event| !self.erased.contains_key(*event)));
        for event in events {
            let found = self.erased.get(event).copied().unwrap_or(0);
            let expected = self.erasures.get(event).copied();
            if expected != Some(found) {
                let kind = Kind::ErasureUnaccounted { event: event.clone(), found, expected };
                findings.push(Finding {
                    chain: None,
                    sequence: None,
                    last: None,
                    row: Some(event.clone()),
                    kind,
                });
            }
        }
        findings
    }

    fn cut(&self, chain: &str, head: i64, witness: String) -> Option<Finding> {
        let end = self.ends.get(chain).map_or(0, |(end, _)| *end);
        (head > end).then(|| about(chain, end + 1, Kind::Cut { head, witness }))
    }
}

fn about(chain: &str, sequence: i64, kind: Kind) -> Finding {
    Finding { chain: Some(chain.to_owned()), sequence: Some(sequence), last: None, row: None, kind }
}
