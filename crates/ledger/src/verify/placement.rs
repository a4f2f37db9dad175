//! The place that each mac of a window was made for.

use super::Anchor;
use super::row::LinkedRow;
use crate::chain::Mac;
use crate::keys::KeyRing;

/// The largest displacement at which a run of rows is still recognised after a gap.
const FARTHEST_SHIFT: i64 = 64;

/// Where a row belongs, and the proof of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) sequence: i64,
    pub(super) proof: Proof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its mac follows from the mac of the row before.
    Follows,
    /// It does not follow, but the next row follows from it: its mac is the original one.
    IsFollowed,
    /// It is between two rows, and the second follows from the first through the mac that this row must have had.
    Between,
}

/// The rows of a window, and the values to test them against.
pub(super) struct Window<'a> {
    pub(super) keys: &'a KeyRing,
    pub(super) chain: &'a str,
    pub(super) rows: &'a [LinkedRow],
    pub(super) shift: i64,
}

impl Window<'_> {
    /// The place of each row, for those that have one.
    pub(super) fn places(&self, anchor: &Anchor) -> Vec<Option<Placement>> {
        let mut places = vec![None; self.rows.len()];
        self.follow(anchor.sequence, anchor.mac, &mut places);
        for index in 0..self.rows.len() {
            if places[index].is_some() {
                continue;
            }
            if let Some((before, sequence)) = self.predecessor(index, &places) {
                places[index] = Some(Placement { sequence, proof: Proof::Follows });
                places[before] = Some(Placement { sequence: sequence - 1, proof: Proof::IsFollowed });
                if let Some(mac) = self.rows[index].mac {
                    self.follow(sequence, mac, &mut places);
                }
            }
        }
        places
    }

    /// The stored sequence as a place.
    pub(super) fn slot(&self, index: usize) -> i64 {
        self.rows[index].stored.saturating_add(self.shift)
    }

    pub(super) fn follows(&self, index: usize, sequence: i64, previous: &Mac) -> bool {
        self.rows[index].follows(self.keys, self.chain, sequence, previous)
    }

    /// Places row after row after the row at `sequence`, as long as one follows.
    fn follow(&self, mut sequence: i64, mut mac: Mac, places: &mut [Option<Placement>]) {
        while let Some(next) = sequence.checked_add(1) {
            if let Some((index, found)) = self.successor(next, &mac, places) {
                places[index] = Some(Placement { sequence: next, proof: Proof::Follows });
                mac = found;
            } else if let Some((index, bridge)) = self.bridge(next, &mac, places) {
                places[index] = Some(Placement { sequence: next, proof: Proof::Between });
                mac = bridge;
            } else {
                return;
            }
            sequence = next;
        }
    }

    /// The row that follows. If there are several, the unchanged one: an edited copy follows as well.
    fn successor(&self, next: i64, mac: &Mac, places: &[Option<Placement>]) -> Option<(usize, Mac)> {
        let free = (0..self.rows.len()).filter(|&index| places[index].is_none());
        let best = free
            .filter(|&index| self.follows(index, next, mac))
            .max_by_key(|&index| (self.rows[index].is_whole, self.slot(index) == next))?;
        Some((best, self.rows[best].mac?))
    }

    /// A row at `next` that does not follow, although the rows after it follow from its mac, or from the mac that it
    /// must have had.
    fn bridge(&self, next: i64, mac: &Mac, places: &[Option<Placement>]) -> Option<(usize, Mac)> {
        let free = |index: &usize| places[*index].is_none();
        let after = next.checked_add(1)?;
        for index in (0..self.rows.len()).filter(free).filter(|&index| self.slot(index) == next) {
            let row = &self.rows[index];
            let [own, said] = row.macs_at(self.keys, self.chain, next, mac);
            for through in [row.mac, own, said].into_iter().flatten() {
                let mut others = (0..self.rows.len()).filter(free).filter(|&other| other != index);
                if others.any(|other| self.follows(other, after, &through)) {
                    return Some((index, through));
                }
            }
        }
        None
    }

    /// A row without a place from which this one follows, and the place of this one.
    fn predecessor(&self, index: usize, places: &[Option<Placement>]) -> Option<(usize, i64)> {
        let own = self.slot(index);
        for before in (0..self.rows.len()).filter(|&before| before != index && places[before].is_none()) {
            let Some(mac) = self.rows[before].mac else { continue };
            let behind = self.slot(before).saturating_add(1);
            let is_neighbour = before + 1 == index;
            let far = if is_neighbour { FARTHEST_SHIFT } else { -1 };
            let shifted = (0..=far).flat_map(|step| [own.saturating_add(step), own.saturating_sub(step)]);
            let found =
                [behind, own].into_iter().chain(shifted).find(|&at| at > 1 && self.follows(index, at, &mac));
            if let Some(sequence) = found {
                return Some((before, sequence));
            }
        }
        None
    }
}
