//! A database of a shop that never heard of the documents: what a stranger's DBA can trust a migration to do, and not to.

use std::collections::BTreeSet;

use store::schema::migrations::{MigrationTerms, Order, RolesChange, Seed};
use store::schema::privileges;
use store::schema::rights;
use store::{Placement, StoreError};

use crate::adoption::{CONSOLES_TABLES, consoles, consoles_database};
use crate::database::{Database, PATIENCE, options, repository};

fn seeded() -> Order {
    Order { seed: Some(Seed::RbacV2), ..Order::default() }
}

/// Everything of Console's that a migration could have touched: tables, rows, triggers, functions, schemas.
async fn snapshot(database: &Database) -> Vec<(String, Vec<String>)> {
    let mut found = consoles(database).await;
    for (name, query) in [
        ("triggers", "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"),
        (
            "functions",
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.proname <> 'fails' ORDER BY 1",
        ),
        (
            "tables",
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1",
        ),
        ("schemas", "SELECT nspname::text FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1"),
    ] {
        found.push((name.to_owned(), database.texts(query).await));
    }
    found
}

/// Whatever a migration is about to do, from its first statement to its last: where that fails, nothing has happened.
#[tokio::test]
async fn a_migration_that_fails_anywhere_leaves_consoles_as_it_was_on_postgres() {
    let tags = ["CREATE SCHEMA", "CREATE TABLE", "CREATE INDEX", "CREATE FUNCTION", "CREATE TRIGGER"];
    let mut refused = BTreeSet::new();
    for tag in tags {
        // Each in turn is refused: the first of its kind, the third, and so on to where there is no such statement.
        for number in [1, 3, 8, 15, 21, 30, 60] {
            let database = consoles_database().await;
            database
                .execute(&format!(
                    "CREATE SEQUENCE public.seen;
                     CREATE FUNCTION public.fails() RETURNS event_trigger LANGUAGE plpgsql AS
                         $$ BEGIN IF nextval('public.seen') = {number} THEN RAISE EXCEPTION 'no more of it'; END IF; END $$;
                     CREATE EVENT TRIGGER fails ON ddl_command_end WHEN TAG IN ('{tag}') EXECUTE FUNCTION public.fails()"
                ))
                .await;
            let before = snapshot(&database).await;
            match database.store.migrate_watched(seeded(), &|_| {}).await {
                Ok(_) => break,
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains("failed") && message.contains("no more of it"), "{message}");
                    refused.insert(tag);
                }
            }
            assert_eq!(snapshot(&database).await, before, "{tag} {number}");
            // And nothing is in the way of another try.
            database.execute("DROP EVENT TRIGGER fails").await;
            database.store.migrate_watched(seeded(), &|_| {}).await.unwrap();
        }
    }
    assert_eq!(refused, BTreeSet::from(tags));
}

/// Rows that the seed writes are undone too, where a later step fails.
#[tokio::test]
async fn a_seed_does_not_stay_without_what_comes_after_it_on_postgres() {
    let database = consoles_database().await;
    database.execute("DROP TABLE admin_sessions; CREATE TABLE admin_sessions (id TEXT, admin_id TEXT,
        expires_at_utc TIMESTAMPTZ, revoked_at_utc TIMESTAMPTZ); CREATE FUNCTION public.fails() RETURNS event_trigger
        LANGUAGE plpgsql AS $$ BEGIN
            IF current_query() LIKE '%console_gate_on_insert %' THEN RAISE EXCEPTION 'not on this table'; END IF;
        END $$;
        CREATE EVENT TRIGGER fails ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION public.fails()").await;
    let before = snapshot(&database).await;
    let error = database.store.migrate_seeded().await.unwrap_err().to_string();
    assert!(error.contains("the triggers on Console's tables failed: "), "{error}");
    assert!(error.contains("not on this table"), "{error}");
    assert_eq!(snapshot(&database).await, before);
}

/// A plan names every statement and everybody who would gain something, and changes nothing.
#[tokio::test]
async fn a_plan_says_who_would_gain_what_on_postgres() {
    let database = consoles_database().await;
    let before = snapshot(&database).await;
    let plain = database.store.plan(Order::default()).await.unwrap();
    assert_eq!(plain.changes, []);
    assert_eq!(plain.adopted_tables.len(), CONSOLES_TABLES.len());
    let names: Vec<&str> = plain.statements.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(names[..2], ["the schema `console_gate`", "the ledger of migrations"]);
    assert!(names.contains(&"migration 0400 baseline"), "{names:?}");
    assert!(names.contains(&"the trigger gate_epoch_on_write on public.rbac_user_groups"), "{names:?}");
    let texts: Vec<&str> = plain.statements.iter().map(|(_, text)| text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("AFTER DELETE ON public.admins")), "{texts:#?}");
    assert!(!names.iter().any(|name| name.contains("seed")), "{names:?}");

    let seeded_plan = database.store.plan(seeded()).await.unwrap();
    let anna = RolesChange {
        member: "7d1c0001-0000-4000-8000-000000000001".into(),
        gained: ["console-audit-user", "console-env-admin", "console-flag-admin"].map(str::to_owned).into(),
        lost: Vec::new(),
    };
    assert_eq!(seeded_plan.changes, [anna]);
    assert_eq!(snapshot(&database).await, before);
    // What it said is what happens.
    let report = database.store.migrate_watched(seeded(), &|_| {}).await.unwrap();
    for trigger in &report.triggers {
        let (name, table) = trigger.split_once(" on ").unwrap();
        let is_said = seeded_plan.statements.iter().any(|(what, text)| {
            *what == format!("the trigger {trigger}") || text.contains(name) && text.contains(table)
        });
        assert!(is_said, "{trigger}");
    }
    assert_eq!(database.store.plan(Order::default()).await.unwrap().statements, []);
}

/// A plan waits for no lock on Console's tables, and no writer of Console's waits for it.
#[tokio::test]
async fn a_plan_takes_no_lock_on_consoles_tables_on_postgres() {
    let database = consoles_database().await;
    let other = Database::open(&database.url).await;
    let crate::database::Raw::Postgres(pool) = &other.raw else { panic!("not Postgres") };
    let mut writer = pool.begin().await.unwrap();
    sqlx::query("UPDATE admins SET email = 'a@example.com' WHERE email = 'anna@example.org'")
        .execute(&mut *writer)
        .await
        .unwrap();
    let terms = MigrationTerms { patience: std::time::Duration::ZERO, ..MigrationTerms::default() };
    let plan = database.store.plan(Order { terms, seed: None }).await.unwrap();
    assert!(!plan.statements.is_empty());
    writer.rollback().await.unwrap();
}

async fn a_plan_changes_nothing(database: &Database) {
    let before = database.everything().await;
    let plan = database.store.plan(seeded()).await.unwrap();
    assert!(plan.statements.iter().all(|(what, _)| what == "the seed `rbac-v2`"), "{:?}", plan.statements);
    assert_eq!(database.everything().await, before);
}

#[tokio::test]
async fn a_plan_of_a_sqlite_file_says_who_would_gain_what() {
    let database = Database::empty_sqlite().await;
    database
        .execute(
            "CREATE TABLE rbac_groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE rbac_user_groups (user_id INTEGER, group_id INTEGER);
             CREATE TABLE rbac_group_roles (group_id INTEGER, role_id INTEGER);
             CREATE TABLE rbac_roles (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE rbac_role_inheritance (child_role_id INTEGER, parent_role_id INTEGER);
             CREATE TABLE rbac_permissions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE rbac_role_permissions (role_id INTEGER, permission_id INTEGER);
             INSERT INTO rbac_groups VALUES (7, 'raxx-support-team');
             INSERT INTO rbac_user_groups VALUES (3, 7)",
        )
        .await;
    let plan = database.store.plan(seeded()).await.unwrap();
    let gained: Vec<(&str, usize)> =
        plan.changes.iter().map(|change| (change.member.as_str(), change.gained.len())).collect();
    assert_eq!(gained, [("3", 4)]);
    assert!(!database.tables().await.contains(&"gate_epoch".to_owned()));
    database.store.migrate_seeded().await.unwrap();
    assert_eq!(crate::seed::stored(&database).await, crate::seed::documented());
}

/// `migrate --release`: Console writes as if there were no gate, and `migrate` puts everything back.
#[tokio::test]
async fn a_release_takes_the_triggers_off_consoles_tables_on_postgres() {
    let database = consoles_database().await;
    let before = consoles(&database).await;
    database.store.migrate().await.unwrap();
    let epoch = database.epoch().await;
    let released = database.store.release(MigrationTerms::default(), &|_| {}).await.unwrap();
    assert!(released.contains(&"console_gate_forget_admin on public.admins".to_owned()), "{released:?}");
    assert!(released.contains(&"gate_epoch_on_write on public.rbac_user_groups".to_owned()), "{released:?}");
    let left = "SELECT tgname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                 WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace";
    assert_eq!(database.texts(left).await, Vec::<String>::new());
    assert_eq!(consoles(&database).await, before);
    // What was cached counts no more; and nothing of Console's reaches the gate's tables.
    let after = database.epoch().await;
    assert!(after > epoch);
    database.execute("REVOKE ALL ON SCHEMA console_gate FROM PUBLIC; DELETE FROM rbac_user_groups").await;
    assert_eq!(database.epoch().await, after);
    let report = database.store.migrate().await.unwrap();
    assert_eq!(report.triggers.len(), released.len(), "{report:?}");
    database.execute("DELETE FROM rbac_user_groups").await;
    assert!(database.epoch().await > after);
}

async fn a_release_is_undone_by_migrate(database: &Database) {
    let released = database.store.release(MigrationTerms::default(), &|_| {}).await.unwrap();
    assert!(released.iter().any(|trigger| trigger.ends_with("admin_sessions")), "{released:?}");
    let epoch = database.epoch().await;
    database
        .execute("INSERT INTO admins (id, email) VALUES ('x', 'x@example.org'); DELETE FROM admins")
        .await;
    assert_eq!(database.epoch().await, epoch);
    let report = database.store.migrate().await.unwrap();
    assert!(!report.triggers.is_empty() && report.applied.is_empty(), "{report:?}");
    database
        .execute("DELETE FROM admins; INSERT INTO admins (id, email) VALUES ('x', 'x@example.org')")
        .await;
    assert!(database.epoch().await > epoch);
}

/// Tables outside the first schema of the search path are found; none is made a second time.
#[tokio::test]
async fn tables_in_another_schema_are_found_on_postgres() {
    let database = consoles_database().await;
    database.execute("CREATE SCHEMA app").await;
    for table in CONSOLES_TABLES {
        database.execute(&format!("ALTER TABLE public.{table} SET SCHEMA app")).await;
    }
    let again = Database::open(&database.url).await;
    let report = again.store.migrate().await.unwrap();
    assert_eq!(report.adopted_tables, CONSOLES_TABLES.map(|table| format!("app.{table}")));
    let everybody = again.store.admins().await;
    assert!(everybody.is_err() || everybody.unwrap().len() == 2);
    assert_eq!(again.number("SELECT count(*) FROM admins").await, 2);
    let made =
        "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'console_gate') AND tablename IN
                ('admins', 'rbac_groups')";
    assert_eq!(again.number(made).await, 0);
}

/// Another gate's tables in the same database are not Console's, and not this one's.
#[tokio::test]
async fn two_gates_of_one_database_have_schemas_of_their_own_on_postgres() {
    let database = Database::postgres().await;
    let schema = store::schema::placement::SchemaName::parse("staging_gate").unwrap();
    let placement = Placement { schema, ..Placement::default() };
    let second = store::open_at(&options(&database.url, PATIENCE), placement).await.unwrap();
    let report = second.migrate().await.unwrap();
    assert_eq!(report.adopted_tables, ["public.admin_roles", "public.admin_sessions", "public.admins"]);
    assert!(report.created_tables.contains(&"rbac_groups".to_owned()), "{report:?}");
    assert!(second.catalog().await.unwrap().groups.is_empty(), "the other gate's groups are not this one's");
    assert_eq!(database.store.catalog().await.unwrap().groups.len(), 8);
    second.control().await.unwrap();
}

/// Another program's ledger of the same name is none of a gate's.
#[tokio::test]
async fn another_programs_ledger_is_left_alone_on_postgres() {
    let database = consoles_database().await;
    let theirs = "CREATE TABLE public._sqlx_migrations (version BIGINT, description TEXT, checksum BYTEA);
                  INSERT INTO public._sqlx_migrations VALUES (1, 'orders', ''), (900, 'invoices', '')";
    database.execute(theirs).await;
    database.store.migrate().await.unwrap();
    assert_eq!(database.rows("public._sqlx_migrations").await.len(), 2);
    assert!(database.store.pending_migrations().await.unwrap().is_empty());
}

/// With `[console]`, no table of the documents is asked for, made or watched.
#[tokio::test]
async fn where_console_is_given_nothing_of_the_documents_is_made() {
    for url in [Database::empty_postgres().await.url, sqlite_url()] {
        let placement = Placement { console_is_given: true, ..Placement::default() };
        let store = store::open_at(&options(&url, PATIENCE), placement).await.unwrap();
        let report = store.migrate().await.unwrap();
        assert!(!report.created_tables.contains(&"admins".to_owned()), "{report:?}");
        assert!(report.created_tables.contains(&"rbac_user_groups".to_owned()), "{report:?}");
        let catalog = store.catalog().await.unwrap();
        assert!(catalog.groups.is_empty() && catalog.roles.is_empty() && catalog.permissions.is_empty());
    }
}

fn sqlite_url() -> String {
    let folder = tempfile::tempdir().unwrap().keep();
    format!("sqlite:{}", folder.join("gate.sqlite").display())
}

/// The shipped file of grants is what `migrate --grant-to` grants.
#[test]
fn the_shipped_grants_are_the_ones_that_are_needed() {
    let path = repository("deploy/postgres/grants.sql");
    if std::env::var_os("WRITE_GRANTS").is_some() {
        std::fs::write(&path, rights::file()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), rights::file(), "WRITE_GRANTS=1 writes it anew");
}

/// Every table of the gate's is in the list of what a role that serves and runs commands needs.
#[tokio::test]
async fn every_table_is_granted_on_postgres() {
    let database = Database::postgres().await;
    let granted: BTreeSet<&str> = privileges::NEEDED.iter().map(|(table, _)| *table).collect();
    for table in database.tables().await {
        assert!(granted.contains(table.as_str()), "{table}");
    }
}

/// A role that lacks everything gets all of it at once, with the statements that grant it.
#[tokio::test]
async fn all_missing_rights_are_one_message_on_postgres() {
    let database = Database::postgres().await;
    let create = "DO $$ BEGIN CREATE ROLE gate_poor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$";
    database.execute(create).await;
    let url = database.url.replace("postgres://postgres@", "postgres://gate_poor@");
    let poor = store::open(&options(&url, PATIENCE)).await.unwrap();
    let (missing, role) = poor.missing_rights().await.unwrap();
    let message = rights::message(&missing, &role);
    for words in [
        "USAGE on the schema console_gate",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON \"console_gate\".\"gate_instances\" TO \"gate_poor\"",
        "migrate --grant-to gate_poor",
        "gate_mapping_pin",
        "gate_erase_customer_traces",
    ] {
        assert!(message.contains(words), "no `{words}` in {message}");
    }
    // Each statement of the message gives what it says.
    for right in &missing {
        database.execute(&right.grant).await;
    }
    assert_eq!(poor.missing_rights().await.unwrap().0, []);
    database.execute("REVOKE UPDATE (path) ON gate_audit_events FROM gate_poor").await;
    let (missing, _) = poor.missing_rights().await.unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].what, "UPDATE (path) on console_gate.gate_audit_events");
    database.execute("DROP OWNED BY gate_poor").await;
}

#[tokio::test]
async fn rights_are_granted_to_a_role_that_exists_on_postgres() {
    let database = Database::postgres().await;
    match database.store.grant_to("gate_nobody_at_all").await {
        Err(StoreError::Conflict(message)) => assert!(message.contains("CREATE ROLE"), "{message}"),
        other => panic!("{other:?}"),
    }
}

on_both!(a_plan_changes_nothing, a_release_is_undone_by_migrate);
