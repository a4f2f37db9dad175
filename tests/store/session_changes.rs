//! What is listed of sessions' changes, and what is not: a number that is not listed concerns everybody.

use std::collections::BTreeMap;

use policy::identity::Subject;
use policy::ids::{AdminId, Epoch, SessionId};
use policy::rbac::Access;
use store::control::ControlReading;

use crate::database::{Database, literal, noon};

const BASIS: &str = "
    INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org'), ('ben', 'ben@example.org');
    INSERT INTO rbac_user_groups (user_id, group_id)
    SELECT 'anna', id FROM rbac_groups WHERE name = 'raxx-devops-team';
    INSERT INTO admin_sessions (id, admin_id) VALUES ('s1', 'anna'), ('s2', 'anna'), ('s3', 'ben')";

/// What a statement adds to the list, by session; `None` where a number is missing.
async fn listed(database: &Database, statement: &str) -> Option<Vec<String>> {
    let before = Epoch(database.epoch().await);
    database.execute(statement).await;
    let reading = database.store.control_since(Some(before)).await.unwrap();
    assert!(reading.row.epoch > before, "{statement}");
    let sessions = |reading: &ControlReading| {
        let mut sessions: Vec<String> =
            reading.changes.iter().map(|change| change.session.to_string()).collect();
        sessions.sort();
        sessions.dedup();
        sessions
    };
    reading.only_sessions_changed_since(before).then(|| sessions(&reading))
}

async fn a_sessions_change_is_listed_with_its_session(database: &Database) {
    database.execute(BASIS).await;
    let revoked = format!("revoked_at_utc = {}", literal(noon()));
    let table = [
        ("INSERT INTO admin_sessions (id, admin_id) VALUES ('s4', 'ben')".to_owned(), vec!["s4"]),
        ("INSERT INTO admin_sessions (id, admin_id) VALUES ('s5', 'ben'), ('s6', 'ben')".to_owned(), vec!["s5", "s6"]),
        (format!("UPDATE admin_sessions SET {revoked} WHERE id = 's4'"), vec!["s4"]),
        (format!("UPDATE admin_sessions SET {revoked} WHERE admin_id = 'anna'"), vec!["s1", "s2"]),
        ("UPDATE admin_sessions SET admin_id = 'anna' WHERE id = 's3'".to_owned(), vec!["s3"]),
        ("UPDATE admin_sessions SET id = 's7' WHERE id = 's3'".to_owned(), vec!["s3", "s7"]),
        ("DELETE FROM admin_sessions WHERE id IN ('s5', 's6')".to_owned(), vec!["s5", "s6"]),
        (
            "INSERT INTO admin_sessions (id, admin_id) VALUES ('s1', 'ben')
             ON CONFLICT (id) DO UPDATE SET admin_id = excluded.admin_id".to_owned(),
            vec!["s1"],
        ),
        // Two statements, one transaction.
        (
            "BEGIN; DELETE FROM admin_sessions WHERE id = 's1'; DELETE FROM admin_sessions WHERE id = 's2'; COMMIT".to_owned(),
            vec!["s1", "s2"],
        ),
    ];
    for (statement, sessions) in table {
        let sessions: Vec<String> = sessions.into_iter().map(str::to_owned).collect();
        assert_eq!(listed(database, &statement).await, Some(sessions), "{statement}");
    }
}

async fn whatever_concerns_others_is_not(database: &Database) {
    database.execute(BASIS).await;
    let mut table = vec![
        "INSERT INTO admin_roles (admin_id, role) VALUES ('anna', 'ops')",
        "UPDATE admins SET disabled_at_utc = '2026-01-01T00:00:00+00:00' WHERE id = 'ben'",
        "DELETE FROM rbac_user_groups",
        "INSERT INTO gate_flags (name, enabled, changed_by) VALUES ('FLAG_RBAC_V2', TRUE, 'ben')",
        // With sessions that go by a cascade.
        "DELETE FROM admins WHERE id = 'ben'",
        "BEGIN; DELETE FROM admin_sessions WHERE id = 's1'; DELETE FROM rbac_groups WHERE name = 'break-glass'; COMMIT",
        // By hand.
        "UPDATE gate_epoch SET epoch = epoch + 1",
        "UPDATE gate_epoch SET epoch = epoch + 1000",
    ];
    if database.is_postgres() {
        table.push("TRUNCATE admin_sessions");
    }
    for statement in table {
        assert_eq!(listed(database, statement).await, None, "{statement}");
    }
}

/// Only so much is kept; what is forgotten concerns everybody.
async fn the_list_forgets_the_oldest(database: &Database) {
    database.execute(BASIS).await;
    let before = Epoch(database.epoch().await);
    let change = |number: usize| {
        format!(
            "UPDATE admin_sessions SET expires_at_utc = {} WHERE id = 's1'",
            literal(noon() + chrono::TimeDelta::seconds(i64::try_from(number).unwrap()))
        )
    };
    for number in 0..1_024 {
        database.execute(&change(number)).await;
    }
    assert!(database.store.control_since(Some(before)).await.unwrap().only_sessions_changed_since(before));
    database.execute(&change(1_024)).await;
    let reading = database.store.control_since(Some(before)).await.unwrap();
    assert_eq!(reading.last_for_everybody(before), Some(Epoch(before.0 + 1)));
    assert_eq!(database.number("SELECT count(*) FROM gate_session_changes").await, 1_024);
}

#[tokio::test]
async fn many_sessions_at_once_concern_everybody_on_postgres() {
    let database = Database::postgres().await;
    database.execute(BASIS).await;
    let insert = |count: usize| {
        format!(
            "INSERT INTO admin_sessions (id, admin_id) SELECT 'many ' || {count} || ' ' || n, 'ben'
                   FROM generate_series(1, {count}) n"
        )
    };
    assert_eq!(listed(&database, &insert(32)).await.map(|sessions| sessions.len()), Some(32));
    assert_eq!(listed(&database, &insert(33)).await, None);
}

/// REPLACE deletes rows of other ids where more than the id is unique, and fires no trigger. Then nothing is listed.
#[tokio::test]
async fn where_a_row_can_replace_another_nothing_is_listed_on_sqlite() {
    let replace = "REPLACE INTO admin_sessions (id, admin_id) VALUES ('s1', 'ben')";
    let database = Database::sqlite().await;
    database.execute(BASIS).await;
    assert_eq!(listed(&database, replace).await, Some(vec!["s1".to_owned()]));
    database
        .execute("DELETE FROM admin_sessions; CREATE UNIQUE INDEX one_each ON admin_sessions (admin_id)")
        .await;
    // Nothing counts that was read before, until the triggers are for the table as it is now.
    assert!(!database.store.control().await.unwrap().console_watched);
    database.store.install_triggers().await.unwrap();
    assert_eq!(listed(&database, replace).await, None);

    let ends = "expires_at_utc TEXT, revoked_at_utc TEXT";
    let others = [
        format!("(id TEXT NOT NULL PRIMARY KEY, admin_id TEXT, {ends})"),
        format!("(id TEXT NOT NULL PRIMARY KEY, admin_id TEXT UNIQUE, {ends}) WITHOUT ROWID"),
        format!("(pk INTEGER PRIMARY KEY, id TEXT, admin_id TEXT, {ends})"),
        format!("(old_id TEXT NOT NULL PRIMARY KEY, id TEXT, admin_id TEXT, {ends}) WITHOUT ROWID"),
    ];
    for definition in others {
        let database = Database::empty_sqlite().await;
        database.execute(&format!("CREATE TABLE admin_sessions {definition}")).await;
        database.store.migrate_seeded().await.unwrap();
        database.execute("INSERT INTO admins (id, email) VALUES ('ben', 'b@example.org')").await;
        let insert = match definition.contains("old_id") {
            true => "INSERT INTO admin_sessions (old_id, id, admin_id) VALUES ('o', 's1', 'ben')",
            false => "INSERT INTO admin_sessions (id, admin_id) VALUES ('s1', 'ben')",
        };
        assert_eq!(listed(&database, insert).await, None, "{definition}");
    }
}

/// A text that is none, which SQLite keeps as one: the control row is read all the same, and the change concerns everybody.
#[tokio::test]
async fn a_session_id_that_is_no_text_stops_nobody_on_sqlite() {
    let database = Database::sqlite().await;
    database.execute(BASIS).await;
    let insert = "INSERT INTO admin_sessions (id, admin_id) VALUES (CAST(x'ff' AS TEXT), 'anna')";
    assert_eq!(listed(&database, insert).await, None);
    assert_eq!(
        listed(&database, "DELETE FROM admin_sessions WHERE id = 's1'").await,
        Some(vec!["s1".to_owned()])
    );
}

/// What the list promises, by what access says: a listed change leaves everybody as they were who comes with another
/// session, or with none.
async fn a_listed_change_leaves_everybody_else_as_they_were(database: &Database) {
    database.execute(BASIS).await;
    let statements = [
        format!("UPDATE admin_sessions SET revoked_at_utc = {} WHERE id = 's1'", literal(noon())),
        "UPDATE admin_sessions SET admin_id = 'ben' WHERE id = 's2'".to_owned(),
        "UPDATE admin_sessions SET id = 's9' WHERE id = 's3'".to_owned(),
        "INSERT INTO admin_sessions (id, admin_id) VALUES ('s3', 'anna')".to_owned(),
        "DELETE FROM admin_sessions WHERE id = 's2'".to_owned(),
        format!("UPDATE admin_sessions SET expires_at_utc = {} WHERE id = 's3'", literal(noon())),
    ];
    for statement in statements {
        let before = everybody(database).await;
        let sessions = listed(database, &statement).await.expect("it is listed");
        for ((admin, session), access) in everybody(database).await {
            let is_listed = session.as_ref().is_some_and(|session| sessions.contains(session));
            let unchanged = before[&(admin, session.clone())] == access;
            assert!(unchanged || is_listed, "{statement}: {admin} in {session:?}");
        }
    }
}

async fn everybody(database: &Database) -> BTreeMap<(&'static str, Option<String>), Access> {
    let mut everybody = BTreeMap::new();
    for admin in ["anna", "ben"] {
        for session in [None, Some("s1"), Some("s2"), Some("s3"), Some("s9")] {
            let subject = Subject::Admin { id: AdminId::new(admin), session: session.map(SessionId::new) };
            let access = database.store.access(&subject, noon()).await.unwrap();
            everybody.insert((admin, session.map(str::to_owned)), Access { epoch: Epoch(0), ..access });
        }
    }
    everybody
}

/// A role that may write sessions and nothing of the gate's: its changes are listed, and it cannot list others.
#[tokio::test]
async fn a_writer_without_rights_to_the_list_has_its_changes_listed_on_postgres() {
    let database = Database::postgres().await;
    database.execute(BASIS).await;
    let role = "gate_test_sessions";
    let create = format!("DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    database.execute(&create).await;
    database.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON admin_sessions TO {role}")).await;
    let statement = format!(
        "SET LOCAL ROLE {role};
         CREATE TEMPORARY TABLE gate_session_changes (epoch BIGINT, session_id TEXT) ON COMMIT DROP;
         DELETE FROM admin_sessions WHERE id = 's1'"
    );
    assert_eq!(listed(&database, &statement).await, Some(vec!["s1".to_owned()]));
    database.execute(&format!("GRANT USAGE ON SCHEMA console_gate TO {role}")).await;
    let forged = format!(
        "SET LOCAL ROLE {role}; INSERT INTO gate_session_changes SELECT epoch + 1, 'x' FROM gate_epoch"
    );
    assert!(database.attempt(&forged).await.unwrap_err().contains("permission denied"));
    database.execute(&format!("DROP OWNED BY {role}")).await;
}

on_both!(
    a_sessions_change_is_listed_with_its_session,
    whatever_concerns_others_is_not,
    the_list_forgets_the_oldest,
    a_listed_change_leaves_everybody_else_as_they_were,
);
