//! Mutation: what no test of a file would notice.
//!
//! A mutant is the mapping or the registry with one change. A test *kills* it if a case or an invariant fails there. A
//! mutant that decides every request of every possible caller as before, in the modes that the file tests, is not counted:
//! that is decided, too.

mod effect;
mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::decision::Target;
use policy::diagnostic::Lines;
use policy::mapping::{Mapping, Row};
use policy::rbac::Requirement;
use policy::rbac::catalog::Catalog;
use serde::Serialize;

use self::effect::{Effect, Pair};
use self::generate::{Change, Mutant};
use super::caller::Resolved;
use super::coverage::modes;
use super::invariants::examine;
use super::judge::{Asked, Ground, Sent, Under};
use super::names::GrantName;
use super::requests::index_of;
use super::suite::{Case, Invariant, Who};
use super::{TestFile, World};

/// The mutants of a mapping.
#[derive(Clone, Debug, Serialize)]
pub struct Mutation {
    pub mutants: usize,
    pub killed: usize,
    /// Those that change no decision.
    pub equivalent: usize,
    /// Those that no gate would activate.
    pub refused: usize,
    pub survivors: Vec<Survivor>,
}

/// A mutant that no test kills.
#[derive(Clone, Debug, Serialize)]
pub struct Survivor {
    /// The sentence: "if ..., no test would fail".
    pub sentence: String,
    pub line: Option<usize>,
    /// A request that is decided differently.
    pub example: Option<String>,
}

impl Mutation {
    /// The share of the counted mutants that are killed, in whole percent, rounded down.
    pub fn percent(&self) -> usize {
        (self.killed * 100).checked_div(self.killed + self.survivors.len()).unwrap_or(100)
    }
}

/// Tests each mutant. The file must hold on the mapping itself.
pub fn mutation(file: &TestFile, world: &World<'_>) -> Mutation {
    let lines = Lines::new(world.mapping.source());
    let bench = Bench::new(file, world);
    let mut mutation = Mutation { mutants: 0, killed: 0, equivalent: 0, refused: 0, survivors: Vec::new() };
    for mutant in generate::all(world.mapping, world.catalog) {
        mutation.mutants += 1;
        match bench.fate(&mutant.change) {
            Fate::Killed => mutation.killed += 1,
            Fate::Refused => mutation.refused += 1,
            Fate::Survives(Effect::None) => mutation.equivalent += 1,
            Fate::Survives(effect) => mutation.survivors.push(Survivor {
                sentence: sentence(&mutant),
                line: mutant.offset.map(|offset| lines.position(offset).0),
                example: effect.in_words(),
            }),
        }
    }
    mutation
}

fn sentence(mutant: &Mutant) -> String {
    format!("if {}, no test would fail", mutant.condition)
}

enum Fate {
    Killed,
    Refused,
    Survives(Effect),
}

/// The tests of a file, by the rows that decide their requests.
struct Bench<'a> {
    file: &'a TestFile,
    world: &'a World<'a>,
    modes: BTreeSet<Under>,
    resolved: Vec<Arc<Resolved>>,
    /// The requests of cases, by the index of the row that decides them.
    by_row: BTreeMap<Option<usize>, Vec<(usize, usize)>>,
}

impl<'a> Bench<'a> {
    fn new(file: &'a TestFile, world: &'a World<'a>) -> Bench<'a> {
        let mut by_row: BTreeMap<Option<usize>, Vec<(usize, usize)>> = BTreeMap::new();
        for (at, case) in file.cases.iter().enumerate() {
            let requests = case.requests.iter().enumerate().filter(|(_, asked)| asked.refused.is_none());
            requests.for_each(|(number, asked)| by_row.entry(asked.row).or_default().push((at, number)));
        }
        let resolve = |case: &Case| Arc::new(Resolved::of(&case.caller, world.catalog));
        Bench { file, world, modes: modes(file), resolved: file.cases.iter().map(resolve).collect(), by_row }
    }

    fn ground(&self) -> Ground<'a> {
        Ground::of(self.world.mapping, self.world.catalog, self.world.control)
    }

    fn rows(&self) -> &'a [Row] {
        self.world.mapping.rows()
    }

    fn fate(&self, change: &Change) -> Fate {
        match change {
            Change::Row(row) => self.replaced(row),
            Change::Dropped(index) => {
                let mut rows = self.rows().to_vec();
                rows.remove(*index);
                self.remapped(rows)
            }
            Change::Methods(index, methods) => {
                let mut rows = self.rows().to_vec();
                rows[*index].methods = *methods;
                self.remapped(rows)
            }
            Change::Cluster(name, rollout) => {
                let ground = Ground { rollout: Some((name, rollout)), ..self.ground() };
                let is_in = |row: &&Row| row.cluster.as_ref() == Some(name);
                self.decided_by(&ground, |row| is_in(&row), None)
            }
            Change::Unmapped(unmapped) => {
                let ground = Ground { unmapped: Some(*unmapped), ..self.ground() };
                let at = |asked: &Asked| asked.row.is_none().then_some(None);
                match self.is_killed(&ground, at, |_| true) {
                    true => Fate::Killed,
                    false => Fate::Survives(Effect::Unknown),
                }
            }
            Change::Grants(catalog) => self.regranted(catalog),
        }
    }

    /// One row decides differently; which requests it decides is the same.
    fn replaced(&self, other: &Row) -> Fate {
        let index = index_of(self.world.mapping, other.offset);
        let ground = self.ground();
        let at = |asked: &Asked| (asked.row == index).then_some(Some(other));
        if self.is_killed(&ground, at, |_| true) {
            return Fate::Killed;
        }
        let row = index.and_then(|index| self.rows().get(index));
        Fate::Survives(self.effect(&ground, &ground, [row, Some(other)], None))
    }

    /// The grounds decide differently for the rows of `wanted`, with the same rows.
    fn decided_by(
        &self,
        ground: &Ground<'_>,
        wanted: impl Fn(&Row) -> bool,
        invariants: Option<&BTreeSet<usize>>,
    ) -> Fate {
        let row_at = |asked: &Asked| asked.row.and_then(|index| self.rows().get(index));
        let at = |asked: &Asked| row_at(asked).filter(|row| wanted(row)).map(Some);
        let all = |asked: &Asked| Some(row_at(asked));
        let is_whole = |at: usize| invariants.is_some_and(|whole| whole.contains(&at));
        let killed = self.cases_fail(ground, at)
            || self.file.invariants.iter().enumerate().any(|(number, invariant)| match is_whole(number) {
                true => self.breaks(invariant, ground, all),
                false => self.breaks(invariant, ground, at),
            });
        if killed {
            return Fate::Killed;
        }
        let rows = self.rows().iter().filter(|row| wanted(row));
        let mut effects = rows.map(|row| self.effect(&self.ground(), ground, [Some(row), Some(row)], None));
        Fate::Survives(effects.find(|effect| *effect != Effect::None).unwrap_or(Effect::None))
    }

    /// Other rows, so that requests may lead to other rows.
    fn remapped(&self, rows: Vec<Row>) -> Fate {
        let Some(other) = self.world.mapping.with_rows(rows) else { return Fate::Refused };
        let ground = Ground { mapping: &other, ..self.ground() };
        let place = |row: Option<&Row>| row.map(|row| (row.offset, row.methods));
        let at = |asked: &Asked| {
            let before = asked.row.and_then(|index| self.rows().get(index));
            let after = Target::of(&other, &asked.path, asked.method).row();
            (place(before) != place(after)).then_some(after)
        };
        if self.is_killed(&ground, at, |_| true) {
            return Fate::Killed;
        }
        Fate::Survives(self.effect_of_rows(&ground, &other))
    }

    fn effect_of_rows(&self, ground: &Ground<'_>, other: &Mapping) -> Effect {
        let regions = self.world.mapping.regions(other);
        for region in &regions.all {
            if region.old.map(|row| row.offset) == region.new.map(|row| row.offset) {
                continue;
            }
            let method = region.methods.iter().next();
            let Some(method) = method else { continue };
            let asked = Asked { method, path: region.example.clone(), query: None, row: None, refused: None };
            let effect = self.effect(&self.ground(), ground, [region.old, region.new], Some(asked));
            if effect != Effect::None {
                return effect;
            }
        }
        if regions.complete { Effect::None } else { Effect::Unknown }
    }

    /// Other grants: only rows whose requirements other groups meet, and callers that hold something else, can differ.
    fn regranted(&self, catalog: &Catalog) -> Fate {
        let ground = Ground { catalog, ..self.ground() };
        let before = self.world.catalog;
        let required: BTreeSet<&Requirement> =
            self.rows().iter().flat_map(|row| row.kind.requirements()).collect();
        let moved: BTreeSet<&Requirement> = required
            .into_iter()
            .filter(|requirement| {
                before.groups_that_meet(requirement) != catalog.groups_that_meet(requirement)
            })
            .collect();
        // A grant for a ticket brings what its role inherits, whatever the groups hold.
        let wanted = |row: &Row| {
            row.ticket().is_some()
                || row.kind.requirements().iter().any(|requirement| moved.contains(requirement))
        };
        let names_role = |invariant: &Invariant| {
            invariant.who.iter().any(|who| match who {
                Who::Without(grants) => grants.iter().any(|grant| matches!(grant, GrantName::Role(_))),
                Who::Caller(caller) => !caller.holdings.roles.is_empty(),
            })
        };
        let whole: BTreeSet<usize> = self
            .file
            .invariants
            .iter()
            .enumerate()
            .filter(|(_, one)| names_role(one))
            .map(|(at, _)| at)
            .collect();
        // A case about a role by itself depends on what the role inherits.
        let direct = self.file.cases.iter().enumerate().any(|(at, case)| {
            !case.caller.holdings.roles.is_empty()
                && self.fails(case, &ground, &Resolved::of(&case.caller, catalog), at)
        });
        if direct {
            return Fate::Killed;
        }
        self.decided_by(&ground, wanted, Some(&whole))
    }

    fn fails(&self, case: &Case, ground: &Ground<'_>, resolved: &Resolved, at: usize) -> bool {
        if *resolved == *self.resolved[at] {
            return false;
        }
        case.requests.iter().filter(|asked| asked.refused.is_none()).any(|asked| {
            let row = asked.row.and_then(|index| self.rows().get(index));
            self.differs(case, ground, resolved, (asked, row))
        })
    }

    fn differs(
        &self,
        case: &Case,
        ground: &Ground<'_>,
        resolved: &Resolved,
        (asked, row): (&Asked, Option<&Row>),
    ) -> bool {
        let sent = Sent { caller: &case.caller, resolved, body: &case.body, under: case.under };
        let mut fails = false;
        ground.each(asked, row, sent, |verdict, _| fails |= !case.expect.holds_for(verdict, row));
        fails
    }

    /// Whether a case or an invariant fails, where `at` is the row that decides a request, if it may decide differently.
    fn is_killed<'r>(
        &self,
        ground: &Ground<'r>,
        at: impl Fn(&Asked) -> Option<Option<&'r Row>> + Copy,
        wanted: impl Fn(&Invariant) -> bool,
    ) -> bool {
        self.cases_fail(ground, at)
            || self
                .file
                .invariants
                .iter()
                .any(|invariant| wanted(invariant) && self.breaks(invariant, ground, at))
    }

    fn cases_fail<'r>(&self, ground: &Ground<'r>, at: impl Fn(&Asked) -> Option<Option<&'r Row>>) -> bool {
        let is_same_registry = std::ptr::eq(ground.catalog, self.world.catalog);
        self.by_row.values().any(|requests| {
            requests.iter().any(|(number, of)| {
                let case = &self.file.cases[*number];
                let asked = &case.requests[*of];
                let Some(row) = at(asked) else { return false };
                match is_same_registry {
                    true => self.differs(case, ground, &self.resolved[*number], (asked, row)),
                    false => {
                        let resolved = Resolved::of(&case.caller, ground.catalog);
                        self.differs(case, ground, &resolved, (asked, row))
                    }
                }
            })
        })
    }

    fn breaks<'r>(
        &self,
        invariant: &Invariant,
        ground: &Ground<'r>,
        at: impl Fn(&Asked) -> Option<Option<&'r Row>>,
    ) -> bool {
        examine(invariant, ground, self.world.break_glass, at, true).smallest.is_some()
    }

    /// The first difference of two rows, each on its ground.
    fn effect(
        &self,
        before: &Ground<'_>,
        after: &Ground<'_>,
        rows: [Option<&Row>; 2],
        asked: Option<Asked>,
    ) -> Effect {
        let pair = Pair { grounds: [before, after], rows, asked };
        pair.effect(&self.modes, self.world.break_glass)
    }
}
