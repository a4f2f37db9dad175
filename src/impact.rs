//! What a change of the mapping does to whom: exactly, before it is made.
//!
//! Requests are endless, but the pairs of rows that can decide one under the old and the new mapping are not
//! ([`Mapping::regions`]), and neither are the callers: the registry has so many people, and of those who hold the same
//! ([`profile`]) one is enough. So every pair of rows is asked about every profile, as sets, and what differs is the
//! impact. A cluster that changes its mode is a change like any other. Pure.
//!
//! What is not in it: the body of a request that no rule names, and Console's own checks behind the gate.

mod admission;
pub mod profile;
pub mod report;
#[cfg(test)]
mod tests;
pub mod text;

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;

use crate::mapping::regions::Region;
use crate::mapping::{BodyField, Mapping, Row, RowKind, V2Gate};
use crate::rbac::catalog::Catalog;

use admission::{Admitted, Demand, Judge};
pub use profile::{Population, Profile, ProfileKind};

/// The switches above the mapping, as they are taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// `FLAG_RBAC_V2`.
    pub rbac_v2: bool,
}

/// Everything that changes, and for whom.
#[derive(Debug)]
pub struct Impact<'m> {
    pub old: &'m Mapping,
    pub new: &'m Mapping,
    pub catalog: &'m Catalog,
    pub population: &'m Population,
    pub switches: Switches,
    /// In the order of the regions: the new file's, then rows that are gone.
    pub changes: Vec<Change<'m>>,
    /// Whether every path was looked at. If not, changes may be missing; those that are there are true.
    pub complete: bool,
    counts: BTreeMap<ProfileKind, Counts>,
}

/// One pair of rows whose change lets somebody in or keeps somebody out.
#[derive(Clone, Debug)]
pub struct Change<'m> {
    pub region: Region<'m>,
    /// For which bodies: those that meet this rule, or, for `None`, those that meet none.
    pub body: Option<(&'m BodyField, &'m str)>,
    /// Anybody at all, logged in or not.
    pub strangers: Option<Direction>,
    /// Whoever sends a bearer token or a signature that Console verifies.
    pub machines_of_console: Option<Direction>,
    /// Indices of profiles.
    pub gains: FixedBitSet,
    pub losses: FixedBitSet,
}

/// Which way access changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Gain,
    Loss,
}

impl Direction {
    fn between(before: bool, after: bool) -> Option<Direction> {
        match (before, after) {
            (false, true) => Some(Direction::Gain),
            (true, false) => Some(Direction::Loss),
            (true, true) | (false, false) => None,
        }
    }
}

/// How much changes. A gain is one caller on one route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub gains: usize,
    pub losses: usize,
}

/// Holds `new` against `old` for everybody in `population`.
pub fn impact<'m>(
    old: &'m Mapping,
    new: &'m Mapping,
    catalog: &'m Catalog,
    population: &'m Population,
    switches: Switches,
) -> Impact<'m> {
    let mut judge = Judge::new(population, switches);
    let mut changes = Vec::new();
    let regions = old.regions(new);
    let complete = regions.complete;
    for region in pairs(regions.all) {
        let (before, after) = (Demand::of(old, region.old), Demand::of(new, region.new));
        if before == after || is_answered_without_a_view(&region) {
            continue;
        }
        for body in bodies(&region) {
            let (before, after) = (judge.admitted(&before, body), judge.admitted(&after, body));
            if let Some(change) = change(&region, body, &before, &after) {
                changes.push(change);
            }
        }
    }
    let counts = counts(population, &changes);
    Impact { old, new, catalog, population, switches, changes, complete, counts }
}

/// Each pair of rows once, though no one path may show it for all of its methods.
fn pairs(regions: Vec<Region<'_>>) -> Vec<Region<'_>> {
    let place = |row: Option<&Row>| row.map(|row| row.offset);
    let mut pairs: Vec<Region<'_>> = Vec::new();
    for region in regions {
        let rows = (place(region.old), place(region.new));
        match pairs.last_mut().filter(|last| (place(last.old), place(last.new)) == rows) {
            Some(last) => last.methods = last.methods.union(region.methods),
            None => pairs.push(region),
        }
    }
    pairs
}

/// OPTIONS, where no row declares it: Flask answers by itself, and nothing of Console's runs.
fn is_answered_without_a_view(region: &Region<'_>) -> bool {
    use crate::method::{Method, MethodSet};
    let declares = |row: Option<&Row>| row.is_some_and(|row| row.methods.contains(Method::Options));
    region.methods == MethodSet::EMPTY.with(Method::Options) && !declares(region.old) && !declares(region.new)
}

/// The kinds of body that a rule of either row tells apart. Who gains by several rules together gains by one of them
/// alone or by none, so no combinations are needed.
fn bodies<'m>(region: &Region<'m>) -> Vec<Option<(&'m BodyField, &'m str)>> {
    let mut bodies = vec![None];
    for row in [region.old, region.new].into_iter().flatten() {
        if let RowKind::Gated { v2: V2Gate::Requires { when, .. }, .. } = &row.kind {
            for rule in when {
                let body = Some((&rule.field, rule.equals.as_str()));
                if !bodies.contains(&body) {
                    bodies.push(body);
                }
            }
        }
    }
    bodies
}

fn change<'m>(
    region: &Region<'m>,
    body: Option<(&'m BodyField, &'m str)>,
    before: &Admitted,
    after: &Admitted,
) -> Option<Change<'m>> {
    let strangers = Direction::between(before.strangers, after.strangers);
    let machines_of_console = Direction::between(before.machines_of_console, after.machines_of_console);
    let gains = without(&after.profiles, &before.profiles);
    let losses = without(&before.profiles, &after.profiles);
    let any = strangers.is_some() || machines_of_console.is_some() || !gains.is_clear() || !losses.is_clear();
    any.then(|| Change { region: region.clone(), body, strangers, machines_of_console, gains, losses })
}

fn counts(population: &Population, changes: &[Change<'_>]) -> BTreeMap<ProfileKind, Counts> {
    let mut counts: BTreeMap<ProfileKind, Counts> = BTreeMap::new();
    let profiles = population.profiles();
    for change in changes {
        for index in change.gains.ones() {
            counts.entry(profiles[index].kind).or_default().gains += profiles[index].members.len();
        }
        for index in change.losses.ones() {
            counts.entry(profiles[index].kind).or_default().losses += profiles[index].members.len();
        }
    }
    counts
}

fn without(set: &FixedBitSet, others: &FixedBitSet) -> FixedBitSet {
    let mut rest = set.clone();
    rest.difference_with(others);
    rest
}

impl<'m> Impact<'m> {
    /// Whether nobody's access changes.
    pub fn is_neutral(&self) -> bool {
        self.changes.is_empty()
    }

    /// Gains and losses of the callers of one kind.
    pub fn counts(&self, kind: ProfileKind) -> Counts {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// The profiles that gain or lose by `change`.
    pub fn who(&self, change: &Change<'_>, direction: Direction) -> impl Iterator<Item = &'m Profile> {
        let set = match direction {
            Direction::Gain => &change.gains,
            Direction::Loss => &change.losses,
        };
        let indices: Vec<usize> = set.ones().collect();
        let profiles = self.population.profiles();
        indices.into_iter().map(move |index| &profiles[index])
    }

    /// Each way of grants by which the profile passes the row of one side of the change; empty where it does not pass by
    /// a grant.
    pub fn ways(
        &self,
        profile: &Profile,
        mapping: &Mapping,
        row: Option<&Row>,
        body: Option<(&BodyField, &str)>,
    ) -> Vec<String> {
        admission::ways(profile, &Demand::of(mapping, row), body, self.switches, self.catalog)
    }
}
