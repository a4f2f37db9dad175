use chrono::TimeZone as _;
use policy::decision::Direction;

use super::*;
use crate::drift::{Fingerprints, Key, Review, SignOff, SignOffState};

const MAPPING: &str = "version = 1\n\
    [clusters]\nS1 = \"shadow\"\nS2 = \"v2\"\nS3 = \"legacy\"\nS4 = { mode = \"v2\", groups = [\"first\"] }\n\
    [soak]\nshadow_days = 7\nquiet_hours = 48\nrequests = 100\nadmins = 2\n\
    [blueprints.a]\ncluster = \"S1\"\n[blueprints.a.routes]\n\
    \"GET /a\" = { legacy = [\"superadmin\", \"ops\"], role = \"reader\" }\n\
    \"GET /u\" = { legacy = [\"readonly\"], undecided = \"AMBIGUOUS-1\", options = { A = \"console-user\" } }\n\
    [blueprints.d]\ncluster = \"S4\"\n[blueprints.d.routes]\n\
    \"GET /d\" = { legacy = [\"ops\"], role = \"reader\" }\n";

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 29, 12, 0, 0).single().expect("a time that exists")
}

fn ago(hours: i64) -> DateTime<Utc> {
    now() - TimeDelta::hours(hours)
}

fn admin(id: &str, legacy: &[LegacyRole], groups: &[&str]) -> Person {
    Person {
        kind: CallerKind::Admin,
        id: id.into(),
        legacy: legacy.iter().cloned().collect::<std::collections::BTreeSet<_>>().into(),
        groups: groups.iter().map(|group| (*group).into()).collect::<std::collections::BTreeSet<_>>().into(),
        break_glass: false,
    }
}

fn drift(cluster: &str, last_seen: DateTime<Utc>, state: Option<SignOffState>) -> Disagreement {
    let key = Key {
        route: "GET /a".into(),
        actor_kind: CallerKind::Admin,
        actor_id: "anna".into(),
        direction: Direction::WouldNewlyDeny,
    };
    let sign_off = SignOff {
        key: key.clone(),
        reason: "r".into(),
        signed_by: "ben".into(),
        signed_at_utc: now(),
        fingerprints: Fingerprints { demand_sha256: String::new(), grants_sha256: String::new() },
    };
    Disagreement {
        id: key.id(),
        key,
        cluster: cluster.into(),
        reason: "missing_role".into(),
        reasons: Vec::new(),
        count: 1,
        first_seen_at_utc: last_seen,
        last_seen_at_utc: last_seen,
        mappings: vec!["m".into()],
        sign_off: state.map(|state| Review { sign_off, state }),
    }
}

fn uses(route: &str, admin: Option<&str>, requests: u64) -> Use {
    Use { route: route.into(), admin: admin.map(str::to_owned), requests }
}

/// The known facts; each case changes a part of what makes S1 ready to the hour.
struct Known {
    shadow_since: Option<DateTime<Utc>>,
    flag: Flag,
    disagreements: Vec<Disagreement>,
    overflow: Vec<Overflow>,
    gaps: Vec<Gap>,
    refusals: Vec<Refusals>,
    uses: Vec<Use>,
    people: Vec<Person>,
}

fn ready() -> Known {
    Known {
        shadow_since: Some(ago(7 * 24)),
        flag: Flag::NeverFlipped,
        disagreements: vec![drift("S1", ago(48), None), drift("S1", ago(1), Some(SignOffState::Valid))],
        overflow: Vec::new(),
        gaps: Vec::new(),
        refusals: Vec::new(),
        uses: vec![
            uses("GET /a", Some("anna"), 49),
            uses("GET /a", Some("ben"), 50),
            uses("GET /a", None, 1),
            uses("GET /u", Some("dora"), 1_000),
        ],
        people: vec![
            admin("anna", &[LegacyRole::literal("superadmin"), LegacyRole::literal("ops")], &[]),
            admin("ben", &[LegacyRole::literal("ops")], &[]),
            admin("cleo", &[LegacyRole::literal("ops")], &[]),
            admin("dora", &[LegacyRole::literal("readonly")], &[]),
        ],
    }
}

fn state_of(cluster: &str, known: &Known) -> ClusterState {
    let mapping = Mapping::parse("routes.toml", MAPPING).expect("a sound mapping");
    let name: Arc<str> = cluster.into();
    let since = known.shadow_since.map(|since| (name.clone(), since)).into_iter().collect();
    let uses = [(name, known.uses.clone())].into();
    let states = states(&Evidence {
        mapping: &mapping,
        shadow_since: &since,
        flag: known.flag,
        disagreements: &known.disagreements,
        overflow: &known.overflow,
        gaps: &known.gaps,
        refusals: &known.refusals,
        uses: &uses,
        people: &known.people,
        now: now(),
    });
    states.into_iter().find(|state| state.cluster == cluster).expect("a cluster of the mapping")
}

fn refusals(cluster: &str, route: &str, gate: &str, status: u16, count: u64, hours: i64) -> Refusals {
    let (cluster, route, gate) = (cluster.into(), route.into(), gate.into());
    Refusals { cluster, route, gate, status, count, last_seen_at_utc: ago(hours) }
}

/// What Console refuses of what V2 allows holds a cluster for its quiet hours, one that V2 decides already too.
#[test]
fn consoles_own_refusals_hold_a_cluster() {
    let said = |cluster: &str, refusals: Vec<Refusals>| {
        let state = state_of(cluster, &Known { refusals, ..ready() });
        (state.verdict, state.missing, state.refusals.len())
    };
    let both = vec![
        refusals("S1", "GET /a", "v2", 403, 4, 3),
        refusals("S1", "GET /b", "v2", 403, 8, 47),
        refusals("S1", "GET /old", "v2", 403, 8, 48),
        refusals("S1", "GET /a", "legacy", 403, 7, 1),
        refusals("S4", "GET /d", "v2", 401, 1, 1),
    ];
    let remedy = refusals::REMEDY;
    assert!(remedy.contains("console-gate package") && remedy.contains("`own_refusals` of [upstream]"));
    let held = format!(
        "Console answered 403 to 12 requests that V2 allowed: its own decorators still decide (GET /b 8, GET /a 4); \
         {remedy}; not ready until 2026-03-31 09:00Z"
    );
    assert_eq!(said("S1", both), (Readiness::NotReady, vec![held], 3));
    let one = format!(
        "Console answered 401 to 1 request that V2 allowed: its own decorators still decide (GET /x 1); {remedy}; \
         not ready until 2026-03-31 11:00Z"
    );
    let of_enforced = vec![refusals("S2", "GET /x", "v2", 401, 1, 1)];
    assert_eq!(said("S2", of_enforced), (Readiness::Refused, vec![one], 1));
    assert_eq!(
        said("S2", vec![refusals("S2", "GET /x", "v2", 401, 1, 48)]),
        (Readiness::Enforced, vec![], 0)
    );
    // What the legacy gate allowed is shown, and holds no cluster back: it is no evidence about V2.
    let legacy = vec![refusals("S1", "GET /a", "legacy", 403, 7, 1)];
    let state = state_of("S1", &Known { refusals: legacy, ..ready() });
    assert_eq!((state.verdict, state.missing.len()), (Readiness::Ready, 0));
    let block = text::block(&state);
    assert!(block.contains("    Console refused 7 request(s) that the legacy gate allowed\n"), "{block}");
    let many = (0..8).map(|number| (format!("GET /{number}"), 401 + 2 * (number % 2), 1));
    let many: Vec<(String, u16, u64)> = many.collect();
    let words =
        refusals::in_words(many.iter().map(|(route, status, count)| (route.as_str(), *status, *count)));
    assert_eq!(
        words,
        Some(format!(
            "Console answered 401 or 403 to 8 requests that V2 allowed: its own decorators still decide \
             (GET /0 1, GET /1 1, GET /2 1, GET /3 1, GET /4 1, 3 more routes); {remedy}"
        ))
    );
    let redirects = [("GET /a", 302, 3), ("GET /b", 403, 1)];
    assert_eq!(
        refusals::in_words(redirects.into_iter()),
        Some(format!(
            "Console answered 403 or with a redirect to its login page to 4 requests that V2 allowed: its own \
             decorators still decide (GET /a 3, GET /b 1); {remedy}"
        ))
    );
}

fn overflow(cluster: &str) -> Overflow {
    Overflow {
        cluster: cluster.into(),
        direction: Direction::WouldNewlyDeny,
        count: 3,
        first_seen_at_utc: ago(10),
        last_seen_at_utc: ago(2),
    }
}

#[test]
fn a_cluster_is_ready_when_nothing_is_missing_and_says_what_is() {
    let quiet = "46 more hours (2 of 48) without unexplained drift, until 2026-03-31 10:00Z";
    let table: [(&str, Known, &[&str]); 13] = [
        ("all of it, to the hour", ready(), &[]),
        (
            "an hour too short",
            Known { shadow_since: Some(ago(7 * 24 - 1)), ..ready() },
            &["1 more day (6 of 7) in shadow, until 2026-03-29 13:00Z"],
        ),
        (
            "drift two hours ago",
            Known { disagreements: vec![drift("S1", ago(2), None)], ..ready() },
            &[quiet],
        ),
        (
            "its sign-off has ended",
            Known { disagreements: vec![drift("S1", ago(2), Some(SignOffState::GrantsChanged))], ..ready() },
            &[quiet],
        ),
        (
            "its row was changed",
            Known { disagreements: vec![drift("S1", ago(2), Some(SignOffState::RowChanged))], ..ready() },
            &[quiet],
        ),
        ("another cluster's drift", Known { disagreements: vec![drift("S4", ago(2), None)], ..ready() }, &[]),
        ("drift beyond the bound", Known { overflow: vec![overflow("S1")], ..ready() }, &[quiet]),
        ("another's beyond the bound", Known { overflow: vec![overflow("S4")], ..ready() }, &[]),
        (
            "one request too few",
            Known {
                uses: vec![uses("GET /a", Some("anna"), 49), uses("GET /a", Some("ben"), 50)],
                ..ready()
            },
            &["1 more request (99 of 100) that both gates decided"],
        ),
        (
            "undecided and unknown rows do not count",
            Known {
                uses: vec![
                    uses("GET /a", Some("anna"), 1),
                    uses("GET /a", Some("ben"), 1),
                    uses("GET /u", None, 1_000),
                    uses("GET /gone", None, 1_000),
                ],
                ..ready()
            },
            &["98 more requests (2 of 100) that both gates decided"],
        ),
        (
            "only one of three who hold ops was seen",
            Known { uses: vec![uses("GET /a", Some("ben"), 100)], ..ready() },
            &[
                "1 more admin (1 of 2) with the legacy role ops",
                "1 more admin (0 of 1) with the legacy role superadmin",
            ],
        ),
        (
            "the kill-switch is off",
            Known { shadow_since: None, flag: Flag::Off, ..ready() },
            &["FLAG_RBAC_V2 is off"],
        ),
        (
            "it was never activated",
            Known { shadow_since: None, ..ready() },
            &["no gate has activated the cluster in shadow"],
        ),
    ];
    for (case, known, missing) in table {
        let state = state_of("S1", &known);
        assert_eq!(state.missing, missing, "{case}");
        let verdict = if missing.is_empty() { Readiness::Ready } else { Readiness::NotReady };
        assert_eq!(state.verdict, verdict, "{case}");
    }
}

fn gap(cluster: Option<&str>, until: DateTime<Utc>, lost: Lost) -> Gap {
    Gap {
        since_utc: until - TimeDelta::minutes(2),
        until_utc: until,
        cluster: cluster.map(str::to_owned),
        lost,
        gate: "gate-1/77".into(),
    }
}

/// Missing counts may hide an unexplained disagreement, and hold the cluster as long as one would.
#[test]
fn lost_evidence_holds_a_cluster_for_its_quiet_hours() {
    let beginning = "evidence was lost between 2026-03-29 09:58:00Z and 2026-03-29 10:00:00Z: ";
    let end = "; not ready until 2026-03-31 10:00Z";
    let of_drift = |cluster, until| gap(cluster, until, Lost::Disagreements(12));
    let table: [(&str, Vec<Gap>, Vec<String>); 8] = [
        (
            "disagreements",
            vec![of_drift(Some("S1"), ago(2))],
            vec![format!("{beginning}12 disagreement(s) of gate-1/77 were not recorded{end}")],
        ),
        (
            "requests",
            vec![gap(Some("S1"), ago(2), Lost::Decisions(1))],
            vec![format!("{beginning}1 request(s) of gate-1/77 were not counted{end}")],
        ),
        (
            "a gate that was killed, of whatever cluster",
            vec![gap(None, ago(2), Lost::LastSeconds)],
            vec![format!("{beginning}gate-1/77 stopped without reporting{end}")],
        ),
        ("another cluster's", vec![of_drift(Some("S4"), ago(2))], vec![]),
        ("of paths without a row", vec![of_drift(Some(""), ago(2))], vec![]),
        ("long enough ago", vec![of_drift(Some("S1"), ago(48))], vec![]),
        ("before it was in shadow", vec![of_drift(None, ago(7 * 24 + 1))], vec![]),
        (
            "many",
            (0..9).map(|hours| of_drift(None, ago(50 - hours))).collect(),
            vec![
                "evidence was lost between 2026-03-27 17:58:00Z and 2026-03-27 18:00:00Z: 12 disagreement(s) of \
                 gate-1/77 were not recorded; not ready until 2026-03-29 18:00Z"
                    .to_owned(),
                "evidence was lost between 2026-03-27 16:58:00Z and 2026-03-27 17:00:00Z: 12 disagreement(s) of \
                 gate-1/77 were not recorded; not ready until 2026-03-29 17:00Z"
                    .to_owned(),
                "evidence was lost between 2026-03-27 15:58:00Z and 2026-03-27 16:00:00Z: 12 disagreement(s) of \
                 gate-1/77 were not recorded; not ready until 2026-03-29 16:00Z"
                    .to_owned(),
                "3 more period(s) with lost evidence".to_owned(),
            ],
        ),
    ];
    for (case, gaps, missing) in table {
        let state = state_of("S1", &Known { gaps, ..ready() });
        assert_eq!(state.missing, missing, "{case}");
        assert_eq!(state.verdict == Readiness::Ready, missing.is_empty(), "{case}");
    }
}

#[test]
fn what_is_not_in_shadow_says_so() {
    let known = Known { shadow_since: None, ..ready() };
    let verdicts = ["S2", "S3", "S4"].map(|cluster| state_of(cluster, &known).verdict);
    assert_eq!(verdicts, [Readiness::Enforced, Readiness::Legacy, Readiness::NotReady]);
    assert_eq!(state_of("S3", &known).missing, ["the cluster is in legacy mode"]);
    // The kill-switch puts V2 back on its legacy gate.
    let off = Known { shadow_since: None, flag: Flag::Off, ..ready() };
    let verdicts = ["S1", "S2", "S4"].map(|cluster| state_of(cluster, &off).verdict);
    assert_eq!(verdicts, [Readiness::NotReady, Readiness::Legacy, Readiness::NotReady]);
    assert_eq!(state_of("S2", &off).missing, ["FLAG_RBAC_V2 is off"]);
}

/// V2 decides for members of the cohort, so shadow mode never sees them: the soak must not wait for that.
#[test]
fn a_cohort_is_not_waited_for() {
    let uses = vec![uses("GET /d", Some("ben"), 100)];
    let people = vec![
        admin("anna", &[LegacyRole::literal("ops")], &["first"]),
        admin("ben", &[LegacyRole::literal("ops")], &[]),
    ];
    let state = state_of("S4", &Known { uses, people, ..ready() });
    assert_eq!((state.verdict, &state.missing[..]), (Readiness::Ready, &[][..]));
    let shadow = state.shadow.expect("the rest is in shadow");
    assert_eq!(shadow.admins, [RoleUse { role: "ops".into(), seen: 1, needed: 1 }]);
}

#[test]
fn shadow_counts_from_its_last_interruption() {
    let shadow = || Rollout::everybody(ClusterMode::Shadow);
    let v2 = || Rollout::everybody(ClusterMode::V2);
    let cohort = || {
        let mapping = Mapping::parse("routes.toml", MAPPING).expect("a sound mapping");
        mapping.clusters()["S4"].clone()
    };
    let other: fn() -> Rollout = || Rollout::LEGACY;
    let history = |rollouts: Vec<Option<Rollout>>| -> Vec<Activation> {
        let activation = |(index, rollout): (usize, Option<Rollout>)| Activation {
            at: ago(index as i64),
            rollouts: rollout.map(|rollout| ("S1".into(), rollout)).into_iter().collect(),
        };
        rollouts.into_iter().enumerate().map(activation).collect()
    };
    let table = [
        ("never activated", vec![], None),
        ("once", vec![Some(shadow())], Some(ago(0))),
        ("restarts do not matter", vec![Some(shadow()), Some(shadow()), Some(shadow())], Some(ago(2))),
        ("a cohort is shadow for the rest", vec![Some(cohort()), Some(shadow())], Some(ago(1))),
        ("and back", vec![Some(shadow()), Some(cohort()), Some(shadow())], Some(ago(2))),
        ("V2 was tried", vec![Some(shadow()), Some(v2()), Some(shadow())], Some(ago(0))),
        ("rolled back", vec![Some(shadow()), Some(other()), Some(shadow())], Some(ago(0))),
        ("the cluster was not there", vec![Some(shadow()), None, Some(shadow())], Some(ago(0))),
        ("not in shadow", vec![Some(other()), Some(shadow())], None),
    ];
    for (case, rollouts, since) in table {
        assert_eq!(shadow_since("S1", &history(rollouts), Flag::NeverFlipped), since, "{case}");
    }
    let long = history(vec![Some(shadow()), Some(shadow()), Some(shadow())]);
    assert_eq!(shadow_since("S1", &long, Flag::On { since: ago(1) }), Some(ago(1)), "flipped on since");
    assert_eq!(shadow_since("S1", &long, Flag::On { since: ago(9) }), Some(ago(2)), "on all the time");
    assert_eq!(shadow_since("S1", &long, Flag::Off), None);
}

#[test]
fn a_block_fits_a_terminal() {
    let mut known = ready();
    known.disagreements.push(drift("S1", ago(2), None));
    let expected = "\
S1  shadow: not ready
    days in shadow              7 of 7       since 2026-03-22 12:00Z
    hours without drift         2 of 48      since 2026-03-29 10:00Z
    requests                  100 of 100
    admins: ops                 2 of 2
    admins: superadmin          1 of 1
    disagreements: 2 unexplained, 1 signed off
    1 row(s) are undecided: the legacy gate decides them
    missing: 46 more hours (2 of 48) without unexplained drift, until 2026-03-31 10:00Z
";
    assert_eq!(text::block(&state_of("S1", &known)), expected);
    let enforced = text::block(&state_of("S2", &Known { shadow_since: None, ..ready() }));
    assert_eq!(enforced, "S2  v2: enforced\n");
}
