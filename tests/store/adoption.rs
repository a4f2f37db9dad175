//! Console's own Postgres: its tables are there already. What is there is taken as it is, what is missing is added,
//! and nothing is dropped or rewritten.

use std::collections::BTreeSet;

use console_gate::store::StoreError;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::Standing;

use crate::database::{Database, noon};
use crate::seed;

/// Console's tables as its own migrations may have made them: ids are UUIDs and not names, there are columns that
/// the gate does not know, and a role and a group that no document names.
const CONSOLE: &str = "
    CREATE TABLE admins (
        id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, disabled_at_utc TIMESTAMPTZ,
        last_seen_at TIMESTAMPTZ, passkey BYTEA);
    CREATE TABLE admin_roles (
        admin_id TEXT NOT NULL REFERENCES admins(id), role TEXT NOT NULL, note TEXT, PRIMARY KEY (admin_id, role));
    CREATE TABLE admin_sessions (
        id TEXT PRIMARY KEY, admin_id TEXT NOT NULL REFERENCES admins(id), user_agent TEXT,
        expires_at_utc TIMESTAMPTZ, revoked_at_utc TIMESTAMPTZ);
    CREATE TABLE rbac_groups (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, colour TEXT, created_by TEXT);
    CREATE TABLE rbac_roles (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, app TEXT);
    CREATE TABLE rbac_permissions (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT);
    CREATE TABLE rbac_role_permissions (
        role_id TEXT REFERENCES rbac_roles(id), permission_id TEXT REFERENCES rbac_permissions(id),
        PRIMARY KEY (role_id, permission_id));
    CREATE TABLE rbac_role_inheritance (
        child_role_id TEXT REFERENCES rbac_roles(id), parent_role_id TEXT REFERENCES rbac_roles(id),
        PRIMARY KEY (child_role_id, parent_role_id));
    CREATE TABLE rbac_group_roles (
        group_id TEXT REFERENCES rbac_groups(id), role_id TEXT REFERENCES rbac_roles(id),
        PRIMARY KEY (group_id, role_id));
    CREATE TABLE rbac_user_groups (
        user_id TEXT REFERENCES admins(id), group_id TEXT REFERENCES rbac_groups(id), granted_by TEXT,
        granted_at TIMESTAMPTZ, PRIMARY KEY (user_id, group_id));
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);

    INSERT INTO admins VALUES
        ('7d1c0001-0000-4000-8000-000000000001', 'anna@example.org', NULL, '2026-03-01T00:00:00Z', '\\x01'),
        ('7d1c0001-0000-4000-8000-000000000002', 'gone@example.org', '2026-01-01T00:00:00Z', NULL, NULL);
    INSERT INTO admin_roles VALUES ('7d1c0001-0000-4000-8000-000000000001', 'ops', 'since 2024');
    INSERT INTO rbac_groups VALUES
        ('9a2e0001-0000-4000-8000-000000000001', 'raxx-devops-team', 'green', 'anna'),
        ('9a2e0001-0000-4000-8000-000000000002', 'console-night-shift', 'black', 'anna');
    INSERT INTO rbac_roles VALUES
        ('5b3f0001-0000-4000-8000-000000000001', 'console-user', 'may log in', 'console'),
        ('5b3f0001-0000-4000-8000-000000000002', 'console-night-watch', 'looks on', 'console');
    INSERT INTO rbac_permissions VALUES
        ('3c4d0001-0000-4000-8000-000000000001', 'console:audit:read', 'reads the audit');
    INSERT INTO rbac_group_roles VALUES
        ('9a2e0001-0000-4000-8000-000000000001', '5b3f0001-0000-4000-8000-000000000001'),
        ('9a2e0001-0000-4000-8000-000000000002', '5b3f0001-0000-4000-8000-000000000002');
    INSERT INTO rbac_user_groups VALUES
        ('7d1c0001-0000-4000-8000-000000000001', '9a2e0001-0000-4000-8000-000000000001', 'root',
         '2025-05-05T00:00:00Z');
    INSERT INTO customers VALUES (1, 'a table that is none of the gate''s business');
";

const CONSOLES_TABLES: [&str; 10] = [
    "admin_roles",
    "admin_sessions",
    "admins",
    "rbac_group_roles",
    "rbac_groups",
    "rbac_permissions",
    "rbac_role_inheritance",
    "rbac_role_permissions",
    "rbac_roles",
    "rbac_user_groups",
];

async fn consoles_database() -> Database {
    let database = Database::empty_postgres().await;
    database.execute(CONSOLE).await;
    database
}

/// Console's columns of a table, in order.
async fn columns(database: &Database, table: &str) -> Vec<String> {
    let query = format!(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull FROM pg_attribute
          WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum"
    );
    database.texts(&query).await
}

#[tokio::test]
async fn consoles_tables_are_taken_as_they_are_on_postgres() {
    let database = consoles_database().await;

    let report = database.store.migrate().await.unwrap();

    assert_eq!(report.adopted_tables, CONSOLES_TABLES);
    for table in &report.created_tables {
        assert!(!CONSOLES_TABLES.contains(&table.as_str()), "{table} is reported as created");
    }
    assert_eq!(report.created_tables.len(), 39 - CONSOLES_TABLES.len());
}

#[tokio::test]
async fn nothing_of_consoles_is_dropped_or_rewritten_on_postgres() {
    let database = consoles_database().await;
    let mut before = Vec::new();
    for table in CONSOLES_TABLES.into_iter().chain(["customers"]) {
        let columns = columns(&database, table).await;
        let names: Vec<&str> = columns.iter().map(|column| column.split(' ').next().unwrap()).collect();
        let rows = format!("SELECT ROW({})::text FROM {table}", names.join(", "));
        before.push((table, columns, rows.clone(), database.texts(&rows).await));
    }

    database.store.migrate().await.unwrap();

    for (table, columns_before, query, rows_before) in before {
        let columns_now = columns(&database, table).await;
        assert_eq!(columns_now[..columns_before.len()], columns_before, "{table}");
        let rows_now: BTreeSet<String> = database.texts(&query).await.into_iter().collect();
        for row in rows_before {
            assert!(rows_now.contains(&row), "{table} has lost or changed {row}");
        }
    }
}

#[tokio::test]
async fn the_seed_joins_consoles_rows_by_name_on_postgres() {
    let database = consoles_database().await;
    database.store.migrate().await.unwrap();

    let mut expected = seed::documented();
    expected.extend(
        [
            "group console-night-shift",
            "role console-night-watch",
            "console-night-shift holds console-night-watch",
        ]
        .map(str::to_owned),
    );
    assert_eq!(seed::stored(&database).await, expected);

    let anna = AdminId::new("7d1c0001-0000-4000-8000-000000000001");
    let access = database.store.access(&Subject::Admin { id: anna, session: None }, noon()).await.unwrap();
    assert_eq!(access.standing, Standing::Active);
    let roles: Vec<&str> = access.roles.iter().map(AsRef::as_ref).collect();
    assert_eq!(roles, ["console-audit-user", "console-env-admin", "console-flag-admin", "console-user"]);
    let permissions: Vec<&str> = access.permissions.iter().map(AsRef::as_ref).collect();
    assert_eq!(permissions, ["console:audit:read"]);

    let gone = AdminId::new("7d1c0001-0000-4000-8000-000000000002");
    let access = database.store.access(&Subject::Admin { id: gone, session: None }, noon()).await.unwrap();
    assert_eq!(access.standing, Standing::Disabled);
}

/// The age of a grant is evidence: adoption must not stamp old memberships with its own hour.
#[tokio::test]
async fn an_adopted_membership_is_not_dated_anew_on_postgres() {
    let database = consoles_database().await;
    database.store.migrate().await.unwrap();
    let dated = "SELECT count(*) FROM rbac_user_groups WHERE granted_at_utc IS NOT NULL";
    assert_eq!(database.number(dated).await, 0);
}

/// Writes by Console to its own tables are seen from now on.
#[tokio::test]
async fn a_write_to_an_adopted_table_raises_the_epoch_on_postgres() {
    let database = consoles_database().await;
    database.store.migrate().await.unwrap();
    let session = "INSERT INTO admin_sessions (id, admin_id) SELECT 's', id FROM admins LIMIT 1";
    for table in CONSOLES_TABLES {
        let before = database.epoch().await;
        // A session's change is one of its row: where there is none, nothing has changed.
        let write = match table {
            "admin_sessions" => session.to_owned(),
            table => format!("DELETE FROM {table} WHERE false"),
        };
        database.execute(&write).await;
        assert!(database.epoch().await > before, "{table}");
    }
    let before = database.epoch().await;
    database.execute("DELETE FROM admin_sessions WHERE false").await;
    assert_eq!(database.epoch().await, before);
}

/// What Console's schema lacks, how the message names it, and what the operator does about it.
#[tokio::test]
async fn a_schema_that_lacks_a_column_is_refused_until_it_has_it_on_postgres() {
    let table = [
        ("admins", "disabled_at_utc", "TIMESTAMPTZ"),
        ("admin_sessions", "revoked_at_utc", "TIMESTAMPTZ"),
        ("admin_sessions", "expires_at_utc", "TIMESTAMPTZ"),
    ];
    for (table, column, kind) in table {
        let database = consoles_database().await;
        database.execute(&format!("ALTER TABLE {table} DROP COLUMN {column}")).await;

        match database.store.migrate().await {
            Err(StoreError::Schema(message)) => {
                assert!(message.contains("migration 0100 failed"), "{message}");
                assert!(message.contains(&format!("\"{column}\" does not exist")), "{message}");
            }
            other => panic!("{table}.{column}: {other:?}"),
        }
        let tables = database.tables().await;
        assert!(!tables.contains(&"gate_epoch".to_owned()), "{table}.{column}: it went on regardless");

        database.execute(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}")).await;
        let report = database.store.migrate().await.unwrap();
        assert_eq!(
            report.applied.first().map(String::as_str),
            Some("0100 adopted columns"),
            "{table}.{column}"
        );
        assert_eq!(database.store.pending_migrations().await.unwrap(), Vec::<String>::new());
    }
}

/// Ids of the type `uuid` cannot be joined with the gate's: that is said, and nothing of the failed file stays.
#[tokio::test]
async fn a_schema_with_other_types_is_refused_on_postgres() {
    let database = Database::empty_postgres().await;
    database
        .execute(
            "CREATE TABLE rbac_groups (id UUID PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT)",
        )
        .await;

    match database.store.migrate().await {
        Err(StoreError::Schema(message)) => {
            assert!(message.contains("migration 0012 failed"), "{message}");
            assert!(message.contains("uuid"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let tables = database.tables().await;
    assert!(!tables.contains(&"rbac_roles".to_owned()), "half of 0012 has stayed: {tables:?}");
    assert_eq!(database.rows("rbac_groups").await, Vec::<String>::new());
}
