//! Bringing an empty database up to date, and saying what was done.

use store::StoreError;
use store::schema::migrations::Seed;

use crate::database::{Database, repository};

/// Console's own tables (the RBAC V2 design, section 3.1 and 3.2, and the admins), then the gate's.
const TABLES: [&str; 63] = [
    "admin_roles",
    "admin_sessions",
    "admins",
    "console_flag_promotions",
    "customer_audit_events",
    "gate_access_requests",
    "gate_access_review_items",
    "gate_access_reviews",
    "gate_access_votes",
    "gate_alerts",
    "gate_audit_control",
    "gate_audit_events",
    "gate_audit_keys",
    "gate_audit_outbox",
    "gate_blocked_admins",
    "gate_break_glass_reviews",
    "gate_break_glass_snapshots",
    "gate_change_windows",
    "gate_console_watch",
    "gate_console_watched",
    "gate_decisions",
    "gate_drift_events",
    "gate_drift_signoffs",
    "gate_epoch",
    "gate_erased_actors",
    "gate_evidence_gaps",
    "gate_evidence_marks",
    "gate_flags",
    "gate_grantors",
    "gate_grants",
    "gate_instances",
    "gate_machine_token_groups",
    "gate_machine_token_legacy_roles",
    "gate_machine_tokens",
    "gate_mapping_activations",
    "gate_mapping_pin",
    "gate_mapping_pin_files",
    "gate_mappings",
    "gate_one_time",
    "gate_passkey_invites",
    "gate_passkeys",
    "gate_pending_erasures",
    "gate_rbac_changes",
    "gate_rbac_command",
    "gate_request_keys",
    "gate_running",
    "gate_session_changes",
    "gate_sessions",
    "gate_timed_work",
    "gate_upstream_refusals",
    "gate_webauthn_challenges",
    "rbac_break_glass_sessions",
    "rbac_grants_audit",
    "rbac_group_roles",
    "rbac_groups",
    "rbac_permissions",
    "rbac_role_inheritance",
    "rbac_role_permissions",
    "rbac_roles",
    "rbac_ticket_grants",
    "rbac_ticket_grants_archive",
    "rbac_user_groups",
    "_sqlx_migrations",
];

/// `0400_baseline.sql` as a report names it: `0400 baseline`.
fn files(database: &Database) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(repository(database.migrations()))
        .expect("the migrations are there")
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("an ASCII name"))
        .filter(|name| name.ends_with(".sql"))
        .map(|name| name.trim_end_matches(".sql").replace('_', " "))
        .collect();
    names.sort();
    names
}

async fn an_empty_database_gets_everything(database: &Database) {
    let files = files(database);
    assert_eq!(database.store.pending_migrations().await.unwrap(), files);
    assert_eq!(database.tables().await, Vec::<String>::new(), "asking must not change anything");

    let report = database.store.migrate_seeded().await.unwrap();

    assert_eq!(report.applied, files);
    assert_eq!(report.already_applied, 0);
    assert_eq!(report.seeded, Some(Seed::RbacV2));
    assert_eq!(report.created_tables, TABLES[..TABLES.len() - 1]);
    assert_eq!(report.adopted_tables, Vec::<String>::new());
    assert_eq!(database.store.pending_migrations().await.unwrap(), Vec::<String>::new());
    let mut tables = database.tables().await;
    tables.sort_by_key(|table| (table.starts_with('_'), table.clone()));
    assert_eq!(tables, TABLES);
}

async fn a_second_run_changes_nothing_and_says_so(database: &Database) {
    let before = database.everything().await;

    let report = database.store.migrate().await.unwrap();

    assert_eq!(report.applied, Vec::<String>::new());
    assert_eq!(report.already_applied, files(database).len());
    assert_eq!(report.created_tables, Vec::<String>::new());
    assert_eq!(report.adopted_tables, Vec::<String>::new());
    assert_eq!(database.everything().await, before);
}

/// What an operator has taken out of the seed stays out.
async fn a_second_run_brings_no_removed_edge_back(database: &Database) {
    database.execute("DELETE FROM rbac_group_roles").await;
    database.store.migrate().await.unwrap();
    assert!(database.store.catalog().await.unwrap().group_roles.is_empty());
}

async fn an_applied_file_that_was_edited_is_refused(database: &Database) {
    let other = if database.is_postgres() { r"'\x00'" } else { "x'00'" };
    database.execute(&format!("UPDATE _sqlx_migrations SET checksum = {other} WHERE version = 400")).await;
    let before = database.everything().await;

    match database.store.migrate().await {
        Err(StoreError::Schema(message)) => {
            assert_eq!(message, "migration 0400 was applied from a file with other contents");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(database.everything().await, before);
}

async fn a_schema_from_a_newer_gate_is_refused(database: &Database) {
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 9000, 'from the future', success, checksum, 1 FROM _sqlx_migrations WHERE version = 400",
        )
        .await;
    let before = database.everything().await;

    match database.store.migrate().await {
        Err(StoreError::Schema(message)) => assert!(
            message.starts_with("a newer release migrated it") && message.contains("9000 from the future"),
            "{message}"
        ),
        other => panic!("{other:?}"),
    }
    let state = database.store.schema_state().await.unwrap();
    assert!(!state.may_serve(), "it does not say that this release may");
    let [unknown] = state.unknown.as_slice() else { panic!("{state:?}") };
    assert_eq!((&*unknown.label, unknown.serves), ("9000 from the future", None));
    let year = chrono::Utc::now().format("%Y-").to_string();
    assert!(
        unknown.applied.as_ref().is_some_and(|at| at.len() == 16 && at.starts_with(&year)),
        "{unknown:?}"
    );
    assert_eq!((state.pending, state.is_new), (vec![], false));
    assert_eq!(database.everything().await, before);
}

/// As after an older gate: only what is missing is applied, and only that is reported.
async fn only_what_is_missing_is_applied(database: &Database) {
    database.execute("DELETE FROM _sqlx_migrations WHERE version > 400").await;
    let missing = files(database).split_off(1);
    assert_eq!(database.store.pending_migrations().await.unwrap(), missing);

    let report = database.store.migrate().await.unwrap();

    assert_eq!(report.applied, missing);
    assert_eq!(report.already_applied, 1);
    assert_eq!(report.created_tables, Vec::<String>::new());
    assert_eq!(report.adopted_tables, Vec::<String>::new(), "the tables are the gate's own by now");
}

/// No file leads from the schemas of builds before the first release, so nothing is tried.
async fn a_schema_from_before_the_first_release_is_refused(database: &Database) {
    database
        .execute("UPDATE _sqlx_migrations SET version = 200, description = 'baseline' WHERE version = 400")
        .await;
    let before = database.everything().await;
    match database.store.migrate().await {
        Err(StoreError::Schema(message)) => {
            assert!(
                message.starts_with("a build before the first release migrated it (0200 baseline)"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(database.everything().await, before);
}

/// All succeed, and among them each file is applied, and reported, exactly once.
async fn several_gates_migrate_at_once(database: &Database) {
    let mut gates = Vec::new();
    for _ in 0..4 {
        gates.push(Database::open(&database.url).await);
    }
    let runs = gates.iter().map(|gate| gate.store.migrate_seeded());
    let reports: Vec<_> =
        futures::future::join_all(runs).await.into_iter().collect::<Result<_, _>>().unwrap();

    let files = files(database);
    let mut applied: Vec<String> = reports.iter().flat_map(|report| report.applied.clone()).collect();
    applied.sort();
    assert_eq!(applied, files);
    for report in reports {
        assert_eq!(report.applied.len() + report.already_applied, files.len());
    }
    // Once, by the triggers on Console's tables.
    assert_eq!(database.epoch().await, 2, "a seed that was written twice would have raised it");
}

on_both!(
    a_second_run_changes_nothing_and_says_so,
    a_second_run_brings_no_removed_edge_back,
    an_applied_file_that_was_edited_is_refused,
    a_schema_from_a_newer_gate_is_refused,
    a_schema_from_before_the_first_release_is_refused,
    only_what_is_missing_is_applied,
);
on_both!(
    from empty_sqlite, empty_postgres:
    an_empty_database_gets_everything,
    several_gates_migrate_at_once,
);
