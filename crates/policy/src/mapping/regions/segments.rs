//! The next segments of a path: at least one for each position to which a segment can lead.
//!
//! Static segments are tried one by one. There are infinitely many other segments, but the parts that they can fit are
//! finite automata: every combination of their states is visited once, by the shortest text that leads to it.

use std::collections::{HashSet, VecDeque};

use super::position::{Pair, Position, Reading};
use super::program::Characters;

/// The remaining amount of work.
pub(super) struct Budget(usize);

/// The cost of a path besides the characters that lead to it: it is looked up in both mappings for each method.
const PATH_COST: usize = 50;

impl Budget {
    /// A unit is one character compared with a part.
    pub(super) fn new(units: usize) -> Budget {
        Budget(units)
    }

    fn spend(&mut self, units: usize) -> Option<()> {
        self.0 = self.0.checked_sub(units)?;
        Some(())
    }
}

/// Calls `arrive` for each position to which a segment leads, with such a segment. Segments that are static somewhere
/// come last. `None` if the budget ran out.
pub(super) fn for_each_next(
    pair: &Pair<'_>,
    position: &Position,
    budget: &mut Budget,
    mut arrive: impl FnMut(Position, &str),
) -> Option<()> {
    let statics = pair.statics(position);
    let start = Step { text: String::new(), reading: pair.begin(position), statics: 0..statics.len() };
    let mut seen = HashSet::new();
    let mut open = VecDeque::from([start.clone()]);
    while let Some(step) = open.pop_front() {
        if step.is_segment() && !step.is_static(&statics) {
            budget.spend(PATH_COST)?;
            arrive(pair.arrive(position, &step.text, &step.reading), &step.text);
        }
        if step.reading.is_over() && !step.text.is_empty() {
            continue;
        }
        for character in characters(pair, position, &step, &statics) {
            budget.spend(1 + step.reading.width())?;
            let next = step.read(pair, position, character, &statics);
            // A text that does not begin any static segment can continue in every way that another text with the same
            // reading can.
            let free = (next.reading.clone(), 0..0, Dots::None);
            let own = (next.reading.clone(), next.statics.clone(), next.dots());
            if !seen.contains(&free) && seen.insert(own) {
                open.push_back(next);
            }
        }
    }
    for segment in statics {
        let mut reading = start.reading.clone();
        for character in segment.chars() {
            budget.spend(1 + reading.width())?;
            reading = pair.read(position, &reading, character);
        }
        budget.spend(PATH_COST)?;
        arrive(pair.arrive(position, segment, &reading), segment);
    }
    Some(())
}

/// The beginning of a segment.
#[derive(Clone)]
struct Step {
    text: String,
    reading: Reading,
    /// The static segments that begin with the text; `0..0` if there are none.
    statics: std::ops::Range<usize>,
}

/// Whether a text is one of the two segments that no path contains, because the firewall refuses them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Dots {
    None,
    One,
    Two,
}

impl Step {
    fn read(&self, pair: &Pair<'_>, position: &Position, character: char, statics: &[&str]) -> Step {
        let mut text = self.text.clone();
        text.push(character);
        let within = &statics[self.statics.clone()];
        let from = self.statics.start + within.partition_point(|known| *known < text.as_str());
        let count = statics[from..self.statics.end.max(from)]
            .partition_point(|known| known.starts_with(text.as_str()));
        let statics = if count == 0 { 0..0 } else { from..from + count };
        Step { reading: pair.read(position, &self.reading, character), text, statics }
    }

    fn is_segment(&self) -> bool {
        !self.text.is_empty() && self.dots() == Dots::None
    }

    fn is_static(&self, statics: &[&str]) -> bool {
        statics[self.statics.clone()].first().is_some_and(|first| *first == self.text)
    }

    fn dots(&self) -> Dots {
        match self.text.as_str() {
            "." => Dots::One,
            ".." => Dots::Two,
            _ => Dots::None,
        }
    }
}

/// The characters with which a text may continue: all that are named, and one for each kind of those that are not. The
/// latter come first, so that examples are plain.
fn characters(pair: &Pair<'_>, position: &Position, step: &Step, statics: &[&str]) -> Vec<char> {
    let mut named = Vec::new();
    let mut kinds = Vec::new();
    for (characters, digits_count) in pair.next(position, &step.reading) {
        match characters {
            Characters::One(character) => named.push(character),
            Characters::Digits if digits_count => named.extend('0'..='9'),
            Characters::Digits => kinds.push(DIGITS),
            Characters::HexDigits => kinds.extend([DIGITS, HEX_LETTERS]),
            Characters::AllButSlash | Characters::All => {}
        }
    }
    let mut rest = &statics[step.statics.clone()];
    while let Some(first) = rest.first() {
        let next = first[step.text.len()..].chars().next();
        named.extend(next);
        let after = rest.partition_point(|known| known[step.text.len()..].chars().next() == next);
        rest = &rest[after..];
    }
    named.sort_unstable();
    named.dedup();
    // No part that is confined to one segment contains a slash; parts that take the rest get it between segments.
    named.retain(|character| *character != '/');
    kinds.sort_unstable();
    kinds.dedup();
    let is_named = |character: &char| named.binary_search(character).is_ok();
    let other = others().find(|character| !is_named(character));
    let unnamed = kinds.iter().filter_map(|kind| kind.chars().find(|character| !is_named(character)));
    other.into_iter().chain(unnamed).chain(named.iter().copied()).collect()
}

/// More characters than any table names: letters first, then ideographs.
fn others() -> impl Iterator<Item = char> {
    "xyzklmnopqrstuvwghijXYZKLMNOPQRSTUVWGHIJ".chars().chain('\u{4e00}'..='\u{9fff}')
}

const DIGITS: &str = "1234567890";
const HEX_LETTERS: &str = "abcdefABCDEF";
