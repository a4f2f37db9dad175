//! A scenario as it was played on two gates: what everybody saw of everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::bench::{Answers, Bench, Seen, Side};
use crate::bodies::Reading;
use crate::callers::Caller;
use crate::decision_model::{Ending, Facts};
use crate::format::{Kind, Mapping, Rule};
use crate::scenario::{Request, Scenario};

/// Which of the two gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Old,
    New,
}

impl Which {
    pub const BOTH: [Which; 2] = [Which::Old, Which::New];

    pub fn word(self) -> &'static str {
        match self {
            Which::Old => "old",
            Which::New => "new",
        }
    }
}

pub struct Round<'a> {
    pub bench: &'a Bench,
    pub scenario: &'a Scenario,
    pub shares: &'a BTreeMap<String, u8>,
    pub old: Answers,
    pub new: Answers,
}

impl Round<'_> {
    pub fn side(&self, which: Which) -> &Side {
        match which {
            Which::Old => &self.bench.old,
            Which::New => &self.bench.new,
        }
    }

    pub fn mapping(&self, which: Which) -> &Mapping {
        match which {
            Which::Old => &self.scenario.old,
            Which::New => &self.scenario.new,
        }
    }

    pub fn facts(&self, which: Which) -> Facts<'_> {
        Facts {
            mapping: self.mapping(which),
            world: &self.scenario.world,
            switches: self.scenario.switches,
            shares: self.shares,
        }
    }

    /// The legacy roles that a report about these mappings knows: those that a row accepts, and those that somebody holds
    /// who can act.
    pub fn legacy_roles(&self, mappings: &[Which]) -> BTreeSet<&'static str> {
        let rows = mappings.iter().flat_map(|which| self.mapping(*which).rows());
        let accepted = rows.filter_map(|row| match &row.kind {
            Kind::Gated(gated) => gated.legacy.as_ref(),
            _ => None,
        });
        let world = &self.scenario.world;
        let admins = world.admins.iter().filter(|admin| !admin.disabled).map(|admin| &admin.legacy);
        let tokens = world.tokens.iter().filter(|token| token.term.lives()).map(|token| &token.legacy);
        accepted.flatten().chain(admins.chain(tokens).flatten()).copied().collect()
    }

    pub fn answers(&self, which: Which) -> &Answers {
        match which {
            Which::Old => &self.old,
            Which::New => &self.new,
        }
    }

    /// Each request with each caller, and what was seen.
    pub fn each(&self, which: Which) -> impl Iterator<Item = (&Request, &Caller, &Seen)> {
        let callers = &self.scenario.callers;
        let requests = self.scenario.requests.iter().zip(self.answers(which));
        requests.flat_map(move |(request, row)| {
            callers.iter().zip(row).map(move |(caller, seen)| (request, caller, seen))
        })
    }
}

/// How a request ended, by what was seen of it. A denied admin that is sent to the login looks as a stranger does, and a
/// stranger that is answered 403 looks as a denied admin does: `said` tells them apart.
pub fn ending(seen: &Seen, said: Ending) -> Option<Ending> {
    match (seen.status, seen.reached) {
        (200, true) => Some(Ending::Forwarded),
        (302, false) | (401, false) if said == Ending::DeniedToLogin => Some(said),
        (401, false) if seen.to_login => Some(Ending::Login),
        (302, false) => Some(Ending::Login),
        (401, false) => Some(Ending::Unauthorized),
        (403, false) if said == Ending::Unknown => Some(said),
        (403, false) => Some(Ending::Denied),
        (410, false) => Some(Ending::Gone),
        _ => None,
    }
}

/// What a body is to the rules of a row, as reports distinguish bodies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Readable, and it meets no rule; also any body where there are no rules.
    Plain,
    /// It meets these rules, each a field and a value.
    Meets(Vec<(&'static str, &'static str)>),
    Unreadable,
    /// All of them: where a report says that the body does not matter.
    Any,
    /// One of two rows can read it, `before` or `after`, and what it meets of that row's rules; the other cannot.
    ReadBy(&'static str, Vec<(&'static str, &'static str)>),
}

/// What a request's body is to the rules of one row, or of two, the one before first.
pub fn sort(request: &Request, rules: &[&[Rule]]) -> Sort {
    let mut met = Vec::new();
    let (mut readers, mut unreadable) = (Vec::new(), false);
    for (rules, side) in rules.iter().zip(["before", "after"]) {
        match request.read(rules) {
            Reading::Unreadable => unreadable = true,
            Reading::Meets(numbers) => {
                readers.extend((!rules.is_empty()).then_some(side));
                met.extend(
                    numbers.into_iter().map(|number| (rules[number].field.name(), rules[number].equals)),
                );
            }
        }
    }
    met.sort_unstable();
    met.dedup();
    match (unreadable, readers.first()) {
        (true, Some(side)) => Sort::ReadBy(side, met),
        (true, None) => Sort::Unreadable,
        (false, _) if met.is_empty() => Sort::Plain,
        (false, _) => Sort::Meets(met),
    }
}
