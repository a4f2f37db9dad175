//! Console's own Postgres: its tables are there already. What is there is taken as it is, what is missing is added,
//! and nothing is dropped or rewritten.

use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::Standing;
use store::{Placement, StoreError};

use crate::database::{Database, PATIENCE, noon, options};
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

pub(crate) const CONSOLES_TABLES: [&str; 10] = [
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

pub(crate) async fn consoles_database() -> Database {
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

    assert_eq!(report.adopted_tables, CONSOLES_TABLES.map(|table| format!("public.{table}")));
    assert_eq!(report.seeded, None);
    for table in &report.created_tables {
        assert!(!CONSOLES_TABLES.contains(&table.as_str()), "{table} is reported as created");
    }
    assert_eq!(report.created_tables.len(), 62 - CONSOLES_TABLES.len());
}

/// What is Console's: columns, constraints, indexes and rows of every table, as they are.
pub(crate) async fn consoles(database: &Database) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for table in CONSOLES_TABLES.into_iter().chain(["customers"]) {
        let mut facts = columns(database, table).await;
        for query in [
            "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '{}'::regclass",
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{}'::regclass",
        ] {
            let mut more = database.texts(&query.replace("{}", table)).await;
            more.sort();
            facts.extend(more);
        }
        facts.extend(database.rows(table).await);
        found.push((table.to_owned(), facts));
    }
    found
}

/// Without a seed, Console's tables get triggers and nothing else.
#[tokio::test]
async fn nothing_of_consoles_is_changed_on_postgres() {
    let database = consoles_database().await;
    let before = consoles(&database).await;
    let report = database.store.migrate().await.unwrap();
    assert!(!report.triggers.is_empty());
    assert_eq!(consoles(&database).await, before);
}

#[tokio::test]
async fn the_seed_joins_consoles_rows_by_name_on_postgres() {
    let database = consoles_database().await;
    database.store.migrate_seeded().await.unwrap();

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

/// What Console's schema lacks is named, all of it at once, before anything is changed.
#[tokio::test]
async fn a_schema_that_lacks_columns_is_refused_until_it_has_them_on_postgres() {
    let database = consoles_database().await;
    let lacking = [
        ("admins", "disabled_at_utc"),
        ("admin_sessions", "revoked_at_utc"),
        ("admin_sessions", "expires_at_utc"),
        ("rbac_roles", "name"),
    ];
    for (table, column) in lacking {
        database.execute(&format!("ALTER TABLE {table} DROP COLUMN {column}")).await;
    }
    database
        .execute(
            "ALTER TABLE rbac_role_permissions DROP CONSTRAINT rbac_role_permissions_permission_id_fkey;
             ALTER TABLE rbac_permissions ALTER id TYPE bytea USING id::bytea",
        )
        .await;
    let before = consoles(&database).await;

    match database.store.migrate().await {
        Err(StoreError::Schema(message)) => {
            assert!(
                message.starts_with("5 problems prevent the migration; nothing was changed:"),
                "{message}"
            );
            for (table, column) in lacking {
                let said = format!("`public.{table}` lacks the column `{column}`");
                assert!(message.contains(&said), "no {said} in {message}");
            }
            assert!(message.contains("`public.rbac_permissions.id` has the type `bytea`"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(consoles(&database).await, before);
    assert!(!database.tables().await.contains(&"gate_epoch".to_owned()), "it went on regardless");
    assert_eq!(database.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0);

    for (table, column) in lacking {
        let kind = if column == "name" { "TEXT" } else { "TIMESTAMPTZ" };
        database.execute(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}")).await;
    }
    database.execute("ALTER TABLE rbac_permissions ALTER id TYPE text USING encode(id, 'hex')").await;
    database.store.migrate().await.unwrap();
    assert_eq!(database.store.pending_migrations().await.unwrap(), Vec::<String>::new());
}

/// Where nobody has said what Console's tables are, nothing is made up.
#[tokio::test]
async fn a_database_without_admins_needs_a_word_about_them() {
    for database in [Database::empty_postgres().await, Database::empty_sqlite().await] {
        match database.store.migrate().await {
            Err(StoreError::Schema(message)) => {
                for words in ["no table `admins`", "[console]", "--seed rbac-v2", "Nothing was changed"] {
                    assert!(message.contains(words), "no `{words}` in {message}");
                }
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(database.tables().await, Vec::<String>::new());
    }
}

/// The same tables with ids of another type, before the gate came.
async fn consoles_with_ids(kind: &str) -> Database {
    let database = Database::empty_postgres().await;
    database
        .execute(&format!(
            "CREATE SCHEMA app;
             CREATE TABLE app.rbac_groups (id {kind} PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE app.rbac_roles (id {kind} PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE app.rbac_permissions (id {kind} PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE app.rbac_role_permissions (role_id {kind} REFERENCES app.rbac_roles, permission_id {kind});
             CREATE TABLE app.rbac_role_inheritance (child_role_id {kind}, parent_role_id {kind});
             CREATE TABLE app.rbac_group_roles (group_id {kind}, role_id {kind});
             CREATE TABLE app.rbac_user_groups (user_id {kind}, group_id {kind})"
        ))
        .await;
    // Another connection looks through every schema, as a gate that starts does.
    Database::open(&database.url).await
}

/// Ids of any type are taken, in whatever schema: the triggers work, and the seed finds its rows by their names.
#[tokio::test]
async fn ids_of_every_type_are_adopted_on_postgres() {
    for kind in ["uuid", "uuid DEFAULT gen_random_uuid()", "integer", "bigint GENERATED ALWAYS AS IDENTITY"] {
        let database = consoles_with_ids(kind.split(' ').next().unwrap()).await;
        if kind.contains(' ') {
            for table in ["rbac_groups", "rbac_roles", "rbac_permissions"] {
                let (_, rest) = kind.split_once(' ').unwrap();
                let change = if rest.starts_with("DEFAULT") { "SET" } else { "ADD" };
                database.execute(&format!("ALTER TABLE {table} ALTER id {change} {rest}")).await;
            }
        }
        let report = database.store.migrate_seeded().await.unwrap();
        assert!(report.adopted_tables.contains(&"app.rbac_groups".to_owned()), "{kind}: {report:?}");
        assert_eq!(seed::stored(&database).await, seed::documented(), "{kind}");
        let before = database.epoch().await;
        database.execute("DELETE FROM rbac_user_groups WHERE false").await;
        assert!(database.epoch().await > before, "{kind}");
        let cycle = "INSERT INTO rbac_role_inheritance
                     SELECT parent_role_id, child_role_id FROM rbac_role_inheritance LIMIT 1";
        assert!(database.attempt(cycle).await.unwrap_err().contains("form a cycle"), "{kind}");
        database
            .execute(
                "INSERT INTO gate_machine_tokens (id, name, token_sha256, created_by) VALUES ('t', 't', repeat('0', 64), 'x');
                 INSERT INTO gate_machine_token_groups (token_id, group_id, granted_by)
                 SELECT 't', id::text, 'x' FROM rbac_groups;
                 DELETE FROM rbac_groups WHERE name = 'ops-admins'",
            )
            .await;
        assert_eq!(database.number("SELECT count(*) FROM gate_machine_token_groups").await, 7, "{kind}");
    }
}

/// Two tables of one name are ambiguous: both are named, and nothing is changed.
#[tokio::test]
async fn two_sets_of_the_same_names_are_refused_on_postgres() {
    let database = consoles_database().await;
    database.execute("CREATE SCHEMA other; CREATE TABLE other.rbac_groups (id TEXT, name TEXT)").await;
    let again = store::open(&options(&database.url, PATIENCE)).await.unwrap();
    for outcome in [again.migrate().await.map(drop), again.control().await.map(drop)] {
        match outcome {
            Err(StoreError::Schema(message)) => {
                for words in ["`other.rbac_groups`", "`public.rbac_groups`", "database.console_schema"] {
                    assert!(message.contains(words), "no `{words}` in {message}");
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let placement = Placement { console_schema: Some("public".into()), ..Placement::default() };
    let placed = store::open_at(&options(&database.url, PATIENCE), placement).await.unwrap();
    let report = placed.migrate().await.unwrap();
    assert!(report.adopted_tables.contains(&"public.rbac_groups".to_owned()), "{report:?}");
}
