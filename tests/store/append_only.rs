//! The audit tables keep what they hold: by REVOKE and triggers on Postgres, by triggers on SQLite.

use crate::audit::entry;
use crate::database::Database;

/// Every table that keeps what it holds, a column to change, and a row that takes the place of the one that is there.
const TABLES: [(&str, &str, &str); 4] = [
    (
        "gate_audit_events",
        "reason = 'none'",
        "(id, event_type, actor_kind, chain_id, sequence, key_id, personal_digest, content_hash, mac)
         VALUES ('00000000-0000-0000-0000-000000000001', 'other', 'gate', 'other', 1, 'k', 'd', 'h', 'm')",
    ),
    (
        "rbac_grants_audit",
        "granted_by = 'somebody else'",
        "(id, event_type, target_user_id, granted_by) VALUES ('grant', 'revoke', 'anna', 'somebody else')",
    ),
    (
        "gate_mappings",
        "content = 'other'",
        "(sha256, content) VALUES ('0000000000000000000000000000000000000000000000000000000000000000', 'other')",
    ),
    (
        "gate_mapping_activations",
        "activated_by = 'somebody else'",
        "(id, sha256, activated_by, instance, outcome) VALUES ('activation',
         '0000000000000000000000000000000000000000000000000000000000000000', 'somebody else', 'i', 'activated')",
    ),
];

/// One row in each of them.
async fn fill(database: &Database) {
    database.store.append(&[entry(1)]).await.unwrap();
    database
        .execute(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO rbac_grants_audit (id, event_type, target_user_id, group_id, role_id, granted_by)
             VALUES ('grant', 'grant', 'anna', 'ops-admins', 'console-user', 'ben');
             INSERT INTO gate_mappings (sha256, content)
             VALUES ('0000000000000000000000000000000000000000000000000000000000000000', 'version = 1');
             INSERT INTO gate_mapping_activations (id, sha256, activated_by, instance, outcome)
             VALUES ('activation', '0000000000000000000000000000000000000000000000000000000000000000', 'file', 'i',
                     'activated')",
        )
        .await;
}

/// Every way of changing a table must fail and leave it as it was. On Postgres, `prefix` and the attempt are one
/// transaction, since they are sent as one text.
async fn assert_keeps(database: &Database, prefix: &str, refusal: &[&str]) {
    for (table, change, replacement) in TABLES {
        let mut attempts = vec![
            format!("UPDATE {table} SET {change}"),
            format!("DELETE FROM {table}"),
            format!("DELETE FROM {table} WHERE true"),
        ];
        if database.is_postgres() {
            let key = if table == "gate_mappings" { "sha256" } else { "id" };
            attempts.push(format!("TRUNCATE {table}"));
            attempts.push(format!("TRUNCATE {table} CASCADE"));
            attempts.push(format!(
                "INSERT INTO {table} {replacement} ON CONFLICT ({key}) DO UPDATE SET {change}"
            ));
            attempts
                .push(format!("MERGE INTO {table} USING (VALUES (1)) one ON true WHEN MATCHED THEN DELETE"));
            attempts
                .push(format!("WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT count(*) FROM gone"));
        } else {
            attempts.push(format!("UPDATE OR REPLACE {table} SET {change}"));
            attempts.push(format!("UPDATE OR IGNORE {table} SET {change}"));
            attempts.push(format!("INSERT OR REPLACE INTO {table} {replacement}"));
            attempts.push(format!("REPLACE INTO {table} {replacement}"));
        }
        for attempt in attempts {
            let before = database.rows(table).await;
            assert_eq!(before.len(), 1, "{table}");
            let statement = format!("{prefix}{attempt}");
            let message = database.attempt(&statement).await.expect_err(&statement);
            assert!(refusal.iter().any(|words| message.contains(words)), "{statement}: {message}");
            assert_eq!(database.rows(table).await, before, "{statement}");
        }
    }
}

/// As the owner of the tables, who on Postgres is a superuser here: whom no REVOKE binds.
async fn the_owner_cannot_change_or_delete(database: &Database) {
    fill(database).await;
    assert_keeps(database, "", &["keeps what it holds", "cannot truncate a table referenced"]).await;
}

/// A REVOKE, unlike a row trigger, does not ask whether there is a row. The audit lets erasure through, and so asks.
#[tokio::test]
async fn a_change_of_no_row_is_refused_too_on_postgres() {
    let database = Database::postgres().await;
    for (table, change, _) in TABLES.into_iter().filter(|(table, ..)| *table != "rbac_grants_audit") {
        let mut attempts = vec![format!("DELETE FROM {table}")];
        if table != "gate_audit_events" {
            attempts.push(format!("UPDATE {table} SET {change}"));
        }
        for attempt in attempts {
            assert!(database.attempt(&attempt).await.is_err(), "{attempt}");
        }
    }
}

/// What is replaced may have the id of the new row, as above, or its place in the chain.
#[tokio::test]
async fn a_row_does_not_take_the_place_of_another_in_the_chain_on_sqlite() {
    let database = Database::sqlite().await;
    let kept = entry(1);
    database.store.append(std::slice::from_ref(&kept)).await.unwrap();
    let before = database.rows("gate_audit_events").await;
    let replacing = |sequence: i64| {
        format!(
            "INSERT OR REPLACE INTO gate_audit_events
             (id, event_type, actor_kind, chain_id, sequence, key_id, personal_digest, content_hash, mac)
             VALUES ('00000000-0000-0000-0000-000000000002', 'other', 'gate', '{}', {sequence}, 'k', 'd', 'h', 'm')",
            kept.link.chain_id
        )
    };
    let message = database.attempt(&replacing(kept.link.sequence)).await.unwrap_err();
    assert!(message.contains("keeps what it holds"), "{message}");
    assert_eq!(database.rows("gate_audit_events").await, before);
    database.execute(&replacing(kept.link.sequence + 1)).await;
    assert_eq!(database.rows("gate_audit_events").await.len(), 2);
}

/// Console's role had every right on every table before the gate came.
async fn with_the_role_console_app() -> Database {
    let database = Database::empty_postgres().await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE console_app; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO console_app",
        )
        .await;
    database.store.migrate_seeded().await.unwrap();
    database.store.grant_to("console_app").await.unwrap();
    database
}

#[tokio::test]
async fn console_app_cannot_change_or_delete_on_postgres() {
    let database = with_the_role_console_app().await;
    fill(&database).await;
    assert_keeps(&database, "SET LOCAL ROLE console_app; ", &["permission denied"]).await;
}

#[tokio::test]
async fn console_app_can_add_and_read_on_postgres() {
    let database = with_the_role_console_app().await;
    fill(&database).await;
    for (table, _, row) in TABLES {
        let right = |right: &str| {
            format!("SELECT has_table_privilege('console_app', '{table}', '{right}')::integer::bigint")
        };
        for (name, expected) in [("SELECT", 1), ("INSERT", 1), ("UPDATE", 0), ("DELETE", 0), ("TRUNCATE", 0)]
        {
            assert_eq!(database.number(&right(name)).await, expected, "{name} on {table}");
        }
        // The keys are changed so that the row is a new one.
        let row = row.replace("0000001'", "0000002'").replace("('grant'", "('second'");
        let row = row.replace("('activation'", "('second'").replace("('000000", "('111111");
        let insert = format!("SET LOCAL ROLE console_app; INSERT INTO {table} {row}");
        database.execute(&insert).await;
        assert_eq!(database.rows(table).await.len(), 2, "{table}");
    }
}

/// Invariant I-6: erasing an admin erases the grants that name them, and erasing a group or role only the name.
async fn erasing_an_admin_erases_their_grants_audit(database: &Database) {
    fill(database).await;
    database.execute("DELETE FROM rbac_groups WHERE id = 'ops-admins'").await;
    database.execute("DELETE FROM rbac_roles WHERE id = 'console-user'").await;
    let kept = "SELECT id || coalesce(group_id, '-') || coalesce(role_id, '-') FROM rbac_grants_audit";
    assert_eq!(database.texts(kept).await, ["grant--"]);
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(database.rows("rbac_grants_audit").await, Vec::<String>::new());
    assert_eq!(database.rows("gate_audit_events").await.len(), 1, "the record of a 403 outlives the person");
}

on_both!(the_owner_cannot_change_or_delete, erasing_an_admin_erases_their_grants_audit);
