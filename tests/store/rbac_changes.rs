//! Changes of who holds what: with their rows, as of an epoch, and what others write recorded by trigger.

use chrono::TimeDelta;
use console_gate::journal::erasure;
use grants::{AdminTable, By, PeopleError, Terms};
use ledger::event::Way;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::Standing;
use store::StoreError;
use store::idempotency::{Once, OnceAnswer, OnceKey};
use store::rbac_changes::{GrantRow, RbacChange, RbacWork, StoredWrite};

use crate::audit::{notary, note};
use crate::database::{Database, noon};

const TERMS: Terms = Terms { admins: AdminTable::Gate, unknown_admins: false };

fn by() -> By<'static> {
    By { name: "olga", reason: Some("on call"), way: Way::Command, now: noon() }
}

fn join(admin: &str, group: &str) -> RbacChange {
    RbacChange::Join { admin: admin.into(), group: group.into() }
}

async fn with_people(database: &Database) {
    for id in ["anna", "ben"] {
        database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
    }
}

async fn standing(database: &Database, admin: &str) -> Standing {
    let subject = Subject::Admin { id: AdminId::new(admin), session: None };
    database.store.access(&subject, noon()).await.unwrap().standing
}

async fn writes(database: &Database) -> Vec<String> {
    let in_words = |write: StoredWrite| {
        let [subject, object] = [write.subject, write.object].map(Option::unwrap_or_default);
        format!("{} {} {} {subject} {object}", write.statement, write.change, write.relation)
    };
    let mut writes: Vec<String> =
        database.store.rbac_writes(None, 100).await.unwrap().into_iter().map(in_words).collect();
    writes.reverse();
    writes
}

async fn a_membership_has_its_rows_and_names_nobody_in_the_sealed_one(database: &Database) {
    with_people(database).await;
    let before = database.epoch().await;
    let wanted = [join("anna", "raxx-devops-team")];
    let (_, plan) = grants::change(&database.store, &notary(), &wanted, TERMS, by()).await.unwrap();
    assert_eq!(plan.changes, wanted);
    assert!(database.epoch().await > before);
    let rows = database
        .texts(
            "SELECT a.event_type || ' ' || a.target_user_id || ' ' || g.name || ' ' || a.granted_by || ' ' || justification
               FROM rbac_grants_audit a JOIN rbac_groups g ON g.id = a.group_id",
        )
        .await;
    assert_eq!(rows, ["grant anna raxx-devops-team olga on call"]);
    let sealed = database.store.recent(1).await.unwrap().remove(0);
    assert_eq!((sealed.event_type.as_str(), sealed.actor_id.as_deref()), ("rbac_changed", Some("olga")));
    let detail = sealed.detail.unwrap().0;
    assert_eq!(detail["grants"][0], plan.rows[0].id.to_string());
    assert_eq!(detail["changes"][0]["group"], "raxx-devops-team");
    assert!(!detail.to_string().contains("anna"), "an erasure leaves details alone: {detail}");
    assert_eq!(writes(database).await, [] as [&str; 0], "a command is not recorded twice");
    assert_eq!(database.number("SELECT count(*) FROM gate_rbac_command").await, 0);

    let (_, again) = grants::change(&database.store, &notary(), &wanted, TERMS, by()).await.unwrap();
    assert_eq!(again.already, ["`anna` is in `raxx-devops-team` already"]);
    assert_eq!(database.number("SELECT count(*) FROM rbac_grants_audit").await, 1);
    let sealed =
        "SELECT event_type || ' ' || COALESCE(subject_id, '-') FROM gate_audit_events ORDER BY sequence";
    assert_eq!(database.texts(sealed).await, ["rbac_changed -", "grant_recorded anna"]);
}

async fn what_was_worked_out_before_a_change_is_not_made(database: &Database) {
    with_people(database).await;
    let (state, plan) =
        grants::preview(&database.store, &[join("anna", "ops-admins")], TERMS, noon()).await.unwrap();
    let sealing = notary();
    let work = RbacWork {
        changes: &plan.changes,
        rows: &plan.rows,
        as_of: state.epoch,
        by: "olga",
        way: Way::Command,
        notary: &sealing,
        reason: None,
        now: noon(),
        answer: None,
    };
    // A session concerns nobody else.
    database.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('s', 'ben')").await;
    database.execute("DELETE FROM rbac_group_roles WHERE group_id = 'ops-admins'").await;
    let everything = database.everything().await;
    assert!(!database.store.change_rbac(&work, &note(1)).await.unwrap());
    assert_eq!(database.everything().await, everything);

    let (state, plan) =
        grants::preview(&database.store, &[join("anna", "ops-admins")], TERMS, noon()).await.unwrap();
    database.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('t', 'ben')").await;
    let work = RbacWork { changes: &plan.changes, rows: &plan.rows, as_of: state.epoch, ..work };
    assert!(database.store.change_rbac(&work, &note(2)).await.unwrap());
}

async fn roles_are_granted_to_members_with_a_row_each(database: &Database) {
    with_people(database).await;
    let wanted = [
        RbacChange::CreateGroup { group: "night-shift".into(), description: "at night".into() },
        RbacChange::CreateRole { role: "night-watch".into(), description: String::new() },
        RbacChange::CreatePermission { permission: "night:watch".into() },
        join("anna", "night-shift"),
        join("ben", "night-shift"),
    ];
    grants::change(&database.store, &notary(), &wanted, TERMS, by()).await.unwrap();
    let wanted = [
        RbacChange::Permit { role: "night-watch".into(), permission: "night:watch".into() },
        RbacChange::Inherit { role: "night-watch".into(), parent: "console-user".into() },
        RbacChange::GrantRole { group: "night-shift".into(), role: "night-watch".into() },
    ];
    let (_, plan) = grants::change(&database.store, &notary(), &wanted, TERMS, by()).await.unwrap();
    let mut rows: Vec<_> = plan
        .rows
        .iter()
        .map(|row| (row.admin.as_str(), row.group.as_deref(), row.role.as_deref().unwrap_or_default()))
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            ("anna", None, "console-user"),
            ("anna", Some("night-shift"), "night-watch"),
            ("ben", None, "console-user"),
            ("ben", Some("night-shift"), "night-watch"),
        ]
    );
    let stored = "SELECT COUNT(*) FROM rbac_grants_audit WHERE role_id IS NOT NULL AND event_type = 'grant'";
    assert_eq!(database.number(stored).await, 4);
    let subject = Subject::Admin { id: AdminId::new("ben"), session: None };
    let access = database.store.access(&subject, noon()).await.unwrap();
    assert!(access.roles.contains("console-user") && access.permissions.contains("night:watch"));

    let circle = RbacChange::Inherit { role: "console-user".into(), parent: "night-watch".into() };
    let refused = grants::change(&database.store, &notary(), &[circle], TERMS, by()).await.map(drop);
    let message = refused.unwrap_err().to_string();
    assert_eq!(
        message,
        "roles would inherit from each other in a cycle: console-user -> night-watch -> console-user"
    );

    let back = [
        RbacChange::RevokeRole { group: "night-shift".into(), role: "night-watch".into() },
        RbacChange::Disinherit { role: "night-watch".into(), parent: "console-user".into() },
        RbacChange::Forbid { role: "night-watch".into(), permission: "night:watch".into() },
        RbacChange::Leave { admin: "anna".into(), group: "night-shift".into() },
    ];
    grants::change(&database.store, &notary(), &back, TERMS, by()).await.unwrap();
    let access = database.store.access(&subject, noon()).await.unwrap();
    assert!(access.roles.is_empty() && access.groups.contains("night-shift"));
    assert_eq!(writes(database).await, [] as [&str; 0]);
}

async fn what_is_misspelt_is_refused_with_what_was_meant(database: &Database) {
    with_people(database).await;
    let everything = database.everything().await;
    let leave = RbacChange::Leave { admin: "bem".into(), group: "ops-admins".into() };
    let grant = RbacChange::GrantRole { group: "ops-admins".into(), role: "console-usr".into() };
    let exists = RbacChange::CreateGroup { group: "ops-admins".into(), description: String::new() };
    let spaced = RbacChange::CreateRole { role: "night watch".into(), description: String::new() };
    for (change, words) in [
        (join("ana", "ops-admins"), "no admin `ana`; did you mean `anna`?"),
        (leave, "no admin `bem`; did you mean `ben`?"),
        (join("anna", "ops-admin"), "no group `ops-admin`; did you mean `ops-admins`?"),
        (grant, "no role `console-usr`; did you mean `console-user`?"),
        (exists, "there is a group `ops-admins` already"),
        (spaced, "`night watch` cannot be a name"),
    ] {
        // The first is good: nothing of it is made either.
        let wanted = [join("anna", "break-glass"), change];
        let refused = grants::change(&database.store, &notary(), &wanted, TERMS, by()).await.map(drop);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(database.everything().await, everything);
}

/// Where Console keeps the admins, the gate writes nothing of them, and keeps out by its own table.
async fn an_admin_of_console_is_blocked_at_the_gate(database: &Database) {
    with_people(database).await;
    let of_console = Terms { admins: AdminTable::Console, ..TERMS };
    let add = RbacChange::AddAdmin { admin: "cleo".into(), email: "c@example.org".into(), name: None };
    let refused = grants::change(&database.store, &notary(), &[add], of_console, by()).await.map(drop);
    assert!(matches!(refused, Err(PeopleError::OfConsole(_))), "{refused:?}");

    let admins = database.rows("admins").await;
    let disable = RbacChange::DisableAdmin { admin: "anna".into() };
    let before = database.epoch().await;
    grants::change(&database.store, &notary(), &[disable], of_console, by()).await.unwrap();
    assert!(database.epoch().await > before);
    assert_eq!(standing(database, "anna").await, Standing::Disabled);
    let census = database.store.census(noon()).await.unwrap();
    assert_eq!(census.iter().map(|person| &*person.id).collect::<Vec<_>>(), ["ben"]);
    assert_eq!(database.rows("admins").await, admins);

    let enable = RbacChange::EnableAdmin { admin: "anna".into() };
    grants::change(&database.store, &notary(), &[enable], of_console, by()).await.unwrap();
    assert_eq!(standing(database, "anna").await, Standing::Active);
    // Whom Console has disabled, the gate keeps out by its own word, which counts when Console enables the admin again.
    database
        .execute("UPDATE admins SET disabled_at_utc = '2026-01-01T00:00:00.000000+00:00' WHERE id = 'anna'")
        .await;
    let disable = [RbacChange::DisableAdmin { admin: "anna".into() }];
    let (_, plan) = grants::change(&database.store, &notary(), &disable, of_console, by()).await.unwrap();
    assert_eq!(plan.changes, [RbacChange::BlockAdmin { admin: "anna".into() }]);
    let (_, again) = grants::change(&database.store, &notary(), &disable, of_console, by()).await.unwrap();
    assert_eq!(again.already, ["`anna` is blocked at the gate already"]);
    database.execute("UPDATE admins SET disabled_at_utc = NULL WHERE id = 'anna'").await;
    assert_eq!(standing(database, "anna").await, Standing::Disabled);
    let enable = RbacChange::EnableAdmin { admin: "anna".into() };
    grants::change(&database.store, &notary(), &[enable], of_console, by()).await.unwrap();
    assert_eq!(standing(database, "anna").await, Standing::Active);
    // An id that Console will have later.
    let early = Terms { unknown_admins: true, ..of_console };
    grants::change(&database.store, &notary(), &[join("cleo", "ops-admins")], early, by()).await.unwrap();
    assert_eq!(standing(database, "cleo").await, Standing::Unknown, "a membership makes nobody an admin");
}

async fn the_gates_own_admins_are_added_disabled_and_enabled(database: &Database) {
    let add = RbacChange::AddAdmin { admin: "cleo".into(), email: "c@example.org".into(), name: None };
    let wanted = [add, join("cleo", "ops-admins")];
    grants::change(&database.store, &notary(), &wanted, TERMS, by()).await.unwrap();
    assert_eq!(standing(database, "cleo").await, Standing::Active);
    for (change, expected) in [
        (RbacChange::DisableAdmin { admin: "cleo".into() }, Standing::Disabled),
        (RbacChange::EnableAdmin { admin: "cleo".into() }, Standing::Active),
    ] {
        let (_, plan) = grants::change(&database.store, &notary(), &[change], TERMS, by()).await.unwrap();
        assert_eq!(plan.rows.len(), 1);
        assert_eq!(standing(database, "cleo").await, expected);
    }
}

async fn writes_around_the_gate_are_recorded(database: &Database) {
    with_people(database).await;
    database
        .execute(
            "INSERT INTO rbac_groups (id, name) VALUES ('g1', 'first'), ('g2', 'second');
             INSERT INTO rbac_roles (id, name) VALUES ('r1', 'one'), ('r2', 'two');
             INSERT INTO rbac_permissions (id, name) VALUES ('p1', 'may');
             INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'g1');
             UPDATE rbac_user_groups SET group_id = 'g2' WHERE group_id = 'g1';
             UPDATE rbac_user_groups SET granted_by = 'x' WHERE group_id = 'g2';
             INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('g1', 'r1');
             DELETE FROM rbac_group_roles WHERE group_id = 'g1';
             INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id) VALUES ('r1', 'r2');
             INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES ('r1', 'p1');
             DELETE FROM rbac_role_inheritance WHERE child_role_id = 'r1'",
        )
        .await;
    let expected = [
        "insert added rbac_user_groups anna first",
        "update removed rbac_user_groups anna first",
        "update added rbac_user_groups anna second",
        "insert added rbac_group_roles first one",
        "delete removed rbac_group_roles first one",
        "insert added rbac_role_inheritance one two",
        "insert added rbac_role_permissions one may",
        "delete removed rbac_role_inheritance one two",
    ];
    assert_eq!(writes(database).await, expected);
    let about_anna = database.store.rbac_writes(Some("anna"), 10).await.unwrap();
    assert_eq!(about_anna.len(), 3);
    assert_eq!(about_anna[0].written_by.as_deref(), database.is_postgres().then_some("postgres"));
    for change in ["UPDATE gate_rbac_changes SET subject = 'x'", "DELETE FROM gate_rbac_changes"] {
        let refused = database.attempt(change).await.unwrap_err();
        assert!(refused.contains("keeps what it holds"), "{refused}");
    }
}

/// To name a row that was sealed earlier hides nothing.
#[tokio::test]
async fn a_writer_cannot_pass_for_a_command_on_postgres() {
    let database = Database::postgres().await;
    with_people(&database).await;
    grants::change(&database.store, &notary(), &[join("anna", "ops-admins")], TERMS, by()).await.unwrap();
    database
        .execute(
            "INSERT INTO gate_rbac_command SELECT id FROM gate_audit_events;
             INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('ben', 'ops-admins');
             TRUNCATE rbac_user_groups",
        )
        .await;
    let expected = ["insert added rbac_user_groups ben ops-admins", "truncate removed rbac_user_groups  "];
    assert_eq!(writes(&database).await, expected);
}

/// Invariant I-6: what names an admin goes with the admin, and the block too; but one who is only erased from the records
/// stays out.
async fn an_erased_admin_is_in_no_record(database: &Database) {
    with_people(database).await;
    database
        .execute(
            "INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'ops-admins');
             INSERT INTO gate_blocked_admins (admin_id, blocked_by, blocked_at_utc)
             VALUES ('anna', 'x', '2026-03-29T12:00:00+00:00')",
        )
        .await;
    let store = &database.store;
    erasure::erase(store, &notary(), "anna", "olga", noon()).await.unwrap();
    assert_eq!(store.rbac_writes(Some("anna"), 10).await.unwrap(), []);
    assert_eq!(standing(database, "anna").await, Standing::Disabled);
    assert_eq!(store.pending_erasures().await.unwrap(), [] as [&str; 0]);

    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(writes(database).await, ["delete removed rbac_user_groups anna ops-admins"]);
    erasure::erase(store, &notary(), "anna", "olga", noon()).await.unwrap();
    assert_eq!(writes(database).await, [] as [&str; 0]);
    assert!(!store.is_blocked("anna").await.unwrap());
}

/// Ids of Console's own types: UUIDs of people, and numbers of groups that the table itself gives.
#[tokio::test]
async fn ids_are_of_consoles_own_types_on_postgres() {
    let database = Database::postgres().await;
    database
        .execute(
            "ALTER TABLE rbac_grants_audit DROP CONSTRAINT IF EXISTS rbac_grants_audit_target_user_id_fkey;
             ALTER TABLE rbac_user_groups DROP CONSTRAINT IF EXISTS rbac_user_groups_user_id_fkey;
             ALTER TABLE rbac_user_groups ALTER user_id TYPE uuid USING user_id::uuid,
                                          ALTER granted_by TYPE varchar(20);
             DROP INDEX idx_rga_target;
             ALTER TABLE rbac_grants_audit ALTER id TYPE uuid USING id::uuid,
                                           ALTER target_user_id TYPE uuid USING target_user_id::uuid",
        )
        .await;
    let anna = "7d1c0001-0000-4000-8000-000000000001";
    let sealing = notary();
    let change = async |change: RbacChange| {
        let work = RbacWork {
            changes: &[change],
            rows: &[GrantRow {
                id: uuid::Uuid::new_v4(),
                is_grant: true,
                admin: anna.into(),
                group: Some("ops-admins".into()),
                role: None,
                ends: None,
                is_break_glass: false,
                ticket: None,
                grant: None,
            }],
            as_of: database.store.control().await.unwrap().epoch,
            by: "olga",
            way: Way::Command,
            notary: &sealing,
            reason: None,
            now: noon(),
            answer: None,
        };
        database.store.change_rbac(&work, &next_note()).await
    };
    assert!(change(join(anna, "ops-admins")).await.unwrap());
    let membership = "SELECT user_id::text || ' ' || granted_by FROM rbac_user_groups";
    assert_eq!(database.texts(membership).await, [format!("{anna} olga")]);
    let leave = RbacChange::Leave { admin: anna.into(), group: "ops-admins".into() };
    assert!(change(leave).await.unwrap());
    assert_eq!(database.number("SELECT count(*) FROM rbac_user_groups").await, 0);
    assert!(change(join("anna", "ops-admins")).await.is_err(), "no UUID");
    assert_eq!(database.number("SELECT count(*) FROM rbac_grants_audit").await, 2);
    let create = RbacChange::CreateRole { role: "night-watch".into(), description: String::new() };
    assert!(change(create).await.unwrap());
}

async fn the_words_for_production_are_a_setting(database: &Database) {
    let promoted = async || database.store.control().await.unwrap().promoted;
    for (environment, expected) in
        [("production", true), ("staging", false), ("prod", true), ("live", false), ("", false), ("%", false)]
    {
        database.store.promote("FLAG_RBAC_V2", environment, "olga", noon(), &next_note()).await.unwrap();
        assert_eq!(promoted().await, expected, "{environment}");
    }
    let other = Database::open(&database.url).await;
    other.store.set_production_words(&["live".to_owned(), "eu".to_owned()]);
    for (environment, expected) in [("live", true), ("eu", true), ("production", false), ("liveeu", false)] {
        database.store.promote("FLAG_RBAC_V2", environment, "olga", noon(), &next_note()).await.unwrap();
        assert_eq!(other.store.control().await.unwrap().promoted, expected, "{environment}");
    }
    // A migration writes the first row of a flag (I-11).
    database.execute("DELETE FROM console_flag_promotions").await;
    let refused = database.store.promote("FLAG_RBAC_V2", "production", "olga", noon(), &next_note()).await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("I-11") && said.contains("'staging', 'migration'"), "{said}");
    assert!(database.store.promotions().await.unwrap().is_empty() && !promoted().await);
    database.execute("INSERT INTO console_flag_promotions (flag, risk, current_env, promoted_by) VALUES ('FLAG_RBAC_V2', 'high', 'staging', 'migration')").await;
    other.store.promote("FLAG_RBAC_V2", "liveeu", "olga", noon(), &next_note()).await.unwrap();
    let promotions = database.store.promotions().await.unwrap();
    let rbac_v2 = promotions.iter().find(|promotion| promotion.flag == "FLAG_RBAC_V2").unwrap();
    assert_eq!(rbac_v2.environment.as_deref(), Some("liveeu"));
    assert_eq!(rbac_v2.promoted_by.as_deref(), Some("olga"));
}

fn next_note() -> ledger::Note {
    let mut record = crate::audit::denial(1);
    record.id = uuid::Uuid::now_v7();
    notary().note(record)
}

/// The answer to a request's key is of the change: it is kept with it, or neither is.
async fn an_answer_is_kept_with_the_change(database: &Database) {
    with_people(database).await;
    let key = OnceKey { key_sha256: "k".into(), request_sha256: "r".into() };
    let until = noon() + TimeDelta::hours(24);
    let sealing = notary();
    let answered = async |group: &str, number: u32| {
        let (state, plan) =
            grants::preview(&database.store, &[join("anna", group)], TERMS, noon()).await.unwrap();
        let work = RbacWork {
            changes: &plan.changes,
            rows: &plan.rows,
            as_of: state.epoch,
            by: "olga",
            way: Way::Command,
            notary: &sealing,
            reason: None,
            now: noon(),
            answer: Some(OnceAnswer { key: &key, answer: "201", until }),
        };
        database.store.change_rbac(&work, &note(number)).await
    };
    // Nobody has begun it, as where it took so long that it was taken for lost.
    let everything = database.everything().await;
    assert!(matches!(answered("ops-admins", 1).await, Err(StoreError::Conflict(_))));
    assert_eq!(database.everything().await, everything);
    let begun = async || database.store.begin_once(&key, noon()).await.unwrap();
    assert_eq!(begun().await, Once::Begun);
    assert_eq!(begun().await, Once::UnderWay);
    assert!(answered("ops-admins", 2).await.unwrap());
    assert_eq!(begun().await, Once::Answered("201".into()), "the answer was never sent, and is known");
    // What failed after its change keeps its answer, and is not made twice.
    database.store.forget_once(&key).await.unwrap();
    assert_eq!(begun().await, Once::Answered("201".into()));
    assert!(matches!(answered("raxx-devops-team", 3).await, Err(StoreError::Conflict(_))));
    assert_eq!(database.number("SELECT count(*) FROM rbac_user_groups WHERE user_id = 'anna'").await, 1);
}

on_both!(
    a_membership_has_its_rows_and_names_nobody_in_the_sealed_one,
    what_was_worked_out_before_a_change_is_not_made,
    an_answer_is_kept_with_the_change,
    roles_are_granted_to_members_with_a_row_each,
    what_is_misspelt_is_refused_with_what_was_meant,
    an_admin_of_console_is_blocked_at_the_gate,
    the_gates_own_admins_are_added_disabled_and_enabled,
    writes_around_the_gate_are_recorded,
    an_erased_admin_is_in_no_record,
    the_words_for_production_are_a_setting,
);
