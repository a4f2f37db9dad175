//! The cause of a database's error is reported: a missing table, column or right, another type, a server that only
//! reads. Only what the statement itself is to blame for is final; for anything else rows wait until it is repaired.

use std::time::Duration;

use ledger::AuditRecord;
use policy::identity::Subject;
use policy::ids::{AdminId, MappingSha256, PinId};
use store::mappings::NewPin;
use store::schema::privileges::{NEEDED, NEEDED_FUNCTIONS};
use store::{SharedStore, StoreError};

use crate::audit::{denial, entry, notary, note};
use crate::database::{Database, noon, options};
use crate::postgres::Postgres;
use crate::tokens::token;

const LIMIT: Duration = Duration::from_secs(30);

async fn open(url: &str) -> SharedStore {
    store::open(&options(url, LIMIT)).await.expect("a database URL")
}

/// Fails unless the error is of that kind, says all these words, and may pass.
fn assert_says(case: &str, outcome: Result<(), StoreError>, kind: &str, words: &[&str]) {
    let error = outcome.expect_err(case);
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{case}: {message}");
    assert!(!error.is_final(), "{case}: {message}");
    for word in words {
        assert!(message.contains(word), "{case}: no `{word}` in {message}");
    }
}

async fn a_missing_table_or_column_is_named(database: &Database) {
    database.execute("ALTER TABLE gate_audit_events RENAME TO away").await;
    let store = open(&database.url).await;
    assert_says("append", store.append(&[entry(1)]).await, "schema", &["gate_audit_events"]);
    assert_says(
        "replay",
        store.append_missing(&[entry(1)]).await.map(drop),
        "schema",
        &["gate_audit_events"],
    );
    for (harm, name) in [
        ("ALTER TABLE gate_flags RENAME COLUMN enabled TO away", "enabled"),
        ("ALTER TABLE gate_flags RENAME TO away_too", "gate_flags"),
    ] {
        database.execute(harm).await;
        let outcome = open(&database.url).await.control().await.map(drop);
        assert_says(harm, outcome, "schema", &[name, "console-gate migrate"]);
    }
}

#[tokio::test]
async fn another_type_is_named_on_postgres() {
    let database = Database::postgres().await;
    let harm = "ALTER TABLE gate_mappings DISABLE TRIGGER USER;
                ALTER TABLE gate_mappings ALTER content TYPE bytea USING convert_to(content, 'UTF8');
                INSERT INTO gate_mappings (sha256, content) VALUES (repeat('0', 64), 'x');
                ALTER TABLE gate_flags ALTER changed_at_utc DROP DEFAULT,
                    ALTER changed_at_utc TYPE boolean USING true";
    database.execute(harm).await;
    let read = database.store.mapping_text(&MappingSha256::new("0".repeat(64))).await.map(drop);
    assert_says("read", read, "schema", &["another type", "BYTEA"]);
    let written = database.store.set_rbac_v2(true, "anna", noon(), &note(1)).await;
    assert_says("written", written, "schema", &["changed_at_utc", "boolean"]);
}

/// A role that may log in and nothing else, and the database's URL for it.
async fn stranger(database: &Database, name: &str) -> String {
    let create = format!(
        "DO $$ BEGIN CREATE ROLE {name} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    );
    database.execute(&create).await;
    database.url.replace("postgres://postgres@", &format!("postgres://{name}@"))
}

#[tokio::test]
async fn a_missing_right_is_named_with_its_grant_on_postgres() {
    let database = Database::postgres().await;
    let store = open(&stranger(&database, "gate_stranger").await).await;
    let grant = |table: &str| {
        let rights = NEEDED.iter().find(|(needed, _)| *needed == table).unwrap().1;
        format!("GRANT {rights} ON {table} TO")
    };
    let outside = store.pending_migrations().await.map(drop);
    assert_says("the schema", outside, "privilege", &["GRANT USAGE ON SCHEMA console_gate"]);
    database.execute("GRANT USAGE ON SCHEMA console_gate TO gate_stranger").await;
    let ledger = store.pending_migrations().await.map(drop);
    assert_says("the ledger", ledger, "privilege", &["_sqlx_migrations", &grant("_sqlx_migrations")]);
    let appended = store.append(&[entry(1)]).await;
    assert_says("append", appended, "privilege", &["gate_audit_events", &grant("gate_audit_events")]);
    database.execute("GRANT SELECT ON gate_flags, console_flag_promotions TO gate_stranger").await;
    assert_says("control", store.control().await.map(drop), "privilege", &[&grant("gate_epoch")]);
    let erased = store.traces_of("anna").await.map(drop);
    assert_says("traces", erased, "privilege", &["gate_audit_events"]);
}

/// The rights that messages name are enough to serve and to run commands.
#[tokio::test]
async fn the_rights_that_messages_name_are_enough_on_postgres() {
    let database = Database::postgres().await;
    let store = open(&stranger(&database, "gate_server").await).await;
    let (missing, role) = store.missing_rights().await.unwrap();
    assert_eq!((missing.len(), role.as_str()), (1 + NEEDED.len() + NEEDED_FUNCTIONS.len(), "gate_server"));
    let granting = database.store.grant_to("gate_server").await.unwrap();
    assert_eq!(granting.granted.len(), 2 + NEEDED.len() + NEEDED_FUNCTIONS.len(), "{granting:?}");
    assert!(granting.left.is_empty(), "{granting:?}");
    assert_eq!(store.missing_rights().await.unwrap().0, []);
    database.execute("INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org')").await;
    assert!(store.pending_migrations().await.unwrap().is_empty());
    store.control().await.unwrap();
    store.catalog().await.unwrap();
    store.access(&Subject::Admin { id: AdminId::new("anna"), session: None }, noon()).await.unwrap();
    store.append(&[entry(1)]).await.unwrap();
    assert_eq!(store.append_missing(&[entry(1), entry(2)]).await.unwrap(), 1);
    store.set_rbac_v2(true, "anna", noon(), &note(101)).await.unwrap();
    store.create_token(&token("robot", &["raxx-devops-team"]), &note(102)).await.unwrap();
    assert!(store.revoke_token("robot", noon(), &note(103)).await.unwrap());
    let release = NewPin { id: PinId::new("r"), sha256: None, by: "anna".into(), at: noon() };
    store.set_pin(&release, &[], &note(104)).await.unwrap();
    assert_eq!(store.pin().await.unwrap().sha256, None);
    assert!(store.heads().await.unwrap().len() == 2 && store.control_chain().await.unwrap().end.is_some());
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(store.pending_erasures().await.unwrap(), ["anna"]);
    let rows = store.traces_of("anna").await.unwrap();
    let by_root = AuditRecord { actor_id: Some("root".into()), ..denial(200) };
    store.erase("anna", rows, &notary().note(by_root)).await.unwrap();
    assert!(store.pending_erasures().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_only_reads_is_named_on_postgres() {
    let database = Database::postgres().await;
    let name = database.texts("SELECT current_database()::text").await.remove(0);
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let store = open(&database.url).await;
    store.control().await.expect("it reads");
    assert_says(
        "append",
        store.append(&[entry(1)]).await,
        "read_only",
        &["primary", "default_transaction_read_only"],
    );
}

#[tokio::test]
async fn another_database_or_login_is_named_on_postgres() {
    let url = Postgres::shared().database();
    let absent = open(&url.replace("gate_test_", "gate_absent_")).await;
    assert_says("absent", absent.control().await.map(drop), "unusable", &["gate_absent_", "database.url"]);
    let nobody = open(&url.replace("postgres://postgres@", "postgres://gate_nobody@")).await;
    assert_says(
        "nobody",
        nobody.control().await.map(drop),
        "unusable",
        &["gate_nobody", "role and password"],
    );
    let empty = open(&url).await;
    let state = empty.schema_state().await.unwrap();
    assert!(state.is_new && !state.pending.is_empty());
}

/// The catalog lists every table, so a role without rights does not take a migrated database for an empty one. What it
/// lacks to migrate an empty one is reported at once, before anything is changed.
#[tokio::test]
async fn migrate_says_which_rights_a_role_lacks_on_postgres() {
    let database = Database::postgres().await;
    let store = open(&stranger(&database, "gate_guest").await).await;
    let outcome = store.migrate().await.map(drop);
    assert_says("no right", outcome, "privilege", &["console_gate", "GRANT USAGE"]);
    database
        .execute(
            "GRANT USAGE ON SCHEMA console_gate TO gate_guest;
             GRANT SELECT ON _sqlx_migrations TO gate_guest",
        )
        .await;
    let report = store.migrate().await.expect("where there is nothing to do, no further right is needed");
    assert!(report.applied.is_empty() && report.already_applied > 1, "{report:?}");

    let empty = Database::empty_postgres().await;
    let store = open(&stranger(&empty, "gate_guest").await).await;
    let outcome = store.migrate_seeded().await.map(drop);
    let both = [
        "2 problems prevent the migration",
        "GRANT CREATE ON DATABASE",
        "GRANT USAGE, CREATE ON SCHEMA \"public\"",
    ];
    assert_says("no schema", outcome, "privilege", &both);
    // It may make tables, and Console's are another's.
    empty
        .execute(
            "CREATE SCHEMA console_gate AUTHORIZATION gate_guest; GRANT CREATE ON SCHEMA public TO gate_guest;
             CREATE TABLE public.admins (id TEXT PRIMARY KEY, email TEXT, disabled_at_utc TIMESTAMPTZ)",
        )
        .await;
    let outcome = store.migrate_seeded().await.map(drop);
    let grant = "GRANT REFERENCES ON \"public\".admins TO \"gate_guest\"";
    assert_says("not the owner", outcome, "privilege", &["refer to `public.admins`", grant]);
    assert_eq!(empty.tables().await, ["admins"], "nothing was changed");
}

#[tokio::test]
async fn an_encoding_that_holds_no_names_is_refused_by_migrate_on_postgres() {
    let name = format!("gate_test_{}", uuid::Uuid::now_v7().simple());
    let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    Postgres::shared().execute(&create);
    let url = Postgres::shared().database();
    let (before, rest) = url.split_once("gate_test_").unwrap();
    let after = rest.find('?').map_or("", |place| &rest[place..]);
    let store = open(&format!("{before}{name}{after}")).await;
    assert_says("LATIN1", store.migrate().await.map(drop), "unusable", &["LATIN1", "ENCODING 'UTF8'"]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes");
    std::fs::write(&file, "these are notes, and a database is something else altogether\n".repeat(100))
        .unwrap();
    let url = format!("sqlite:{}", file.display());
    let opened = store::open(&options(&url, LIMIT)).await.map(drop);
    assert_says("notes", opened, "unusable", &["notes", "not a database"]);
}

on_both!(a_missing_table_or_column_is_named);
