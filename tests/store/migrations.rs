//! Bringing an empty database up to date, and saying what was done.

use store::StoreError;
use store::decisions::DecisionRecord;
use store::evidence::EvidenceKind::{Decisions, Drift};
use store::schema::migrations::Seed;

use crate::database::{Database, literal, noon, repository};
use crate::decisions::decision;
use crate::drift::{BOUND, disagreement};
use crate::evidence::mark;

/// Console's own tables (the RBAC V2 design, section 3.1 and 3.2, and the admins), then the gate's.
const TABLES: [&str; 61] = [
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
    "gate_passkey_invites",
    "gate_passkeys",
    "gate_pending_erasures",
    "gate_rbac_changes",
    "gate_rbac_command",
    "gate_request_keys",
    "gate_running",
    "gate_session_changes",
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

/// `0012_rbac_core.sql` as a report names it: `0012 rbac core`.
fn all_files(database: &Database) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(repository(database.migrations()))
        .expect("the migrations are there")
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("an ASCII name"))
        .filter(|name| name.ends_with(".sql"))
        .map(|name| name.trim_end_matches(".sql").replace('_', " "))
        .collect();
    names.sort();
    names
}

/// The files of a new database: the baseline, and what came after it.
fn files(database: &Database) -> Vec<String> {
    let later = all_files(database).into_iter().filter(|name| **name > *"0201");
    std::iter::once("0200 baseline".to_owned()).chain(later).collect()
}

/// The files since the release before the gate's tables had a place of their own.
fn since(database: &Database) -> Vec<String> {
    all_files(database).into_iter().filter(|name| **name > *"0200").collect()
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
    database.execute(&format!("UPDATE _sqlx_migrations SET checksum = {other} WHERE version = 200")).await;
    let before = database.everything().await;

    match database.store.migrate().await {
        Err(StoreError::Schema(message)) => {
            assert_eq!(message, "migration 0200 was applied from a file with other contents");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(database.everything().await, before);
}

async fn a_schema_from_a_newer_gate_is_refused(database: &Database) {
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 9000, 'from the future', success, checksum, 1 FROM _sqlx_migrations WHERE version = 200",
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
    database.execute("DROP TABLE gate_drift_events; DELETE FROM _sqlx_migrations WHERE version = 103").await;
    let missing = [vec!["0103 gate drift".to_owned()], since(database)].concat();
    assert_eq!(database.store.pending_migrations().await.unwrap(), missing);

    let report = database.store.migrate().await.unwrap();

    assert_eq!(report.applied, missing);
    assert_eq!(report.already_applied, all_files(database).len() - missing.len());
    assert!(report.created_tables.contains(&"gate_drift_events".to_owned()), "{report:?}");
    assert!(!report.created_tables.contains(&"gate_decisions".to_owned()), "{report:?}");
    assert_eq!(report.adopted_tables, Vec::<String>::new(), "the tables are the gate's own by now");
}

/// Evidence from before rows were known by a hash stays, and goes on counting.
async fn evidence_from_before_has_a_key_of_its_own(database: &Database) {
    let before = |file: &str| {
        std::fs::read_to_string(repository(database.migrations()).join(file)).expect("a migration")
    };
    database.execute("DROP TABLE gate_decisions; DROP TABLE gate_drift_events").await;
    database.execute("DELETE FROM _sqlx_migrations WHERE version = 115").await;
    for file in ["0103_gate_drift.sql", "0113_gate_decisions.sql"] {
        database.execute(&before(file)).await;
    }
    let hour = literal(DecisionRecord::hour_of(noon()));
    for path in ["/x/1", "/x/2"] {
        database
            .execute(&format!(
                "INSERT INTO gate_decisions (hour_utc, method, path, route, cluster, gate, actor_kind, actor_id, answer,
                                             mapping_sha256, count, last_seen_at_utc)
                 VALUES ({hour}, 'GET', '{path}', 'GET /x/<id>', 'S1', 'shadow', 'admin', 'anna', 'allow', 'm', 2,
                         {hour});
                 INSERT INTO gate_drift_events (id, cluster, route, method, actor_kind, actor_id, direction,
                                                legacy_answer, v2_answer, reason, mapping_sha256)
                 VALUES ('{path}', 'S2', '{path}', 'GET', 'admin', 'anna', 'would_newly_deny', 'allow', 'deny', 'r', 'm')"
            ))
            .await;
    }
    let applied = database.store.migrate().await.unwrap().applied;
    assert_eq!(applied, [vec!["0115 gate evidence keys".to_owned()], since(database)].concat());
    database.store.log_decisions(&[decision("/x/1", noon(), 3)], &mark(Decisions)).await.unwrap();
    database.store.record_drift(&[disagreement("/x/1", 1)], BOUND, &mark(Drift)).await.unwrap();
    let decisions = database.store.decisions(DecisionRecord::hour_of(noon())).await.unwrap();
    let counts: Vec<_> = decisions.iter().map(|row| (row.path.as_str(), row.count)).collect();
    assert_eq!(counts, [("/x/1", 5), ("/x/2", 2)]);
    assert_eq!(database.store.drift().await.unwrap().len(), 3);
    database
        .execute("INSERT INTO admins (id, email) VALUES ('anna', 'a@example.org'); DELETE FROM admins")
        .await;
    assert_eq!(database.number("SELECT count(*) FROM gate_decisions").await, 0);
    assert_eq!(database.number("SELECT count(*) FROM gate_drift_events").await, 0);
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
);
on_both!(
    from empty_sqlite, empty_postgres:
    an_empty_database_gets_everything,
    several_gates_migrate_at_once,
);
on_both!(
    from earlier_sqlite, earlier_postgres:
    evidence_from_before_has_a_key_of_its_own,
    only_what_is_missing_is_applied,
);
