//! Tests that compare every claim of an explanation with the matcher, the decision and the registry.

mod rivals;

use std::sync::Arc;

use policy::decision::body::{BodyError, BodyFacts, BodyReport};
use policy::decision::{self, Caller, Question, Rejection, Verdict, decide};
use policy::identity::Principal;
use policy::ids::{AdminId, Epoch};
use policy::mapping::Rollout;
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::census::granting_groups;
use policy::rbac::{Access, LegacyRole, Standing};
use proptest::prelude::*;

use super::answer::{AnswerReport, Ending, Way};
use super::asker::Asker;
use super::grants::Grant;
use super::rivals::Lost;
use super::*;

const ON: Control = Control { epoch: Epoch(7), rbac_v2: true, may_enforce: true };

struct Scene {
    mapping: Mapping,
    catalog: Catalog,
    policy: Policy,
    control: Control,
}

impl Scene {
    fn new(mapping: &str) -> Scene {
        let mapping = Mapping::parse("routes.toml", mapping).unwrap();
        Scene { mapping, catalog: catalog(), policy: Policy::default(), control: ON }
    }

    fn explain(&self, method: &str, path: &str, asker: Option<&Asker<'_>>) -> Explanation {
        let facts = Facts {
            mapping: &self.mapping,
            file: "routes.toml",
            policy: &self.policy,
            control: &self.control,
            catalog: &self.catalog,
            break_glass: &BreakGlassRules::default(),
        };
        explain(method, path, &facts, asker)
    }
}

/// Roles in a row, each inheriting the one before; `deep` needs two groups, `lost` has none.
fn catalog() -> Catalog {
    Catalog::from_seed(
        r#"
[[group]]
name = "readers"
[[group]]
name = "writers"
[[group]]
name = "keepers"
[[group]]
name = "raxx-platform-admins"
[[group]]
name = "break-glass"
[[role]]
name = "reader"
groups = ["readers"]
permissions = ["p:x:read"]
[[role]]
name = "writer"
inherits = ["reader"]
groups = ["writers"]
[[role]]
name = "keeper"
groups = ["keepers"]
[[role]]
name = "rescuer"
groups = ["break-glass"]
[[role]]
name = "lost"
"#,
    )
    .unwrap()
}

fn won(explanation: &Explanation) -> Option<&str> {
    match &explanation.route {
        Route::Row(row) | Route::Redirect(row) => Some(&row.route),
        Route::Refused { .. } | Route::WrongMethod { .. } | Route::NoRow { .. } => None,
    }
}

const ROWS: &str = r#"
version = 1
[clusters]
L = "legacy"
S = "shadow"
V = "v2"
C = { mode = "v2", groups = ["readers"] }
P = { mode = "v2", percent = 50 }
[blueprints.l]
cluster = "L"
routes."GET /l" = { legacy = ["ops", "superadmin"], role = "reader" }
[blueprints.s]
cluster = "S"
routes."GET /s" = { legacy = ["ops"], role = "reader" }
[blueprints.sw]
cluster = "S"
routes."PUT /shadow-when" = { legacy = ["ops"], role = "writer", when = [{ json = "/t", equals = "prod", role = "keeper" }] }
[blueprints.c]
cluster = "C"
routes."GET /c" = { legacy = ["ops"], role = "writer" }
[blueprints.p]
cluster = "P"
routes."GET /p" = { legacy = ["ops"], role = "writer" }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /v" = { legacy = ["ops"], role = "reader" }
"GET /perm" = { permission = "p:x:read" }
"GET /rescue" = { role = "rescuer" }
"GET /lost" = { legacy = ["ops"], role = "lost" }
"GET /open" = { legacy = ["ops"], undecided = "AMBIGUOUS-9", options = { A = "reader" } }
"POST /when" = { legacy = ["ops"], role = "writer", when = [{ json = "/t", equals = "prod", role = "keeper" }] }
"GET /session" = { session = true }
"GET /public" = { public = true }
"GET /machine" = { machine = true }
"GET /gone" = { gone = true }
"#;

const REQUESTS: [(&str, &str); 18] = [
    ("GET", "/l"),
    ("GET", "/s"),
    ("GET", "/c"),
    ("GET", "/p"),
    ("GET", "/v"),
    ("GET", "/perm"),
    ("GET", "/rescue"),
    ("GET", "/lost"),
    ("GET", "/open"),
    ("POST", "/when"),
    ("OPTIONS", "/when"),
    ("PUT", "/shadow-when"),
    ("DELETE", "/session"),
    ("OPTIONS", "*"),
    ("GET", "/session"),
    ("GET", "/public"),
    ("GET", "/gone"),
    ("GET", "/nowhere"),
];

/// The access of an admin in these groups.
fn access(catalog: &Catalog, groups: &[&str], break_glass: bool, legacy: &[LegacyRole]) -> Access {
    let groups = groups.iter().map(|group| Arc::from(*group)).collect();
    let roles =
        granting_groups(&groups, break_glass).flat_map(|group| catalog.roles_of_group(group)).collect();
    Access {
        standing: Standing::Active,
        legacy: legacy.iter().cloned().collect(),
        groups,
        permissions: catalog.permissions_of(&roles),
        roles,
        ..Access::nothing(ON.epoch)
    }
}

/// The decision for an admin, with such a body.
fn decided(
    scene: &Scene,
    (method, path): (&str, &str),
    access: &Access,
    id: &str,
    body: Option<&BodyReport>,
) -> Verdict {
    let target = Target::of(&scene.mapping, path, policy::method::Method::parse(method).unwrap());
    let facts = match (target.body_rules(), body) {
        ([], _) | (_, None) => BodyFacts::NotRead,
        (_, Some(BodyReport::Unreadable)) => BodyFacts::Unreadable(BodyError::Malformed),
        (rules, Some(BodyReport::NoRule)) => BodyFacts::Read(vec![false; rules.len()]),
        (rules, Some(BodyReport::Rule { .. })) => BodyFacts::Read(vec![true; rules.len()]),
    };
    let principal = Principal::Admin { id: AdminId::new(id), session: None };
    let caller = Caller::Known(&principal, access);
    decide(&Question { upgrade: false, target, caller, control: Some(&scene.control), body: &facts })
}

const GROUPS: [&str; 4] = ["readers", "writers", "keepers", "raxx-platform-admins"];

proptest! {
    /// The explanation equals the decision; each grant that it calls enough is; where it names no group, none would do.
    #[test]
    fn the_answer_is_the_decisions_and_each_grant_is_enough(
        request in prop::sample::select(&REQUESTS),
        groups in prop::sample::subsequence(&GROUPS, 0..=4),
        legacy in prop::sample::subsequence(["superadmin", "ops", "support", "readonly"].map(LegacyRole::literal).to_vec(), 0..=4),
        id in "[a-z]{1,3}",
        break_glass: bool,
        rbac_v2: bool,
        may_enforce: bool,
    ) {
        let mut scene = Scene::new(ROWS);
        scene.control = Control { rbac_v2, may_enforce, ..ON };
        let held = access(&scene.catalog, &groups, break_glass, &legacy);
        let asker = Asker::Admin { id: &id, access: &held, break_glass, closest: None };
        let explanation = scene.explain(request.0, request.1, Some(&asker));
        let caller = explanation.caller.unwrap();
        for answer in &caller.answers {
            let body = answer.body.as_ref();
            let decided = |access: &Access| decided(&scene, request, access, &id, body);
            let Verdict { outcome: verdict, drift, .. } = decided(&held);
            prop_assert_eq!(answer.answer, outcome(&verdict));
            let shadow = answer.shadow.as_ref().map(|shadow| (shadow.direction, shadow.reason));
            prop_assert_eq!(shadow, drift.map(|drift| (drift.direction, drift.reason.word())));
            if let Err(Rejection::Denied(decision::Denial { lack, .. })) = &verdict {
                prop_assert_eq!(answer.reason, Some(lack.reason.word()));
                prop_assert!(answer.missing.contains(&lack.required[0]));
            }
            for grant in &answer.enough {
                let (mut groups, mut legacy, mut session) = (groups.clone(), legacy.clone(), break_glass);
                match grant {
                    Grant::Groups { groups: more, .. } => groups.extend(more.iter().map(String::as_str)),
                    Grant::LegacyRole { role } => legacy.extend(LegacyRole::parse(role)),
                    Grant::BreakGlass { .. } => session = true,
                }
                let granted = access(&scene.catalog, &groups, session, &legacy);
                let verdict = decided(&granted).outcome;
                prop_assert!(verdict.is_ok(), "{:?}: {:?}", grant, verdict);
            }
            let names_a_group = answer.enough.iter().any(|grant| matches!(grant, Grant::Groups { .. }));
            if answer.answer == Ending::Deny && !names_a_group {
                let everything = access(&scene.catalog, &GROUPS, break_glass, &legacy);
                let verdict = decided(&everything).outcome;
                prop_assert!(verdict.is_err(), "all groups together would do");
            }
            let by_role = explanation.gate.is_some() && answer.answer == Ending::Allow;
            prop_assert_eq!(!answer.through.is_empty(), by_role);
        }
        prop_assert_eq!(caller.passes, caller.answers.iter().all(|answer| answer.answer == Ending::Allow));
    }
}

fn outcome(outcome: &decision::Outcome) -> Ending {
    match outcome {
        Ok(_) => Ending::Allow,
        Err(Rejection::Denied(_)) => Ending::Deny,
        Err(Rejection::Login) => Ending::Login,
        Err(Rejection::Unauthorized) => Ending::Unauthorized,
        Err(Rejection::Unknown) => Ending::Unknown,
        Err(Rejection::Gone) => Ending::Gone,
        Err(Rejection::Quiet) => Ending::Quiet,
        Err(Rejection::StepUp(_)) => Ending::Allow,
        Err(Rejection::Upgrade) => panic!("no upgrade was asked for"),
    }
}

/// The only answer about an admin of these groups.
fn answer(request: (&str, &str), groups: &[&str], break_glass: bool) -> AnswerReport {
    let scene = Scene::new(ROWS);
    let held = access(&scene.catalog, groups, break_glass, &[]);
    let asker = Asker::Admin { id: "a", access: &held, break_glass, closest: None };
    scene.explain(request.0, request.1, Some(&asker)).caller.unwrap().answers.remove(0)
}

#[test]
fn the_grant_that_brings_least_along_comes_first() {
    let groups = |names: &[&str], brings: &[&str]| Grant::Groups {
        groups: names.iter().map(ToString::to_string).collect(),
        brings: brings.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(
        answer(("GET", "/v"), &[], false).enough,
        [groups(&["readers"], &["reader"]), groups(&["writers"], &["reader", "writer"])]
    );
    // A cohort: V2 decides for those who join it, from then on.
    assert_eq!(
        answer(("GET", "/c"), &[], false).enough,
        [Grant::LegacyRole { role: "ops".into() }, groups(&["readers", "writers"], &["reader", "writer"])]
    );
    // Only those at the top may ask for a break-glass session.
    assert_eq!(answer(("GET", "/rescue"), &["readers"], false).enough, []);
    assert_eq!(
        answer(("GET", "/rescue"), &["raxx-platform-admins"], false).enough,
        [Grant::BreakGlass { brings: vec!["rescuer".into()] }]
    );
    assert_eq!(answer(("GET", "/lost"), &[], false).held_by_nobody, ["role lost"]);
    assert_eq!(answer(("GET", "/nowhere"), &[], false).enough, []);
}

/// V2 denies an unreadable body whatever the caller holds; no grant would help.
#[test]
fn a_body_that_cannot_be_read_is_a_kind_of_its_own() {
    let scene = Scene::new(ROWS);
    let held = access(&scene.catalog, &["writers", "keepers"], false, &[LegacyRole::literal("ops")]);
    let asker = Asker::Admin { id: "a", access: &held, break_glass: false, closest: None };
    let caller = |method, path| scene.explain(method, path, Some(&asker)).caller.unwrap();
    let rule = BodyReport::Rule { field: "/t".into(), equals: "prod".into() };
    let enforced = caller("POST", "/when");
    let bodies: Vec<_> = enforced.answers.iter().map(|one| (one.body.clone(), one.answer)).collect();
    let expected = [
        (Some(BodyReport::NoRule), Ending::Allow),
        (Some(rule.clone()), Ending::Allow),
        (Some(BodyReport::Unreadable), Ending::Deny),
    ];
    assert_eq!(bodies, expected);
    assert!(!enforced.passes, "with no body it does not");
    let unreadable = &enforced.answers[2];
    assert_eq!(unreadable.reason, Some("body_unreadable"));
    assert_eq!(unreadable.missing, ["a body that the rule can read"]);
    assert_eq!(unreadable.enough, []);
    // OPTIONS, which Flask adds, carries none.
    let options = caller("OPTIONS", "/when").answers;
    assert_eq!(
        options.iter().map(|one| one.body.clone()).collect::<Vec<_>>(),
        [Some(BodyReport::Unreadable)]
    );
    // In shadow it passes, and the explanation shows what V2 would do. The legacy gate ignores the body.
    let shadow = caller("PUT", "/shadow-when");
    assert!(shadow.passes);
    let drifts: Vec<_> =
        shadow.answers.iter().map(|one| one.shadow.as_ref().map(|shadow| shadow.reason)).collect();
    assert_eq!(drifts, [None, None, Some("body_unreadable")]);
    let mut off = Scene::new(ROWS);
    off.control.rbac_v2 = false;
    let caller = off.explain("POST", "/when", Some(&asker)).caller.unwrap();
    assert_eq!(caller.answers.iter().map(|one| one.body.clone()).collect::<Vec<_>>(), [None]);
    assert!(caller.passes);
}

/// `OPTIONS *` names no route: neither a prefix over everything nor `unmapped` opens it.
#[test]
fn the_asterisk_is_denied_whatever_the_mapping_says() {
    let scene = Scene::new(
        "version = 1\nunmapped = \"forward\"\n[blueprints.b.routes]\n\"* /*\" = { public = true }\n",
    );
    let explanation = scene.explain("OPTIONS", "*", Some(&Asker::Group("readers")));
    assert_eq!(won(&explanation), None);
    assert_eq!(explanation.passes(), Some(false));
}

#[test]
fn every_way_is_listed() {
    let through = |request, groups: &[&str], break_glass| answer(request, groups, break_glass).through;
    let way = |group: &str, roles: &[&str], permission: Option<&str>| Way::Group {
        group: group.to_owned(),
        roles: roles.iter().map(ToString::to_string).collect(),
        permission: permission.map(ToOwned::to_owned),
    };
    assert_eq!(
        through(("GET", "/perm"), &["readers", "writers", "keepers"], true),
        [
            way("readers", &["reader"], Some("p:x:read")),
            way("writers", &["writer", "reader"], Some("p:x:read"))
        ]
    );
    assert_eq!(
        through(("GET", "/rescue"), &[], true),
        [Way::BreakGlass { roles: vec!["rescuer".into()], permission: None }]
    );
}

/// An imagined caller has no id that could fall into a share.
#[test]
fn somebody_imagined_is_in_a_cohort_by_group_alone() {
    let scene = Scene::new(ROWS);
    let side = |path: &str, asker: &Asker<'_>| {
        scene.explain("GET", path, Some(asker)).caller.unwrap().part.map(|part| part.in_cohort)
    };
    assert_eq!(side("/c", &Asker::Group("readers")), Some(true));
    assert_eq!(side("/c", &Asker::Group("writers")), Some(false));
    assert_eq!(side("/p", &Asker::Group("writers")), Some(false));
    assert_eq!(side("/p", &Asker::LegacyRole(&LegacyRole::literal("ops"))), Some(false));
    assert_eq!(side("/v", &Asker::Group("readers")), None);
    let all = Rollout::everybody(policy::mapping::ClusterMode::V2);
    assert_eq!(scene.mapping.clusters()["V"], all);
}

#[test]
fn an_unknown_or_inactive_caller_is_reported_and_asked_to_log_in() {
    let scene = Scene::new(ROWS);
    for standing in [Standing::Unknown, Standing::Disabled, Standing::SessionEnded] {
        let held = Access { standing, ..access(&scene.catalog, &["readers"], false, &[]) };
        let asker = Asker::Admin { id: "a", access: &held, break_glass: false, closest: None };
        let caller = |path| scene.explain("GET", path, Some(&asker)).caller.unwrap();
        assert_eq!(caller("/v").standing, standing);
        assert_eq!(caller("/v").answers[0].answer, Ending::Login);
        assert!(caller("/public").passes);
    }
}

#[test]
fn for_a_request_that_the_firewall_refuses_only_the_refusal_is_reported() {
    let scene = Scene::new(ROWS);
    let table = [
        ("GET", "/a/../b", "dot_segment"),
        ("GET", "/public//", "empty_segment"),
        ("BREW", "/public", "unknown_method"),
        ("GET", "/public HTTP/1.1\r\nX:", "target_character"),
        ("GET", "public", "target_form"),
    ];
    for (method, path, expected) in table {
        let explanation = scene.explain(method, path, Some(&Asker::Group("readers")));
        let Route::Refused { reason, .. } = explanation.route else {
            panic!("{path}: {:?}", explanation.route)
        };
        assert_eq!(reason, expected, "{path}");
        assert!(explanation.caller.is_none() && explanation.gate.is_none() && explanation.rivals.is_empty());
        assert_eq!(explanation.passes(), Some(false));
    }
}

/// Three cases: no such path, a path without this method, and a similar path.
#[test]
fn a_path_without_a_row_is_not_a_wrong_method() {
    let scene = Scene::new(ROWS);
    let near = |path| match scene.explain("GET", path, None).route {
        Route::NoRow { nearest, .. } => nearest.into_iter().map(|place| place.route).collect::<Vec<_>>(),
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(near("/sesion"), ["GET /session"]);
    assert_eq!(near("/something/else/altogether"), [""; 0]);
    let explanation = scene.explain("DELETE", "/public", None);
    let Route::WrongMethod { allowed, .. } = &explanation.route else { panic!("{:?}", explanation.route) };
    assert_eq!(allowed, "GET,HEAD,OPTIONS");
    assert_eq!(explanation.rivals[0].lost, Lost::OtherMethod { serves: "GET".into() });
}

#[test]
fn a_row_for_a_ticket_says_what_is_asked_for_and_who_needs_none() {
    let scene = Scene::new(
        "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.b]\ncluster = \"V\"\n\
         routes.\"GET /x/<int:id>\" = { role = \"reader\", ticket = { query = \"t\", customer = \"path:id\", without = \"keeper\" } }\n",
    );
    let explained = |group: &str| scene.explain("GET", "/x/7", Some(&Asker::Group(group)));
    let gate = explained("readers").gate.unwrap();
    let rule = "for the ticket query:t and the customer path:id, or role keeper";
    assert_eq!(gate.ticket.as_deref(), Some(rule));
    let reader = text::text(&explained("readers"), crate::report::style::Style::Plain);
    for line in [
        "denied: ticket_required",
        "missing    role reader for the ticket query:t and the customer path:id, or role\n",
        "enough     membership in keepers",
        "or         a grant of the role for that ticket and customer (`ticket grant`)",
    ] {
        assert!(reader.contains(line), "{line}\n{reader}");
    }
    let keeper = text::text(&explained("keepers"), crate::report::style::Style::Plain);
    assert!(keeper.contains("allowed") && keeper.contains("keepers -> keeper"), "{keeper}");
}

#[test]
fn an_explanation_names_another_server_and_who_is_notified_of() {
    let scene = Scene::new(
        "version = 1\n[blueprints.b.routes]\n\"GET /x\" = { role = \"r\", upstream = \"raptor\", notifies = [\"a\", \"b\"] }\n\
         \"GET /y\" = { role = \"r\" }\n",
    );
    let said = |path: &str| {
        let style = crate::report::style::Style::Plain;
        text::text(&scene.explain("GET", path, None), style)
    };
    let x = said("/x");
    assert!(x.contains("upstream raptor has it, Console never sees it"), "{x}");
    assert!(x.contains("the customer is notified of requests by a or b"), "{x}");
    assert!(!said("/y").contains("raptor"));
}
