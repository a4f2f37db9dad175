//! Derives from the places of a window what was done to its rows.

use std::collections::BTreeMap;

use super::placement::{Placement, Proof, Window};
use super::row::LinkedRow;
use super::{Anchor, Current, Fault, Kind, Verifier, WINDOW};
use crate::chain::Mac;

/// The judgement of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// As sealed, at this place.
    Sealed(i64),
    Edited(i64),
    /// Nothing proves it, and nothing contradicts it.
    Unproven(i64),
    Inserted,
}

impl Judgement {
    fn place(self) -> Option<i64> {
        match self {
            Judgement::Sealed(place) | Judgement::Edited(place) | Judgement::Unproven(place) => Some(place),
            Judgement::Inserted => None,
        }
    }
}

impl<F: FnMut(Fault)> Verifier<F> {
    /// Judges the damaged front of the buffer and removes it, up to the point where rows follow from their neighbours
    /// again.
    pub(super) fn judge(&mut self, at_end: bool) {
        let Some(current) = &mut self.current else { return };
        let behind = current.buffer.split_off(current.buffer.len().min(WINDOW));
        let mut rows: Vec<LinkedRow> = std::mem::replace(&mut current.buffer, behind).into();
        let is_tail = at_end && current.buffer.is_empty();
        let window = Window { keys: &self.keys, chain: &current.id, rows: &rows, shift: current.shift };
        let places = window.places(&current.anchor);
        let resumed = resume(&window, &places);
        let damaged = resumed.unwrap_or(rows.len());
        let verdicts = verdicts(&window, &places[..damaged], &current.anchor, is_tail && resumed.is_none());

        let before = current.anchor.sequence;
        let taken: BTreeMap<i64, usize> = verdicts
            .iter()
            .enumerate()
            .filter_map(|(index, verdict)| Some((verdict.place()?, index)))
            .collect();
        if let Some((&place, &index)) = taken.last_key_value()
            && place > before
        {
            let is_proven = resumed.is_some() || matches!(verdicts[index], Judgement::Sealed(_));
            current.anchor = Anchor { sequence: place, mac: rows[index].mac.unwrap_or_default(), is_proven };
        }
        current.shift = shift(&rows[..damaged], &verdicts, resumed.is_some()).unwrap_or(current.shift);
        put_back(current, rows.split_off(damaged));

        self.find_gaps(before, taken.keys().copied());
        for (row, verdict) in rows.into_iter().zip(verdicts) {
            self.pass_sentence(row, verdict);
        }
    }

    fn find_gaps(&mut self, before: i64, taken: impl Iterator<Item = i64>) {
        let mut last = before;
        for place in taken.filter(|place| *place > before) {
            if place - last > 1 {
                self.find(Some(last + 1), Some(place - 1), None, Kind::Removed);
            }
            last = place;
        }
    }

    fn pass_sentence(&mut self, row: LinkedRow, verdict: Judgement) {
        if !self.keys.knows(&row.key_id) {
            self.note_unknown(&row);
            if !row.is_whole {
                self.find_row(&row, Kind::Edited);
            }
            return;
        }
        match verdict {
            Judgement::Inserted => self.find_row(&row, Kind::Inserted),
            Judgement::Edited(place) => {
                self.note_place(&row, place);
                self.find_row(&row, Kind::Edited);
            }
            Judgement::Unproven(place) => {
                self.note_place(&row, place);
                self.summary.unproven += 1;
            }
            Judgement::Sealed(place) => {
                self.count_sealed(row, place);
            }
        }
    }
}

fn put_back(current: &mut Current, rows: Vec<LinkedRow>) {
    for row in rows.into_iter().rev() {
        current.buffer.push_front(row);
    }
}

/// The first row that follows from its neighbour and has no damage after it.
fn resume(window: &Window<'_>, places: &[Option<Placement>]) -> Option<usize> {
    (1..places.len()).find(|&index| {
        let (Some(before), Some(place)) = (places[index - 1], places[index]) else { return false };
        let (last, row) = (&window.rows[index - 1], &window.rows[index]);
        let sequence = place.sequence;
        let is_next = before.sequence.checked_add(1) == Some(sequence)
            && last.stored.checked_add(1) == Some(row.stored);
        is_next
            && row.is_whole
            && last.mac.is_some_and(|mac| window.follows(index, sequence, &mac))
            && places[..index].iter().flatten().all(|place| place.sequence < sequence)
            && places[index..].iter().flatten().all(|place| place.sequence >= sequence)
    })
}

/// The present difference between places and stored sequences, if two neighbours agree on it.
fn shift(rows: &[LinkedRow], verdicts: &[Judgement], is_resumed: bool) -> Option<i64> {
    let displacement = |index: usize| Some(verdicts[index].place()?.saturating_sub(rows[index].stored));
    let last = displacement(rows.len().checked_sub(1)?)?;
    let is_agreed = is_resumed || displacement(rows.len().checked_sub(2)?) == Some(last);
    is_agreed.then_some(last)
}

fn verdicts(
    window: &Window<'_>,
    places: &[Option<Placement>],
    anchor: &Anchor,
    at_end: bool,
) -> Vec<Judgement> {
    let mut taken: BTreeMap<i64, Option<Mac>> = BTreeMap::new();
    if anchor.is_proven {
        taken.insert(anchor.sequence, Some(anchor.mac));
    }
    for (place, row) in places.iter().zip(window.rows) {
        if let Some(place) = place {
            // If a row is only between two others, its mac may be the changed value.
            taken.insert(place.sequence, row.mac.filter(|_| place.proof != Proof::Between));
        }
    }
    let top = places.iter().flatten().map(|place| place.sequence).max().unwrap_or(anchor.sequence);
    let mut last_inserted = None;
    let mut judge = |index: usize| {
        let row = &window.rows[index];
        let has_proof_before = |place: i64, taken: &BTreeMap<i64, Option<Mac>>| {
            taken.get(&(place - 1)).is_some_and(Option::is_some)
        };
        match places[index] {
            Some(Placement { sequence, proof: Proof::Follows }) if row.is_whole => {
                Judgement::Sealed(sequence)
            }
            Some(Placement { sequence, proof: Proof::IsFollowed })
                if row.is_whole && !has_proof_before(sequence, &taken) =>
            {
                Judgement::Unproven(sequence)
            }
            Some(Placement { sequence, .. }) => Judgement::Edited(sequence),
            None => {
                let slot = window.slot(index);
                if slot <= anchor.sequence || taken.contains_key(&slot) {
                    return Judgement::Inserted;
                }
                let is_appended = at_end && slot > top && row.is_whole;
                if is_appended && (has_proof_before(slot, &taken) || last_inserted == Some(slot - 1)) {
                    last_inserted = Some(slot);
                    return Judgement::Inserted;
                }
                let is_proved_wrong = !row.is_whole || has_proof_before(slot, &taken);
                taken.insert(slot, None);
                if is_proved_wrong { Judgement::Edited(slot) } else { Judgement::Unproven(slot) }
            }
        }
    };
    (0..places.len()).map(&mut judge).collect()
}
