//! Where two mappings can answer differently: every pair of rows that some request meets. What no row covers, paths and
//! undeclared methods alike, is a pair too, of no row and no row.
//!
//! Both trees are walked at once, segment by segment. Of paths there is no end, but of the *positions* that a path can
//! lead to there is: which places of both trees a search could be at, in which order it would try them, how far the
//! parts have come that take the rest of the path, which values were out of range, and what the longest prefix is
//! ([`position`]). Two paths that lead to the same position find the same rows, whatever follows. So one path for each
//! position is enough, and for each position [`segments`] finds one segment for each position that can be next.
//! The answers themselves are those of [`Mapping::find`] for these paths: what is reported occurs.
//!
//! Where both mappings have the same rows below a place, the walk does not go through all combinations with the
//! rows that lie behind it in the search: [`Pair::split`](position::Pair::split) says why none is missed.
//!
//! Nothing is missed among the paths that the request firewall lets through, except for three things:
//!
//! - numbers of more than 4,300 digits, which `int` refuses, are not tried;
//! - whether a `float` is in its range is taken from its decimals; the application rounds it first, so that a value
//!   may be taken for one beyond a limit that differs from it in the seventeenth digit;
//! - a part with lengths in the thousands, and mappings of which the comparison takes too long, are not looked through:
//!   [`Regions::complete`] is false then.

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
    /// The row of the old mapping that decides; `None` where none does.
    pub old: Option<&'m Row>,
    /// The row of the new mapping that decides.
    pub new: Option<&'m Row>,
    /// Whether the old and the new mapping name the path in `quiet`: such paths are regions of their own.
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
    /// By the new row's place in the file, then the old one's; then what no new row decides, and last what no row decides
    /// in either mapping.
    pub all: Vec<Region<'m>>,
    /// Whether all paths were looked at. If not, regions may be missing; those that are there are true.
    pub complete: bool,
}

impl Mapping {
    /// Calls `look` with a path for every way in which a search can go through these rows and through the rules of an
    /// application. Returns whether it could do so for all of them.
    pub fn walk_beside(&self, application: &Matcher, mut look: impl FnMut(&str)) -> bool {
        walk(application, &self.matcher, |met| {
            if let Met::MayEnd(path) = met {
                look(path);
            }
        })
    }

    /// Every pair of rows, one of this mapping and one of `new`, that some request meets.
    ///
    /// A pair is there once, with all its methods. Should no single path show it for all of them, it is there again
    /// with another path and the methods that are left.
    pub fn regions<'m>(&'m self, new: &'m Mapping) -> Regions<'m> {
        let mut survey = Survey { old: self, new, sightings: BTreeMap::new(), knows_uncovered: false };
        let complete = walk(&self.matcher, &new.matcher, |met| match met {
            Met::MayEnd(path) => survey.look(path),
            // Where no row can end there is none for any method, and one such path shows all about what is uncovered.
            // Where there is none, rows can end everywhere, and all is looked at anyway.
            Met::DeadEnd { .. } if survey.knows_uncovered => {}
            Met::DeadEnd { path, segment } => survey.look(&format!("{path}/{segment}")),
        });
        for path in self.quiet().union(new.quiet()) {
            survey.look(path);
        }
        Regions { all: survey.regions(), complete }
    }
}

/// A path that a walk has come to.
enum Met<'p> {
    /// A rule of one of the tables may match it.
    MayEnd(&'p str),
    /// No rule of either table matches `path/segment`, whatever the method.
    DeadEnd { path: &'p str, segment: &'p str },
}

/// Calls `look` with a path for every way in which a search can go through two tables of rules. Returns whether it could
/// do so for all of them.
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

/// How much is done before a survey gives up: some seconds' work.
const BUDGET: usize = 100_000_000;

/// The rows of a pair, by their place in either mapping, and whether the path is quiet there.
type SightingKey = (Option<usize>, Option<usize>, [bool; 2]);

/// What has been seen of two mappings.
struct Survey<'m> {
    old: &'m Mapping,
    new: &'m Mapping,
    sightings: BTreeMap<SightingKey, Sighting<'m>>,
    /// Whether a path was met that has no row for any method on either side.
    knows_uncovered: bool,
}

/// A pair of rows that was met.
struct Sighting<'m> {
    old: Option<&'m Row>,
    new: Option<&'m Row>,
    quiet: [bool; 2],
    /// The methods for which a path meets it, where no path has more of them.
    examples: Vec<(MethodSet, String)>,
}

impl<'m> Survey<'m> {
    /// Asks both mappings about a path.
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

    /// One region, unless no path meets the pair for all methods for which it is met at all.
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

/// By which rows are identified.
fn place(row: Option<&Row>) -> Option<usize> {
    row.map(|row| row.offset)
}

/// What of a position has not been seen yet, and is worth going on from.
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
