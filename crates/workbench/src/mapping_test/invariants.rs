//! Invariants, decided over all possible callers and requests.

use std::collections::BTreeMap;

use policy::diagnostic::Lines;
use policy::mapping::Row;
use policy::rbac::break_glass::BreakGlassRules;
use serde::Serialize;

use super::caller::{Caller, Kind, Resolved};
use super::judge::{Answer, Asked, Ground, Sent};
use super::names::GrantName;
use super::space::{self, sides};
use super::suite::{Invariant, InvariantKind, Who};
use super::{TestFile, World};
use crate::explanation::answer::Ending;
use crate::report::{Finding, Location};

/// The result of one invariant.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    pub line: usize,
    pub kind: InvariantKind,
    /// The invariant in words.
    pub statement: String,
    /// How many requests it is about.
    pub requests: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
    /// Whether every possible caller was examined.
    pub complete: bool,
}

/// A caller and a request that violate an invariant; of all, the caller with the fewest grants.
#[derive(Clone, Debug, Serialize)]
pub struct Witness {
    pub caller: String,
    pub request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    pub answer: Answer,
    pub why: String,
    pub row: Option<(String, usize)>,
    /// How many requests violate the invariant.
    pub requests: usize,
    #[serde(skip)]
    pub(super) offset: Option<usize>,
}

/// Decides every invariant of a file, in its order.
pub fn judge(file: &TestFile, world: &World<'_>) -> Vec<Judgement> {
    let ground = Ground::of(world.mapping, world.catalog, world.control);
    let lines = Lines::new(&file.source);
    let rows = Lines::new(world.mapping.source());
    let of = |invariant: &Invariant| {
        let at = |asked: &Asked| Some(asked.row.and_then(|index| ground.mapping.rows().get(index)));
        let found = examine(invariant, &ground, world.break_glass, at, false);
        Judgement {
            line: lines.position(invariant.span.start).0,
            kind: invariant.kind,
            statement: in_words(invariant),
            requests: invariant.requests.len(),
            complete: found.complete,
            witness: found.smallest.map(|found| Witness {
                caller: found.caller.to_string(),
                request: found.request,
                body: found.body,
                answer: found.answer,
                why: found.why,
                row: found.row.map(|row| (row.route.to_string(), rows.position(row.offset).0)),
                offset: found.row.map(|row| row.offset),
                requests: found.requests,
            }),
        }
    };
    file.invariants.iter().map(of).collect()
}

/// The outcome of one examination.
pub(super) struct Examined<'a> {
    pub smallest: Option<Found<'a>>,
    pub complete: bool,
}

/// A violation.
pub(super) struct Found<'a> {
    pub caller: Caller,
    request: String,
    body: Option<String>,
    answer: Answer,
    why: String,
    row: Option<&'a Row>,
    requests: usize,
}

/// Looks for the smallest violation of an invariant among the requests for which `row_of` knows the deciding row; with
/// `any`, for any violation.
pub(super) fn examine<'a>(
    invariant: &Invariant,
    ground: &Ground<'a>,
    rules: &BreakGlassRules,
    row_of: impl Fn(&Asked) -> Option<Option<&'a Row>>,
    any: bool,
) -> Examined<'a> {
    let mut by_row: BTreeMap<Option<usize>, (Option<&'a Row>, Vec<&Asked>)> = BTreeMap::new();
    for asked in invariant.requests.iter().filter(|asked| asked.refused.is_none()) {
        if let Some(row) = row_of(asked) {
            by_row.entry(row.map(|row| row.offset)).or_insert((row, Vec::new())).1.push(asked);
        }
    }
    let (mut smallest, mut complete): (Option<Found<'a>>, bool) = (None, true);
    let mut violated = 0;
    for (row, requests) in by_row.into_values() {
        let (callers, all) = callers(invariant, ground, rules, row);
        complete &= all;
        let callers: Vec<(Caller, Resolved)> = callers
            .into_iter()
            .map(|caller| (Resolved::of(&caller, ground.catalog), caller))
            .filter(|(resolved, caller)| concerns(invariant, caller, resolved))
            .map(|(resolved, caller)| (caller, resolved))
            .collect();
        for asked in requests {
            let Some(found) = violation(invariant, ground, (asked, row), &callers) else { continue };
            violated += 1;
            let size = |found: &Found<'_>| (found.caller.holdings.size(), found.caller.kind);
            if smallest.as_ref().is_none_or(|smallest| size(&found) < size(smallest)) {
                smallest = Some(found);
            }
            if any {
                return Examined { smallest, complete };
            }
        }
    }
    if let Some(smallest) = &mut smallest {
        smallest.requests = violated;
    }
    Examined { smallest, complete }
}

/// The callers that an invariant is about at a row, those with the fewest grants first.
fn callers(
    invariant: &Invariant,
    ground: &Ground<'_>,
    rules: &BreakGlassRules,
    row: Option<&Row>,
) -> (Vec<Caller>, bool) {
    let rollout = row.map(|row| ground.rollout(row, invariant.under));
    let cohort = rollout.as_ref().and_then(|rollout| rollout.cohort.as_ref());
    let (mut callers, mut complete) = (Vec::new(), true);
    for who in &invariant.who {
        match who {
            Who::Caller(caller) if invariant.kind == InvariantKind::Always => {
                callers.extend(sides(cohort, &caller.holdings).into_iter().map(|holdings| {
                    let same = holdings == caller.holdings;
                    Caller { holdings, name: caller.name.clone().filter(|_| same), ..caller.clone() }
                }));
            }
            Who::Caller(caller) => callers.extend(sides(cohort, &caller.holdings).into_iter().filter_map(
                // Exactly these holdings; only the place in a share is not known.
                |holdings| {
                    (holdings.groups == caller.holdings.groups).then(|| Caller { holdings, ..caller.clone() })
                },
            )),
            Who::Without(_) => {
                let space = match (row, &rollout) {
                    (Some(row), Some(rollout)) => space::of_row(Some(row), rollout, ground.catalog, rules),
                    _ => space::of_row(None, &policy::mapping::Rollout::LEGACY, ground.catalog, rules),
                };
                complete &= space.complete;
                callers.extend(space.callers);
            }
        }
    }
    (callers, complete)
}

/// Whether a caller lacks everything that `not` names.
fn concerns(invariant: &Invariant, caller: &Caller, resolved: &Resolved) -> bool {
    let holds = |grant: &GrantName| match grant {
        GrantName::Group(group) => caller.holdings.groups.contains(group),
        GrantName::Role(role) => resolved.access.roles.contains(role) || resolved.has_for_ticket(role),
        GrantName::Legacy(role) => caller.holdings.legacy.contains(role),
        GrantName::Program => caller.kind == Kind::Program,
    };
    invariant.who.iter().any(|who| match who {
        Who::Caller(_) => true,
        Who::Without(grants) => !grants.iter().any(holds),
    })
}

/// The first of the callers whose request violates the invariant.
fn violation<'a>(
    invariant: &Invariant,
    ground: &Ground<'a>,
    (asked, row): (&Asked, Option<&'a Row>),
    callers: &[(Caller, Resolved)],
) -> Option<Found<'a>> {
    let must_pass = invariant.kind == InvariantKind::Always;
    callers.iter().find_map(|(caller, resolved)| {
        let sent = Sent { caller, resolved, body: &invariant.body, under: invariant.under };
        let mut violates = false;
        ground.each(asked, row, sent, |verdict, _| violates |= verdict.outcome.is_ok() != must_pass);
        if !violates {
            return None;
        }
        let passes = |answer: Answer| answer == Answer::Ends(Ending::Allow);
        let answers = ground.answers(asked, row, sent);
        let answer = answers.into_iter().find(|answer| passes(answer.answer) != must_pass)?;
        Some(Found {
            caller: caller.clone(),
            request: asked.to_string(),
            body: answer.body.map(|body| body.to_string()),
            answer: answer.answer,
            why: answer.why,
            row,
            requests: 1,
        })
    })
}

/// An invariant in words.
pub fn in_words(invariant: &Invariant) -> String {
    let who = |who: &Who| match who {
        Who::Caller(caller) => format!("`{caller}`"),
        Who::Without(grants) => {
            let names: Vec<String> = grants.iter().map(ToString::to_string).collect();
            format!("a caller without {}", names.join(" or "))
        }
    };
    let all: Vec<String> = invariant.who.iter().map(who).collect();
    let verb = if invariant.kind == InvariantKind::Always { "always" } else { "never" };
    let under = match invariant.under {
        super::judge::Under::File => String::new(),
        other => format!(" under {}", other.word()),
    };
    format!("{} {verb} reaches `{}`{under}", all.join(" or "), invariant.selector)
}

impl Judgement {
    /// The violation in one sentence; `None` if the invariant holds.
    pub fn sentence(&self) -> Option<String> {
        let Some(witness) = &self.witness else {
            let unknown = || format!("{}: too many callers to examine", self.statement);
            return (!self.complete).then(unknown);
        };
        let body = witness.body.iter().map(|body| format!(" with {body}")).collect::<String>();
        let verb = match witness.answer {
            Answer::Ends(Ending::Allow) => "reaches",
            _ => "does not reach",
        };
        Some(format!("{}, but {} {verb} `{}`{body}", self.statement, witness.caller, witness.request))
    }

    /// Whether it was proven.
    pub fn holds(&self) -> bool {
        self.witness.is_none() && self.complete
    }
}

/// The findings about invariants that do not hold.
pub fn findings(file: &TestFile, judgements: &[Judgement]) -> Vec<Finding> {
    let lines = Lines::new(&file.source);
    let mut found = Vec::new();
    for (invariant, judgement) in file.invariants.iter().zip(judgements) {
        let Some(message) = judgement.sentence() else { continue };
        let (line, column) = lines.position(invariant.span.start);
        let place = Location { file: file.path.clone(), line, column };
        let mut finding = Finding::new("violated-invariant", Some(place), message);
        finding.suggestion = judgement.witness.as_ref().map(|witness| witness.why.clone());
        found.push(finding);
    }
    found
}
