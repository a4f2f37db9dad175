//! The callers that a row permits, as a set of profiles. It agrees with [`decide`](policy::decision::decide), for all
//! profiles at once; a property test compares the two.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use policy::decision::body::BodyKind;
use policy::decision::{Control, GateInForce, gate_in_force, takes_presented};
use policy::ids::Epoch;
use policy::mapping::{Mapping, Rollout, Row, RowKind, Unmapped, V2Gate};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, granting_groups};
use policy::rbac::{LegacyRole, Requirement};

use super::Switches;
use super::profile::{Population, Profile, ProfileKind};

/// The demand of a row. Two rows with the same demand permit the same callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Demand<'m> {
    Row(&'m RowKind, &'m Rollout),
    NoRow(Unmapped),
}

impl<'m> Demand<'m> {
    /// The demand of a row, or of the mapping for requests for this path that no row covers.
    pub(super) fn of(mapping: &'m Mapping, row: Option<&'m Row>, path: &str) -> Demand<'m> {
        row.map_or_else(|| Demand::NoRow(mapping.unmapped_at(path)), |row| Demand::of_row(mapping, row))
    }

    pub(super) fn of_row(mapping: &'m Mapping, row: &'m Row) -> Demand<'m> {
        Demand::Row(&row.kind, mapping.rollout_of(row))
    }
}

/// The callers that pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub strangers: bool,
    pub machines_of_console: bool,
    pub profiles: FixedBitSet,
}

/// Answers for a whole population.
pub(super) struct Judge<'p> {
    profiles: &'p [Profile],
    /// Profiles that do not exist here: they pass only where anyone does.
    absent: &'p FixedBitSet,
    control: Control,
    holders: HashMap<Requirement, FixedBitSet>,
    legacy: HashMap<LegacyRole, FixedBitSet>,
    admins: FixedBitSet,
    machines: FixedBitSet,
    everybody: FixedBitSet,
}

impl<'p> Judge<'p> {
    pub(super) fn new(population: &'p Population, switches: Switches) -> Judge<'p> {
        let profiles = population.profiles();
        let set = |belongs: &dyn Fn(&Profile) -> bool| members(profiles, belongs);
        let roles: BTreeSet<&LegacyRole> = profiles.iter().flat_map(|profile| &profile.legacy).collect();
        let legacy = roles
            .into_iter()
            .map(|role| (role.clone(), set(&|profile| profile.legacy.contains(role))))
            .collect();
        Judge {
            profiles,
            absent: population.absent(),
            control: control(switches),
            holders: HashMap::new(),
            legacy,
            admins: set(&|profile| profile.kind != ProfileKind::Machine),
            machines: set(&|profile| profile.kind == ProfileKind::Machine),
            everybody: set(&|_| true),
        }
    }

    /// No caller.
    pub(super) fn none(&self) -> Admitted {
        let profiles = FixedBitSet::with_capacity(self.profiles.len());
        Admitted { strangers: false, machines_of_console: false, profiles }
    }

    /// Anyone, known or not.
    pub(super) fn anybody(&self) -> Admitted {
        Admitted { strangers: true, machines_of_console: true, profiles: self.everybody.clone() }
    }

    /// The callers that pass with such a body.
    pub(super) fn admitted(&mut self, demand: &Demand<'_>, body: BodyKind<'_>) -> Admitted {
        let mut admitted = self.admitted_if_present(demand, body);
        if !admitted.strangers {
            admitted.profiles.difference_with(self.absent);
        }
        admitted
    }

    fn admitted_if_present(&mut self, demand: &Demand<'_>, body: BodyKind<'_>) -> Admitted {
        let all =
            || Admitted { strangers: true, machines_of_console: true, profiles: self.everybody.clone() };
        let known = |profiles| Admitted { strangers: false, machines_of_console: false, profiles };
        match demand {
            Demand::NoRow(Unmapped::Forward) | Demand::Row(RowKind::Public | RowKind::Upstream, _) => all(),
            Demand::NoRow(Unmapped::Deny | Unmapped::Quiet) | Demand::Row(RowKind::Gone, _) => self.none(),
            // A machine, enrolled or not, sends a token, and nothing else is required there.
            Demand::Row(RowKind::Machine, _) => {
                Admitted { machines_of_console: true, ..known(self.machines.clone()) }
            }
            Demand::Row(RowKind::Session, _) => known(self.admins.clone()),
            Demand::Row(kind @ RowKind::Gated { legacy, v2, machine }, rollout) => {
                let mut passing = self.passing(legacy.as_deref(), v2, rollout, body);
                if !machine {
                    passing.intersect_with(&self.admins);
                }
                let machines_of_console = takes_presented(kind, rollout, &self.control);
                Admitted { machines_of_console, ..known(passing) }
            }
        }
    }

    fn passing(
        &mut self,
        legacy: Option<&BTreeSet<LegacyRole>>,
        v2: &V2Gate,
        rollout: &Rollout,
        body: BodyKind<'_>,
    ) -> FixedBitSet {
        let everybody = gate_in_force(v2, rollout.mode, &self.control);
        let Some(_) = &rollout.cohort else { return self.behind(everybody, legacy, v2, body) };
        let in_v2 = |profile: &Profile| rollout.mode_at(&profile.groups, profile.percentile) == rollout.mode;
        let cohort = members(self.profiles, &in_v2);
        let rest = gate_in_force(v2, policy::mapping::ClusterMode::Shadow, &self.control);
        let mut passing = self.behind(everybody, legacy, v2, body);
        passing.intersect_with(&cohort);
        let mut others = self.behind(rest, legacy, v2, body);
        others.difference_with(&cohort);
        passing.union_with(&others);
        passing
    }

    fn behind(
        &mut self,
        gate: GateInForce,
        legacy: Option<&BTreeSet<LegacyRole>>,
        v2: &V2Gate,
        body: BodyKind<'_>,
    ) -> FixedBitSet {
        let mut passing = FixedBitSet::with_capacity(self.profiles.len());
        match gate {
            GateInForce::Legacy(_) | GateInForce::Shadow => {
                for role in legacy.into_iter().flatten() {
                    // A role that no profile holds admits no caller.
                    if let Some(holders) = self.legacy.get(role) {
                        passing.union_with(holders);
                    }
                }
            }
            GateInForce::V2 => {
                if let Some((any, further)) = demanded(v2, body) {
                    for one in any {
                        passing.union_with(self.holders(one));
                    }
                    for further in further {
                        passing.intersect_with(self.holders(further));
                    }
                }
            }
        }
        passing
    }

    fn holders(&mut self, requirement: &Requirement) -> &FixedBitSet {
        let profiles = self.profiles;
        self.holders
            .entry(requirement.clone())
            .or_insert_with(|| members(profiles, &|profile| meets(profile, requirement)))
    }
}

pub(super) fn control(switches: Switches) -> Control {
    Control { epoch: Epoch(0), rbac_v2: switches.rbac_v2, may_enforce: true }
}

fn members(profiles: &[Profile], belongs: &dyn Fn(&Profile) -> bool) -> FixedBitSet {
    let mut set = FixedBitSet::with_capacity(profiles.len());
    set.extend(profiles.iter().enumerate().filter(|(_, profile)| belongs(profile)).map(|(index, _)| index));
    set
}

fn meets(profile: &Profile, requirement: &Requirement) -> bool {
    match requirement {
        Requirement::Role(name) => profile.roles.contains(name),
        Requirement::Permission(name) => profile.permissions.contains(name),
    }
}

/// The requirements of V2 for such a body: alternatives of which one is enough, and further ones that are all needed.
/// `None` if nothing would be enough: for an undecided row, or a body that its rules cannot read. On a row for a
/// ticket, these are the requirements that apply without a ticket: the callers permitted by a ticket change with each
/// ticket, and no grant to a group has that effect.
pub(super) fn demanded<'v>(
    v2: &'v V2Gate,
    body: BodyKind<'_>,
) -> Option<(Vec<&'v Requirement>, Vec<&'v Requirement>)> {
    match v2 {
        V2Gate::Undecided { .. } => None,
        V2Gate::Requires { when, .. } if body == BodyKind::Unreadable && !when.is_empty() => None,
        V2Gate::Requires { base, also, when, ticket } => {
            let met = when.iter().filter(|rule| body.meets(rule));
            let any = ticket.as_ref().map_or_else(|| vec![base], |rule| rule.without.iter().collect());
            Some((any, also.iter().chain(met.map(|rule| &rule.requires)).collect()))
        }
    }
}

/// Each way of access by which a profile passes.
pub(super) fn ways(
    profile: &Profile,
    demand: &Demand<'_>,
    body: BodyKind<'_>,
    switches: Switches,
    catalog: &Catalog,
) -> Vec<String> {
    let Demand::Row(RowKind::Gated { legacy, v2, .. }, rollout) = demand else { return Vec::new() };
    let mode = rollout.mode_at(&profile.groups, profile.percentile);
    if gate_in_force(v2, mode, &control(switches)) != GateInForce::V2 {
        let held =
            profile.legacy.iter().filter(|role| legacy.as_ref().is_some_and(|roles| roles.contains(role)));
        return held.map(|role| format!("legacy role {}", role.as_str())).collect();
    }
    let mut ways = Vec::new();
    for requirement in demanded(v2, body).into_iter().flat_map(|(any, more)| any.into_iter().chain(more)) {
        for group in granting_groups(&profile.groups, profile.break_glass) {
            let beginning = if group == BREAK_GLASS { "break-glass session" } else { group };
            ways.extend(
                catalog.way_to(group, requirement).map(|way| way_in_words(beginning, &way, requirement)),
            );
        }
    }
    ways
}

fn way_in_words(beginning: &str, way: &[Arc<str>], requirement: &Requirement) -> String {
    let mut steps = vec![beginning];
    steps.extend(way.iter().map(AsRef::as_ref));
    if let Requirement::Permission(name) = requirement {
        steps.push(name);
    }
    steps.join(" -> ")
}
