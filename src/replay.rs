//! Requests that were really made, against a candidate mapping: which of them would have ended otherwise.
//!
//! The decision log has who asked for what and how it ended. Each is decided again by the candidate, for the caller as
//! he is now. What differs is laid to the mapping; unless the mapping that decided then would differ now as well, for
//! then it is the grants that have changed. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::decision::body::BodyFacts;
use crate::decision::{Answer, Caller, Control, Question, Target, decide};
use crate::identity::Principal;
use crate::ids::{AdminId, Epoch, MachineTokenId};
use crate::mapping::{Mapping, Row, RowKind, V2Gate};
use crate::method::Method;
use crate::rbac::catalog::Catalog;
use crate::rbac::census::{CallerKind, Person};
use crate::rbac::{Access, Standing};

/// A request that was made, as often as it was.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    /// Decoded, without its query.
    pub path: String,
    /// `None` for nobody.
    pub caller: Option<(CallerKind, String)>,
    /// `allow`, `deny`, `login`, `unauthorized`, `gone`.
    pub answer: String,
    pub count: u64,
    /// The mapping that decided, where its text is kept.
    pub mapping: Option<Arc<Mapping>>,
}

/// A request that would have ended otherwise.
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
    /// Whether its body would have a say, which was not kept: it is taken to meet no rule.
    pub body_has_a_say: bool,
    pub count: u64,
}

/// What made the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Mapping,
    /// The caller's grants are others than then: the mapping that decided then would not decide so now.
    Grants,
}

/// What a replay comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replay {
    pub requests: u64,
    pub callers: usize,
    /// Requests whose path was not kept, for the hour had too many.
    pub without_a_path: u64,
    /// The most frequent first.
    pub changed: Vec<Changed>,
}

impl Replay {
    /// Requests that would have ended so: newly allowed (`true`) or not allowed any more.
    pub fn newly(&self, allowed: bool) -> u64 {
        let turns = |one: &&Changed| (one.after == "allow") == allowed && (one.before == "allow") != allowed;
        self.changed.iter().filter(turns).map(|one| one.count).sum()
    }
}

/// Decides what was recorded again.
pub fn replay(recorded: &[Recorded], candidate: &Mapping, catalog: &Catalog, people: &[Person]) -> Replay {
    let people: HashMap<(CallerKind, &str), &Person> =
        people.iter().map(|person| ((person.kind, &*person.id), person)).collect();
    let mut replay = Replay::default();
    let mut callers = std::collections::BTreeSet::new();
    for request in recorded {
        replay.requests += request.count;
        callers.extend(&request.caller);
        let Some(method) = Method::parse(&request.method).filter(|_| !request.path.is_empty()) else {
            replay.without_a_path += request.count;
            continue;
        };
        let person = request.caller.as_ref().and_then(|(kind, id)| people.get(&(*kind, id.as_str())));
        let known = person.map(|person| (principal(person), access(person, catalog)));
        let caller = match &known {
            Some((principal, access)) => Caller::Known(principal, access),
            None => Caller::Nobody,
        };
        let after = answer(candidate, &request.path, method, caller);
        if after == request.answer {
            continue;
        }
        let then = request.mapping.as_ref().map(|mapping| answer(mapping, &request.path, method, caller));
        let row = candidate.find(&request.path, method).row();
        replay.changed.push(Changed {
            method: request.method.clone(),
            path: request.path.clone(),
            route: row.map(|row| row.route.to_string()),
            caller: request.caller.as_ref().map_or_else(|| "nobody".to_owned(), |(_, id)| id.clone()),
            before: request.answer.clone(),
            after,
            because: if then == Some(after) { Because::Grants } else { Because::Mapping },
            body_has_a_say: row.is_some_and(has_body_rules),
            count: request.count,
        });
    }
    replay.callers = callers.len();
    replay.changed.sort_by(|one, other| {
        (one.because, std::cmp::Reverse(one.count), &one.path, &one.caller).cmp(&(
            other.because,
            std::cmp::Reverse(other.count),
            &other.path,
            &other.caller,
        ))
    });
    replay
}

/// What becomes of a request with V2 in force.
fn answer(mapping: &Mapping, path: &str, method: Method, caller: Caller<'_>) -> &'static str {
    let row = mapping.find(path, method).row();
    let target = match row {
        Some(row) => Target::Row(row, mapping.rollout_of(row)),
        None => Target::Unmapped(mapping.unmapped()),
    };
    let rules = row.map_or(0, |row| match &row.kind {
        RowKind::Gated { v2: V2Gate::Requires { when, .. }, .. } => when.len(),
        _ => 0,
    });
    let body = if rules > 0 { BodyFacts::Read(vec![false; rules]) } else { BodyFacts::NotRead };
    let control = Control { epoch: Epoch(0), rbac_v2: true, may_enforce: true };
    match decide(&Question { target, caller, control: Some(&control), body: &body }).answer {
        Answer::Allow(_) => "allow",
        Answer::Deny(_) => "deny",
        Answer::Login => "login",
        Answer::Unauthorized => "unauthorized",
        Answer::Gone => "gone",
    }
}

fn has_body_rules(row: &Row) -> bool {
    matches!(&row.kind, RowKind::Gated { v2: V2Gate::Requires { when, .. }, .. } if !when.is_empty())
}

fn principal(person: &Person) -> Principal {
    match person.kind {
        CallerKind::Admin => Principal::Admin { id: AdminId::new(person.id.clone()), session: None },
        CallerKind::Machine => Principal::Machine { id: MachineTokenId::new(person.id.clone()) },
    }
}

/// What somebody holds, as `access` would resolve it.
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
mod tests {
    use super::*;
    use crate::rbac::LegacyRole;

    const OLD: &str = "version = 1\n[clusters]\nC = \"legacy\"\n[blueprints.b]\ncluster = \"C\"\n[blueprints.b.routes]\n\
        \"GET /x/<id>\" = { legacy = [\"ops\"], role = \"reader\" }\n\"GET /gone\" = { session = true }\n";

    fn mapping(text: &str) -> Arc<Mapping> {
        Arc::new(Mapping::parse("t", text).unwrap())
    }

    fn people() -> Vec<Person> {
        let person = |id: &str, legacy: &[LegacyRole], groups: &[&str]| Person {
            kind: CallerKind::Admin,
            id: id.into(),
            legacy: legacy.iter().copied().collect(),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            break_glass: false,
        };
        vec![person("olaf", &[LegacyRole::Ops], &[]), person("rita", &[], &["readers"])]
    }

    fn catalog() -> Catalog {
        Catalog::from_seed(
            "[[group]]\nname = \"readers\"\n[[role]]\nname = \"reader\"\ngroups = [\"readers\"]",
        )
        .unwrap()
    }

    fn made(path: &str, who: &str, answer: &str, count: u64) -> Recorded {
        Recorded {
            method: "GET".into(),
            path: path.into(),
            caller: (!who.is_empty()).then(|| (CallerKind::Admin, who.to_owned())),
            answer: answer.into(),
            count,
            mapping: Some(mapping(OLD)),
        }
    }

    #[test]
    fn what_would_end_otherwise_is_told_and_laid_to_what_changed() {
        let candidate = mapping(
            &OLD.replace("\"legacy\"\n", "\"v2\"\n").replace("{ session = true }", "{ gone = true }"),
        );
        let recorded = [
            made("/x/1", "olaf", "allow", 7),
            made("/x/2", "rita", "deny", 2),
            made("/x/2", "olaf", "deny", 1),
            made("/gone", "rita", "allow", 3),
            made("/nowhere", "rita", "deny", 4),
            made("", "rita", "allow", 5),
            // Was let in by a legacy role that has been taken away since: OLD itself would deny now.
            made("/x/3", "rita", "deny", 1),
        ];
        let replay = replay(&recorded, &candidate, &catalog(), &people());
        let told: Vec<_> = replay
            .changed
            .iter()
            .map(|one| (&*one.path, &*one.caller, &*one.before, one.after, one.because))
            .collect();
        let expected = [
            ("/x/1", "olaf", "allow", "deny", Because::Mapping),
            ("/gone", "rita", "allow", "gone", Because::Mapping),
            ("/x/2", "rita", "deny", "allow", Because::Mapping),
            ("/x/3", "rita", "deny", "allow", Because::Mapping),
        ];
        assert_eq!(told, expected);
        assert_eq!((replay.requests, replay.callers, replay.without_a_path), (23, 2, 5));
        assert_eq!((replay.newly(true), replay.newly(false)), (3, 10));
    }

    #[test]
    fn a_grant_that_has_changed_since_is_not_laid_to_the_mapping() {
        // Olaf holds `ops` now and did not then; the candidate is the very mapping that decided.
        let recorded = [made("/x/1", "olaf", "deny", 1), made("/x/1", "left", "allow", 1)];
        let replay = replay(&recorded, &mapping(OLD), &catalog(), &people());
        let told: Vec<_> = replay.changed.iter().map(|one| (&*one.caller, one.after, one.because)).collect();
        assert_eq!(told, [("left", "login", Because::Grants), ("olaf", "allow", Because::Grants)]);
    }
}
