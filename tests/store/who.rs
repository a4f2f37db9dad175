//! Who could make a request, at a time or in a period: a history is written at known times, and what is answered later is
//! compared with a model that plays the same history forward.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use console_gate::facts::who::{Answer, Asked, ReportOf, could, did, report};
use console_gate::freshness::Posture;
use console_gate::settings::Decisions;
use grants::{AdminTable, By, Terms};
use ledger::event::Way;
use ledger::{AuditEvent, Note};
use policy::firewall::Policy;
use policy::ids::AdminId;
use policy::mapping::Mapping;
use policy::rbac::LegacyRole;
use policy::rbac::census::CallerKind;
use policy::rbac::grant::Origin;
use store::access_requests::Edit;
use store::evidence::{EvidenceKind, Gap, Mark};
use store::mappings::Activation;
use store::rbac_changes::{RbacChange, RbacWork, TimedGrant};
use uuid::Uuid;
use workbench::who::{Passing, Period, Unless};

use crate::audit::notary;
use crate::database::{Database, literal, noon};
use crate::decisions::decision;
use crate::evidence::mark;
use crate::tokens::token;

/// The one row that is asked about, with its cluster in this mode.
fn mapping(mode: &str) -> String {
    format!(
        "version = 1\n[clusters]\nS = \"{mode}\"\n[blueprints.b]\ncluster = \"S\"\n[blueprints.b.routes]\n\
         \"GET /secrets\" = {{ legacy = [\"superadmin\"], role = \"opener\", machine_or_session = true }}\n\
         \"GET /of/<id>\" = {{ role = \"opener\", ticket = {{ query = \"ticket_id\", customer = \"path:id\" }} }}\n\
         \"GET /home\" = {{ session = true }}\n"
    )
}

fn at(minutes: i64) -> DateTime<Utc> {
    noon() + TimeDelta::minutes(minutes)
}

/// Something that happens, as the model has it: a group and a member, or whether something is on.
#[derive(Clone, Copy, Debug)]
enum Event {
    Joins(&'static str, &'static str),
    Leaves(&'static str, &'static str),
    /// Until then.
    IsGranted(&'static str, &'static str, i64),
    LosesGrant(&'static str, &'static str),
    HoldsRole(&'static str, bool),
    Mode(&'static str),
    Flag(bool),
    Token(bool),
    /// Until then.
    Session(&'static str, i64),
    SessionEnds(&'static str),
    Active(&'static str, bool),
}
use Event::*;

/// The history, by minutes after noon.
const HISTORY: [(i64, Event); 25] = [
    (-20, HoldsRole("g1", true)),
    (-20, HoldsRole("break-glass", true)),
    (-15, Joins("erin", "raxx-platform-admins")),
    (-10, Flag(true)),
    (0, Mode("v2")),
    (10, Joins("anna", "g1")),
    (20, IsGranted("ben", "g1", 50)),
    (25, IsGranted("dora", "g1", 28)),
    (30, Token(true)),
    (40, LosesGrant("ben", "g1")),
    (50, HoldsRole("g1", false)),
    (50, HoldsRole("g2", true)),
    (60, Joins("cleo", "g2")),
    (70, Mode("legacy")),
    (80, Mode("v2")),
    (90, Token(false)),
    (95, HoldsRole("g1", true)),
    (100, Leaves("anna", "g1")),
    (110, Flag(false)),
    (120, Flag(true)),
    (130, Session("erin", 150)),
    (140, SessionEnds("erin")),
    (155, Joins("fay", "g1")),
    (160, Active("fay", false)),
    (170, Joins("anna", "g2")),
];

/// What the model knows at a time.
#[derive(Default)]
struct Model {
    joined: BTreeSet<(&'static str, &'static str)>,
    granted: BTreeMap<(&'static str, &'static str), i64>,
    opening: BTreeSet<&'static str>,
    mode: Option<&'static str>,
    flag: bool,
    token: bool,
    sessions: BTreeMap<&'static str, i64>,
    inactive: BTreeSet<&'static str>,
}

/// Who could at that minute: the sentences of the documents, without the gate's code.
fn expected(minute: i64) -> BTreeSet<&'static str> {
    let mut model = Model::default();
    for (_, event) in HISTORY.iter().filter(|(time, _)| *time <= minute) {
        match *event {
            Joins(admin, group) => drop(model.joined.insert((admin, group))),
            Leaves(admin, group) => drop(model.joined.remove(&(admin, group))),
            IsGranted(admin, group, until) => drop(model.granted.insert((admin, group), until)),
            LosesGrant(admin, group) => drop(model.granted.remove(&(admin, group))),
            HoldsRole(group, true) => drop(model.opening.insert(group)),
            HoldsRole(group, false) => drop(model.opening.remove(group)),
            Mode(mode) => model.mode = Some(mode),
            Flag(is_on) => model.flag = is_on,
            Token(is_live) => model.token = is_live,
            Session(admin, until) => drop(model.sessions.insert(admin, until)),
            SessionEnds(admin) => drop(model.sessions.remove(admin)),
            Active(admin, true) => drop(model.inactive.remove(admin)),
            Active(admin, false) => drop(model.inactive.insert(admin)),
        }
    }
    let Some(mode) = model.mode else { return BTreeSet::new() };
    if !(mode == "v2" && model.flag) {
        return BTreeSet::from(["olaf"]);
    }
    let timed = model.granted.iter().filter(|(_, until)| **until > minute).map(|(member, _)| *member);
    let members = model.joined.iter().copied().chain(timed);
    let through_groups = members.filter(|(_, group)| model.opening.contains(group)).map(|(admin, _)| admin);
    let machine = (model.token && model.opening.contains("g1")).then_some("id of ci");
    let sessions = model.sessions.iter().filter(|(_, until)| **until > minute).map(|(admin, _)| *admin);
    let all = through_groups.chain(machine).chain(sessions);
    all.filter(|id| !model.inactive.contains(id)).collect()
}

fn note(event: AuditEvent, now: DateTime<Utc>) -> Note {
    notary().note(event.into_record(now))
}

async fn change(database: &Database, now: DateTime<Utc>, wanted: &[RbacChange]) {
    let by = By { name: "olga", reason: None, way: Way::Command, now };
    // Where the admins are Console's, the gate keeps them out in a table of its own.
    let admins =
        if database.store.has_own_admins().await.unwrap() { AdminTable::Gate } else { AdminTable::Console };
    let terms = Terms { admins, unknown_admins: false };
    grants::change(&database.store, &notary(), wanted, terms, by).await.unwrap();
}

/// What two people had to give: the sealed row names the request, and the request has the change.
async fn approve(database: &Database, now: DateTime<Utc>, wanted: RbacChange) {
    let request = Uuid::new_v4().to_string();
    let edit =
        serde_json::to_string(&Edit { by: CallerKind::Admin, change: wanted.clone(), also: Vec::new() })
            .unwrap();
    let insert = format!(
        "INSERT INTO gate_access_requests (id, admin_id, requested_by, group_name, minutes, reason, state, requested_at_utc,
                                           closes_at_utc, closed_at_utc, closed_by, edit)
         VALUES ('{request}', 'hugo', 'anna', 'edit: join', 1, 'why', 'approved', {at}, {at}, {at}, 'ben', '{edit}')",
        at = literal(now)
    );
    database.execute(&insert).await;
    let terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
    let (state, plan) = grants::preview(&database.store, &[wanted], terms, now).await.unwrap();
    let work = RbacWork {
        changes: &plan.changes,
        rows: &plan.rows,
        as_of: state.epoch,
        by: "ben",
        way: Way::Command,
        notary: &notary(),
        reason: None,
        now,
        answer: None,
    };
    let event = AuditEvent::AccessRequest {
        request,
        step: "approved",
        group: "edit: join".into(),
        about: "hugo".into(),
        reason: None,
        detail: serde_json::Value::Null,
        by: "ben".into(),
    };
    assert!(database.store.change_rbac(&work, &note(event, now)).await.unwrap());
}

async fn activate(database: &Database, text: &str, now: DateTime<Utc>, instance: &str) {
    let sha256 = Mapping::parse("t", text).unwrap().sha256().clone();
    let event = AuditEvent::MappingActivated { sha256: sha256.clone(), previous: None, trigger: "file" };
    let activation = Activation {
        id: Uuid::now_v7(),
        sha256,
        activated_at: now,
        activated_by: "file".into(),
        instance: instance.into(),
        outcome: "activated",
        diagnostics: None,
        previous: None,
    };
    database.store.record_activation(&activation, text, &note(event, now)).await.unwrap();
}

async fn happen(database: &Database, minute: i64, event: Event) {
    let (store, now) = (&database.store, at(minute));
    let wanted = match event {
        Joins(admin, group) => RbacChange::Join { admin: admin.into(), group: group.into() },
        Leaves(admin, group) => RbacChange::Leave { admin: admin.into(), group: group.into() },
        IsGranted(admin, group, until) => RbacChange::GrantUntil {
            grant: TimedGrant {
                id: format!("grant-{admin}"),
                admin: admin.into(),
                group: group.into(),
                origin: Origin::Timed,
                request: None,
                starts: now,
                ends: at(until),
            },
        },
        LosesGrant(admin, group) => {
            RbacChange::EndGrant { id: format!("grant-{admin}"), admin: admin.into(), group: group.into() }
        }
        HoldsRole(group, true) => RbacChange::GrantRole { group: group.into(), role: "opener".into() },
        HoldsRole(group, false) => RbacChange::RevokeRole { group: group.into(), role: "opener".into() },
        Active(admin, false) => RbacChange::DisableAdmin { admin: admin.into() },
        Active(admin, true) => RbacChange::EnableAdmin { admin: admin.into() },
        Mode(mode) => return activate(database, &mapping(mode), now, "gate/1").await,
        Flag(enabled) => {
            let event = AuditEvent::FlagFlipped { name: "FLAG_RBAC_V2", enabled, by: "t".into() };
            return store.set_rbac_v2(enabled, "t", now, &note(event, now)).await.unwrap();
        }
        Token(true) => {
            let created = store::tokens::NewToken { created_at: now, ..token("ci", &["g1"]) };
            return store.create_token(&created, &crate::audit::note(1)).await.unwrap();
        }
        Token(false) => {
            assert!(store.revoke_token("ci", now, &crate::audit::note(2)).await.unwrap());
            return;
        }
        Session(admin, until) => {
            let [starts, ends] = [literal(now), literal(at(until))];
            let insert = format!(
                "INSERT INTO rbac_break_glass_sessions
                        (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
                 VALUES ('session', '{admin}', 'fire', '{admin}', {starts}, {ends})"
            );
            return database.execute(&insert).await;
        }
        SessionEnds(admin) => {
            let end = format!(
                "UPDATE rbac_break_glass_sessions SET revoked_at_utc = {} WHERE user_id = '{admin}'",
                literal(now)
            );
            return database.execute(&end).await;
        }
    };
    change(database, now, &[wanted]).await;
}

async fn prepare(database: &Database) {
    for id in ["anna", "ben", "cleo", "dora", "erin", "fay", "gus", "hugo", "olaf"] {
        database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
    }
    let superadmin = LegacyRole::literal("superadmin");
    database.store.add_legacy_role(&AdminId::new("olaf"), &superadmin, "t").await.unwrap();
    let create = |group: &str| RbacChange::CreateGroup { group: group.into(), description: String::new() };
    let role = RbacChange::CreateRole { role: "opener".into(), description: String::new() };
    change(database, at(-30), &[create("g1"), create("g2"), role]).await;
}

async fn ask_for(database: &Database, path: &str, period: Period) -> Answer {
    could(&database.store, &asked_about(path, period, &Policy::default())).await.unwrap()
}

fn asked_about<'a>(path: &'a str, period: Period, policy: &'a Policy) -> Asked<'a> {
    Asked {
        method: "GET",
        path,
        period,
        now: Utc::now(),
        policy,
        posture: Posture { flag_at_start: None, production: false },
        production_words: &[],
        mapping: None,
    }
}

async fn ask(database: &Database, from: DateTime<Utc>, until: Option<DateTime<Utc>>) -> Answer {
    ask_for(database, "/secrets", Period { from, until }).await
}

fn ids(answer: &Answer) -> BTreeSet<&str> {
    answer.who.people.iter().map(|person| person.id.as_str()).collect()
}

fn person<'a>(answer: &'a Answer, id: &str) -> &'a Passing {
    answer.who.people.iter().find(|person| person.id == id).unwrap_or_else(|| panic!("no {id}: {answer:?}"))
}

/// From when until when, in minutes after noon, and through what.
fn times(person: &Passing) -> Vec<(i64, i64, Vec<String>)> {
    let minutes = |time: DateTime<Utc>| (time - noon()).num_minutes();
    let time = |could: &workbench::who::Could| {
        let ways = could.through.iter().map(workbench::who::text::through).collect();
        (minutes(could.at.from), could.at.until.map_or(i64::MAX, minutes), ways)
    };
    person.times.iter().map(time).collect()
}

fn says(answer: &Answer, words: &str) -> bool {
    answer.assumptions.iter().any(|sentence| sentence.contains(words))
}

async fn the_past_is_what_a_model_of_the_history_says(database: &Database) {
    prepare(database).await;
    for (minute, event) in HISTORY {
        happen(database, minute, event).await;
    }
    // Around the gate, now: the triggers record it, so that the past stays what it was.
    approve(database, at(175), RbacChange::Join { admin: "hugo".into(), group: "g2".into() }).await;
    approve(
        database,
        at(180),
        RbacChange::GrantRole { group: "staging-admins".into(), role: "opener".into() },
    )
    .await;
    database
        .execute(
            "INSERT INTO rbac_user_groups (user_id, group_id) SELECT 'gus', id FROM rbac_groups WHERE name = 'g2';
             DELETE FROM rbac_user_groups WHERE user_id = 'cleo'",
        )
        .await;

    let whole = ask(database, at(-25), Some(at(200))).await;
    assert_eq!(times(person(&whole, "hugo")), [(175, 200, vec!["g2 -> opener".to_owned()])]);
    assert_eq!(whole.who.misfits, [] as [&str; 0], "{:?}", whole.assumptions);
    let mut asked = 0;
    for minute in HISTORY.iter().flat_map(|(minute, _)| [minute - 1, *minute, minute + 1]) {
        let expected = expected(minute);
        let answer = ask(database, at(minute), None).await;
        assert_eq!(ids(&answer), expected, "at {minute}");
        let covers = |person: &&Passing| {
            person.times.iter().any(|could| could.at.from <= at(minute) && could.at.until > Some(at(minute)))
        };
        let in_period: BTreeSet<&str> =
            whole.who.people.iter().filter(covers).map(|person| person.id.as_str()).collect();
        assert_eq!(in_period, expected, "in the period, at {minute}");
        asked += 1;
    }
    assert_eq!(asked, HISTORY.len() * 3);

    let direct = || vec!["g1 -> opener".to_owned()];
    let legacy = || vec!["legacy role superadmin".to_owned()];
    assert_eq!(
        times(person(&whole, "anna")),
        [(10, 50, direct()), (95, 100, direct()), (170, 200, vec!["g2 -> opener".into()]),]
    );
    let until = at(40).format("%Y-%m-%d %H:%M:%SZ");
    assert_eq!(
        times(person(&whole, "ben")),
        [(20, 40, vec![format!("g1 -> opener (grant grant-ben until {until})")])]
    );
    let until = at(140).format("%Y-%m-%d %H:%M:%SZ");
    assert_eq!(
        times(person(&whole, "erin")),
        [(130, 140, vec![format!("break-glass session -> opener (session session until {until})")])]
    );
    assert_eq!(times(person(&whole, "olaf")), [(70, 80, legacy()), (110, 120, legacy())]);
    assert_eq!(times(person(&whole, "id of ci")), [(30, 50, direct())]);
    assert_eq!(person(&whole, "id of ci").name.as_deref(), Some("ci"));
    assert_eq!(times(person(&whole, "fay")), [(155, 160, direct())]);
    let gates: Vec<&str> = whole.who.rows.iter().map(|row| row.by.gate).collect();
    assert_eq!(gates, ["none", "v2", "legacy", "v2", "legacy", "v2"]);
    assert!(says(&whole, "no mapping was activated before"), "{:?}", whole.assumptions);
    assert!(says(&whole, "is not recorded: until then"), "{:?}", whole.assumptions);

    let now = Utc::now();
    let policy = Policy::default();
    let question = Asked { now, ..asked_about("/secrets", Period { from: now, until: None }, &policy) };
    let now = could(&database.store, &question).await.unwrap();
    assert_eq!(ids(&now), BTreeSet::from(["anna", "gus", "hugo"]));
    assert_eq!(now.assumptions, [] as [&str; 0]);
}

/// Rows of the history that its owner forges or deletes alter no answer: the sealed rows decide.
async fn a_forged_history_alters_no_answer(database: &Database) {
    prepare(database).await;
    for (minute, event) in HISTORY {
        happen(database, minute, event).await;
    }
    let period = || ask(database, at(-25), Some(at(200)));
    let before = period().await;
    let unlocked = if database.is_postgres() {
        "ALTER TABLE rbac_grants_audit DISABLE TRIGGER USER"
    } else {
        "DROP TRIGGER rbac_grants_audit_refuse_update; DROP TRIGGER rbac_grants_audit_refuse_delete"
    };
    database.execute(unlocked).await;
    database
        .execute(
            "UPDATE rbac_grants_audit SET target_user_id = 'mallory' WHERE target_user_id = 'anna';
             DELETE FROM rbac_grants_audit WHERE target_user_id = 'cleo'",
        )
        .await;
    let after = period().await;
    assert_eq!(format!("{:?}", after.who.people), format!("{:?}", before.who.people));
    assert_eq!(after.assumptions, before.assumptions);
}

async fn what_is_not_known_is_said(database: &Database) {
    prepare(database).await;
    happen(database, 0, Mode("v2")).await;
    happen(database, 1, Flag(true)).await;
    for (minute, event) in [
        (2, HoldsRole("g1", true)),
        (3, Joins("anna", "g1")),
        (3, Joins("ben", "g1")),
        (3, Joins("cleo", "g1")),
    ] {
        happen(database, minute, event).await;
    }
    activate(database, &mapping("legacy"), at(30), "gate/2").await;
    activate(database, &mapping("shadow"), at(60), "gate/1").await;
    activate(database, &mapping("v2"), at(90), "gate/1").await;
    activate(database, &mapping("v2"), at(95), "gate/2").await;
    // Console's own hand: nobody knows when.
    database
        .execute(&format!("UPDATE admins SET disabled_at_utc = {} WHERE id = 'ben'", literal(at(5))))
        .await;
    database.execute("UPDATE gate_flags SET enabled = false WHERE name = 'FLAG_RBAC_V2'").await;

    let then = ask(database, at(10), None).await;
    assert_eq!(ids(&then), BTreeSet::from(["anna", "ben", "cleo"]));
    assert_eq!(person(&then, "ben").unless, Some(Unless::DisabledNow));
    assert_eq!(person(&then, "anna").unless, None);
    assert!(says(&then, "FLAG_RBAC_V2 is not as it was recorded last"), "{:?}", then.assumptions);
    assert!(!says(&then, "different mappings"), "{:?}", then.assumptions);
    let differing = ask(database, at(40), None).await;
    assert_eq!(ids(&differing), BTreeSet::from(["olaf"]), "the legacy gate, which gate/2 activated last");
    assert!(says(&differing, "gate/1 ran"), "{:?}", differing.assumptions);

    // Rows that no sealed row names are Console's own, and the triggers saw what it wrote, if it wrote at all.
    let unnamed = format!(
        "INSERT INTO rbac_grants_audit (id, event_type, target_user_id, group_id, granted_by, created_at_utc)
         SELECT 'c', 'revoke', 'dora', id, 'console', {} FROM rbac_groups WHERE name = 'g1'",
        literal(at(50))
    );
    database.execute(&unnamed).await;
    let then = ask(database, at(10), None).await;
    assert_eq!(ids(&then), BTreeSet::from(["anna", "ben", "cleo"]));
    assert_eq!(then.who.misfits, [] as [&str; 0]);

    // A write without its trigger: what is recorded does not fit to what is there.
    let added = format!(
        "INSERT INTO gate_rbac_changes (at_utc, relation, statement, change, subject, object)
         VALUES ({}, 'rbac_user_groups', 'insert', 'added', 'dora', 'g1')",
        literal(at(50))
    );
    database.execute(&added).await;
    let then = ask(database, at(10), None).await;
    assert_eq!(ids(&then), BTreeSet::from(["anna", "ben", "cleo"]));
    assert!(says(&then, "`dora` in `g1` was added"), "{:?}", then.assumptions);

    // The trigger records an update as well. Nobody is of that id now.
    let joined = "UPDATE rbac_user_groups SET user_id = 'gone' WHERE user_id = 'cleo'";
    database.execute(joined).await;
    let then = ask(database, at(10), None).await;
    assert_eq!(ids(&then), BTreeSet::from(["anna", "ben", "cleo"]), "the trigger recorded the update");
}

async fn a_ticket_is_for_its_customer_and_a_session_for_everybody(database: &Database) {
    prepare(database).await;
    happen(database, 0, Mode("v2")).await;
    happen(database, 1, Flag(true)).await;
    let grants = format!(
        "INSERT INTO rbac_ticket_grants
                (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc, expires_at_utc, revoked_at_utc)
         SELECT 'k7', 'anna', id, '42', 7, 'ben', {}, NULL, {} FROM rbac_roles WHERE name = 'opener';
         INSERT INTO rbac_ticket_grants_archive
                (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc, expires_at_utc, revoked_at_utc,
                 revoke_reason, archived_at_utc)
         SELECT 'k8', 'ben', CAST(id AS TEXT), '43', 8, 'anna', {}, {}, NULL, NULL, {}
           FROM rbac_roles WHERE name = 'opener'",
        literal(at(10)),
        literal(at(20)),
        literal(at(10)),
        literal(at(30)),
        literal(at(40)),
    );
    database.execute(&grants).await;
    for (path, minute, expected) in [
        ("/of/7", 9, vec![]),
        ("/of/7", 10, vec!["anna"]),
        ("/of/7", 20, vec![]),
        ("/of/8", 15, vec!["ben"]),
        ("/of/8", 30, vec![]),
        ("/of/9", 15, vec![]),
        ("/of/7?ticket_id=42", 15, vec!["anna"]),
        ("/of/7?ticket_id=43", 15, vec![]),
    ] {
        let answer = ask_for(database, path, Period { from: at(minute), until: None }).await;
        assert_eq!(ids(&answer), expected.into_iter().collect(), "{path} at {minute}");
        assert_eq!(says(&answer, "FreeScout"), !answer.who.people.is_empty());
    }
    let home = ask_for(database, "/home", Period { from: at(5), until: None }).await;
    assert_eq!(home.who.people.len(), 9);
    assert!(person(&home, "gus").times[0].through.is_empty());
    let nowhere = ask_for(database, "/nowhere", Period { from: at(5), until: None }).await;
    assert!(nowhere.who.people.is_empty() && nowhere.who.rows[0].by.route.is_none());
    let refused = ask_for(database, "/a b", Period { from: at(5), until: None }).await;
    assert!(refused.who.refused.is_some());
}

/// "Nobody" is said only where the log of the whole time is there.
async fn who_did_is_what_was_recorded_and_what_lacks(database: &Database) {
    prepare(database).await;
    happen(database, 0, Mode("v2")).await;
    happen(database, 1, Flag(true)).await;
    happen(database, 2, HoldsRole("g1", true)).await;
    happen(database, 3, Joins("anna", "g1")).await;
    let policy = Policy::default();
    let settings = Decisions { days: 100_000, ..Decisions::default() };
    let period = Period { from: at(60), until: Some(at(180)) };
    let question = asked_about("/secrets", period, &policy);

    let empty = did(&database.store, &question, &settings).await.unwrap().did.unwrap();
    assert!(empty.uses.is_empty());
    assert!(empty.gaps.iter().any(|gap| gap.contains("no gate wrote the decision log")), "{:?}", empty.gaps);

    let of_row = |path: &str, actor: &str, answer: &'static str, minute: i64, count: i64| {
        let record = decision(path, at(minute), count);
        store::decisions::DecisionRecord {
            route: "GET /secrets".into(),
            cluster: "S".into(),
            actor_id: actor.into(),
            answer,
            ..record
        }
    };
    let records = [
        of_row("/secrets", "anna", "allow", 70, 3),
        of_row("", "anna", "allow", 130, 2),
        of_row("/secrets", "mallory", "allow", 90, 1),
        of_row("/secrets", "ben", "deny", 90, 4),
        of_row("/secrets", "cleo", "allow", 400, 1),
    ];
    let logged = Mark {
        complete_until: at(500),
        has_ended: true,
        started_at: at(-60),
        ..mark(EvidenceKind::Decisions)
    };
    database.store.log_decisions(&records, &logged).await.unwrap();
    let found = did(&database.store, &question, &settings).await.unwrap().did.unwrap();
    let counts: Vec<_> = found
        .uses
        .iter()
        .map(|one| (one.actor_id.as_str(), one.allowed, one.allowed_on_path, one.unexpected))
        .collect();
    assert_eq!(counts, [("anna", 5, 3, Some(false)), ("mallory", 1, 1, Some(true))]);
    assert_eq!(found.gaps, [] as [&str; 0]);

    let gap = Gap {
        id: Uuid::now_v7(),
        kind: EvidenceKind::Decisions,
        cluster: "S".into(),
        since: at(100),
        until: at(101),
        occurrences: 9,
        cause: "refused",
        gate: "host/1".into(),
    };
    database.store.record_gaps(&[gap]).await.unwrap();
    let off = Decisions { log: false, days: 1, ..Decisions::default() };
    let lacking = did(&database.store, &question, &off).await.unwrap().did.unwrap();
    for words in ["9 decision(s) of host/1 were lost", "the decision log is off here", "is forgotten"] {
        assert!(lacking.gaps.iter().any(|gap| gap.contains(words)), "{words}: {:?}", lacking.gaps);
    }
}

/// Who was in which group at that minute, by what: the sentences of the documents, without the gate's code.
fn grants_at(minute: i64) -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let mut held = BTreeMap::new();
    for (_, event) in HISTORY.iter().filter(|(time, _)| *time <= minute) {
        match *event {
            Joins(admin, group) => drop(held.insert((admin, group, "direct"), i64::MAX)),
            Leaves(admin, group) => drop(held.remove(&(admin, group, "direct"))),
            IsGranted(admin, group, until) => drop(held.insert((admin, group, "timed"), until)),
            LosesGrant(admin, group) => drop(held.remove(&(admin, group, "timed"))),
            Session(admin, until) => drop(held.insert((admin, "break-glass", "break_glass"), until)),
            SessionEnds(admin) => drop(held.remove(&(admin, "break-glass", "break_glass"))),
            Token(true) => drop(held.insert(("id of ci", "g1", "token"), i64::MAX)),
            Token(false) => drop(held.remove(&("id of ci", "g1", "token"))),
            // Who is disabled holds no membership meanwhile.
            Active(admin, false) => held.retain(|(holder, ..), _| *holder != admin),
            _ => {}
        }
    }
    held.into_iter().filter(|(_, until)| *until > minute).map(|(grant, _)| grant).collect()
}

async fn a_report_lists_what_a_model_held_and_who_did_what(database: &Database) {
    prepare(database).await;
    for (minute, event) in HISTORY {
        happen(database, minute, event).await;
    }
    let used =
        |actor: &str, answer: &'static str, minute: i64, count: i64| store::decisions::DecisionRecord {
            route: "GET /secrets".into(),
            actor_id: actor.into(),
            answer,
            ..decision("/secrets", at(minute), count)
        };
    let records = [
        used("anna", "allow", 70, 3),
        used("anna", "allow", 130, 2),
        used("ben", "deny", 90, 4),
        used("cleo", "allow", 400, 1),
    ];
    let logged = Mark {
        complete_until: at(500),
        has_ended: true,
        started_at: at(-120),
        ..mark(EvidenceKind::Decisions)
    };
    database.store.log_decisions(&records, &logged).await.unwrap();
    let decisions = Decisions { days: 100_000, ..Decisions::default() };
    let asked = ReportOf { from: at(-25), until: at(200), now: Utc::now(), decisions: &decisions };
    let found = report(&database.store, asked).await.unwrap();
    for minute in HISTORY.iter().flat_map(|(minute, _)| [minute - 1, *minute, minute + 1]) {
        let held = found.access.iter().filter(|grant| grant.origin != "legacy");
        let held = held
            .filter(|grant| grant.from <= at(minute) && grant.until.is_none_or(|until| until > at(minute)));
        let held: BTreeSet<(&str, &str, &str)> =
            held.map(|grant| (grant.id.as_str(), grant.granted.as_str(), grant.origin)).collect();
        assert_eq!(held, grants_at(minute), "at {minute}");
    }
    let legacy = found
        .access
        .iter()
        .filter(|grant| grant.origin == "legacy")
        .map(|grant| (&*grant.id, &*grant.granted));
    assert_eq!(legacy.collect::<Vec<_>>(), [("olaf", "superadmin")]);
    let of_ben = found.access.iter().find(|grant| grant.id == "ben").unwrap();
    assert_eq!((of_ben.from, of_ben.until), (at(20), Some(at(40))));
    let uses: Vec<_> =
        found.uses.iter().map(|one| (one.actor_id.as_str(), one.allowed, one.denied)).collect();
    // The notes beside the token's changes are denials, on another row.
    assert_eq!(uses, [("anna", 5, 0), ("anna", 0, 2)]);
    assert_eq!(found.gaps, [] as [&str; 0]);
    let sessions: Vec<_> =
        found.break_glass.iter().map(|one| (one.admin.as_str(), one.starts, one.over_at)).collect();
    assert_eq!(sessions, [("erin", Some(at(130)), Some(at(140)))]);
    // Every change within the period, and nothing of before or after.
    let flips = found.changes.iter().filter(|event| event.event_type == "flag_flipped").count();
    let grants = found.changes.iter().filter(|event| event.event_type == "grant_recorded").count();
    assert_eq!(flips, 3);
    assert!(grants >= 8, "{grants}");
    assert!(found.changes.iter().all(|event| (at(-25)..at(200)).contains(&event.occurred_at_utc)));
    let later = ReportOf { from: at(141), until: at(150), now: Utc::now(), decisions: &decisions };
    let later = report(&database.store, later).await.unwrap();
    // What was let in is by the hour: the whole one counts.
    let uses: Vec<_> =
        later.uses.iter().map(|one| (one.actor_id.as_str(), one.allowed, one.denied)).collect();
    assert_eq!(uses, [("anna", 2, 0)]);
    assert!(later.break_glass.is_empty() && later.changes.is_empty(), "{later:?}");
}

on_both!(
    a_report_lists_what_a_model_held_and_who_did_what,
    the_past_is_what_a_model_of_the_history_says,
    a_forged_history_alters_no_answer,
    what_is_not_known_is_said,
    a_ticket_is_for_its_customer_and_a_session_for_everybody,
    who_did_is_what_was_recorded_and_what_lacks,
);
