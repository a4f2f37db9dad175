//! Random mappings, compared request by request: an impact names every caller whose answer differs, and no other.

use std::fmt::Write as _;

use policy::decision::body::{self, BodyFacts, ContentHeaders};
use policy::decision::{Caller, Control, Question, Target, Verdict, decide, outcome_word};
use policy::ids::Epoch;
use policy::mapping::{BodyField, BodyRule};
use policy::method::Method;
use policy::rbac::LegacyRole;
use policy::rbac::census::{CallerKind, Person};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::{access_of, catalog, names, principal_of};
use crate::impact::profile::LegacyAs;

const PATHS: [&str; 4] = ["/a", "/b", "/<x>", "/a/*"];
const METHODS: [&str; 7] = ["GET", "POST", "GET,POST", "POST,DELETE", "*", "OPTIONS", "PUT"];
const KINDS: [&str; 12] = [
    "public = true",
    "session = true",
    "machine = true",
    "upstream = true",
    "gone = true",
    "session = true, websocket = true",
    "legacy = [\"ops\"], undecided = \"A-1\"",
    "legacy = [\"ops\"], role = \"r0\"",
    "legacy = [\"ops\"], role = \"r1\", machine_or_session = true",
    "role = \"r0\", websocket = true",
    "permission = \"p:x:read\", machine_or_session = true",
    "legacy = [\"ops\", \"support\"], role = \"r1\"",
];
const RULES: [&str; 7] = [
    "{ json = \"/t\", equals = \"a\", role = \"r1\" }",
    "{ json = \"/t\", equals = \"a\", role = \"r2\" }",
    "{ json = \"/t\", equals = \"1\", permission = \"p:x:read\" }",
    "{ json = \"/t\", equals = \"true\", role = \"r1\" }",
    "{ json = \"/u\", equals = \"a\", role = \"r2\" }",
    "{ json = \"/t/v\", equals = \"a\", role = \"r2\" }",
    "{ form = \"t\", equals = \"a\", role = \"r1\" }",
];
const CLUSTERS: [&str; 5] = [
    "\"legacy\"",
    "\"shadow\"",
    "\"v2\"",
    "{ mode = \"v2\", groups = [\"g0\"] }",
    "{ mode = \"v2\", percent = 50 }",
];

/// A row, `"POST /a" = { ... }`; what the file refuses is left out later.
fn row() -> impl Strategy<Value = String> {
    let rules = prop::collection::vec(select(&RULES[..]), 0..3);
    (select(&METHODS[..]), select(&PATHS[..]), select(&KINDS[..]), rules).prop_map(
        |(methods, path, kind, rules)| {
            let with_rules = kind.contains("role =") || kind.contains("permission =");
            let when = if rules.is_empty() || !with_rules {
                String::new()
            } else {
                format!(", when = [{}]", rules.join(", "))
            };
            format!("\"{methods} {path}\" = {{ {kind}{when} }}")
        },
    )
}

/// Rows of which each is sound beside those before it.
fn file(rows: &[String], cluster: &str, unmapped: &str, quiet: &str) -> String {
    let whole = |rows: &[String]| {
        let mut file =
            format!("version = 1\nunmapped = \"{unmapped}\"\nquiet = [{quiet}]\nclusters.C = {cluster}\n");
        file.push_str("[blueprints.b]\ncluster = \"C\"\n[blueprints.b.routes]\n");
        rows.iter().for_each(|row| writeln!(file, "{row}").unwrap());
        file
    };
    let mut kept: Vec<String> = Vec::new();
    for row in rows {
        kept.push(row.clone());
        if Mapping::parse("t", &whole(&kept)).is_err() {
            kept.pop();
        }
    }
    whole(&kept)
}

/// Two mappings that share most of their rows.
pub fn mappings() -> impl Strategy<Value = (String, String)> {
    let rows = || prop::collection::vec(row(), 0..3);
    let quiet = || select(vec!["", "", "\"/c\"", "\"/b\", \"/c\"", "\"/a/x\""]);
    let rollout = || (select(&CLUSTERS[..]), select(vec!["deny", "forward"]), quiet());
    (rows(), rows(), rows(), rollout(), rollout()).prop_map(|(shared, old, new, before, after)| {
        let of = |own: Vec<String>, (cluster, unmapped, quiet): (&str, &str, &str)| {
            file(&[own, shared.clone()].concat(), cluster, unmapped, quiet)
        };
        (of(old, before), of(new, after))
    })
}

/// Bodies, each with its content type: every combination of values for two fields, forms, and none.
fn bodies() -> Vec<(Option<&'static str>, String)> {
    let values =
        ["", "\"a\"", "\"b\"", "\"1\"", "\"true\"", "1", "true", "3e1", "{\"v\":\"a\"}", "{\"v\":\"b\"}"];
    let member = |name: &str, value: &str| (!value.is_empty()).then(|| format!("\"{name}\":{value}"));
    let mut bodies = vec![(None, String::new()), (Some("text/plain"), "t=a".to_owned())];
    for t in values {
        for u in &values[..4] {
            let members: Vec<String> = [member("t", t), member("u", u)].into_iter().flatten().collect();
            bodies.push((Some("application/json"), format!("{{{}}}", members.join(","))));
        }
    }
    for form in ["t=a", "t=b", "u=a", "t=1&u=a"] {
        bodies.push((Some("application/x-www-form-urlencoded"), form.to_owned()));
    }
    bodies
}

/// A request, as it is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: Method,
    pub path: &'static str,
    content_type: Option<&'static str>,
    body: String,
    pub upgrade: bool,
}

pub fn requests() -> Vec<Sent> {
    let mut requests = Vec::new();
    for path in ["/", "/a", "/b", "/c", "/d", "/a/x", "/a/y"] {
        for method in Method::ALL {
            let sent = |(content_type, body)| Sent { method, path, content_type, body, upgrade: false };
            let without = sent((None, String::new()));
            match method {
                // No row that looks at bodies has PATCH here.
                Method::Post | Method::Put | Method::Delete => {
                    requests.extend(bodies().into_iter().map(sent));
                }
                Method::Get => requests.extend([Sent { upgrade: true, ..without.clone() }, without]),
                _ => requests.push(without),
            }
        }
    }
    requests
}

fn facts(rules: &[BodyRule], sent: &Sent) -> BodyFacts {
    let headers = ContentHeaders { content_type: sent.content_type, content_encoding: None };
    match rules {
        [] => BodyFacts::NotRead,
        _ if !sent.method.carries_body() => BodyFacts::Unreadable(body::BodyError::NoBody),
        rules => body::read(rules, headers, sent.body.as_bytes()),
    }
}

/// What the gate does.
fn verdict(mapping: &Mapping, sent: &Sent, who: Who<'_>, rbac_v2: bool) -> Verdict {
    let target = Target::of(mapping, sent.path, sent.method);
    let known = match who {
        Who::Member(profile, member) => Some((principal_of(profile, member), access_of(profile))),
        Who::Anonymous | Who::Presented => None,
    };
    let caller = match (&known, who) {
        (Some((principal, access)), _) => Caller::at(&target, principal, access),
        (None, Who::Presented) => Caller::Presented,
        (None, _) => Caller::Nobody,
    };
    let control = Control { epoch: Epoch(1), rbac_v2, may_enforce: true };
    let body = facts(target.body_rules(), sent);
    decide(&Question { upgrade: sent.upgrade, target, caller, control: Some(&control), body: &body })
}

/// Whether the gate forwards it.
fn passes(mapping: &Mapping, sent: &Sent, who: Who<'_>, rbac_v2: bool) -> bool {
    verdict(mapping, sent, who, rbac_v2).outcome.is_ok()
}

/// How it ends with V2 in force, and which gate decides, in the words of the decision log.
pub fn ends(mapping: &Mapping, sent: &Sent, who: Who<'_>) -> (&'static str, &'static str) {
    let verdict = verdict(mapping, sent, who, true);
    (outcome_word(&verdict.outcome), policy::decision::gate_word(verdict.gate))
}

#[derive(Clone, Copy, Debug)]
pub enum Who<'p> {
    Anonymous,
    Presented,
    Member(&'p Profile, &'p std::sync::Arc<str>),
}

/// Whether a change is about such a request. A body that meets several rules is one of each.
fn is_about(change: &Change<'_>, sent: &Sent, old: &Mapping, new: &Mapping) -> bool {
    let targets = [old, new].map(|mapping| Target::of(mapping, sent.path, sent.method));
    let rows = targets.map(|target| target.row().map(|row| row.offset));
    let place = |row: Option<&Row>| row.map(|row| row.offset);
    if rows != [place(change.region.old), place(change.region.new)]
        || change.region.quiet != [old, new].map(|mapping| mapping.is_quiet(sent.path))
        || !change.region.methods.contains(sent.method)
    {
        return false;
    }
    // A mapping that nothing asks about the body takes any.
    let fits = |side, target: &Target<'_>| {
        let rules = target.body_rules();
        let facts = facts(rules, sent);
        match (change.requests.body_at(side), facts.matches()) {
            _ if rules.is_empty() => true,
            (BodyKind::Unreadable, matches) => matches.is_none(),
            (BodyKind::NoRule, matches) => matches.is_some(),
            // The other side's rules say nothing of this field, or of this value.
            (BodyKind::Rule(field, equals), Some(matches)) => {
                let mut own = rules.iter().zip(matches).filter(|(rule, _)| is_same(rule, field, equals));
                own.all(|(_, met)| *met)
            }
            (BodyKind::Rule(..), None) => false,
        }
    };
    match change.requests {
        Requests::WebSocket => sent.upgrade,
        // No file of this model sets `cors`.
        Requests::Preflight => false,
        Requests::All => true,
        Requests::Body(_) | Requests::ReadBy(..) => {
            !sent.upgrade && fits(Side::Before, &targets[0]) && fits(Side::After, &targets[1])
        }
    }
}

fn is_same(rule: &BodyRule, field: &BodyField, equals: &str) -> bool {
    rule.field == *field && rule.equals == equals
}

fn direction(change: &Change<'_>, who: Who<'_>, profiles: &[Profile]) -> Option<AccessChange> {
    match who {
        Who::Anonymous => change.strangers,
        Who::Presented => change.machines_of_console,
        Who::Member(profile, _) => {
            let index = profiles.iter().position(|one| std::ptr::eq(one, profile)).unwrap();
            match (change.gains.contains(index), change.losses.contains(index)) {
                (true, _) => Some(AccessChange::Gain),
                (_, true) => Some(AccessChange::Loss),
                _ => None,
            }
        }
    }
}

pub fn people() -> Vec<Person> {
    let person = |kind, id: &str, legacy: &[LegacyRole], groups: &[&str]| Person {
        kind,
        id: id.into(),
        legacy: legacy.iter().cloned().collect::<std::collections::BTreeSet<_>>().into(),
        groups: names(groups).into(),
        break_glass: false,
    };
    let admin = CallerKind::Admin;
    vec![
        person(admin, "nick", &[], &[]),
        person(admin, "olaf", &[LegacyRole::literal("ops")], &[]),
        person(admin, "rita", &[LegacyRole::literal("support")], &["g0"]),
        person(admin, "tess", &[], &["g1", "g2"]),
        person(admin, "uma", &[LegacyRole::literal("ops")], &["g1"]),
        person(CallerKind::Machine, "bare", &[], &[]),
        person(CallerKind::Machine, "robot", &[LegacyRole::literal("ops")], &["g1"]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_callers_whose_answer_changes_are_named((old, new) in mappings(), rbac_v2: bool) {
        let (old, new) = (Mapping::parse("old", &old).unwrap(), Mapping::parse("new", &new).unwrap());
        let (catalog, people) = (catalog(), people());
        let population = Population::new(&catalog, &people, &LegacyAs::new(), &[&old, &new]);
        let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2 });
        prop_assert!(impact.complete);
        let real = population.profiles().iter().filter(|profile| {
            matches!(profile.kind, ProfileKind::Admin | ProfileKind::Machine)
        });
        let members = real.flat_map(|profile| profile.members.iter().map(move |one| Who::Member(profile, one)));
        let everybody: Vec<Who<'_>> = [Who::Anonymous, Who::Presented].into_iter().chain(members).collect();
        let requests = requests();
        // What a change claims, some request has to show.
        let mut unseen: Vec<(usize, usize)> = Vec::new();
        for (index, change) in impact.changes.iter().enumerate() {
            for (number, who) in everybody.iter().enumerate() {
                if direction(change, *who, population.profiles()).is_some() {
                    unseen.push((index, number));
                }
            }
        }
        for sent in &requests {
            let about: Vec<usize> = (0..impact.changes.len())
                .filter(|index| is_about(&impact.changes[*index], sent, &old, &new))
                .collect();
            for (number, who) in everybody.iter().enumerate() {
                let (before, after) = (passes(&old, sent, *who, rbac_v2), passes(&new, sent, *who, rbac_v2));
                let Some(expected) = AccessChange::between(before, after) else { continue };
                let reporting: Vec<usize> = about
                    .iter()
                    .copied()
                    .filter(|index| {
                        direction(&impact.changes[*index], *who, population.profiles()) == Some(expected)
                    })
                    .collect();
                prop_assert!(!reporting.is_empty(), "{:?} {:?} {:?} is not reported\n{}\n{}", expected, who, sent, old.source(), new.source());
                unseen.retain(|(index, other)| *other != number || !reporting.contains(index));
            }
        }
        let invented: Vec<_> = unseen
            .iter()
            .map(|(index, who)| (everybody[*who], &impact.changes[*index]))
            .collect();
        prop_assert!(invented.is_empty(), "{:?}\n{}\n{}", invented.first(), old.source(), new.source());
        prop_assert_eq!(impact.is_neutral(), impact.changes.is_empty());
    }
}
