//! Customers' events on Postgres: a tenant sees its own, the writer inserts and sees nothing, the owner verifies.

use crate::database::Database;

/// Two tenants' events; roles for a tenant's reader and for Console, which had every right on every table before.
async fn two_tenants() -> Database {
    let database = Database::empty_postgres().await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE console_app; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             DO $$ BEGIN CREATE ROLE gate_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO console_app",
        )
        .await;
    database.store.migrate_seeded().await.unwrap();
    database.store.grant_to("console_app").await.unwrap();
    database
        .execute(
            "GRANT SELECT ON customer_audit_events TO gate_tenant; GRANT USAGE ON SCHEMA console_gate TO gate_tenant",
        )
        .await;
    for (id, tenant) in [("a", "4711"), ("b", "4711"), ("c", "4712")] {
        database.execute(&insert(id, tenant)).await;
    }
    database
}

fn insert(id: &str, tenant: &str) -> String {
    format!(
        "INSERT INTO customer_audit_events (id, tenant_id, dimension, action, occurred_at_utc, source, actor_kind)
         VALUES ('{id}', '{tenant}', 'd', 'a', now(), 'queue', 'admin')"
    )
}

/// Fails unless `role`, with these settings, sees `expected` rows.
async fn sees(database: &Database, settings: &str, expected: u32) {
    let statement = format!(
        "{settings}; DO $$ BEGIN
             IF (SELECT count(*) FROM customer_audit_events) <> {expected} THEN
                 RAISE EXCEPTION 'not {expected} but %', (SELECT count(*) FROM customer_audit_events);
             END IF;
         END $$"
    );
    database.execute(&statement).await;
}

#[tokio::test]
async fn a_tenant_sees_its_own_and_nobody_without_a_name_sees_any() {
    let database = two_tenants().await;
    sees(&database, "SET LOCAL ROLE gate_tenant; SET LOCAL gate.tenant_id = '4711'", 2).await;
    sees(&database, "SET LOCAL ROLE gate_tenant; SET LOCAL gate.tenant_id = '4712'", 1).await;
    sees(&database, "SET LOCAL ROLE gate_tenant; SET LOCAL gate.tenant_id = ''", 0).await;
    sees(&database, "SET LOCAL ROLE gate_tenant", 0).await;
    sees(&database, "SET LOCAL gate.tenant_id = '4712'", 3).await;
    let write =
        format!("SET LOCAL ROLE gate_tenant; SET LOCAL gate.tenant_id = '4711'; {}", insert("d", "4711"));
    assert!(database.attempt(&write).await.unwrap_err().contains("permission denied"));
}

#[tokio::test]
async fn the_writer_inserts_and_reads_nothing() {
    let database = two_tenants().await;
    let as_writer = |statement: &str| format!("SET LOCAL ROLE console_app; {statement}");
    database.execute(&as_writer(&insert("d", "4713"))).await;
    for statement in [
        "SELECT * FROM customer_audit_events",
        "SET LOCAL gate.tenant_id = '4711'; SELECT id FROM customer_audit_events",
        "DELETE FROM customer_audit_events",
        "UPDATE customer_audit_events SET action = 'other'",
        "TRUNCATE customer_audit_events",
    ] {
        let outcome = database.attempt(&as_writer(statement)).await;
        assert!(
            outcome.as_ref().is_err_and(|error| error.contains("permission denied")),
            "{statement}: {outcome:?}"
        );
    }
    sees(&database, "SELECT 1", 4).await;
    // It erases an actor without seeing him.
    database
        .execute(
            "INSERT INTO customer_audit_events (id, tenant_id, dimension, action, occurred_at_utc, source,
        actor_kind, actor_id, salt) VALUES ('e', '4711', 'd', 'a', now(), 'queue', 'admin', 'anna', 's')",
        )
        .await;
    database.execute(&as_writer("SELECT gate_erase_customer_traces('anna', 'event')")).await;
    let erased =
        "SELECT coalesce(actor_id, '-') || coalesce(salt, '-') || erased_by FROM customer_audit_events
                   WHERE id = 'e'";
    assert_eq!(database.texts(erased).await, ["--event"]);
}
