//! The exact impact of a change of the mapping or of grants, before it is made: who gains and who loses which access.
//!
//! There are infinitely many requests, but only finitely many pairs of rows that can decide one under the old and the
//! new mapping ([`Mapping::regions`]). The callers are finite too: the registry has a fixed set of people, and one of
//! those with the same access ([`profile`]) represents all of them. So every pair of rows is evaluated for every
//! profile, as sets, and the differences are the impact. A cluster that changes its mode is a change like any other,
//! and so is `unmapped`. Pure.
//!
//! If a row examines the body, or accepts WebSockets, the kinds of request that it distinguishes are evaluated one by
//! one ([`Requests`]). The impact leaves out Console's own checks behind the gate. The answer that people without
//! access get instead (302, 401 or 403) changes no access; [`Impact::served`] lists where it changes.

mod admission;
pub mod profile;
pub mod report;
mod requests;
mod summary;
#[cfg(test)]
pub mod tests;
pub mod text;

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;
use policy::decision::body::BodyKind;
use policy::mapping::regions::Region;
use policy::mapping::{Forbidden, Mapping, Row, Unauthenticated};
use policy::rbac::catalog::Catalog;

use admission::{Admitted, Demand, Judge};
pub use profile::{LegacyAs, Population, Profile, ProfileKind};
pub use requests::{Requests, Side};

/// The assumed switches above the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// `FLAG_RBAC_V2`.
    pub rbac_v2: bool,
}

/// All changes, and the callers that gain or lose by them.
#[derive(Debug)]
pub struct Impact<'m> {
    pub old: &'m Mapping,
    pub new: &'m Mapping,
    pub catalog: &'m Catalog,
    pub population: &'m Population,
    /// The grants before, if grants change; `population` then has those after.
    before: Option<Granted<'m>>,
    pub switches: Switches,
    /// Unmapped requests come first, then the order of the regions: the new file's, then rows that were removed.
    pub changes: Vec<Change<'m>>,
    /// Routes that are served, or refused, in a different way than before.
    pub served: Vec<ServerChange>,
    /// Whether every path was examined. If not, changes may be missing; the listed ones are still correct.
    pub complete: bool,
    counts: BTreeMap<ProfileKind, Counts>,
}

/// One pair of rows whose change permits a caller or refuses one.
#[derive(Clone, Debug)]
pub struct Change<'m> {
    /// Contains only those methods for which the change holds.
    pub region: Region<'m>,
    pub requests: Requests<'m>,
    /// Everyone without a session or a token. A gain is a gain for anyone at all; after a loss, only the listed
    /// profiles keep access.
    pub strangers: Option<AccessChange>,
    /// Everyone that sends a bearer token or a signature that Console verifies.
    pub machines_of_console: Option<AccessChange>,
    /// Indices of profiles.
    pub gains: FixedBitSet,
    pub losses: FixedBitSet,
}

/// A route that a different server serves than before (the gate itself, Console, or an upstream), with notifications
/// for other roles, or with another answer to unauthenticated or denied callers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ServerChange {
    pub route: String,
    pub before: String,
    pub after: String,
}

impl ServerChange {
    fn of(region: &Region<'_>) -> Option<ServerChange> {
        let server = |row: Option<&Row>| match row {
            Some(row) if row.served_by_gate() => "the gate".to_owned(),
            Some(Row { upstream: Some(name), .. }) => format!("upstream {name}"),
            _ => "Console".to_owned(),
        };
        let server = |row: Option<&Row>| {
            let notifies = row.into_iter().flat_map(|row| &row.notifies);
            let roles: Vec<&str> = notifies.map(|role| &**role.name()).collect();
            let server = server(row);
            match roles.is_empty() {
                true => server,
                false => format!("{server}, notifying for {}", roles.join(", ")),
            }
        };
        // The form of a refusal changes no caller's access, but every refused client sees it.
        let strangers = |row: Option<&Row>| match row?.unauthenticated {
            Unauthenticated::Redirect => Some(", strangers to the login"),
            Unauthenticated::Status401 => Some(", 401 for strangers"),
            Unauthenticated::Status403 => Some(", 403 for strangers"),
        };
        let denied = |row: Option<&Row>| match row?.forbidden {
            Forbidden::Redirect => Some(", to the login for who is denied"),
            Forbidden::Status403 => Some(", 403 for who is denied"),
        };
        let route = region.new.or(region.old)?.route.to_string();
        let (mut before, mut after) = (server(region.old), server(region.new));
        for (was, is) in
            [(strangers(region.old), strangers(region.new)), (denied(region.old), denied(region.new))]
        {
            if was != is && region.old.is_some() && region.new.is_some() {
                before.extend(was);
                after.extend(is);
            }
        }
        (before != after).then_some(ServerChange { route, before, after })
    }
}

/// The direction of a change of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessChange {
    Gain,
    Loss,
}

impl AccessChange {
    fn between(before: bool, after: bool) -> Option<AccessChange> {
        match (before, after) {
            (false, true) => Some(AccessChange::Gain),
            (true, false) => Some(AccessChange::Loss),
            (true, true) | (false, false) => None,
        }
    }
}

impl Change<'_> {
    /// The profiles that gain, or those that lose.
    fn of(&self, direction: AccessChange) -> &FixedBitSet {
        match direction {
            AccessChange::Gain => &self.gains,
            AccessChange::Loss => &self.losses,
        }
    }

    /// The callers that gain or lose but that no profile names.
    pub fn nameless(&self, direction: AccessChange) -> impl Iterator<Item = &'static str> {
        let strangers = (self.strangers == Some(direction)).then_some(match direction {
            AccessChange::Gain => "anyone, logged in or not",
            AccessChange::Loss => "callers who are not logged in",
        });
        // Access for anyone includes programs.
        let is_anybody = self.strangers == Some(AccessChange::Gain) && direction == AccessChange::Gain;
        let programs = self.machines_of_console == Some(direction) && !is_anybody;
        let programs = programs.then_some("programs with a token or signature that Console verifies");
        strangers.into_iter().chain(programs)
    }
}

/// The amount of change. A gain is one caller on one route, by any number of kinds of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub gains: usize,
    pub losses: usize,
}

/// The grants of everyone, on one side of a change.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'m> {
    pub catalog: &'m Catalog,
    pub population: &'m Population,
}

/// The judge for each side.
struct Judges<'p> {
    before: Option<Judge<'p>>,
    after: Judge<'p>,
}

impl<'p> Judges<'p> {
    fn at(&mut self, side: Side) -> &mut Judge<'p> {
        match (&mut self.before, side) {
            (Some(before), Side::Before) => before,
            _ => &mut self.after,
        }
    }
}

/// Compares the callers that `after` and `before` permit, for the same rows: a change of grants, not of the mapping.
/// The populations are a [pair](Population::pair).
pub fn impact_of_grants<'m>(
    mapping: &'m Mapping,
    before: Granted<'m>,
    after: Granted<'m>,
    switches: Switches,
) -> Impact<'m> {
    let judges = Judges {
        before: Some(Judge::new(before.population, switches)),
        after: Judge::new(after.population, switches),
    };
    compared([mapping, mapping], Some(before), after, switches, judges)
}

/// Compares `new` with `old` for everyone in `population`.
pub fn impact<'m>(
    old: &'m Mapping,
    new: &'m Mapping,
    catalog: &'m Catalog,
    population: &'m Population,
    switches: Switches,
) -> Impact<'m> {
    let judges = Judges { before: None, after: Judge::new(population, switches) };
    compared([old, new], None, Granted { catalog, population }, switches, judges)
}

fn compared<'m>(
    [old, new]: [&'m Mapping; 2],
    before: Option<Granted<'m>>,
    after: Granted<'m>,
    switches: Switches,
    mut judges: Judges<'_>,
) -> Impact<'m> {
    let mut changes = Vec::new();
    let mut served = std::collections::BTreeSet::new();
    let regions = old.regions(new);
    let complete = regions.complete;
    for region in pairs(regions.all) {
        served.extend(ServerChange::of(&region));
        let path = region.example.as_str();
        let demands = [Demand::of(old, region.old, path), Demand::of(new, region.new, path)];
        let is_same_row = demands[0] == demands[1]
            && takes_websocket(region.old) == takes_websocket(region.new)
            && opens_preflights(region.old) == opens_preflights(region.new);
        if is_same_row && before.is_none() {
            continue;
        }
        changes.extend(changes_in(&region, demands, &mut judges));
    }
    changes.sort_by_key(|change| !change.region.is_uncovered());
    let Granted { catalog, population } = after;
    let counts = counts(population, &changes);
    let served = served.into_iter().collect();
    Impact { old, new, catalog, population, before, switches, changes, served, complete, counts }
}

/// Each pair of rows once, even if no single path shows it for all of its methods.
fn pairs(regions: Vec<Region<'_>>) -> Vec<Region<'_>> {
    let place = |row: Option<&Row>| row.map(|row| row.offset);
    let mut pairs: Vec<Region<'_>> = Vec::new();
    for region in regions {
        let rows = |one: &Region<'_>| (place(one.old), place(one.new), one.quiet);
        match pairs.last_mut().filter(|last| rows(last) == rows(&region)) {
            Some(last) => last.methods = last.methods.union(region.methods),
            None => pairs.push(region),
        }
    }
    pairs
}

/// The changes in a region, for each kind of request; only one if all kinds are alike.
fn changes_in<'m>(region: &Region<'m>, demands: [Demand<'m>; 2], judges: &mut Judges<'_>) -> Vec<Change<'m>> {
    let kinds = requests::of(region);
    let count = kinds.len();
    let mut changes = Vec::new();
    for (requests, methods) in kinds {
        let mut admitted = |side, demand: &Demand<'_>, row| match requests {
            Requests::WebSocket if !takes_websocket(row) => judges.at(side).none(),
            Requests::Preflight if opens_preflights(row) => judges.at(side).anybody(),
            _ => judges.at(side).admitted(demand, requests.body_at(side)),
        };
        let before = admitted(Side::Before, &demands[0], region.old);
        let after = admitted(Side::After, &demands[1], region.new);
        changes.extend(change(&Region { methods, ..region.clone() }, requests, &before, &after));
    }
    let effect = |change: &Change<'m>| {
        (change.strangers, change.machines_of_console, change.gains.clone(), change.losses.clone())
    };
    match changes.first() {
        Some(first) if changes.len() == count && changes.iter().all(|one| effect(one) == effect(first)) => {
            vec![Change { requests: Requests::All, region: region.clone(), ..first.clone() }]
        }
        _ => changes,
    }
}

fn takes_websocket(row: Option<&Row>) -> bool {
    row.is_some_and(|row| row.websocket)
}

fn opens_preflights(row: Option<&Row>) -> bool {
    row.is_some_and(|row| row.cors)
}

fn change<'m>(
    region: &Region<'m>,
    requests: Requests<'m>,
    before: &Admitted,
    after: &Admitted,
) -> Option<Change<'m>> {
    let strangers = AccessChange::between(before.strangers, after.strangers);
    let machines_of_console = AccessChange::between(before.machines_of_console, after.machines_of_console);
    let gains = without(&after.profiles, &before.profiles);
    let losses = without(&before.profiles, &after.profiles);
    (before != after).then(|| Change {
        region: region.clone(),
        requests,
        strangers,
        machines_of_console,
        gains,
        losses,
    })
}

fn counts(population: &Population, changes: &[Change<'_>]) -> BTreeMap<ProfileKind, Counts> {
    let none = || FixedBitSet::with_capacity(population.profiles().len());
    let mut by_route: BTreeMap<Option<&str>, [FixedBitSet; 2]> = BTreeMap::new();
    for change in changes {
        let [gains, losses] =
            by_route.entry(report::route_of(&change.region)).or_insert_with(|| [none(), none()]);
        gains.union_with(&change.gains);
        losses.union_with(&change.losses);
    }
    let mut counts: BTreeMap<ProfileKind, Counts> = BTreeMap::new();
    let profiles = population.profiles();
    for [gains, losses] in by_route.values() {
        for profile in gains.ones().map(|index| &profiles[index]) {
            counts.entry(profile.kind).or_default().gains += profile.members.len();
        }
        for profile in losses.ones().map(|index| &profiles[index]) {
            counts.entry(profile.kind).or_default().losses += profile.members.len();
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
    /// Whether access stays the same for everyone.
    pub fn is_neutral(&self) -> bool {
        self.changes.is_empty()
    }

    /// Gains and losses of the callers of one kind.
    pub fn counts(&self, kind: ProfileKind) -> Counts {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// The number of callers of one kind that gain anything, and of those that lose anything.
    pub fn people(&self, kind: ProfileKind) -> Counts {
        let count = |direction| {
            let profiles = self.population.profiles();
            let mut affected = FixedBitSet::with_capacity(profiles.len());
            self.changes.iter().for_each(|change| affected.union_with(change.of(direction)));
            let of_kind = affected.ones().map(|index| &profiles[index]).filter(|one| one.kind == kind);
            of_kind.map(|profile| profile.members.len()).sum()
        };
        Counts { gains: count(AccessChange::Gain), losses: count(AccessChange::Loss) }
    }

    /// The profiles that gain or lose by `change`.
    pub fn who(&self, change: &Change<'_>, direction: AccessChange) -> impl Iterator<Item = &'m Profile> {
        let indices: Vec<usize> = change.of(direction).ones().collect();
        let profiles = self.granted(direction).population.profiles();
        indices.into_iter().map(move |index| &profiles[index])
    }

    /// The grants on the side that explains a change of this direction: those after it for a gain, those before it for
    /// a loss.
    pub(crate) fn granted(&self, direction: AccessChange) -> Granted<'m> {
        match (self.before, direction) {
            (Some(before), AccessChange::Loss) => before,
            _ => Granted { catalog: self.catalog, population: self.population },
        }
    }

    /// Each way of access by which the profile passes the row of one side of the change; empty if it does not pass by a
    /// grant.
    pub fn ways(
        &self,
        profile: &Profile,
        mapping: &Mapping,
        row: Option<&Row>,
        body: BodyKind<'_>,
    ) -> Vec<String> {
        self.ways_in(self.catalog, profile, (mapping, row), body)
    }

    fn ways_in(
        &self,
        catalog: &Catalog,
        profile: &Profile,
        (mapping, row): (&Mapping, Option<&Row>),
        body: BodyKind<'_>,
    ) -> Vec<String> {
        let Some(row) = row else { return Vec::new() };
        admission::ways(profile, &Demand::of_row(mapping, row), body, self.switches, catalog)
    }
}
