//! Where two mappings can answer differently: every pair of rows that some request meets. Requests that no row covers,
//! whether by path or by undeclared method, form a pair too, with no row on either side.
//!
//! Both trees are walked at once, segment by segment. There are infinitely many paths, but only finitely many
//! *positions* that a path can lead to. A position states which places of both trees a search could be at, in which
//! order it would try them, how far the parts that take the rest of the path have come, which values were out of range,
//! and what the longest prefix is ([`position`]). Two paths that lead to the same position find the same rows, whatever
//! follows. So one path for each position is enough, and for each position [`segments`] finds one segment for each
//! possible next position. The answers themselves are those of [`Mapping::find`] for these paths: every reported pair
//! does occur.
//!
//! Where both mappings have the same rows below a place, the walk does not go through all combinations with the rows
//! that come after it in the search: [`Pair::split`](position::Pair::split) explains why none is missed.
//!
//! No region is missed among the paths that the request firewall passes, with three exceptions:
//!
//! - numbers of more than 4,300 digits, which `int` refuses, are not tried;
//! - whether a `float` is in its range is decided from its decimals; the application rounds it first, so a value may be
//!   judged to be beyond a limit that differs from it only in the seventeenth digit;
//! - parts with lengths in the thousands, and mappings whose comparison takes too long, are not searched completely:
//!   [`Regions::complete`] is then false.

mod number;
mod outline;
mod position;
mod program;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, VecDeque};

use self::position::{Pair, Position};
use self::segments::Budget;
use super::matcher::Matcher;
use super::table::{Mapping, Row};
use crate::method::{Method, MethodSet};

/// Requests that are decided by one row of the old mapping and one row of the new one.
#[derive(Clone, Debug)]
pub struct Region<'m> {
    /// The methods for which this pair decides; for each of them it decides `example`.
    pub methods: MethodSet,
    /// A decoded path that belongs here.
    pub example: String,
    /// The deciding row of the old mapping; `None` if there is none.
    pub old: Option<&'m Row>,
    /// The deciding row of the new mapping.
    pub new: Option<&'m Row>,
    /// Whether the old and the new mapping list the path in `quiet`: such paths are separate regions.
    pub quiet: [bool; 2],
}

impl Region<'_> {
    /// Whether neither mapping has a row for these requests, so that `unmapped` or `quiet` decides them.
    pub fn is_uncovered(&self) -> bool {
        self.old.is_none() && self.new.is_none()
    }

    /// Whether one of the mappings lists these paths in `quiet`.
    pub fn is_quiet(&self) -> bool {
        self.quiet.contains(&true)
    }
}

/// All regions of two mappings.
#[derive(Clone, Debug)]
pub struct Regions<'m> {
    /// Sorted by the new row's place in the file, then by the old one's; then the regions without a new row, and last
    /// those without a row in either mapping.
    pub all: Vec<Region<'m>>,
    /// Whether all paths were examined. If not, regions may be missing; the listed ones are still correct.
    pub complete: bool,
}

impl Mapping {
    /// Calls `look` with a path for every way in which a search can go through these rows and through the rules of an
    /// application. Returns whether it could do so for all ways.
    pub fn walk_beside(&self, application: &Matcher, mut look: impl FnMut(&str)) -> bool {
        walk(application, &self.matcher, |met| {
            if let Met::MayEnd(path) = met {
                look(path);
            }
        })
    }

    /// Every pair of rows, one of this mapping and one of `new`, that some request meets.
    ///
    /// Each pair occurs once, with all its methods. If no single path shows the pair for all of them, it occurs again
    /// with another path and the remaining methods.
    pub fn regions<'m>(&'m self, new: &'m Mapping) -> Regions<'m> {
        let mut survey = Survey { old: self, new, sightings: BTreeMap::new(), knows_uncovered: false };
        let complete = walk(&self.matcher, &new.matcher, |met| match met {
            Met::MayEnd(path) => survey.look(path),
            // Where no row can end, there is none for any method, so one such path is enough to show the uncovered
            // case. Where there is no such path, rows can end everywhere, and everything is examined anyway.
            Met::DeadEnd { .. } if survey.knows_uncovered => {}
            Met::DeadEnd { path, segment } => survey.look(&format!("{path}/{segment}")),
        });
        for path in self.quiet().union(new.quiet()) {
            survey.look(path);
        }
        Regions { all: survey.regions(), complete }
    }
}

/// A path that a walk has reached.
enum Met<'p> {
    /// A rule of one of the tables may match it.
    MayEnd(&'p str),
    /// No rule of either table matches `path/segment`, whatever the method.
    DeadEnd { path: &'p str, segment: &'p str },
}

/// Calls `look` with a path for every way in which a search can go through two tables of rules. Returns whether it
/// could do so for all ways.
fn walk(old: &Matcher, new: &Matcher, mut look: impl FnMut(Met<'_>)) -> bool {
    let pair = Pair::new(old, new);
    let mut budget = Budget::new(BUDGET);
    let start = pair.start();
    let mut seen = HashSet::from([start.clone()]);
    let mut open = VecDeque::from([(start, String::new())]);
    look(Met::MayEnd("/"));
    while let Some((position, path)) = open.pop_front() {
        let within = segments::for_each_next(&pair, &position, &mut budget, |next, segment| {
            if !pair.may_end(&next) {
                look(Met::DeadEnd { path: &path, segment });
            }
            let Some(next) = unseen(&pair, next, &mut seen) else { return };
            let path = format!("{path}/{segment}");
            if pair.may_end(&next) {
                look(Met::MayEnd(&path));
                look(Met::MayEnd(&format!("{path}/")));
            }
            if next.goes_on() {
                open.push_back((next, path));
            }
        });
        if within.is_none() {
            return false;
        }
    }
    pair.is_complete()
}

impl<'m> IntoIterator for Regions<'m> {
    type Item = Region<'m>;
    type IntoIter = std::vec::IntoIter<Region<'m>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

/// The amount of work after which a survey gives up: some seconds.
const BUDGET: usize = 100_000_000;

/// The rows of a pair, by their place in each mapping, and whether the path is quiet there.
type SightingKey = (Option<usize>, Option<usize>, [bool; 2]);

/// What a survey has found about two mappings.
struct Survey<'m> {
    old: &'m Mapping,
    new: &'m Mapping,
    sightings: BTreeMap<SightingKey, Sighting<'m>>,
    /// Whether some path has no row for any method on either side.
    knows_uncovered: bool,
}

/// A pair of rows that some path meets.
struct Sighting<'m> {
    old: Option<&'m Row>,
    new: Option<&'m Row>,
    quiet: [bool; 2],
    /// Paths with the methods for which they meet the pair; only those whose methods no other path covers.
    examples: Vec<(MethodSet, String)>,
}

impl<'m> Survey<'m> {
    /// Looks a path up in both mappings.
    fn look(&mut self, path: &str) {
        let mut pairs: Vec<(Option<&Row>, Option<&Row>, MethodSet)> = Vec::new();
        for method in Method::ALL {
            let (old, new) = (decider(self.old, path, method), decider(self.new, path, method));
            let is_same = |pair: &&mut (_, _, _)| (place(pair.0), place(pair.1)) == (place(old), place(new));
            match pairs.iter_mut().find(is_same) {
                Some((.., methods)) => *methods = methods.with(method),
                None => pairs.push((old, new, MethodSet::EMPTY.with(method))),
            }
        }
        let quiet = [self.old.is_quiet(path), self.new.is_quiet(path)];
        for (old, new, methods) in pairs {
            let is_uncovered = old.is_none() && new.is_none() && methods == MethodSet::ALL;
            self.knows_uncovered |= is_uncovered && quiet == [false; 2];
            let none = Sighting { old, new, quiet, examples: Vec::new() };
            self.sightings.entry((place(old), place(new), quiet)).or_insert(none).add(methods, path);
        }
    }

    fn regions(self) -> Vec<Region<'m>> {
        let mut regions: Vec<_> = self.sightings.into_values().flat_map(Sighting::regions).collect();
        regions.sort_by_key(|region| {
            (region.new.is_none(), region.is_uncovered(), place(region.new), place(region.old), region.quiet)
        });
        regions
    }
}

impl<'m> Sighting<'m> {
    fn add(&mut self, methods: MethodSet, path: &str) {
        let covers = |one: MethodSet, other: MethodSet| one.union(other) == one;
        if !self.examples.iter().any(|(known, _)| covers(*known, methods)) {
            self.examples.retain(|(known, _)| !covers(methods, *known));
            self.examples.push((methods, path.to_owned()));
        }
    }

    /// One region, or several if no single path meets the pair for all its methods.
    fn regions(mut self) -> Vec<Region<'m>> {
        self.examples.sort_by_key(|(methods, _)| std::cmp::Reverse(methods.iter().count()));
        let mut known = MethodSet::EMPTY;
        let mut regions = Vec::new();
        for (methods, example) in self.examples {
            let methods: MethodSet = methods.iter().filter(|method| !known.contains(*method)).collect();
            if !methods.is_empty() {
                known = known.union(methods);
                let Sighting { old, new, quiet, .. } = self;
                regions.push(Region { methods, example, old, new, quiet });
            }
        }
        regions
    }
}

/// The row that decides a request.
fn decider<'m>(mapping: &'m Mapping, path: &str, method: Method) -> Option<&'m Row> {
    mapping.find(path, method).row()
}

/// The value that identifies a row.
fn place(row: Option<&Row>) -> Option<usize> {
    row.map(|row| row.offset)
}

/// The part of a position that is new and worth continuing from.
fn unseen(pair: &Pair<'_>, position: Position, seen: &mut HashSet<Position>) -> Option<Position> {
    if position.is_dead() || !seen.insert(position.clone()) {
        return None;
    }
    for count in 1..position.width() {
        let Some((first, others)) = pair.split(&position, count) else { break };
        if seen.contains(&others) {
            return seen.insert(first.clone()).then_some(first);
        }
    }
    Some(position)
}
