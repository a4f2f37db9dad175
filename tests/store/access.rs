//! What one caller holds: the algorithm of the RBAC V2 design, section 3.4, on generated worlds, against a second
//! writing of it that walks the graph one edge at a time.

mod reference;
mod world;

use chrono::{DateTime, TimeDelta, Utc};
use policy::identity::machine_token::TokenDigest;
use policy::identity::{Stated, Subject};
use policy::ids::{AdminId, SessionId};
use policy::rbac::{Access, LegacyRole, Standing};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use store::StoreError;

use crate::database::{Database, literal, noon};
use world::World;

/// How many worlds each database is given; each is asked about every subject in it.
const WORLDS: u32 = 300;

async fn admin(database: &Database, id: &str, session: Option<&str>, now: DateTime<Utc>) -> Access {
    let subject = Subject::Admin { id: AdminId::new(id), session: session.map(SessionId::new) };
    database.store.access(&subject, now).await.unwrap()
}

fn names(set: &std::collections::BTreeSet<std::sync::Arc<str>>) -> Vec<&str> {
    set.iter().map(AsRef::as_ref).collect()
}

mod every_subject_of_every_world_holds_what_the_design_says {
    use super::*;

    fn check(open: impl Future<Output = Database>) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let database = runtime.block_on(open);
        let config = Config { cases: WORLDS, failure_persistence: None, ..Config::default() };
        let seen = std::cell::Cell::new(reference::Coverage::default());
        TestRunner::new(config)
            .run(&world::any(), |world: World| {
                runtime.block_on(async {
                    database.execute(&world.statements()).await;
                    let epoch = database.epoch().await;
                    for (subject, expected) in reference::subjects(&world) {
                        seen.set(seen.get().with(&expected));
                        let access = database.store.access(&subject, noon()).await;
                        let found = access.map(|access| reference::Holding::of(&access, epoch));
                        let found = found.map_err(|error| TestCaseError::fail(error.to_string()))?;
                        if found != expected {
                            let text = format!("{subject:?}\nexpected {expected:#?}\nfound    {found:#?}");
                            return Err(TestCaseError::fail(text));
                        }
                    }
                    Ok(())
                })
            })
            .unwrap_or_else(|error| panic!("{error}"));
        seen.get().assert_nothing_is_rare();
    }

    #[test]
    fn sqlite() {
        check(Database::sqlite());
    }

    #[test]
    fn postgres() {
        check(Database::postgres());
    }
}

/// Anna, an admin in the devops team, whose roles and permissions follow from the seed's edges.
async fn an_admin_of_the_seed(database: &Database) {
    database
        .execute(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO admin_roles (admin_id, role) VALUES ('anna', 'ops'), ('anna', 'readonly');
             INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'raxx-platform-admins')",
        )
        .await;
    let anna = admin(database, "anna", None, noon()).await;
    assert_eq!(anna.standing, Standing::Active);
    assert_eq!(anna.token, None);
    assert_eq!(Vec::from_iter(anna.legacy), [LegacyRole::literal("ops"), LegacyRole::literal("readonly")]);
    assert_eq!(names(&anna.groups), ["raxx-platform-admins"]);
    let roles = [
        "antlers-audit-self",
        "console-audit-user",
        "console-billing-read",
        "console-billing-write",
        "console-env-admin",
        "console-flag-admin",
        "console-invite-admin",
        "console-manager",
        "console-secrets-admin",
        "console-secrets-user",
        "console-user",
        "raptor-audit-admin",
        "raptor-audit-support",
    ];
    assert_eq!(names(&anna.roles), roles);
    let permissions = [
        "console:admins:invite",
        "console:audit:read",
        "console:groups:write",
        "raptor:audit:read-admin",
        "raptor:audit:read-self",
        "raptor:audit:read-support",
    ];
    assert_eq!(names(&anna.permissions), permissions);
    assert_eq!(anna.valid_until, None);
}

/// Section 3.4, step 2: the ticket-scoped path only, skipped for non-ticket checks.
async fn ticket_grants_do_not_count(database: &Database) {
    database
        .execute(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by)
             VALUES ('grant', 'anna', 'raptor-audit-admin', 'T-1', 7, 'ben')",
        )
        .await;
    let anna = admin(database, "anna", None, noon()).await;
    assert_eq!(anna.standing, Standing::Active);
    assert_eq!((names(&anna.roles), names(&anna.permissions), anna.valid_until), (vec![], vec![], None));
}

/// A grant ends at its expiry, not after it, to the microsecond that both databases keep.
async fn break_glass_ends_at_its_expiry(database: &Database) {
    let end = noon() + TimeDelta::hours(1);
    let statements = format!(
        "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
         INSERT INTO rbac_user_groups (user_id, group_id) SELECT 'anna', id FROM rbac_groups WHERE name = 'break-glass';
         INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
         VALUES ('fire', 'anna', 'the house is on fire', 'self', {}, {})",
        literal(noon()),
        literal(end)
    );
    database.execute(&statements).await;
    let microsecond = TimeDelta::microseconds(1);
    let table = [
        ("an hour before", noon(), true),
        ("a microsecond before", end - microsecond, true),
        ("at the expiry", end, false),
        ("a microsecond after", end + microsecond, false),
    ];
    for (moment, now, is_live) in table {
        let anna = admin(database, "anna", None, now).await;
        assert_eq!(anna.roles.contains("console-manager"), is_live, "{moment}");
        assert_eq!(anna.valid_until, is_live.then_some(end), "{moment}");
    }
}

/// A time on the full second has a shorter text in SQLite than one beside it: the order must hold all the same.
async fn an_expiry_on_the_full_second_is_compared_as_a_time(database: &Database) {
    let second: DateTime<Utc> = "2026-03-29T12:00:00Z".parse().unwrap();
    let statements = format!(
        "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
         INSERT INTO admin_sessions (id, admin_id, expires_at_utc) VALUES ('session', 'anna', {})",
        literal(second)
    );
    database.execute(&statements).await;
    let table = [
        (second - TimeDelta::seconds(1), Standing::Active),
        (second - TimeDelta::milliseconds(1), Standing::Active),
        (second - TimeDelta::microseconds(1), Standing::Active),
        (second, Standing::SessionEnded),
        (second + TimeDelta::microseconds(1), Standing::SessionEnded),
        (second + TimeDelta::milliseconds(1), Standing::SessionEnded),
        (second + TimeDelta::seconds(1), Standing::SessionEnded),
    ];
    for (now, standing) in table {
        assert_eq!(admin(database, "anna", Some("session"), now).await.standing, standing, "{now}");
    }
}

/// Identifiers are exact: another case, a space or a pattern is somebody else.
async fn an_id_is_compared_exactly(database: &Database) {
    database
        .execute(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO admin_sessions (id, admin_id) VALUES ('session', 'anna')",
        )
        .await;
    for id in ["Anna", "anna ", " anna", "", "%", "anna'--", "ann\u{430}", "an\u{308}na"] {
        assert_eq!(admin(database, id, None, noon()).await.standing, Standing::Unknown, "{id:?}");
        let anna = admin(database, "anna", Some(id), noon()).await;
        assert_eq!(anna.standing, Standing::SessionEnded, "session {id:?}");
    }
}

/// A graph that was cyclic before the gate came: the walk ends, and every role in the cycle holds the others.
async fn a_cycle_that_was_there_before_does_not_hang(database: &Database) {
    let open_the_gate = if database.is_postgres() {
        "ALTER TABLE rbac_role_inheritance DISABLE TRIGGER rbac_role_inheritance_acyclic"
    } else {
        "DROP TRIGGER rbac_role_inheritance_acyclic_insert"
    };
    database.execute(open_the_gate).await;
    database
        .execute(
            "INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
             VALUES ('console-secrets-user', 'console-secrets-admin');
             INSERT INTO rbac_groups (id, name) VALUES ('g', 'g');
             INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('g', 'console-secrets-user');
             INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'g')",
        )
        .await;
    let anna = admin(database, "anna", None, noon()).await;
    assert_eq!(names(&anna.roles), ["console-secrets-admin", "console-secrets-user"]);
}

/// Somebody whom a probe states holds what it says, with what the roles bring, and no row is about anybody.
async fn whom_a_probe_states_holds_that(database: &Database) {
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let stated = |roles: &[&str]| Stated {
        id: "gate-verify-1".into(),
        legacy: set(&["ops"]),
        groups: set(&["a group"]),
        roles: set(roles),
    };
    let resolve =
        async |stated: Stated| database.store.access(&Subject::Stated(stated.into()), noon()).await.unwrap();
    let manager = resolve(stated(&["console-manager"])).await;
    assert_eq!(manager.standing, Standing::Active);
    assert_eq!(Vec::from_iter(manager.legacy.iter().cloned()), [LegacyRole::literal("ops")]);
    assert_eq!(names(&manager.groups), ["a group"]);
    assert_eq!(
        (manager.epoch.0, manager.valid_until, manager.flaws.len()),
        (database.epoch().await, None, 0)
    );
    // The same as an admin in a group with that role.
    database
        .execute(
            "INSERT INTO rbac_groups (id, name) VALUES ('g', 'g');
             INSERT INTO rbac_group_roles (group_id, role_id)
             SELECT 'g', id FROM rbac_roles WHERE name = 'console-manager';
             INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'g')",
        )
        .await;
    let anna = admin(database, "anna", None, noon()).await;
    assert!(anna.roles.len() > 1 && !anna.permissions.is_empty(), "{anna:?}");
    assert_eq!((manager.roles, manager.permissions), (anna.roles, anna.permissions));
    let nobody = resolve(stated(&["no such role", "'; --"])).await;
    assert_eq!((names(&nobody.roles), names(&nobody.permissions)), (vec![], vec![]));
    let nothing = resolve(Stated { id: "gate-verify-2".into(), ..Stated::default() }).await;
    assert_eq!((nothing.standing, nothing.legacy.len(), nothing.groups.len()), (Standing::Active, 0, 0));
}

/// Nothing may be known without the epoch under which it is known.
async fn without_an_epoch_nothing_is_known(database: &Database) {
    let empty_the_table = if database.is_postgres() {
        "ALTER TABLE gate_epoch DISABLE TRIGGER ALL; DELETE FROM gate_epoch"
    } else {
        "DROP TRIGGER gate_epoch_refuse_delete; DELETE FROM gate_epoch"
    };
    database.execute(empty_the_table).await;
    for subject in [
        Subject::Admin { id: AdminId::new("anna"), session: None },
        Subject::Machine(TokenDigest::of("cgm_token")),
        Subject::Stated(Stated::default().into()),
    ] {
        let outcome = database.store.access(&subject, noon()).await;
        assert!(matches!(outcome, Err(StoreError::Broken(_))), "{subject:?}: {outcome:?}");
    }
    assert!(matches!(database.store.control().await, Err(StoreError::Broken(_))));
}

on_both!(
    an_admin_of_the_seed,
    ticket_grants_do_not_count,
    break_glass_ends_at_its_expiry,
    an_expiry_on_the_full_second_is_compared_as_a_time,
    an_id_is_compared_exactly,
    a_cycle_that_was_there_before_does_not_hang,
    whom_a_probe_states_holds_that,
    without_an_epoch_nothing_is_known,
);
