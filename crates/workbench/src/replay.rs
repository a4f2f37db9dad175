//! Decides recorded requests again with a candidate mapping: which of them would have ended otherwise.
//!
//! The decision log has who asked for what and how it ended. Each request is decided again by the candidate, for the
//! caller with today's grants. A difference is attributed to the mapping, unless the old mapping would differ now as
//! well, for then it is the grants or the switches that have changed. Pure.
//!
//! Two things are not in the log: the body, and who asked for a path that no row covers and did not have to be known for it.
//! Where the candidate's answer depends on one of them, every answer that it may come to is worked out, and a merely
//! possible one is reported as that.

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

/// A request that was made, as often as it was.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    /// Decoded, without its query; `*` for `OPTIONS *`.
    pub path: String,
    /// `None` for an unauthenticated request.
    pub caller: Option<(CallerKind, String)>,
    /// `legacy`, `shadow`, `v2` or `none`.
    pub gate: String,
    /// `allow`, `deny`, `login`, `unauthorized`, `gone`.
    pub answer: String,
    pub count: u64,
    /// The mapping that decided, where its text is kept.
    pub mapping: Option<Arc<Mapping>>,
}

/// A request that would have ended otherwise, or may have: then it is there once for each other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub method: String,
    pub path: String,
    /// The candidate's row; `None` where none covers the path.
    pub route: Option<String>,
    pub caller: String,
    pub before: String,
    pub after: &'static str,
    pub because: Because,
    /// Whether it ends so for certain. If not, it depends on facts that were not kept.
    pub certain: bool,
    /// The bodies with which it ends so, where the body has a say.
    pub bodies: Vec<BodyReport>,
    /// Whether it depends on who asked, which was not kept.
    pub depends_on_caller: bool,
    pub count: u64,
}

/// What made the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Mapping,
    /// The caller's grants are others than then, or the switches: the mapping that decided then would not decide so now.
    Grants,
}

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replay {
    pub requests: u64,
    pub callers: usize,
    /// Requests whose path was not kept, for the hour had too many.
    pub without_a_path: u64,
    /// Requests that may end otherwise: it depends on their bodies or callers, which were not kept.
    pub uncertain: u64,
    /// The certain and most frequent ones first.
    pub changed: Vec<Changed>,
}

impl Replay {
    /// Requests that would certainly have ended so: newly allowed (`true`) or not allowed any more.
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
    /// The caller with today's grants; `None` without a caller, and for one that is gone or disabled.
    known: Option<&'r (Principal, Access)>,
}

/// Every answer that a request may come to, each with the bodies that bring it about.
type Answers = BTreeMap<&'static str, Vec<BodyReport>>;

impl Again<'_> {
    /// The ends that differ from the one that was recorded.
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

    /// What the request meets in the mapping that decided then.
    fn then(&self) -> Option<Target<'_>> {
        let mapping = self.request.mapping.as_ref()?;
        Some(Target::of(mapping, &self.request.path, self.method))
    }

    /// The kinds of body that the request can have had. Where V2 has decided it by the same rules, those with which it
    /// comes to the recorded answer, unless the grants have changed so much that none does.
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
        // Which ticket the request named is not kept, nor who was granted what for it then.
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
            // The token is no good any more, and on a machine row it still is a token.
            (None, Some((CallerKind::Machine, _))) if is_machine_row(target) => Caller::Presented,
            (None, _) => Caller::Nobody,
        }
    }

    /// Every possible answer to a request whose caller was not looked up: where a token is not asked for it may have
    /// been there, and where nothing is asked for a session may have been. `None` where it is known who asked, or makes no
    /// difference.
    fn answers_to_unknown(&self, target: &Target<'_>) -> Option<Vec<&'static str>> {
        if self.request.caller.is_some() {
            return None;
        }
        let anonymous = decided(target, Caller::Nobody, &BodyFacts::NotRead, &TicketFacts::NotAsked);
        // `unmapped = "deny"` looks for a session and found none.
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
    // Who may have a route is one question, and whether it takes a WebSocket another, of the mapping alone.
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
        legacy: person.legacy.clone(),
        groups: person.groups.clone(),
        roles,
        permissions,
        ..Access::nothing(Epoch(0))
    }
}

#[cfg(test)]
mod tests;
