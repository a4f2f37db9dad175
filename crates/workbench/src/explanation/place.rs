//! The places of rows in the file, and the rows nearest to a path without one.

use policy::diagnostic::position;
use policy::mapping::{Mapping, Row};
use serde::Serialize;

/// The most rows that are named for a path without a row.
const MOST_NEAR: usize = 3;

/// A row with its name and place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowLine {
    pub route: String,
    pub line: usize,
}

/// The line of a row in the file, from 1.
pub(super) fn line_of(mapping: &Mapping, row: &Row) -> usize {
    position(mapping.source(), row.offset).0
}

/// The rows whose patterns are nearest to a path: at most a third of its segments may differ.
pub(super) fn nearest(mapping: &Mapping, path: &str) -> Vec<RowLine> {
    let given: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut near: Vec<(usize, usize, &Row)> = mapping
        .rows()
        .iter()
        .map(|row| (distance(&given, row.pattern.as_str()), row.offset, row))
        .filter(|(distance, ..)| *distance <= (STEP * given.len() / 3).max(2))
        .collect();
    near.sort_by_key(|(distance, offset, _)| (*distance, *offset));
    let place = |(_, _, row): &(usize, usize, &Row)| RowLine {
        route: row.route.to_string(),
        line: line_of(mapping, row),
    };
    near.iter().take(MOST_NEAR).map(place).collect()
}

/// The weight of a whole segment; a mistyped one weighs less.
const STEP: usize = 4;

/// The weight of the segments that would have to be inserted, removed or changed. A segment with a variable fits any.
fn distance(given: &[&str], pattern: &str) -> usize {
    let wanted: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut before: Vec<usize> = (0..=wanted.len()).map(|count| count * STEP).collect();
    for (index, segment) in given.iter().enumerate() {
        let mut row = vec![(index + 1) * STEP];
        for (other, pair) in wanted.iter().zip(before.windows(2)) {
            let [diagonal, above] = pair else { continue };
            let left = row.last().copied().unwrap_or_default();
            row.push((diagonal + change(segment, other)).min(above + STEP).min(left + STEP));
        }
        before = row;
    }
    before.last().copied().unwrap_or_default()
}

fn change(given: &str, wanted: &str) -> usize {
    match given == wanted {
        true => 0,
        false if wanted.contains('<') || wanted == "*" => 1,
        false => strsim::damerau_levenshtein(given, wanted).min(STEP),
    }
}
