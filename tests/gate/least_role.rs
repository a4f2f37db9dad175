//! A gate whose database role has what `migrate --grant-to` gives and no more: it does everything that a gate does.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"v2\"\nD = \"shadow\"\n\
    [blueprints.t]\ncluster = \"C\"\nfreshness = \"push\"\n[blueprints.t.routes]\n\
    \"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /m\" = { role = \"console-user\", machine_or_session = true, unauthenticated = \"401\" }\n\
    [blueprints.u]\ncluster = \"D\"\n[blueprints.u.routes]\n\
    \"GET /s\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

async fn within(what: &str, gate: &Gate, mut holds: impl AsyncFnMut() -> bool) {
    // A gate looks for pending erasures once a minute.
    let deadline = Instant::now() + Duration::from_secs(150);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn readiness(gate: &Gate) -> (u16, Value) {
    let answer = Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await;
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

async fn scene() -> (World, Recorder, Gate) {
    let world = World::of_least_role().await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("sue", &["raxx-support-team"], &[]).await;
    world.admin("bob", &[], &[]).await;
    let setup = Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        session: "session_id_key = \"sid\"\n",
        ..Setup::V2
    };
    let gate = world.gate(&setup).await;
    (world, upstream, gate)
}

/// A denial, drift, a decision, a session's end, an activation, a lease, an erasure, and what commands write.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_with_no_right_too_many_writes_all_that_a_gate_writes() {
    let (world, _upstream, gate) = scene().await;
    let sign = |admin: &str, sid: &str| {
        world.sign(&serde_json::json!({ "admin_id": admin, "sid": sid }), Utc::now())
    };
    world.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('s1', 'sue'), ('b1', 'bob')").await;
    let (sue, bob) = (sign("sue", "s1"), sign("bob", "b1"));
    assert_eq!(gate.send(&Ask::get("/x").cookie(&sue)).await.status, 200);
    assert_eq!(gate.send(&Ask::get("/x").cookie(&bob)).await.status, 403);
    assert_eq!(world.denials().await, 1, "the denial is in the database and not in the spool");
    assert_eq!(gate.send(&Ask::get("/s").cookie(&sue)).await.status, 403);
    within("drift", &gate, async || !world.store.drift().await.expect("drift").is_empty()).await;
    within("decisions", &gate, async || {
        let since = Utc::now() - TimeDelta::hours(2);
        !world.store.decisions(since).await.expect("decisions").is_empty()
    })
    .await;
    assert_eq!(world.store.activations(10).await.expect("activations").len(), 1);
    within("a lease", &gate, async || !world.store.leases().await.expect("leases").is_empty()).await;
    within("a report", &gate, async || !world.store.running_gates().await.expect("reports").is_empty()).await;

    world.execute("UPDATE admin_sessions SET revoked_at_utc = now() WHERE id = 's1'").await;
    within("the session's end", &gate, async || gate.send(&Ask::get("/x").cookie(&sue)).await.status == 302)
        .await;

    gate.run(&["flag", "rbac-v2", "off"]);
    gate.run(&["flag", "rbac-v2", "on"]);
    let token = gate.run(&["token", "create", "robot", "--group", "raxx-support-team"]);
    assert!(!token.trim().is_empty());
    gate.run(&["token", "revoke", "robot"]);
    let (_, drift) = gate.attempt(&["drift"]);
    let id = drift.lines().find_map(|line| line.strip_prefix("    id ")).unwrap_or_else(|| panic!("{drift}"));
    gate.run(&["drift", "--sign-off", id, "--reason", "as it should be"]);
    gate.run(&["audit", "tail", "--limit", "3"]);
    world.execute("DELETE FROM admins WHERE id = 'bob'").await;
    within("the erasure", &gate, async || world.store.pending_erasures().await.expect("erasures").is_empty())
        .await;
    assert_eq!(readiness(&gate).await.0, 200);
    // The owner verifies: row-level security hides customers' events from the gate.
    assert!(!gate.log().contains("permission denied"), "{}", gate.log());
}

/// A right that goes while the gate runs is a 503 of readiness; one that is missing at start is named with all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_no_readiness_and_no_start() {
    let (world, _upstream, mut gate) = scene().await;
    world.execute("REVOKE SELECT ON rbac_group_roles FROM gate_app").await;
    let (status, said) = readiness(&gate).await;
    assert_eq!((status, said["database"].as_str()), (503, Some("down")), "{said}");
    assert_eq!(said["database_problem"].as_str(), Some("privilege"), "{said}");
    world
        .execute(
            "REVOKE ALL ON gate_instances FROM gate_app; REVOKE SELECT ON _sqlx_migrations FROM gate_app",
        )
        .await;
    gate.stop().await;
    let (code, written) = gate.complaint(&["serve"]);
    assert_eq!(code, 2, "{written}");
    for words in [
        "lacks 3 right(s)",
        "SELECT on console_gate.rbac_group_roles",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON \"console_gate\".\"gate_instances\" TO \"gate_app\"",
        "_sqlx_migrations",
        "migrate --grant-to gate_app",
    ] {
        assert!(written.contains(words), "no `{words}` in {written}");
    }
}

/// What the mirror writes takes rights too: a start names them, `migrate --grant-to` grants them, and the gate's role then
/// writes there.
#[tokio::test(flavor = "multi_thread")]
async fn the_mirrors_rights_are_granted_with_the_rest() {
    let (world, _upstream, mut gate) = scene().await;
    world
        .execute(
            "CREATE SCHEMA app;
             CREATE TABLE app.audit_log (n BIGSERIAL PRIMARY KEY, action TEXT NOT NULL, actor TEXT, secret TEXT)",
        )
        .await;
    gate.stop().await;
    let settings = gate.folder().join("gate.toml");
    let mut text = std::fs::read_to_string(&settings).expect("the settings");
    text.push_str(
        "\n[audit.mirror]\ntable = \"app.audit_log\"\n[audit.mirror.columns]\naction = { constant = \"denied\" }\n\
         actor = { field = \"actor\" }\n",
    );
    std::fs::write(&settings, text).expect("the settings");
    let (code, written) = gate.complaint(&["serve"]);
    assert_eq!(code, 2, "{written}");
    for words in [
        "lacks 3 right(s)",
        "GRANT USAGE ON SCHEMA \"app\" TO \"gate_app\"",
        "GRANT INSERT (\"action\", \"actor\") ON \"app\".\"audit_log\" TO \"gate_app\"",
        "GRANT USAGE ON SEQUENCE \"app\".\"audit_log_n_seq\" TO \"gate_app\"",
        "migrate --grant-to gate_app",
    ] {
        assert!(written.contains(words), "no `{words}` in {written}");
    }
    let granted = gate.run_at(&world.database_url, &["migrate", "--grant-to", "gate_app"]);
    assert!(granted.contains("INSERT (\"action\", \"actor\")"), "{granted}");
    gate.restart().await;
    world.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('b1', 'bob')").await;
    let bob = world.sign(&serde_json::json!({ "admin_id": "bob", "sid": "b1" }), Utc::now());
    assert_eq!(gate.send(&Ask::get("/x").cookie(&bob)).await.status, 403);
    within("the denial in Console's table", &gate, async || {
        let pool = world.store.postgres().expect("Postgres");
        let there = "SELECT count(*) FROM app.audit_log WHERE action = 'denied' AND actor = 'bob'";
        sqlx::query_scalar::<_, i64>(there).fetch_one(pool).await.expect("a count") == 1
    })
    .await;
    assert!(!gate.log().contains("permission denied"), "{}", gate.log());
}
