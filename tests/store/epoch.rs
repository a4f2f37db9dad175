//! The epoch rises with every write by which access is decided, in the transaction of that write, for every writer.

use std::collections::BTreeSet;

use policy::ids::{AdminId, SessionId};
use policy::rbac::LegacyRole;
use store::evidence::EvidenceKind;

use crate::database::{Database, literal, noon};
use crate::evidence::mark;
use crate::{audit, drift, tokens};

/// For every access table a row, and one statement for each verb.
const WRITES: [(&str, &str, &str); 21] = [
    ("admins", "(id, email) VALUES ('new', 'new@example.org')", "email = 'other@example.org'"),
    ("admin_roles", "(admin_id, role) VALUES ('anna', 'ops')", "role = 'support'"),
    (
        "admin_sessions",
        "(id, admin_id) VALUES ('new', 'anna')",
        "revoked_at_utc = '2026-03-29T12:00:00+00:00'",
    ),
    ("rbac_groups", "(id, name) VALUES ('new', 'new')", "name = 'other'"),
    ("rbac_roles", "(id, name) VALUES ('new', 'new')", "name = 'other'"),
    ("rbac_permissions", "(id, name) VALUES ('new', 'new')", "name = 'other'"),
    ("rbac_role_permissions", "(role_id, permission_id) VALUES ('r2', 'p')", "role_id = 'r3'"),
    ("rbac_role_inheritance", "(child_role_id, parent_role_id) VALUES ('r2', 'r')", "parent_role_id = 'r3'"),
    ("rbac_group_roles", "(group_id, role_id) VALUES ('g', 'r2')", "role_id = 'r3'"),
    ("rbac_user_groups", "(user_id, group_id) VALUES ('anna', 'g')", "group_id = 'g2'"),
    (
        "rbac_ticket_grants",
        "(id, user_id, role_id, ticket_id, customer_id, granted_by) VALUES ('new', 'anna', 'r', 'T', 1, 'ben')",
        "revoked_at_utc = '2026-03-29T12:00:00+00:00'",
    ),
    (
        "rbac_break_glass_sessions",
        "(id, user_id, justification, granted_by, expires_at_utc)
         VALUES ('new', 'anna', 'fire', 'self', '2026-03-29T13:00:00+00:00')",
        "revoked_at_utc = '2026-03-29T12:00:00+00:00'",
    ),
    (
        "gate_machine_tokens",
        "(id, name, token_sha256, created_by) VALUES
         ('new', 'new', '0000000000000000000000000000000000000000000000000000000000000001', 'ben')",
        "revoked_at_utc = '2026-03-29T12:00:00+00:00'",
    ),
    (
        "gate_machine_token_groups",
        "(token_id, group_id, granted_by) VALUES ('t', 'g', 'ben')",
        "group_id = 'g2'",
    ),
    (
        "gate_sessions",
        "(id, token_sha256, admin_id, scope, methods, created_at_utc, absolute_ends_at_utc, idle_ends_at_utc, last_used_at_utc, device)
         VALUES ('new', 'new', 'anna', 'full', '[]', '2026-03-29T12:00:00+00:00', '2099-03-29T12:00:00+00:00',
                 '2099-03-29T12:00:00+00:00', '2026-03-29T12:00:00+00:00', 'x')",
        "methods = '[{}]'",
    ),
    (
        "gate_blocked_admins",
        "(admin_id, blocked_by, blocked_at_utc) VALUES ('anna', 'ben', '2026-03-29T12:00:00+00:00')",
        "reason = 'left'",
    ),
    (
        "gate_grants",
        "(id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc) VALUES
         ('new', 'anna', 'g', 'timed', 'ben', '2026-03-29T12:00:00+00:00', '2026-03-29T12:00:00+00:00',
          '2026-03-29T13:00:00+00:00')",
        "revoked_at_utc = '2026-03-29T12:00:00+00:00', revoked_by = 'ben'",
    ),
    ("gate_machine_token_legacy_roles", "(token_id, role) VALUES ('t', 'ops')", "role = 'support'"),
    (
        "gate_grantors",
        "(kind, name, grantor_group, with_approval, added_by, added_at_utc) VALUES
         ('group', 'new', 'g', FALSE, 'ben', '2026-03-29T12:00:00+00:00')",
        "with_approval = TRUE",
    ),
    ("gate_flags", "(name, enabled, changed_by) VALUES ('FLAG_NEW', FALSE, 'ben')", "enabled = TRUE"),
    (
        "console_flag_promotions",
        "(flag, risk, current_env, promoted_by) VALUES ('FLAG_NEW', 'low', 'staging', 'ben')",
        "current_env = 'production'",
    ),
];

/// A row for each that the statements above refer to.
const BASIS: &str = "
    INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org'), ('ben', 'ben@example.org');
    INSERT INTO rbac_groups (id, name) VALUES ('g', 'g'), ('g2', 'g2');
    INSERT INTO rbac_roles (id, name) VALUES ('r', 'r'), ('r2', 'r2'), ('r3', 'r3');
    INSERT INTO rbac_permissions (id, name) VALUES ('p', 'p');
    INSERT INTO gate_machine_tokens (id, name, token_sha256, created_by) VALUES
        ('t', 't', '0000000000000000000000000000000000000000000000000000000000000000', 'ben')";

/// Which row the verbs of a table are about: the one that the INSERT made.
fn of_the_new_row(table: &str) -> &'static str {
    match table {
        "admin_roles" | "gate_blocked_admins" => "admin_id = 'anna'",
        "rbac_role_permissions" => "permission_id = 'p'",
        "rbac_role_inheritance" => "child_role_id = 'r2'",
        "rbac_group_roles" => "group_id = 'g'",
        "rbac_user_groups" => "user_id = 'anna'",
        "gate_machine_token_groups" | "gate_machine_token_legacy_roles" => "token_id = 't'",
        "gate_flags" => "name = 'FLAG_NEW'",
        "gate_grantors" => "name = 'new'",
        "console_flag_promotions" => "flag = 'FLAG_NEW'",
        _ => "id = 'new'",
    }
}

async fn assert_raises(database: &Database, statement: &str) {
    let before = database.epoch().await;
    database.execute(statement).await;
    let after = database.epoch().await;
    assert!(after > before, "the epoch stayed at {before} over: {statement}");
}

async fn assert_leaves(database: &Database, statement: &str) {
    let before = database.epoch().await;
    database.execute(statement).await;
    assert_eq!(database.epoch().await, before, "{statement}");
}

async fn it_rises_with_every_verb_on_every_access_table(database: &Database) {
    database.execute(BASIS).await;
    for (table, values, change) in WRITES {
        let row = of_the_new_row(table);
        let rows = database.number(&format!("SELECT count(*) FROM {table} WHERE {row}")).await;
        assert_eq!(rows, 0, "{table}: the row must be new for the test to mean something");
        let insert = format!("INSERT INTO {table} {values}");
        if table == "gate_sessions" {
            // Its token was drawn at random just now, so no gate can know anything of it.
            assert_leaves(database, &insert).await;
            let slide = "UPDATE gate_sessions SET idle_ends_at_utc = '2099-04-01T12:00:00+00:00', last_used_at_utc = created_at_utc";
            assert_leaves(database, slide).await;
        } else {
            assert_raises(database, &insert).await;
        }
        assert_raises(database, &format!("UPDATE {table} SET {change} WHERE {row}")).await;
        if table == "gate_grants" {
            // A grant goes with its admin alone.
            database.execute("INSERT INTO gate_pending_erasures (actor_id) VALUES ('anna')").await;
        }
        assert_raises(database, &format!("DELETE FROM {table} WHERE {row}")).await;
    }
}

/// The list above is complete: an access table that somebody adds has to be listed here, or named as none.
async fn every_table_is_an_access_table_or_known_not_to_be(database: &Database) {
    let others = [
        "_sqlx_migrations",
        "customer_audit_events",
        "gate_access_requests",
        "gate_access_review_items",
        "gate_access_reviews",
        "gate_access_votes",
        "gate_alerts",
        "gate_audit_control",
        "gate_audit_keys",
        "gate_audit_events",
        "gate_audit_outbox",
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
        "gate_instances",
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
        "gate_timed_work",
        "gate_running",
        "gate_session_changes",
        "gate_upstream_refusals",
        "gate_webauthn_challenges",
        "rbac_ticket_grants_archive",
        "rbac_grants_audit",
    ];
    let mut known: Vec<&str> = WRITES.iter().map(|(table, ..)| *table).chain(others).collect();
    known.sort();
    assert_eq!(database.tables().await, known);
}

/// The tables that the SQL of access reads, with the documents' SELECTs: whatever follows FROM and JOIN and is no name of
/// the statement's own.
fn tables_that_access_reads() -> BTreeSet<String> {
    let text = [
        include_str!("../../crates/store/src/access.rs"),
        include_str!("../../crates/store/src/console.rs"),
        include_str!("../../crates/store/src/console/compose.rs"),
        include_str!("../../crates/store/src/control.rs"),
    ]
    .concat();
    let is_a_table = |name: &str| {
        (name.contains('_') || name == "admins")
            && name.chars().all(|letter| letter == '_' || letter.is_ascii_lowercase())
            && !name.starts_with("gate__")
            && !name.starts_with("pg_")
            && !name.starts_with("sqlite_")
            && !name.starts_with("pragma_")
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .windows(2)
        .filter(|pair| ["FROM", "JOIN"].contains(&pair[0]))
        .map(|pair| pair[1].trim_end_matches([',', ')', '"', ';']).to_owned())
        .filter(|name| is_a_table(name))
        .collect()
}

/// What the triggers write, and not what they watch.
fn is_the_epochs_own(table: &str) -> bool {
    ["gate_epoch", "gate_session_changes", "gate_console_watch", "gate_console_watched"].contains(&table)
}

/// A table that access is read from and that nobody thought of here would be one whose changes no gate notices.
#[test]
fn every_table_that_access_is_read_from_is_tried_here() {
    let read = tables_that_access_reads();
    assert!(read.len() >= 14, "the statements were not found: {read:?}");
    assert!(read.contains("rbac_break_glass_sessions") && read.contains("gate_flags"), "{read:?}");
    let tried: BTreeSet<String> = WRITES.iter().map(|(table, ..)| (*table).to_owned()).collect();
    let forgotten: Vec<&String> = read.difference(&tried).filter(|table| !is_the_epochs_own(table)).collect();
    assert!(forgotten.is_empty(), "the verbs of {forgotten:?} are not tried");
}

/// TRUNCATE of each of them, by the trigger of the table itself: a cascade could hide that one has none.
#[tokio::test]
async fn every_table_that_access_is_read_from_minds_truncate_on_postgres() {
    let database = Database::postgres().await;
    for table in tables_that_access_reads().iter().filter(|table| !is_the_epochs_own(table)) {
        // tgtype: 4 insert, 8 delete, 16 update, 32 truncate; 1 would be once a row. `admins` and `admin_sessions`
        // look at which columns an update changes, in a trigger of their own.
        let verbs = database
            .number(&format!(
                "SELECT bit_or(tgtype)::bigint FROM pg_trigger WHERE tgrelid = '{table}'::regclass
                    AND (tgname LIKE 'gate_epoch_on_%' OR tgname LIKE 'console_gate_on_%') AND tgenabled IN ('O', 'A')"
            ))
            .await;
        assert_eq!(verbs, 4 + 8 + 16 + 32, "{table}");
        let before = database.epoch().await;
        match database.attempt(&format!("TRUNCATE {table} CASCADE")).await {
            Ok(()) => assert!(database.epoch().await > before, "{table}"),
            // What the append-only tables refer to cannot be emptied at all.
            Err(refusal) => assert!(refusal.contains("keeps what it holds"), "{table}: {refusal}"),
        }
    }
}

async fn it_rises_with_what_a_cascade_deletes(database: &Database) {
    database.execute(BASIS).await;
    database.execute("INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'g')").await;
    assert_raises(database, "DELETE FROM rbac_groups WHERE id = 'g'").await;
    assert_eq!(database.rows("rbac_user_groups").await, Vec::<String>::new());
}

async fn it_rises_with_an_upsert(database: &Database) {
    database.execute(BASIS).await;
    let upsert = "INSERT INTO gate_flags (name, enabled, changed_by) VALUES ('FLAG_RBAC_V2', TRUE, 'ben')
                  ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled";
    assert_raises(database, upsert).await;
    assert_raises(database, upsert).await;
}

#[tokio::test]
async fn it_rises_with_replace_on_sqlite() {
    let database = Database::sqlite().await;
    database.execute(BASIS).await;
    database.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('s', 'anna')").await;
    assert_raises(&database, "REPLACE INTO admin_sessions (id, admin_id) VALUES ('s', 'ben')").await;
    assert_raises(&database, "INSERT OR REPLACE INTO rbac_groups (id, name) VALUES ('g3', 'g')").await;
    assert_raises(&database, "UPDATE OR REPLACE rbac_roles SET name = 'r' WHERE id = 'r2'").await;
}

#[tokio::test]
async fn it_rises_with_truncate_and_merge_on_postgres() {
    let database = Database::postgres().await;
    database.execute(BASIS).await;
    let merge = "MERGE INTO rbac_group_roles USING (VALUES ('g', 'r')) AS wanted(g, r) ON group_id = g AND role_id = r
                 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (group_id, role_id) VALUES (g, r)";
    assert_raises(&database, merge).await;
    assert_raises(&database, merge).await;
    let no_other_table_refers_to = [
        "admin_roles",
        "admin_sessions",
        "rbac_role_permissions",
        "rbac_role_inheritance",
        "rbac_group_roles",
        "rbac_user_groups",
        "rbac_ticket_grants",
        "rbac_break_glass_sessions",
        "gate_machine_token_groups",
        "gate_machine_token_legacy_roles",
        "gate_flags",
        "gate_grantors",
        "gate_sessions",
        "console_flag_promotions",
    ];
    for table in no_other_table_refers_to {
        assert_raises(&database, &format!("TRUNCATE {table}")).await;
    }
    assert_raises(&database, "TRUNCATE rbac_permissions CASCADE").await;
    assert_raises(&database, "TRUNCATE gate_machine_tokens CASCADE").await;
}

/// What Console writes on every request, and what the gate writes for others to read, must not empty every cache.
async fn it_stays_over_writes_that_decide_nothing(database: &Database) {
    database.execute(BASIS).await;
    database.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('s', 'anna')").await;
    assert_leaves(database, "UPDATE admins SET display_name = 'Anna' WHERE id = 'anna'").await;
    assert_leaves(database, "UPDATE admin_sessions SET created_at_utc = created_at_utc").await;

    let before = database.epoch().await;
    database.store.append(&[audit::entry(1), audit::entry(2)]).await.unwrap();
    let drift = [drift::disagreement("GET /console/", 3)];
    database.store.record_drift(&drift, drift::BOUND, &mark(EvidenceKind::Drift)).await.unwrap();
    assert_eq!(database.epoch().await, before);
}

/// Every verb of the store that changes who may do what.
async fn it_rises_with_every_verb_of_the_store(database: &Database) {
    let (anna, session) = (AdminId::new("anna"), SessionId::new("session"));
    let store = &database.store;
    let mut last = database.epoch().await;
    let mut rose = async |verb: &str| {
        let now = database.epoch().await;
        assert!(now > last, "{verb} left the epoch at {last}");
        last = now;
    };
    store.add_admin(&anna, "anna@example.org", "Anna").await.unwrap();
    rose("add_admin").await;
    store.add_legacy_role(&anna, &LegacyRole::literal("ops"), "ben").await.unwrap();
    rose("add_legacy_role").await;
    store.join_group(&anna, "raxx-support-team", "ben").await.unwrap();
    rose("join_group").await;
    store.leave_group(&anna, "raxx-support-team").await.unwrap();
    rose("leave_group").await;
    store.add_session(&session, &anna, None).await.unwrap();
    rose("add_session").await;
    store.revoke_session(&session, noon()).await.unwrap();
    rose("revoke_session").await;
    store.add_group("a group", &["console-user"]).await.unwrap();
    rose("add_group").await;
    store.add_inheritance("console-billing-write", "console-billing-read").await.unwrap();
    rose("add_inheritance").await;
    store.create_token(&tokens::token("robot", &["ops-admins"]), &audit::note(1)).await.unwrap();
    rose("create_token").await;
    assert!(store.revoke_token("robot", noon(), &audit::note(2)).await.unwrap());
    rose("revoke_token").await;
    store.set_rbac_v2(true, "ben", noon(), &audit::note(3)).await.unwrap();
    rose("set_rbac_v2").await;
    assert_eq!(store.control().await.unwrap().epoch.0, last);
}

/// Nobody sees the new number before the write that it counts, and a write that is taken back leaves the old.
async fn it_moves_in_the_transaction_of_the_write(database: &Database) {
    database.execute(BASIS).await;
    let before = database.epoch().await;
    let others = Database::open(&database.url).await;
    let write = "INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'g')";

    macro_rules! within_one_transaction {
        ($pool:expr) => {{
            for commits in [false, true] {
                let mut transaction = $pool.begin().await.unwrap();
                sqlx::query(write).execute(&mut *transaction).await.unwrap();
                let inside: i64 = sqlx::query_scalar("SELECT epoch FROM gate_epoch")
                    .fetch_one(&mut *transaction)
                    .await
                    .unwrap();
                assert!(inside > before, "the writer itself sees it");
                assert_eq!(others.epoch().await, before, "nobody else does yet");
                if commits {
                    transaction.commit().await.unwrap();
                    assert_eq!(others.epoch().await, inside);
                } else {
                    transaction.rollback().await.unwrap();
                    assert_eq!(others.epoch().await, before, "the write was taken back");
                }
            }
        }};
    }
    match &database.raw {
        crate::database::Raw::Sqlite(pool) => within_one_transaction!(pool),
        crate::database::Raw::Postgres(pool) => within_one_transaction!(pool),
    }
}

/// A number that came back would bring back what was cached under it.
async fn it_only_ever_rises(database: &Database) {
    let mut attempts = vec![
        "UPDATE gate_epoch SET epoch = epoch",
        "UPDATE gate_epoch SET epoch = epoch - 1",
        "UPDATE gate_epoch SET id = 2, epoch = epoch + 1",
        "DELETE FROM gate_epoch",
        "INSERT INTO gate_epoch (id, epoch) VALUES (2, 1)",
    ];
    if database.is_postgres() {
        attempts.push("TRUNCATE gate_epoch");
    } else {
        attempts.push("REPLACE INTO gate_epoch (id, epoch) VALUES (1, 1)");
    }
    for attempt in attempts {
        let before = database.rows("gate_epoch").await;
        assert!(database.attempt(attempt).await.is_err(), "{attempt}");
        assert_eq!(database.rows("gate_epoch").await, before, "{attempt}");
    }
}

/// Console writes as a role that need not be able to write the epoch, and that may try to have it written elsewhere.
#[tokio::test]
async fn it_rises_for_a_writer_without_rights_to_it_on_postgres() {
    let database = Database::postgres().await;
    database.execute(BASIS).await;
    let role = "gate_test_writer";
    let create = format!("DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    database.execute(&create).await;
    database
        .execute(&format!(
            "GRANT USAGE ON SCHEMA console_gate TO {role};
             GRANT SELECT, INSERT, DELETE ON rbac_user_groups TO {role}"
        ))
        .await;
    let statements = format!(
        "SET LOCAL ROLE {role};
         CREATE TEMPORARY TABLE gate_epoch (id INTEGER, epoch BIGINT) ON COMMIT DROP;
         INSERT INTO pg_temp.gate_epoch VALUES (1, 1);
         INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('anna', 'g')"
    );
    assert_raises(&database, &statements).await;
    let direct = format!("SET LOCAL ROLE {role}; UPDATE gate_epoch SET epoch = epoch + 1");
    let refusal = database.attempt(&direct).await.unwrap_err();
    assert!(refusal.contains("permission denied"), "{refusal}");
    database.execute(&format!("DROP OWNED BY {role}")).await;
}

/// A session that is given an expiry, or a new one, is another session to the cache.
async fn it_rises_when_a_session_is_shortened(database: &Database) {
    database.execute(BASIS).await;
    database.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('s', 'anna')").await;
    let shorten = format!("UPDATE admin_sessions SET expires_at_utc = {}", literal(noon()));
    assert_raises(database, &shorten).await;
}

on_both!(
    it_rises_with_every_verb_on_every_access_table,
    every_table_is_an_access_table_or_known_not_to_be,
    it_rises_with_what_a_cascade_deletes,
    it_rises_with_an_upsert,
    it_stays_over_writes_that_decide_nothing,
    it_rises_with_every_verb_of_the_store,
    it_moves_in_the_transaction_of_the_write,
    it_only_ever_rises,
    it_rises_when_a_session_is_shortened,
);
