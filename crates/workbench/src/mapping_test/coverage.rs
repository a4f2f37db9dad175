//! Coverage: which outcomes of which rows, by kind of caller, the cases of a file observe.
//!
//! A cell is a row, a kind of caller and an outcome that some possible caller of this kind gets there, in the modes that the
//! cases use. The cells are decided, so a cell that no caller can reach does not count against a file.

use std::collections::{BTreeMap, BTreeSet};

use policy::diagnostic::Lines;
use policy::mapping::regions::Region;
use policy::mapping::{Rollout, Row};
use serde::Serialize;

use super::caller::{Caller, Kind, Resolved};
use super::judge::{Answer, Asked, Body, Ground, Sent, Under};
use super::requests::index_of;
use super::{TestFile, World, space};

/// The coverage of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    pub reached: usize,
    pub possible: usize,
    /// In the order of the mapping; last, requests without a row.
    pub rows: Vec<RowCoverage>,
}

/// The coverage of one row.
#[derive(Clone, Debug, Serialize)]
pub struct RowCoverage {
    /// `None` for requests that no row covers.
    pub route: Option<String>,
    pub line: Option<usize>,
    pub reached: usize,
    pub possible: usize,
    /// The cells that no case reaches.
    pub missing: Vec<Cell>,
}

/// A kind of caller and an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    pub caller: Kind,
    pub answer: Answer,
}

impl Coverage {
    /// The share of possible cells that are reached, in whole percent, rounded down.
    pub fn percent(&self) -> usize {
        (self.reached * 100).checked_div(self.possible).unwrap_or(100)
    }
}

/// The modes that a file tests; always the mapping's own.
pub(super) fn modes(file: &TestFile) -> BTreeSet<Under> {
    let of_cases = file.cases.iter().map(|case| case.under);
    let of_invariants = file.invariants.iter().map(|invariant| invariant.under);
    of_cases.chain(of_invariants).chain([Under::File]).collect()
}

/// Computes the coverage of the cases.
pub fn coverage(file: &TestFile, world: &World<'_>) -> Coverage {
    let ground = Ground::of(world.mapping, world.catalog, world.control);
    let lines = Lines::new(world.mapping.source());
    let possible = possible(file, world, &ground);
    let observed = observed(file, world, &ground);
    let mut rows = Vec::new();
    for (index, cells) in &possible {
        let seen = observed.get(index);
        let missing: Vec<Cell> =
            cells.iter().filter(|cell| !seen.is_some_and(|seen| seen.contains(cell))).copied().collect();
        let row = index.and_then(|index| world.mapping.rows().get(index));
        rows.push(RowCoverage {
            route: row.map(|row| row.route.to_string()),
            line: row.map(|row| lines.position(row.offset).0),
            reached: cells.len() - missing.len(),
            possible: cells.len(),
            missing,
        });
    }
    rows.sort_by_key(|row| row.line.unwrap_or(usize::MAX));
    Coverage {
        reached: rows.iter().map(|row| row.reached).sum(),
        possible: rows.iter().map(|row| row.possible).sum(),
        rows,
    }
}

type Cells = BTreeMap<Option<usize>, BTreeSet<Cell>>;

/// The request that stands for a region.
pub(super) fn asked_at(region: &Region<'_>, row: Option<usize>, declared: Option<&Row>) -> Option<Asked> {
    let methods = declared.map_or(region.methods, |row| region.methods.intersection(row.methods));
    let method = methods.iter().find(|method| method.carries_body()).or_else(|| methods.iter().next())?;
    Some(Asked { method, path: region.example.clone(), query: None, row, refused: None })
}

fn possible(file: &TestFile, world: &World<'_>, ground: &Ground<'_>) -> Cells {
    let mut cells = Cells::new();
    let regions = world.mapping.regions(world.mapping).all;
    for region in regions.iter().filter(|region| !region.is_quiet()) {
        let index = region.new.and_then(|row| index_of(world.mapping, row.offset));
        if cells.contains_key(&index) {
            continue;
        }
        let Some(asked) = asked_at(region, index, region.new) else { continue };
        let row = region.new;
        let cells = cells.entry(index).or_default();
        for under in modes(file) {
            let rollout = row.map(|row| ground.rollout(row, under));
            let rollout = rollout.as_deref().unwrap_or(&Rollout::LEGACY);
            for caller in space::of_row(row, rollout, world.catalog, world.break_glass).callers {
                add(
                    cells,
                    &caller,
                    &Resolved::of(&caller, world.catalog),
                    &asked,
                    row,
                    (&Body::Every, under),
                    ground,
                );
            }
        }
    }
    cells
}

fn observed(file: &TestFile, world: &World<'_>, ground: &Ground<'_>) -> Cells {
    let mut cells = Cells::new();
    for case in &file.cases {
        let resolved = Resolved::of(&case.caller, world.catalog);
        for asked in case.requests.iter().filter(|asked| asked.refused.is_none()) {
            let row = asked.row.and_then(|index| world.mapping.rows().get(index));
            let cells = cells.entry(asked.row).or_default();
            add(cells, &case.caller, &resolved, asked, row, (&case.body, case.under), ground);
        }
    }
    cells
}

fn add(
    cells: &mut BTreeSet<Cell>,
    caller: &Caller,
    resolved: &Resolved,
    asked: &Asked,
    row: Option<&Row>,
    (body, under): (&Body, Under),
    ground: &Ground<'_>,
) {
    let sent = Sent { caller, resolved, body, under };
    ground.each(asked, row, sent, |verdict, _| {
        cells.insert(Cell { caller: caller.kind, answer: Answer::of(verdict) });
    });
}
