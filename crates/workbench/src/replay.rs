//! Decides recorded requests again with a candidate mapping, to find those that would have ended differently.
//!
//! The decision log records who requested what and the outcome. The candidate decides each request again, for the
//! caller with today's grants. A difference is attributed to the mapping, unless the old mapping would now decide
//! differently too: then the grants or the switches have changed. Pure.
//!
//! Two facts are not in the log: the body, and the caller of a path that no row covers if it did not have to be
//! identified. If the candidate's answer depends on one of them, every possible answer is computed, and an answer that
//! is merely possible is reported as such.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use policy::decision::body::{BodyFacts, BodyKind, BodyReport};
use policy::decision::ticket::TicketFacts;
use policy::decision::{Caller, Control, Question, Target, decide_with, outcome_word};
use policy::identity::Principal;
use policy::ids::{AdminId, Epoch, MachineTokenId};
use policy::mapping::{Mapping, Row, RowKind, Unmapped};
use policy::method::Method;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person};
use policy::rbac::{Access, Standing};
use serde::Serialize;

/// A recorded request, with the number of its occurrences.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    /// Decoded, without its query; `*` for `OPTIONS *`.
    pub path: String,
    /// `None` for an unauthenticated request.
    pub caller: Option<(CallerKind, String)>,
    /// `legacy`, `shadow`, `v2` or `none`.
    pub gate: String,
    /// `allow`, `deny`, `login`, `unauthorized`, `gone`; never `quiet`, since the log leaves out such requests.
    pub answer: String,
    pub count: u64,
    /// The mapping that decided, if its text is stored.
    pub mapping: Option<Arc<Mapping>>,
}

/// A request that would have ended differently, or may have; in the second case there is one entry for each other
/// outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub method: String,
    pub path: String,
    /// The candidate's row; `None` if none covers the path.
    pub route: Option<String>,
    pub caller: String,
    pub before: String,
    pub after: &'static str,
    pub because: Because,
    /// Whether this outcome is certain. If not, it depends on facts that were not recorded.
    pub certain: bool,
    /// The bodies with this outcome, if the body matters.
    pub bodies: Vec<BodyReport>,
    /// Whether it depends on the caller, which was not recorded.
    pub depends_on_caller: bool,
    pub count: u64,
}

/// The cause of the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Mapping,
    /// The caller's grants have changed since, or the switches: the mapping that decided then would now decide
    /// differently.
    Grants,
}

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replay {
    pub requests: u64,
    pub callers: usize,
    /// Requests whose path was not recorded, because there were too many in that hour.
    pub without_a_path: u64,
    /// Requests that may end differently, depending on their bodies or callers, which were not recorded.
    pub uncertain: u64,
    /// Certain changes and the most frequent ones first.
    pub changed: Vec<Changed>,
}

impl Replay {
    /// The number of requests with a certain change: newly allowed (`true`) or no longer allowed.
    pub fn newly(&self, allowed: bool) -> u64 {
        let turns = |one: &&Changed| {
            one.certain && (one.after == "allow") == allowed && (one.before == "allow") != allowed
        };
        self.changed.iter().filter(turns).map(|one| one.count).sum()
    }
}

/// Decides the recorded requests again.
pub fn replay(recorded: &[Recorded], candidate: &Mapping, catalog: &Catalog, people: &[Person]) -> Replay {
    let people: HashMap<(CallerKind, &str), &Person> =
        people.iter().map(|person| ((person.kind, &*person.id), person)).collect();
    let mut replay = Replay::default();
    let mut callers = BTreeSet::new();
    for request in recorded {
        replay.requests += request.count;
        callers.extend(&request.caller);
        let Some(method) = Method::parse(&request.method).filter(|_| !request.path.is_empty()) else {
            replay.without_a_path += request.count;
            continue;
        };
        let person = request.caller.as_ref().and_then(|(kind, id)| people.get(&(*kind, id.as_str())));
        let known = person.map(|person| (principal(person), access(person, catalog)));
        let again = Again { request, method, known: known.as_ref() };
        let changed = again.changed(candidate);
        if changed.iter().any(|one| !one.certain) {
            replay.uncertain += request.count;
        }
        replay.changed.extend(changed);
    }
    replay.callers = callers.len();
    replay.changed.sort_by(|one, other| {
        let order = |one: &Changed| (one.because, !one.certain, std::cmp::Reverse(one.count));
        (order(one), &one.path, &one.caller).cmp(&(order(other), &other.path, &other.caller))
    });
    replay
}

/// A request that is decided again.
struct Again<'r> {
    request: &'r Recorded,
    method: Method,
    /// The caller with today's grants; `None` without a caller, and for a deleted or disabled one.
    known: Option<&'r (Principal, Access)>,
}

/// Every possible answer to a request, each with the bodies that cause it.
type Answers = BTreeMap<&'static str, Vec<BodyReport>>;

impl Again<'_> {
    /// The outcomes that differ from the recorded one.
    fn changed(&self, candidate: &Mapping) -> Vec<Changed> {
        let Recorded { method, path, caller, answer, count, .. } = self.request;
        let target = Target::of(candidate, path, self.method);
        let bodies = self.possible_bodies(&target);
        let after = self.answers(&target, &bodies);
        let then = self.then().map(|then| self.answers(&then, &self.possible_bodies(&then)));
        let by_grants = then.is_some_and(|then| then.keys().eq(after.keys()));
        let certain = after.len() == 1;
        let others = after.into_iter().filter(|(end, _)| end != answer);
        others
            .map(|(after, bodies)| Changed {
                method: method.clone(),
                path: path.clone(),
                route: target.row().map(|row| row.route.to_string()),
                caller: caller.as_ref().map_or_else(|| "nobody".to_owned(), |(_, id)| id.clone()),
                before: answer.clone(),
                after,
                because: if by_grants { Because::Grants } else { Because::Mapping },
                certain,
                bodies,
                depends_on_caller: !certain && caller.is_none(),
                count: *count,
            })
            .collect()
    }

    /// The request's match in the mapping that decided then.
    fn then(&self) -> Option<Target<'_>> {
        let mapping = self.request.mapping.as_ref()?;
        Some(Target::of(mapping, &self.request.path, self.method))
    }

    /// The possible kinds of body of the request. If V2 decided it by the same rules, only those that lead to the
    /// recorded answer, unless the grants have changed so much that none does.
    fn possible_bodies<'m>(&self, target: &Target<'m>) -> Vec<BodyKind<'m>> {
        let rules = target.body_rules();
        let all = BodyKind::all(rules, self.method);
        match self.then() {
            Some(then) if self.request.gate == "v2" && then.body_rules() == rules => {
                let fits =
                    |kind: &BodyKind<'_>| self.answers(&then, &[*kind]).contains_key(&*self.request.answer);
                let fitting: Vec<BodyKind<'m>> = all.iter().copied().filter(fits).collect();
                if fitting.is_empty() { all } else { fitting }
            }
            _ => all,
        }
    }

    /// The outcome of the request with V2 in force.
    fn answers(&self, target: &Target<'_>, bodies: &[BodyKind<'_>]) -> Answers {
        let mut answers = Answers::new();
        if let Some(possible) = self.answers_to_unknown(target) {
            answers.extend(possible.into_iter().map(|answer| (answer, Vec::new())));
            return answers;
        }
        let caller = self.caller(target);
        // The log does not record which ticket the request named, nor which grants the caller had for it then.
        let mut tickets = vec![TicketFacts::NotAsked];
        if let Some(row) = target.row().filter(|row| row.ticket().is_some()) {
            tickets.push(TicketFacts::of_all(&row.kind.requirements()));
        }
        for ticket in &tickets {
            if bodies.is_empty() {
                answers.entry(decided(target, caller, &BodyFacts::NotRead, ticket)).or_default();
            }
            for body in bodies {
                let answer = decided(target, caller, &body.facts(target.body_rules()), ticket);
                let reports = answers.entry(answer).or_default();
                if !reports.contains(&body.report()) {
                    reports.push(body.report());
                }
            }
        }
        if answers.len() == 1 {
            // The same for every body.
            answers.values_mut().for_each(Vec::clear);
        }
        answers
    }

    fn caller<'a>(&'a self, target: &Target<'_>) -> Caller<'a> {
        match (self.known, &self.request.caller) {
            (Some((principal, access)), _) => Caller::at(target, principal, access),
            // The token is no longer valid, but on a machine row it still counts as a token.
            (None, Some((CallerKind::Machine, _))) if is_machine_row(target) => Caller::Presented,
            (None, _) => Caller::Nobody,
        }
    }

    /// Every possible answer to a request whose caller was not looked up: on a row that requires no token there may
    /// have been one, and on a row that requires nothing there may have been a session. `None` if the caller is known,
    /// or makes no difference.
    fn answers_to_unknown(&self, target: &Target<'_>) -> Option<Vec<&'static str>> {
        if self.request.caller.is_some() {
            return None;
        }
        let anonymous = decided(target, Caller::Nobody, &BodyFacts::NotRead, &TicketFacts::NotAsked);
        // `unmapped = "deny"` looked for a session and found none.
        let had_no_session = self.request.answer != "allow";
        match target {
            Target::Row(Row { kind: RowKind::Machine, .. }, _) => Some(vec![anonymous, "allow"]),
            Target::Row(Row { kind: RowKind::Gated { machine, .. }, .. }, _)
                if *machine || !had_no_session =>
            {
                Some(vec![anonymous, "allow", "deny"])
            }
            Target::Row(Row { kind: RowKind::Session, .. }, _) if !had_no_session => {
                Some(vec![anonymous, "allow"])
            }
            Target::Unmapped(Unmapped::Deny) if !had_no_session => Some(vec![anonymous, "deny"]),
            Target::Row(..) | Target::Unmapped(_) => None,
        }
    }
}

fn decided(target: &Target<'_>, caller: Caller<'_>, body: &BodyFacts, ticket: &TicketFacts) -> &'static str {
    let control = Control { epoch: Epoch(0), rbac_v2: true, may_enforce: true };
    // Whether a caller may have a route and whether the route accepts a WebSocket are separate questions; the mapping
    // alone answers the second.
    let question = Question { upgrade: false, target: *target, caller, control: Some(&control), body };
    outcome_word(&decide_with(&question, ticket).outcome)
}

fn is_machine_row(target: &Target<'_>) -> bool {
    target.row().is_some_and(|row| row.kind == RowKind::Machine)
}

fn principal(person: &Person) -> Principal {
    match person.kind {
        CallerKind::Admin => Principal::Admin { id: AdminId::new(person.id.clone()), session: None },
        CallerKind::Machine => Principal::Machine { id: MachineTokenId::new(person.id.clone()) },
    }
}

/// The grants of a person, as `access` would resolve them.
fn access(person: &Person, catalog: &Catalog) -> Access {
    let roles = person.roles(catalog);
    let permissions = catalog.permissions_of(&roles);
    Access {
        standing: Standing::Active,
        legacy: (*person.legacy).clone(),
        groups: (*person.groups).clone(),
        roles,
        permissions,
        ..Access::nothing(Epoch(0))
    }
}

#[cfg(test)]
mod tests;
