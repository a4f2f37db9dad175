//! Requests of each kind, decided again.

mod model;

use policy::rbac::LegacyRole;

use super::*;

const OLD: &str = "version = 1\n[clusters]\nC = \"legacy\"\n[blueprints.b]\ncluster = \"C\"\n[blueprints.b.routes]\n\
    \"GET /x/<id>\" = { legacy = [\"ops\"], role = \"reader\" }\n\"GET /gone\" = { session = true }\n";

fn mapping(text: &str) -> Arc<Mapping> {
    Arc::new(Mapping::parse("t", text).unwrap())
}

fn people() -> Vec<Person> {
    let person = |id: &str, legacy: &[LegacyRole], groups: &[&str]| Person {
        kind: CallerKind::Admin,
        id: id.into(),
        legacy: legacy.iter().cloned().collect::<std::collections::BTreeSet<_>>().into(),
        groups: groups.iter().map(|group| (*group).into()).collect::<std::collections::BTreeSet<_>>().into(),
        break_glass: false,
    };
    vec![person("olaf", &[LegacyRole::literal("ops")], &[]), person("rita", &[], &["readers"])]
}

fn catalog() -> Catalog {
    Catalog::from_seed("[[group]]\nname = \"readers\"\n[[role]]\nname = \"reader\"\ngroups = [\"readers\"]")
        .unwrap()
}

fn made(path: &str, who: &str, answer: &str, count: u64) -> Recorded {
    Recorded {
        method: "GET".into(),
        path: path.into(),
        caller: (!who.is_empty()).then(|| (CallerKind::Admin, who.to_owned())),
        gate: "legacy".into(),
        answer: answer.into(),
        count,
        mapping: Some(mapping(OLD)),
    }
}

#[test]
fn a_changed_answer_is_reported_with_its_cause() {
    let candidate =
        mapping(&OLD.replace("\"legacy\"\n", "\"v2\"\n").replace("{ session = true }", "{ gone = true }"));
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
    let changed: Vec<_> = replay
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
    assert_eq!(changed, expected);
    assert_eq!((replay.requests, replay.callers, replay.without_a_path), (23, 2, 5));
    assert_eq!((replay.newly(true), replay.newly(false)), (3, 10));
}

#[test]
fn a_grant_that_has_changed_since_is_not_attributed_to_the_mapping() {
    // Olaf holds `ops` now and did not then; the candidate is the very mapping that decided.
    let recorded = [made("/x/1", "olaf", "deny", 1), made("/x/1", "left", "allow", 1)];
    let replay = replay(&recorded, &mapping(OLD), &catalog(), &people());
    let changed: Vec<_> = replay.changed.iter().map(|one| (&*one.caller, one.after, one.because)).collect();
    assert_eq!(changed, [("left", "login", Because::Grants), ("olaf", "allow", Because::Grants)]);
}

/// One record, decided by `decider` then and held by `candidate` now.
fn ends(record: Recorded, candidate: &str) -> Vec<(&'static str, bool, Because)> {
    let replay = replay(&[record], &mapping(candidate), &catalog(), &people());
    replay.changed.iter().map(|one| (one.after, one.certain, one.because)).collect()
}

fn posted(decider: &str, gate: &str, who: &str, answer: &str) -> Recorded {
    Recorded {
        method: "POST".into(),
        gate: gate.into(),
        mapping: Some(mapping(decider)),
        ..made("/w", who, answer, 1)
    }
}

/// The role of the row is `reader`'s, that of the rule no group has.
fn body_row(mode: &str) -> String {
    format!(
        "version = 1\n[clusters]\nC = \"{mode}\"\n[blueprints.b]\ncluster = \"C\"\n[blueprints.b.routes]\n\
         \"POST /w\" = {{ legacy = [\"ops\"], role = \"reader\", when = [{{ json = \"/t\", equals = \"x\", role = \"lost\" }}] }}\n"
    )
}

/// Bodies are not kept. An answer that depends on one is reported as possible, with the bodies that cause it.
#[test]
fn an_answer_that_depends_on_the_body_is_only_possible() {
    let (shadow, v2) = (body_row("shadow"), body_row("v2"));
    let mapping_did = |end, certain| vec![(end, certain, Because::Mapping)];
    // Rita holds the row's role and no legacy role: let in unless her body met the rule or could not be read.
    assert_eq!(ends(posted(&shadow, "shadow", "rita", "deny"), &v2), mapping_did("allow", false));
    // Olaf lacks the row's role: no body helps.
    assert_eq!(ends(posted(&shadow, "shadow", "olaf", "allow"), &v2), mapping_did("deny", true));
    let replay = replay(&[posted(&shadow, "shadow", "rita", "allow")], &mapping(&v2), &catalog(), &people());
    let [one] = &replay.changed[..] else { panic!("{replay:?}") };
    let rule = BodyReport::Rule { field: "/t".into(), equals: "x".into() };
    assert_eq!(one.bodies, [rule, BodyReport::Unreadable]);
    assert_eq!((replay.uncertain, replay.newly(false)), (1, 0));
}

/// V2 has read the body then: its answer shows what the body was.
#[test]
fn what_v2_answered_says_what_the_body_was() {
    let v2 = body_row("v2");
    // The mapping that decided, against itself.
    assert_eq!(ends(posted(&v2, "v2", "rita", "allow"), &v2), []);
    assert_eq!(ends(posted(&v2, "v2", "rita", "deny"), &v2), []);
    // A body that V2 let through can be read, so a row without the rule lets it through as well.
    let without = v2.replace(", when = [{ json = \"/t\", equals = \"x\", role = \"lost\" }]", "");
    assert_eq!(ends(posted(&v2, "v2", "rita", "allow"), &without), []);
    assert_eq!(ends(posted(&v2, "v2", "rita", "deny"), &without), [("allow", true, Because::Mapping)]);
    // By other rules it may be unreadable.
    let other = v2.replace("/t", "/u");
    assert_eq!(ends(posted(&v2, "v2", "rita", "allow"), &other), [("deny", false, Because::Mapping)]);
    // With the switch off the body was not looked at, and it is the switch that makes the difference.
    assert_eq!(ends(posted(&v2, "legacy", "rita", "deny"), &v2), [("allow", false, Because::Grants)]);
    // OPTIONS has no body: V2 denies it for certain.
    let session = "version = 1\n[blueprints.b.routes]\n\"POST /w\" = { session = true }\n";
    let options = Recorded { method: "OPTIONS".into(), ..posted(session, "none", "rita", "allow") };
    assert_eq!(ends(options, &v2), [("deny", true, Because::Mapping)]);
}

/// The asterisk names no route; a row for every path is none for it.
#[test]
fn the_asterisk_meets_no_row() {
    let open = "version = 1\nunmapped = \"forward\"\n[blueprints.b.routes]\n\"* /*\" = { public = true }\n\
                \"* /<x>\" = { public = true }\n";
    let asked = |who: &str, answer: &str| Recorded { method: "OPTIONS".into(), ..made("*", who, answer, 1) };
    assert_eq!(ends(asked("rita", "deny"), open), []);
    assert_eq!(ends(asked("", "login"), open), []);
}

/// Any machine's token passes a machine row, and only rows that take machines look it up.
#[test]
fn a_machine_is_answered_as_the_gate_answers_it() {
    let robot = Person {
        kind: CallerKind::Machine,
        id: "robot".into(),
        legacy: BTreeSet::from([LegacyRole::literal("ops")]).into(),
        groups: Default::default(),
        break_glass: false,
    };
    let before = "version = 1\n[blueprints.b.routes]\n\"GET /m\" = { legacy = [\"ops\"], role = \"reader\", machine_or_session = true }\n";
    let end = |kind: &str, people: &[Person]| {
        let record = Recorded {
            caller: Some((CallerKind::Machine, "robot".to_owned())),
            mapping: Some(mapping(before)),
            ..made("/m", "", "allow", 1)
        };
        let candidate = match kind {
            "" => "version = 1\n".to_owned(),
            kind => format!("version = 1\n[blueprints.b.routes]\n\"GET /m\" = {{ {kind} }}\n"),
        };
        let replay = replay(&[record], &mapping(&candidate), &catalog(), people);
        replay.changed.first().map(|one| one.after)
    };
    for (kind, enrolled, revoked) in [
        ("machine = true", None, None),
        ("public = true", None, None),
        ("session = true", Some("login"), Some("login")),
        ("", Some("login"), Some("login")),
        ("legacy = [\"ops\"], role = \"reader\", machine_or_session = true", None, Some("login")),
        ("legacy = [\"support\"], role = \"reader\", machine_or_session = true", Some("deny"), Some("login")),
        ("legacy = [\"ops\"], role = \"reader\"", Some("login"), Some("login")),
    ] {
        assert_eq!(end(kind, std::slice::from_ref(&robot)), enrolled, "{kind}");
        assert_eq!(end(kind, &[]), revoked, "{kind}");
    }
}

/// For a path without a row no session is looked up where everything is forwarded, and no token anywhere.
#[test]
fn what_depends_on_who_asked_is_only_possible() {
    let ends = |answer: &str, candidate: &str| -> Vec<(&str, bool)> {
        let unmapped = if answer == "allow" { "forward" } else { "deny" };
        let then = format!("version = 1\nunmapped = \"{unmapped}\"\n");
        let record = Recorded { mapping: Some(mapping(&then)), ..made("/n", "", answer, 1) };
        let replay = replay(&[record], &mapping(candidate), &catalog(), &people());
        assert!(replay.changed.iter().all(|one| one.depends_on_caller != one.certain), "{replay:?}");
        replay.changed.iter().map(|one| (one.after, one.certain)).collect()
    };
    let row = |kind: &str| {
        format!("version = 1\nunmapped = \"forward\"\n[blueprints.b.routes]\n\"GET /n\" = {{ {kind} }}\n")
    };
    let (machine, session, public) = (row("machine = true"), row("session = true"), row("public = true"));
    let gated = row("legacy = [\"ops\"], role = \"reader\"");
    let both = row("legacy = [\"ops\"], role = \"reader\", machine_or_session = true");
    assert_eq!(ends("allow", &public), []);
    assert_eq!(ends("allow", "version = 1\nunmapped = \"forward\"\n"), []);
    assert_eq!(ends("allow", "version = 1\n"), [("deny", false), ("login", false)]);
    assert_eq!(ends("allow", &session), [("login", false)]);
    assert_eq!(ends("allow", &gated), [("deny", false), ("login", false)]);
    assert_eq!(ends("allow", &machine), [("unauthorized", false)]);
    // The request was unauthenticated.
    assert_eq!(ends("login", &session), []);
    assert_eq!(ends("login", &gated), []);
    assert_eq!(ends("login", &public), [("allow", true)]);
    assert_eq!(ends("login", &machine), [("allow", false), ("unauthorized", false)]);
    assert_eq!(ends("login", &both), [("allow", false), ("deny", false)]);
}
