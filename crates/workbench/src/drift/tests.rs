use chrono::TimeZone as _;
use policy::rbac::LegacyRole;

use super::explanation::explain;
use super::*;

const MAPPING: &str = "version = 1\n[clusters]\nS1 = \"shadow\"\nS2 = \"shadow\"\n[blueprints.b]\ncluster = \"S1\"\n\
    [blueprints.b.routes]\n\"GET /a\" = { legacy = [\"superadmin\", \"ops\"], role = \"reader\" }\n\
    \"GET /b\" = { role = \"writer\" }\n";

fn at(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 29, hour, 0, 0).single().expect("a time that exists")
}

fn key(route: &str, actor_id: &str, direction: Direction) -> Key {
    Key { route: route.into(), actor_kind: CallerKind::Admin, actor_id: actor_id.into(), direction }
}

fn denied(route: &str) -> Key {
    key(route, "anna", Direction::WouldNewlyDeny)
}

fn sighting(key: &Key, mapping: &str, hour: u32, count: i64) -> Sighting {
    Sighting {
        key: key.clone(),
        cluster: "S9".into(),
        reason: format!("reason at {hour}"),
        mapping_sha256: mapping.into(),
        count,
        first_seen_at: at(hour) - chrono::TimeDelta::minutes(30),
        last_seen_at: at(hour),
    }
}

fn person(legacy: &[LegacyRole], groups: &[&str]) -> Person {
    Person {
        kind: CallerKind::Admin,
        id: "anna".into(),
        legacy: legacy.iter().cloned().collect::<std::collections::BTreeSet<_>>().into(),
        groups: groups.iter().map(|group| (*group).into()).collect::<std::collections::BTreeSet<_>>().into(),
        break_glass: false,
    }
}

/// readers hold reader; editors hold writer, which inherits reader and permits two things.
fn catalog() -> Catalog {
    let set = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let edges = |pairs: &[(&str, &[&str])]| {
        pairs
            .iter()
            .map(|(from, to)| ((*from).into(), to.iter().map(|name| (*name).into()).collect()))
            .collect()
    };
    Catalog {
        groups: set(&["readers", "editors", "break-glass", "idle"]),
        roles: set(&["reader", "writer"]),
        permissions: set(&["read", "write"]),
        inherits: edges(&[("writer", &["reader"])]),
        group_roles: edges(&[
            ("readers", &["reader"]),
            ("editors", &["writer"]),
            ("break-glass", &["reader"]),
        ]),
        role_permissions: edges(&[("reader", &["read"]), ("writer", &["write"])]),
    }
}

fn mapping(text: &str) -> Mapping {
    Mapping::parse("routes.toml", text).expect("a sound mapping")
}

/// Whether a sign-off that was given under one mapping, catalog and person still applies under others.
fn state(mapping_now: &str, catalog_now: &Catalog, person_now: Option<Person>) -> SignOffState {
    let (mapping_then, catalog_then) = (mapping(MAPPING), catalog());
    let people_then = [person(&[LegacyRole::literal("ops")], &[])];
    let key = denied("GET /a");
    let fingerprints = Situation::new(&mapping_then, &catalog_then, &people_then).fingerprints(&key);
    let sign_off = SignOff {
        key: key.clone(),
        reason: "r".into(),
        signed_by: "ben".into(),
        signed_at_utc: at(12),
        fingerprints,
    };
    let (mapping_now, people_now) = (mapping(mapping_now), Vec::from_iter(person_now));
    let situation = Situation::new(&mapping_now, catalog_now, &people_now);
    let review = situation.review(vec![sighting(&key, "m", 12, 1)], vec![sign_off]).remove(0).sign_off;
    review.expect("the sign-off").state
}

#[test]
fn sightings_under_several_mappings_are_one_disagreement() {
    let (mapping, catalog) = (mapping(MAPPING), catalog());
    let situation = Situation::new(&mapping, &catalog, &[]);
    let (a, gone) = (denied("GET /a"), denied("GET /gone"));
    let sightings =
        vec![sighting(&a, "old", 10, 3), sighting(&gone, "old", 9, 1), sighting(&a, "new", 11, 4)];
    let [first, second] = &situation.review(sightings, Vec::new())[..] else { panic!("two disagreements") };
    assert_eq!((first.count, first.reason.as_str()), (7, "reason at 11"));
    assert_eq!(first.mappings, ["new", "old"]);
    assert_eq!(first.first_seen_at_utc, at(10) - chrono::TimeDelta::minutes(30));
    assert_eq!(first.last_seen_at_utc, at(11));
    assert_eq!(first.cluster, "S1", "where the row is now");
    assert_eq!(second.cluster, "S9", "where it was");
}

/// The id names the disagreement in every database and version: it must not change.
#[test]
fn ids_are_stable_and_differ_between_disagreements() {
    let base = denied("GET /a");
    let others = [
        key("GET /b", "anna", Direction::WouldNewlyDeny),
        key("GET /a", "ben", Direction::WouldNewlyDeny),
        key("GET /a", "anna", Direction::WouldNewlyAllow),
        Key { actor_kind: CallerKind::Machine, ..base.clone() },
    ];
    assert!(others.iter().all(|other| other.id() != base.id()));
    // printf '["GET /a","admin","anna","would_newly_deny"]' | sha256sum
    assert_eq!(base.id(), "b49af4a33d87");
}

#[test]
fn a_sign_off_is_valid_until_the_requirement_or_the_grants_change() {
    let ops = || Some(person(&[LegacyRole::literal("ops")], &[]));
    let moved = MAPPING.replace("[blueprints.b]", "# moved\n[blueprints.b]").replace("S1", "S2");
    assert_eq!(state(MAPPING, &catalog(), ops()), SignOffState::Valid);
    assert_eq!(
        state(&moved.replace("S2 = \"shadow\"\nS2", "S1 = \"shadow\"\nS2"), &catalog(), ops()),
        SignOffState::Valid
    );
    for (from, to) in [
        ("[\"superadmin\", \"ops\"]", "[\"ops\"]"),
        ("legacy = [\"superadmin\", \"ops\"], ", ""),
        ("role = \"reader\"", "role = \"writer\""),
        ("role = \"reader\"", "permission = \"reader\""),
        ("\"GET /a\"", "\"GET /a/<id>\""),
        ("legacy = [\"superadmin\", \"ops\"], role = \"reader\"", "session = true"),
    ] {
        let changed = MAPPING.replacen(from, to, 1);
        assert_ne!(changed, MAPPING, "{from}");
        assert_eq!(state(&changed, &catalog(), ops()), SignOffState::RowChanged, "{from} -> {to}");
    }
    let mut with_break_glass = person(&[LegacyRole::literal("ops")], &[]);
    with_break_glass.break_glass = true;
    for held in [
        None,
        Some(person(&[], &[])),
        Some(person(&[LegacyRole::literal("ops"), LegacyRole::literal("support")], &[])),
        Some(person(&[LegacyRole::literal("ops")], &["idle"])),
        Some(with_break_glass),
    ] {
        assert_eq!(state(MAPPING, &catalog(), held.clone()), SignOffState::GrantsChanged, "{held:?}");
    }
}

/// She was not moved, but her group came to hold something else.
#[test]
fn a_sign_off_ends_when_a_group_or_a_role_changes() {
    let (mapping, before) = (mapping(MAPPING), catalog());
    let people = [person(&[], &["editors"])];
    let grants = |catalog: &Catalog| {
        Situation::new(&mapping, catalog, &people).fingerprints(&denied("GET /a")).grants_sha256
    };
    let mut inherits_less = catalog();
    inherits_less.inherits.clear();
    let mut permits_more = catalog();
    permits_more.role_permissions.insert("reader".into(), ["read".into(), "write".into(), "x".into()].into());
    let mut of_others = catalog();
    of_others.group_roles.insert("idle".into(), ["reader".into()].into());
    assert_ne!(grants(&inherits_less), grants(&before));
    assert_ne!(grants(&permits_more), grants(&before));
    assert_eq!(grants(&of_others), grants(&before), "she is not in it");
}

#[test]
fn the_smallest_change_is_named() {
    let (mapping, catalog) = (mapping(MAPPING), catalog());
    let changes = |key: &Key, person: Option<Person>| {
        let people = Vec::from_iter(person);
        explain(key, "missing_role", &Situation::new(&mapping, &catalog, &people)).changes
    };
    let allowed = |route| key(route, "anna", Direction::WouldNewlyAllow);
    let least = "add anna to readers: this grants 1 role(s) and 1 permission(s) that anna does not have yet; 1 \
                 other group(s) would also do";
    let sign_off = "if anna should have access with V2: sign it off, no other change is needed";
    let table = [
        (denied("GET /a"), Some(person(&[LegacyRole::literal("ops")], &[])), vec![least]),
        (
            denied("GET /a"),
            Some(person(&[LegacyRole::literal("ops")], &["readers"])),
            vec!["no change needed: both gates now agree"],
        ),
        (
            allowed("GET /a"),
            Some(person(&[], &["readers", "editors"])),
            vec![
                "if anna should have access already today: give anna the legacy role ops",
                sign_off,
                "if anna should not have access: remove anna from editors and readers",
            ],
        ),
        (
            allowed("GET /b"),
            Some(person(&[], &["editors"])),
            vec![sign_off, "if anna should not have access: remove anna from editors"],
        ),
        (denied("GET /a"), None, vec!["no change needed: no enabled caller has the id anna"]),
        (denied("GET /c"), None, vec!["no change needed: the running mapping no longer has this row"]),
    ];
    for (key, person, expected) in table {
        assert_eq!(changes(&key, person), expected, "{key:?}");
    }
}

/// No grant corrects a wrong body.
#[test]
fn a_body_that_cannot_be_read_is_explained_by_the_body() {
    let rule = "{ json = \"/t\", equals = \"x\", role = \"writer\" }, { json = \"/u\", equals = \"x\", role = \"writer\" }";
    let mapping = mapping(&format!(
        "version = 1\n[clusters]\nS1 = \"shadow\"\n[blueprints.b]\ncluster = \"S1\"\n[blueprints.b.routes]\n\
         \"POST /a\" = {{ legacy = [\"ops\"], role = \"reader\", when = [{rule}] }}\n"
    ));
    let catalog = catalog();
    let explained = |reason: &str, legacy: &[LegacyRole]| {
        let people = [person(legacy, &["editors"])];
        explain(&denied("POST /a"), reason, &Situation::new(&mapping, &catalog, &people))
    };
    let unreadable = explained("body_unreadable", &[LegacyRole::literal("ops")]);
    let v2 = unreadable.v2.expect("an answer");
    assert!(!v2.allows, "whatever she holds");
    assert_eq!(v2.because, "sends an unreadable or missing body");
    assert_eq!(
        unreadable.changes,
        [
            "have the client send JSON with a single value for /t and /u",
            "if `POST /a` must accept other bodies: remove `when` from the row"
        ]
    );
    let none = ["no change needed: both gates now agree"];
    assert_eq!(explained("body_unreadable", &[]).changes, none);
    assert_eq!(explained("missing_role", &[LegacyRole::literal("ops")]).changes, none);
}

#[test]
fn every_reason_is_counted() {
    let key = denied("GET /a");
    let of = |reason: &str, mapping: &str, hour, count| Sighting {
        reason: reason.into(),
        ..sighting(&key, mapping, hour, count)
    };
    let sightings =
        vec![of("missing_role", "m", 1, 2), of("body_unreadable", "m", 3, 1), of("missing_role", "n", 2, 5)];
    let mapping = mapping(MAPPING);
    let (catalog, people) = (catalog(), []);
    let reviewed = Situation::new(&mapping, &catalog, &people).review(sightings, Vec::new());
    let [drift] = reviewed.as_slice() else { panic!("{reviewed:?}") };
    assert_eq!((drift.reason.as_str(), drift.count), ("body_unreadable", 8));
    let reasons: Vec<(&str, i64)> =
        drift.reasons.iter().map(|one| (one.reason.as_str(), one.count)).collect();
    assert_eq!(reasons, [("missing_role", 7), ("body_unreadable", 1)]);
    assert_eq!(drift.mappings, ["m", "n"]);
}
