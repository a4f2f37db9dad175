//! The decision as a table: every kind of row, caller and gate.

use super::ticket::TicketHolding;
use super::*;
use crate::ids::{AdminId, MachineTokenId};
use crate::mapping::Mapping;
use crate::method::Method;
use crate::rbac::flaw::Flaw;

const FILE: &str = r#"
version = 1
[clusters]
L = "legacy"
S = "shadow"
V = "v2"
C = { mode = "v2", groups = ["first"] }
[blueprints.c]
cluster = "C"
routes."GET /c" = { legacy = ["ops"], role = "r" }
[blueprints.l]
cluster = "L"
routes."GET /l" = { legacy = ["ops"], role = "r" }
[blueprints.s]
cluster = "S"
routes."GET /s" = { legacy = ["ops"], role = "r" }
routes."GET /st/<int:id>" = { legacy = ["ops"], role = "r", ticket = { query = "ticket_id", customer = "path:id" } }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /v" = { legacy = ["ops"], role = "r" }
"GET /perm" = { permission = "p:x:read" }
"GET /perms" = { legacy = ["ops"], permission = ["p:x:read", "p:y:read"], forbidden = "302", machine_or_session = true }
"POST /perms" = { permission = ["p:x:read", "p:y:read"], unauthenticated = "403", when = [{ json = "/t", equals = "prod", role = "prod" }] }
"GET /open" = { legacy = ["ops"], undecided = "AMBIGUOUS-9" }
"GET /both" = { legacy = ["ops"], role = "r", machine_or_session = true }
"POST /when" = { legacy = ["ops"], role = "r", when = [{ json = "/t", equals = "prod", role = "prod" }] }
"GET /ticket/<int:id>" = { legacy = ["ops"], role = "r", ticket = { query = "ticket_id", customer = "path:id", without = ["free", "freer"] } }
"GET /bare/<id>" = { permission = "p:x:read", ticket = { query = "t", customer = "path:id" } }
"POST /both/<id>" = { role = "r", when = [{ json = "/t", equals = "prod", role = "prod" }], ticket = { query = "t", customer = "path:id" } }
"GET /api" = { legacy = ["ops"], role = "r", unauthenticated = "401" }
"GET /public" = { public = true }
"GET /session" = { session = true }
"GET /machine" = { machine = true }
"GET /upstream" = { upstream = true }
"GET /gone" = { gone = true }
[blueprints.own.routes]
"GET /own" = { role = "r", gate = true }
"GET /own/old" = { legacy = ["ops"], role = "r", gate = true }
"GET /own/me" = { session = true, gate = true }
"#;

fn access(legacy: &[LegacyRole], roles: &[&str], permissions: &[&str]) -> Access {
    Access {
        standing: crate::rbac::Standing::Active,
        legacy: legacy.iter().cloned().collect(),
        roles: roles.iter().map(|role| Arc::from(*role)).collect(),
        permissions: permissions.iter().map(|name| Arc::from(*name)).collect(),
        ..Access::nothing(Epoch(1))
    }
}

fn admin() -> Principal {
    Principal::Admin { id: AdminId::new("a"), session: None }
}

struct Case {
    route: &'static str,
    access: Option<Access>,
    control: Control,
    body: BodyFacts,
}

impl Case {
    fn new(route: &'static str, access: Access) -> Case {
        let control = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
        Case { route, access: Some(access), control, body: BodyFacts::NotRead }
    }

    fn verdict(&self) -> Verdict {
        self.verdict_with(&TicketFacts::NotAsked)
    }

    fn verdict_with(&self, ticket: &TicketFacts) -> Verdict {
        self.asked(|question| decide_with(question, ticket))
    }

    fn asked<T>(&self, ask: impl FnOnce(&Question<'_>) -> T) -> T {
        let mapping = Mapping::parse("t", FILE).unwrap();
        let row = mapping.rows().iter().find(|row| &*row.route == self.route).unwrap();
        let principal = admin();
        let caller = match &self.access {
            Some(access) => Caller::Known(&principal, access),
            None => Caller::Nobody,
        };
        let target = Target::Row(row, mapping.rollout_of(row));
        let question =
            Question { upgrade: false, target, caller, control: Some(&self.control), body: &self.body };
        ask(&question)
    }

    /// One word for the outcome.
    fn word(&self) -> &'static str {
        word(&self.verdict().outcome)
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(_) => "allow",
        Err(Rejection::Denied(denial)) => denial.lack.reason.word(),
        Err(Rejection::Login) => "login",
        Err(Rejection::Unauthorized) => "401",
        Err(Rejection::Unknown) => "403",
        Err(Rejection::Gone) => "410",
        Err(Rejection::Quiet) => "404",
        Err(Rejection::Upgrade) => "400",
        Err(Rejection::StepUp(_)) => "step-up",
    }
}

/// `permission = ["a", "b"]` asks for all of them, whatever the body; what denies says which one is missing.
#[test]
fn several_permissions_are_all_needed() {
    let table: [(&[&str], &[&str], &str); 6] = [
        (&[], &[], "missing_permission"),
        (&[], &["p:x:read"], "missing_permission"),
        (&[], &["p:y:read"], "missing_permission"),
        (&[], &["p:x:read", "p:y:read"], "allow"),
        (&["prod", "r"], &["p:x:read", "p:z:read"], "missing_permission"),
        (&["prod"], &["p:x:read", "p:y:read"], "allow"),
    ];
    for (roles, permissions, expected) in table {
        let case = Case::new("GET /perms", access(&[LegacyRole::literal("ops")], roles, permissions));
        assert_eq!(case.word(), expected, "{roles:?} {permissions:?}");
        let body = BodyFacts::Read(vec![true]);
        let case = Case { body, ..Case::new("POST /perms", access(&[], roles, permissions)) };
        let with_body = if expected == "allow" && roles.is_empty() { "missing_role" } else { expected };
        assert_eq!(case.word(), with_body, "{roles:?} {permissions:?} with a body");
    }
    let verdict = Case::new("GET /perms", access(&[], &[], &["p:x:read"])).verdict();
    let Err(Rejection::Denied(denial)) = verdict.outcome else { panic!("{verdict:?}") };
    assert_eq!(denial.lack.required, ["permission p:y:read"]);
    let used = Case::new("GET /perms", access(&[], &[], &["p:x:read", "p:y:read"])).verdict().outcome;
    assert_eq!(used.unwrap().roles_used().len(), 2);
}

/// A row says how it refuses; whom it refuses is the same.
#[test]
fn a_row_says_how_it_refuses() {
    let unknown =
        |route| word(&Case { access: None, ..Case::new(route, access(&[], &[], &[])) }.verdict().outcome);
    assert_eq!([unknown("GET /perms"), unknown("GET /api"), unknown("POST /perms")], ["login", "401", "403"]);
    let answer = |route| {
        let outcome = Case::new(route, access(&[], &[], &[])).verdict().outcome;
        outcome.map(|_| ()).map_err(|rejection| match rejection {
            Rejection::Denied(denial) => Some(denial.answer),
            _ => None,
        })
    };
    assert_eq!(answer("GET /perms"), Err(Some(Forbidden::Redirect)));
    assert_eq!(answer("GET /perm"), Err(Some(Forbidden::Status403)));
    // A machine follows no redirect to a login.
    let mapping = Mapping::parse("t", FILE).unwrap();
    let row = mapping.rows().iter().find(|row| &*row.route == "GET /perms").unwrap();
    let principal = Principal::Machine { id: crate::ids::MachineTokenId::new("m") };
    let nothing = access(&[], &[], &[]);
    let control = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
    let target = Target::Row(row, mapping.rollout_of(row));
    let caller = Caller::Known(&principal, &nothing);
    let question =
        Question { upgrade: false, target, caller, control: Some(&control), body: &BodyFacts::NotRead };
    let Err(Rejection::Denied(denial)) = decide(&question).outcome else { panic!("it is denied") };
    assert_eq!(denial.answer, Forbidden::Status403);
}

/// A request rests on break-glass where V2 would refuse it without the session, and nowhere else.
#[test]
fn a_request_rests_on_break_glass_if_it_would_be_refused_without() {
    let part = |roles: &[&str]| crate::rbac::BreakGlassPart {
        sessions: [Arc::from("s-1")].into(),
        roles_without: roles.iter().map(|role| Arc::from(*role)).collect(),
        permissions_without: BTreeSet::new(),
    };
    let all = access(&[LegacyRole::literal("ops")], &["r", "prod", "free"], &["p:x:read"]);
    let glass = |roles: &[&str]| Access { break_glass: Some(Arc::new(part(roles))), ..all.clone() };
    let (broken, usual) = (glass(&[]), glass(&["r", "prod", "free"]));
    let prod = BodyFacts::Read(vec![true]);
    for (route, access, body, rests) in [
        ("GET /v", &broken, &BodyFacts::NotRead, true),
        ("GET /v", &usual, &BodyFacts::NotRead, false),
        ("GET /perm", &usual, &BodyFacts::NotRead, true),
        ("GET /ticket/<int:id>", &broken, &BodyFacts::NotRead, true),
        ("GET /own", &broken, &BodyFacts::NotRead, true),
        ("POST /when", &glass(&["r"]), &prod, true),
        ("POST /when", &usual, &prod, false),
        // These ask for no role of V2's.
        ("GET /l", &broken, &BodyFacts::NotRead, false),
        ("GET /s", &broken, &BodyFacts::NotRead, false),
        ("GET /session", &broken, &BodyFacts::NotRead, false),
        ("GET /public", &broken, &BodyFacts::NotRead, false),
    ] {
        let case = Case { body: body.clone(), ..Case::new(route, access.clone()) };
        assert_eq!(case.word(), "allow", "{route}");
        assert_eq!(
            case.asked(|question| rests_on_break_glass(question, &TicketFacts::NotAsked)),
            rests,
            "{route}"
        );
    }
    let without = Case::new("GET /v", all);
    assert!(!without.asked(|question| rests_on_break_glass(question, &TicketFacts::NotAsked)));
}

/// A route of the gate's own is decided by V2 where it has no legacy gate, in whatever cluster; without V2 it is not there.
/// One that has a legacy gate is a row like any other.
#[test]
fn what_the_gate_serves_itself_exists_by_v2() {
    let holding = access(&[LegacyRole::literal("ops")], &["r"], &[]);
    let on = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
    let off = Control { rbac_v2: false, ..on };
    let not_promoted = Control { may_enforce: false, ..on };
    let nothing = access(&[], &[], &[]);
    for (route, access, control, expected) in [
        ("GET /own", &holding, on, "allow"),
        ("GET /own", &nothing, on, "missing_role"),
        ("GET /own", &holding, off, "404"),
        ("GET /own", &nothing, off, "404"),
        ("GET /own", &holding, not_promoted, "no_legacy_gate"),
        ("GET /own/old", &holding, off, "allow"),
        ("GET /own/old", &nothing, off, "missing_legacy_role"),
        ("GET /own/me", &nothing, off, "allow"),
    ] {
        let case = Case { control, ..Case::new(route, access.clone()) };
        assert_eq!(case.word(), expected, "{route} {control:?}");
        if let Ok(permit) = case.verdict().outcome {
            assert!(permit.served_by_gate(), "{route}");
        }
    }
    let stranger = Case { access: None, control: off, ..Case::new("GET /own", nothing.clone()) };
    assert_eq!(stranger.word(), "login");
    let of_console = Case::new("GET /session", nothing).verdict().outcome;
    assert!(of_console.is_ok_and(|permit| !permit.served_by_gate()));
}

/// A permit says which server gets the request, and whether it has to notify the customer: of requests by who holds the
/// role, by whatever they were let in.
#[test]
fn a_permit_says_where_the_request_goes_and_who_is_notified() {
    let text = r#"
version = 1
clusters.V = "v2"
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /raptor" = { legacy = ["ops"], role = "r", upstream = "raptor", notifies = ["loud", "louder"] }
"GET /open" = { public = true, upstream = "raptor" }
"GET /console" = { role = "r", notifies = "loud" }
"GET /own" = { upstream = true }
"#;
    let mapping = Mapping::parse("routes.toml", text).unwrap();
    let on = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
    let off = Control { rbac_v2: false, ..on };
    let ops = [LegacyRole::literal("ops")];
    let permit = |row: usize, access: &Access, control: Control| {
        let row = &mapping.rows()[row];
        let target = Target::Row(row, mapping.rollout_of(row));
        let principal = admin();
        let caller = Caller::Known(&principal, access);
        let body = &BodyFacts::NotRead;
        let question = Question { upgrade: false, target, caller, control: Some(&control), body };
        let permit = decide(&question).outcome.expect("who is let in");
        (permit.upstream().map(ToString::to_string), permit.notifies_customer())
    };
    let raptor = || Some("raptor".to_owned());
    let table = [
        (0, access(&[], &["r"], &[]), on, (raptor(), false)),
        (0, access(&[], &["r", "louder"], &[]), on, (raptor(), true)),
        (0, access(&ops, &["loud"], &[]), off, (raptor(), true)),
        (0, access(&ops, &[], &[]), off, (raptor(), false)),
        (1, access(&[], &["loud"], &[]), on, (raptor(), false)),
        (2, access(&[], &["r", "loud"], &[]), on, (None, true)),
        (3, access(&[], &[], &[]), on, (None, false)),
    ];
    for (row, access, control, expected) in table {
        assert_eq!(permit(row, &access, control), expected, "{row} {access:?}");
    }
    let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert!(mapping.check_upstreams("routes.toml", &known(&["raptor", "other"])).is_ok());
    let mistakes = mapping.check_upstreams("routes.toml", &known(&["rapto"])).unwrap_err();
    assert_eq!(mistakes.findings().len(), 2);
    assert!(mistakes.to_string().contains("did you mean `rapto`?"), "{mistakes}");
}

/// Where Console has no legacy roles any more, the reason is that, and not that the caller lacks one; RBAC V2 goes on.
#[test]
fn legacy_roles_that_are_gone_are_the_reason() {
    let flaw = Flaw {
        kind: FlawKind::NoLegacyRoles,
        table: "admin_roles".into(),
        column: "role".into(),
        word: None,
        holder: None,
    };
    let holder = Access { flaws: vec![flaw], ..access(&[], &["r"], &[]) };
    for (route, expected) in [
        ("GET /l", "legacy_roles_gone"),
        ("GET /s", "legacy_roles_gone"),
        ("GET /v", "allow"),
        ("GET /session", "allow"),
    ] {
        assert_eq!(Case::new(route, holder.clone()).word(), expected, "{route}");
    }
    let shadow = Case::new("GET /s", holder).verdict();
    assert_eq!(shadow.drift.map(|drift| drift.direction), Some(Direction::WouldNewlyAllow));
}

#[test]
fn each_gate_asks_for_its_own_role() {
    let ops = access(&[LegacyRole::literal("ops")], &[], &[]);
    let holder = access(&[], &["r"], &["p:x:read"]);
    let table = [
        ("GET /l", &ops, "allow"),
        ("GET /l", &holder, "missing_legacy_role"),
        ("GET /s", &ops, "allow"),
        ("GET /s", &holder, "missing_legacy_role"),
        ("GET /v", &ops, "missing_role"),
        ("GET /v", &holder, "allow"),
        ("GET /perm", &ops, "missing_permission"),
        ("GET /perm", &holder, "allow"),
        ("GET /open", &ops, "allow"),
        ("GET /open", &holder, "missing_legacy_role"),
        ("GET /session", &ops, "allow"),
        ("GET /public", &ops, "allow"),
        ("GET /upstream", &ops, "allow"),
        ("GET /gone", &ops, "410"),
        ("GET /machine", &ops, "401"),
    ];
    for (route, access, expected) in table {
        assert_eq!(Case::new(route, access.clone()).word(), expected, "{route}");
    }
}

/// Console judges a machine that the gate does not know while the legacy gate is in force; under V2 it is denied.
#[test]
fn a_machine_that_the_gate_does_not_know_passes_while_legacy_decides() {
    let file = |rollout: &str, row: &str| {
        format!(
            "version = 1\nclusters.C = {rollout}\n[blueprints.b]\ncluster = \"C\"\nroutes.\"GET /x\" = {{ {row} }}\n"
        )
    };
    let word = |rollout: &str, row: &str, control: Option<&Control>| {
        let mapping = Mapping::parse("t", &file(rollout, row)).unwrap();
        let row = &mapping.rows()[0];
        let target = Target::Row(row, mapping.rollout_of(row));
        let body = &BodyFacts::NotRead;
        let verdict = decide(&Question { upgrade: false, target, caller: Caller::Presented, control, body });
        if let Ok(permit) = &verdict.outcome {
            assert_eq!((permit.let_in_by(), permit.principal()), (LetInBy::Machine, None));
        }
        word(&verdict.outcome)
    };
    let both = "legacy = [\"ops\"], role = \"r\", machine_or_session = true";
    let on = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
    let off = Control { rbac_v2: false, ..on };
    let unpromoted = Control { may_enforce: false, ..on };
    for (rollout, row, control, expected) in [
        ("\"legacy\"", both, Some(&on), "allow"),
        ("\"shadow\"", both, Some(&on), "allow"),
        ("\"v2\"", both, Some(&off), "allow"),
        ("\"v2\"", both, Some(&unpromoted), "allow"),
        ("\"v2\"", both, Some(&on), "login"),
        ("{ mode = \"v2\", groups = [\"g\"], percent = 99 }", both, Some(&on), "allow"),
        ("{ mode = \"v2\", groups = [\"g\"], percent = 100 }", both, Some(&on), "login"),
        // The switches were not read.
        ("\"legacy\"", both, None, "login"),
        ("\"legacy\"", "legacy = [\"ops\"], role = \"r\"", Some(&on), "login"),
        // The legacy gate of such a row lets nobody in.
        ("\"legacy\"", "role = \"r\", machine_or_session = true", Some(&on), "login"),
        (
            "\"v2\"",
            "legacy = [\"ops\"], undecided = \"Q\", options = { A = \"r\" }, machine_or_session = true",
            Some(&on),
            "allow",
        ),
        (
            "\"v2\"",
            "legacy = [\"ops\"], role = \"r\", machine_or_session = true, unauthenticated = \"401\"",
            Some(&on),
            "401",
        ),
    ] {
        assert_eq!(word(rollout, row, control), expected, "{rollout} {row} {control:?}");
    }
}

/// What Console's own checks step back for: V2, and nothing else.
#[test]
fn a_permit_says_what_let_the_request_in() {
    let groups = || [Arc::from("g"), Arc::from("h")].into();
    let both = Access { groups: groups(), ..access(&[LegacyRole::literal("ops")], &["r"], &[]) };
    let table = [
        ("GET /l", "legacy", Some("L")),
        ("GET /s", "legacy", Some("S")),
        ("GET /v", "v2", Some("V")),
        ("GET /open", "legacy", Some("V")),
        ("GET /public", "public", Some("V")),
        ("GET /session", "session", Some("V")),
        ("GET /upstream", "upstream", Some("V")),
    ];
    for (route, word, cluster) in table {
        let permit = Case::new(route, both.clone()).verdict().outcome.expect(route);
        assert_eq!(
            (permit.let_in_by().word(), permit.cluster().map(|name| &**name)),
            (word, cluster),
            "{route}"
        );
        assert_eq!(permit.groups().iter().cloned().collect::<BTreeSet<_>>(), groups());
    }
    let mut off = Case::new("GET /v", both.clone());
    off.control.rbac_v2 = false;
    assert_eq!(off.verdict().outcome.expect("the role").let_in_by(), LetInBy::Legacy);
    off.control = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: false };
    assert_eq!(off.verdict().outcome.expect("the role").let_in_by(), LetInBy::Legacy);
}

/// V2 for the cohort; shadow, with its drift, for everybody else.
#[test]
fn a_cohort_is_decided_by_v2_and_the_rest_is_in_shadow() {
    let first = |access: Access| Access { groups: [Arc::from("first")].into(), ..access };
    let ops = access(&[LegacyRole::literal("ops")], &[], &[]);
    let holder = access(&[], &["r"], &[]);
    let table = [
        (ops.clone(), "allow", Some(Direction::WouldNewlyDeny)),
        (holder.clone(), "missing_legacy_role", Some(Direction::WouldNewlyAllow)),
        (first(ops), "missing_role", None),
        (first(holder), "allow", None),
    ];
    for (access, expected, drift) in table {
        let verdict = Case::new("GET /c", access).verdict();
        assert_eq!(word(&verdict.outcome), expected);
        assert_eq!(verdict.drift.map(|drift| drift.direction), drift);
    }
}

#[test]
fn legacy_roles_have_no_hierarchy() {
    let superadmin = access(&[LegacyRole::literal("superadmin")], &[], &[]);
    assert_eq!(Case::new("GET /l", superadmin).word(), "missing_legacy_role");
}

#[test]
fn the_kill_switch_and_a_missing_promotion_put_v2_rows_on_their_legacy_gate() {
    let holder = access(&[], &["r"], &["p:x:read"]);
    for (rbac_v2, may_enforce) in [(false, true), (true, false), (false, false)] {
        for (route, expected) in [("GET /v", "missing_legacy_role"), ("GET /perm", "no_legacy_gate")] {
            let mut case = Case::new(route, holder.clone());
            case.control = Control { epoch: Epoch(1), rbac_v2, may_enforce };
            assert_eq!(case.word(), expected, "{route} {rbac_v2} {may_enforce}");
        }
    }
}

#[test]
fn shadow_reports_a_disagreement_and_never_enforces_it() {
    let ops = Case::new("GET /s", access(&[LegacyRole::literal("ops")], &[], &[])).verdict();
    assert_eq!(word(&ops.outcome), "allow");
    assert_eq!(ops.drift.map(|drift| drift.direction), Some(Direction::WouldNewlyDeny));
    let holder = Case::new("GET /s", access(&[], &["r"], &[])).verdict();
    assert_eq!(word(&holder.outcome), "missing_legacy_role");
    assert_eq!(holder.drift.map(|drift| drift.direction), Some(Direction::WouldNewlyAllow));
    let both = Case::new("GET /s", access(&[LegacyRole::literal("ops")], &["r"], &[])).verdict();
    assert_eq!(both.drift, None);
    let neither = Case::new("GET /s", access(&[], &[], &[])).verdict();
    assert_eq!(neither.drift, None);
    let mut off = Case::new("GET /s", access(&[LegacyRole::literal("ops")], &[], &[]));
    off.control.rbac_v2 = false;
    assert_eq!(off.verdict().drift, None);
}

#[test]
fn a_body_rule_asks_for_more_and_an_unread_body_is_denied() {
    let staging = access(&[], &["r"], &[]);
    let prod = access(&[], &["r", "prod"], &[]);
    let only_prod = access(&[], &["prod"], &[]);
    let read = |met| BodyFacts::Read(vec![met]);
    let table = [
        (&staging, read(false), "allow"),
        (&staging, read(true), "missing_role"),
        (&prod, read(true), "allow"),
        (&only_prod, read(true), "missing_role"),
        (&prod, BodyFacts::NotRead, "body_unreadable"),
        (&prod, BodyFacts::Unreadable(body::BodyError::Malformed), "body_unreadable"),
        (&prod, BodyFacts::Read(Vec::new()), "body_unreadable"),
    ];
    for (access, body, expected) in table {
        let mut case = Case::new("POST /when", access.clone());
        case.body = body.clone();
        assert_eq!(case.word(), expected, "{body:?}");
    }
}

#[test]
fn nobody_is_sent_to_the_login_page_or_gets_401() {
    let table = [
        ("GET /l", "login"),
        ("GET /v", "login"),
        ("GET /session", "login"),
        ("GET /api", "401"),
        ("GET /machine", "401"),
        ("GET /public", "allow"),
        ("GET /upstream", "allow"),
        ("GET /gone", "410"),
    ];
    for (route, expected) in table {
        let mut case = Case::new(route, access(&[], &[], &[]));
        case.access = None;
        assert_eq!(case.word(), expected, "{route}");
    }
}

#[test]
fn a_machine_passes_only_where_the_row_takes_machines() {
    let mapping = Mapping::parse("t", FILE).unwrap();
    let machine = Principal::Machine { id: MachineTokenId::new("m") };
    let holder = access(&[], &["r"], &[]);
    let control = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
    let table = [
        ("GET /both", Caller::Known(&machine, &holder), "allow"),
        ("GET /v", Caller::Known(&machine, &holder), "login"),
        ("GET /session", Caller::Known(&machine, &holder), "login"),
        ("GET /machine", Caller::Presented, "allow"),
        ("GET /v", Caller::Presented, "login"),
        ("GET /both", Caller::Presented, "login"),
    ];
    for (route, caller, expected) in table {
        let row = mapping.rows().iter().find(|row| &*row.route == route).unwrap();
        let target = Target::Row(row, mapping.rollout_of(row));
        let question =
            Question { upgrade: false, target, caller, control: Some(&control), body: &BodyFacts::NotRead };
        assert_eq!(word(&decide(&question).outcome), expected, "{route}");
    }
}

#[test]
fn an_unmapped_path_is_denied_to_admins_and_not_revealed_to_strangers() {
    let principal = admin();
    let everything =
        access(&["superadmin", "ops", "support", "readonly"].map(LegacyRole::literal), &["r"], &["p:x:read"]);
    let known = Caller::Known(&principal, &everything);
    let table = [
        (Unmapped::Deny, known, "unmapped_route"),
        (Unmapped::Deny, Caller::Nobody, "login"),
        (Unmapped::Deny, Caller::Presented, "login"),
        (Unmapped::Forward, known, "allow"),
        (Unmapped::Forward, Caller::Nobody, "allow"),
        (Unmapped::Quiet, known, "404"),
        (Unmapped::Quiet, Caller::Nobody, "404"),
        (Unmapped::Quiet, Caller::Presented, "404"),
    ];
    for (unmapped, caller, expected) in table {
        let target = Target::Unmapped(unmapped);
        let question = Question { upgrade: false, target, caller, control: None, body: &BodyFacts::NotRead };
        assert_eq!(word(&decide(&question).outcome), expected, "{unmapped:?}");
    }
}

/// A token is looked up only where the row takes machines.
#[test]
fn a_machine_is_seen_as_the_target_takes_its_token() {
    let mapping = Mapping::parse("t", FILE).unwrap();
    let machine = Principal::Machine { id: MachineTokenId::new("m") };
    let everything =
        access(&["superadmin", "ops", "support", "readonly"].map(LegacyRole::literal), &["r"], &["p:x:read"]);
    let admin = admin();
    let word = |caller: Caller<'_>| match caller {
        Caller::Known(..) => "known",
        Caller::Presented => "presented",
        Caller::Nobody => "nobody",
    };
    for (path, expected) in [
        ("/both", "known"),
        ("/machine", "presented"),
        ("/v", "nobody"),
        ("/session", "nobody"),
        ("/public", "nobody"),
        ("/nowhere", "nobody"),
    ] {
        let target = Target::of(&mapping, path, Method::Get);
        assert_eq!(word(Caller::at(&target, &machine, &everything)), expected, "{path}");
        assert_eq!(word(Caller::at(&target, &admin, &everything)), "known", "{path}");
    }
}

#[test]
fn a_target_is_the_row_that_decides() {
    let mapping =
        Mapping::parse(
            "t",
            &format!("unmapped = \"forward\"\nquiet = [\"/icon\", \"/über/x\"]\n{FILE}\"* /files/*\" = {{ public = true }}\n"),
        )
        .unwrap();
    let route = |path, method| match Target::of(&mapping, path, method) {
        Target::Row(row, rollout) => {
            assert_eq!(rollout, mapping.rollout_of(row));
            row.route.to_string()
        }
        Target::Unmapped(Unmapped::Forward) => "forward".to_owned(),
        Target::Unmapped(Unmapped::Deny) => "deny".to_owned(),
        Target::Unmapped(Unmapped::Quiet) => "quiet".to_owned(),
    };
    for (path, method, expected) in [
        ("/v", Method::Get, "GET /v"),
        ("/v", Method::Head, "GET /v"),
        ("/v", Method::Options, "GET /v"),
        ("/v", Method::Post, "forward"),
        ("/nowhere", Method::Get, "forward"),
        ("/files/a/b", Method::Put, "* /files/*"),
        ("/icon", Method::Get, "quiet"),
        ("/icon", Method::Delete, "quiet"),
        ("/über/x", Method::Get, "quiet"),
        ("/icon/", Method::Get, "forward"),
        ("/Icon", Method::Get, "forward"),
        // It names the server: no row, and nothing that `unmapped` may open.
        ("*", Method::Options, "deny"),
    ] {
        assert_eq!(route(path, method), expected, "{method} {path}");
    }
}

#[test]
fn a_preflight_passes_where_the_row_of_its_request_says_so_and_no_view_answers() {
    let mapping = Mapping::parse(
        "t",
        "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.b]\ncluster = \"V\"\n[blueprints.b.routes]\n\
         \"PUT /open/<id>\" = { role = \"r\", cors = true }\n\
         \"GET /open/<id>\" = { role = \"r\" }\n\
         \"GET /shut\" = { session = true }\n\
         \"POST /mixed/<id>\" = { session = true, cors = true }\n\
         \"OPTIONS /mixed/view\" = { session = true }\n\
         \"OPTIONS /mixed/gone\" = { gone = true }\n\
         \"GET,OPTIONS /own\" = { machine = true, cors = true }\n\
         \"GET /slash/\" = { session = true, cors = true }\n",
    )
    .unwrap();
    let table = [
        ("/open/1", Method::Put, Some("PUT /open/<id>")),
        // Another method of the same path is another row.
        ("/open/1", Method::Get, None),
        ("/open/1", Method::Delete, None),
        ("/shut", Method::Get, None),
        ("/nowhere", Method::Get, None),
        ("*", Method::Get, None),
        ("/mixed/1", Method::Post, Some("POST /mixed/<id>")),
        // A view of its own answers OPTIONS here, and its row does not say `cors`.
        ("/mixed/view", Method::Post, None),
        ("/mixed/gone", Method::Post, None),
        ("/own", Method::Get, Some("GET,OPTIONS /own")),
        ("/slash/", Method::Get, Some("GET /slash/")),
        // A browser follows no redirect of a preflight.
        ("/slash", Method::Get, None),
    ];
    for (path, requested, expected) in table {
        let permit = preflight(&mapping, path, requested);
        let route = permit.as_ref().and_then(Permit::route).map(AsRef::as_ref);
        assert_eq!(route, expected, "{requested} {path}");
        if let Some(permit) = permit {
            assert_eq!(
                (permit.principal(), permit.let_in_by(), permit.upgrade()),
                (None, LetInBy::Public, false)
            );
        }
    }
}

fn granted(roles: &[&str], permissions: &[&str], is_open: bool) -> TicketFacts {
    TicketFacts::Named(TicketHolding {
        roles: roles.iter().map(|role| Arc::from(*role)).collect(),
        permissions: permissions.iter().map(|name| Arc::from(*name)).collect(),
        is_open,
    })
}

/// The role has to be granted for the ticket; what somebody holds otherwise does not count, but for roles that need none.
#[test]
fn a_row_for_a_ticket_asks_for_a_grant_for_it() {
    let (nobody, standing) = (access(&[], &[], &[]), access(&[], &["r", "prod"], &["p:x:read"]));
    let (free, freer) = (access(&[], &["free"], &[]), access(&[], &["freer"], &[]));
    let ops = access(&[LegacyRole::literal("ops")], &[], &[]);
    let (row, bare) = ("GET /ticket/<int:id>", "GET /bare/<id>");
    let (r, none) = (granted(&["r"], &[], true), granted(&[], &[], false));
    let table = [
        (row, &nobody, r.clone(), "allow"),
        (row, &nobody, granted(&["r"], &[], false), "ticket_closed"),
        (row, &nobody, granted(&["other"], &["p:x:read"], true), "no_ticket_grant"),
        (row, &nobody, none.clone(), "no_ticket_grant"),
        (row, &nobody, TicketFacts::Unnamed, "ticket_required"),
        (row, &nobody, TicketFacts::NotAsked, "ticket_required"),
        (row, &nobody, TicketFacts::Off, "ticket_grants_off"),
        (row, &standing, none.clone(), "no_ticket_grant"),
        (row, &standing, TicketFacts::Unnamed, "ticket_required"),
        (row, &ops, TicketFacts::Unnamed, "ticket_required"),
        (row, &free, TicketFacts::Unnamed, "allow"),
        (row, &freer, TicketFacts::Off, "allow"),
        (bare, &nobody, granted(&["r"], &["p:x:read"], true), "allow"),
        (bare, &nobody, r.clone(), "no_ticket_grant"),
        (bare, &standing, none, "no_ticket_grant"),
        (bare, &free, TicketFacts::Unnamed, "ticket_required"),
        ("GET /v", &nobody, r.clone(), "missing_role"),
    ];
    for (route, access, ticket, expected) in table {
        let case = Case::new(route, access.clone());
        assert_eq!(word(&case.verdict_with(&ticket).outcome), expected, "{route}, {ticket:?}");
    }
    // What some bodies ask for besides may be granted for the ticket, or otherwise.
    for (access, ticket, expected) in [
        (&nobody, granted(&["r", "prod"], &[], true), "allow"),
        (&standing, r.clone(), "allow"),
        (&nobody, r.clone(), "missing_role"),
    ] {
        let case = Case { body: BodyFacts::Read(vec![true]), ..Case::new("POST /both/<id>", access.clone()) };
        assert_eq!(word(&case.verdict_with(&ticket).outcome), expected, "{ticket:?}");
    }
    let off = Control { rbac_v2: false, ..Case::new(row, ops.clone()).control };
    let killed = Case { control: off, ..Case::new(row, ops.clone()) };
    assert_eq!(killed.word(), "allow", "the kill-switch leaves it to the legacy gate");
    let killed = Case { control: off, ..Case::new(bare, standing.clone()) };
    assert_eq!(word(&killed.verdict_with(&r).outcome), "no_legacy_gate");
    let drift = |ticket: &TicketFacts| Case::new("GET /st/<int:id>", ops.clone()).verdict_with(ticket).drift;
    assert_eq!(drift(&r), None);
    assert_eq!(drift(&TicketFacts::Unnamed).map(|drift| drift.reason), Some(Reason::TicketRequired));
}
