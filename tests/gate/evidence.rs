//! What a gate in shadow saw, through concurrency, refusals, outages, erasures and its own death: kept, or reported as
//! lost.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use policy::rbac::LegacyRole;
use serde_json::Value;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Database, Gate, Setup, World};

/// Olaf is let in by his legacy role and would not be by V2.
const MAPPING: &str = "version = 1\n[clusters]\nC = \"shadow\"\nD = \"shadow\"\n\
    [soak]\nshadow_days = 0\nquiet_hours = 0\nrequests = 0\nadmins = 0\n\
    [blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /a\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.u]\ncluster = \"D\"\n[blueprints.u.routes]\n\
    \"GET /b\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

async fn scene(database: Database) -> (World, Recorder, Gate) {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    for admin in ["olaf", "otto"] {
        world.admin(admin, &[], &[LegacyRole::literal("ops")]).await;
    }
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    (world, upstream, gate)
}

async fn ask(world: &World, gate: &Gate, path: &str, admin: &str) {
    assert_eq!(gate.send(&Ask::get(path).cookie(&world.cookie(admin))).await.status, 200);
}

/// Waits until something holds, and fails with what `seen` says.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "{what}: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often each route was seen to drift, and how often decisions were logged for it.
async fn counted(world: &World, route: &str) -> (i64, i64) {
    let drift = world.store.drift().await.expect("the drift");
    let decisions = world.store.decisions(Utc::now() - TimeDelta::hours(2)).await.expect("the log");
    (
        drift.iter().filter(|row| row.route == route).map(|row| row.count).sum(),
        decisions.iter().filter(|row| row.route == route).map(|row| row.count).sum(),
    )
}

async fn until_counted(world: &World, route: &str, expected: (i64, i64)) {
    until(route, async || match counted(world, route).await {
        counted if counted == expected => Ok(()),
        counted => Err(format!("{counted:?} and not {expected:?}")),
    })
    .await;
}

fn soak(gate: &Gate, cluster: &str) -> (i32, String) {
    let (code, text) = gate.attempt(&["soak", "--cluster", cluster]);
    // One line each, as it was before it was wrapped.
    (code, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

async fn drift_of_many_clients_is_all_counted(database: Database) {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 40;
    let (world, _upstream, gate) = scene(database).await;
    let clients = (0..CLIENTS).map(async |number| {
        let mut client = gate.client();
        for round in 0..REQUESTS {
            let path = if (number + round) % 2 == 0 { "/a" } else { "/b" };
            let admin = if round % 3 == 0 { "olaf" } else { "otto" };
            let answer = client.send(&Ask::get(path).cookie(&world.cookie(admin))).await;
            assert_eq!(answer.status, 200);
        }
    });
    futures::future::join_all(clients).await;
    let each = (CLIENTS * REQUESTS / 2) as i64;
    for route in ["GET /a", "GET /b"] {
        until_counted(&world, route, (each, each)).await;
    }
    for metric in ["gate_drift_lost_total", "gate_decisions_lost_total"] {
        assert_eq!(gate.metric(metric).await, Some(0.0), "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_many_clients_is_all_counted_on_sqlite() {
    drift_of_many_clients_is_all_counted(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_many_clients_is_all_counted_on_postgres() {
    drift_of_many_clients_is_all_counted(Database::Postgres).await;
}

/// The tables are away, and what the gate decides by is not: so it goes on, and so does what it sees.
async fn what_is_seen_in_an_outage_is_counted_afterwards(database: Database) {
    let (world, _upstream, gate) = scene(database).await;
    ask(&world, &gate, "/a", "olaf").await;
    until_counted(&world, "GET /a", (1, 1)).await;
    for table in ["gate_drift_events", "gate_decisions"] {
        world.execute(&format!("ALTER TABLE {table} RENAME TO {table}_away")).await;
    }
    let behind = async |kind: &str| {
        let metric = format!("gate_evidence_behind_seconds{{kind=\"{kind}\"}}");
        gate.metric(&metric).await.ok_or_else(|| format!("no {metric}"))
    };
    for _ in 0..20 {
        ask(&world, &gate, "/a", "olaf").await;
        ask(&world, &gate, "/b", "otto").await;
    }
    for kind in ["drift", "decisions"] {
        until(kind, async || match behind(kind).await {
            Ok(seconds) if seconds > 3.0 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    let log = gate.log();
    assert_eq!(log.matches("evidence cannot be written").count(), 2, "once a kind:\n{log}");
    for table in ["gate_drift_events", "gate_decisions"] {
        world.execute(&format!("ALTER TABLE {table}_away RENAME TO {table}")).await;
    }
    until_counted(&world, "GET /a", (21, 21)).await;
    until_counted(&world, "GET /b", (20, 20)).await;
    assert_eq!(soak(&gate, "C").0, 0, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_in_an_outage_is_counted_afterwards_on_sqlite() {
    what_is_seen_in_an_outage_is_counted_afterwards(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_in_an_outage_is_counted_afterwards_on_postgres() {
    what_is_seen_in_an_outage_is_counted_afterwards(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_evidence_is_reported_and_holds_its_cluster() {
    let (world, _upstream, gate) = scene(Database::Sqlite).await;
    // A database that refuses one row for what it says.
    world
        .execute(
            "CREATE TRIGGER picky BEFORE INSERT ON gate_drift_events WHEN NEW.route = 'GET /b'
             BEGIN SELECT RAISE(ABORT, 'picky'); END",
        )
        .await;
    for _ in 0..3 {
        ask(&world, &gate, "/a", "olaf").await;
        ask(&world, &gate, "/b", "olaf").await;
    }
    until_counted(&world, "GET /a", (3, 3)).await;
    until("the loss", async || match gate.metric("gate_drift_lost_total").await {
        Some(3.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let report = until("the gap", async || match soak(&gate, "D") {
        (1, text) if text.contains("evidence was lost") => Ok(text),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(report.contains("D shadow: not ready"), "{report}");
    assert!(report.contains("missing: evidence was lost between 20"), "{report}");
    assert!(report.contains("disagreement(s) of") && report.contains("were not recorded"), "{report}");
    assert_eq!(soak(&gate, "C").0, 0, "the other cluster's is all there");
    // Without a disagreement that could be listed.
    assert_eq!(gate.attempt(&["drift", "--cluster", "D"]).0, 1);
    let (_, list) = gate.attempt(&["drift", "--cluster", "D"]);
    assert!(list.starts_with("no disagreement\nevidence was lost between 20"), "{list}");
    let ready = Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await;
    let ready: Value = ready.json();
    assert_eq!(
        (&ready["ready"], &ready["evidence"], &ready["evidence_lost"]),
        (&true.into(), &"database".into(), &3.into())
    );
}

/// As if every gate had reported last two minutes ago.
async fn two_minutes_later(world: &World) {
    let ago = (Utc::now() - TimeDelta::milliseconds(120_050)).format("%Y-%m-%dT%H:%M:%S%.6f+00:00");
    world.execute(&format!("UPDATE gate_evidence_marks SET complete_until_utc = '{ago}'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_killed_leaves_a_gap_and_one_that_stops_does_not() {
    let (world, _upstream, mut gate) = scene(Database::Sqlite).await;
    for signal in ["TERM", "INT"] {
        ask(&world, &gate, "/a", "olaf").await;
        let before = counted(&world, "GET /a").await.0;
        ask(&world, &gate, "/a", "olaf").await;
        gate.signal(signal);
        assert!(gate.ends(Duration::from_secs(30)).await, "{signal}\n{}", gate.log());
        let (drift, decisions) = counted(&world, "GET /a").await;
        assert!(drift > before && drift == decisions, "{signal}: {before} {drift} {decisions}");
        assert_eq!(drift % 2, 0, "{signal}: the last one is written");
        two_minutes_later(&world).await;
        assert!(!soak(&gate, "C").1.contains("evidence was lost"), "{signal}");
        gate.restart().await;
    }
    ask(&world, &gate, "/a", "olaf").await;
    gate.kill();
    two_minutes_later(&world).await;
    let (code, text) = soak(&gate, "C");
    let marks = world.store.silent_gates(Utc::now() - TimeDelta::hours(1), Utc::now()).await;
    assert!(code == 1 && text.contains("missing: evidence was lost between 20"), "{code} {text} {marks:#?}");
    assert!(text.contains("stopped without reporting"), "{text}");
}

/// The gate still has it in its memory when the admin is erased.
async fn an_erased_admin_does_not_come_back(database: Database) {
    let (world, _upstream, gate) = scene(database).await;
    for _ in 0..3 {
        ask(&world, &gate, "/a", "olaf").await;
        ask(&world, &gate, "/a", "otto").await;
        gate.run(&["audit", "erase", "olaf"]);
    }
    // What was reported later is written later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    ask(&world, &gate, "/b", "otto").await;
    until_counted(&world, "GET /b", (1, 1)).await;
    let drift = world.store.drift().await.expect("the drift");
    let decisions = world.store.decisions(Utc::now() - TimeDelta::hours(2)).await.expect("the log");
    assert!(drift.iter().all(|row| row.actor_id == "otto"), "{drift:#?}");
    assert!(decisions.iter().all(|row| row.actor_id == "otto"), "{decisions:#?}");
    assert_eq!(drift.iter().map(|row| row.count).sum::<i64>(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_admin_does_not_come_back_on_sqlite() {
    an_erased_admin_does_not_come_back(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_admin_does_not_come_back_on_postgres() {
    an_erased_admin_does_not_come_back(Database::Postgres).await;
}

/// One request of a stranger for a path that no index of Postgres holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_costs_nobody_elses_decisions_on_postgres() {
    let (world, _upstream, gate) = scene(Database::Postgres).await;
    let noise: String = (0..220).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    assert_eq!(gate.send(&Ask::get(&format!("/{noise}"))).await.status, 302);
    ask(&world, &gate, "/a", "olaf").await;
    until_counted(&world, "GET /a", (1, 1)).await;
    let decisions = world.store.decisions(Utc::now() - TimeDelta::hours(2)).await.expect("the log");
    assert!(decisions.iter().any(|row| row.path[1..] == noise), "the long one too");
    assert_eq!(gate.metric("gate_decisions_lost_total").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_with_a_nul_byte_is_refused_and_the_refusal_recorded_on_postgres() {
    let (world, _upstream, gate) = scene(Database::Postgres).await;
    std::fs::write(gate.mapping_file(), format!("{MAPPING}# half\0written\n")).expect("a mapping");
    let refused = until("the refusal", async || {
        let activations = world.store.activations(10).await.expect("the activations");
        activations.into_iter().find(|one| one.outcome == "refused").ok_or_else(|| gate.log())
    })
    .await;
    let why = refused.diagnostics.unwrap_or_default();
    let line = MAPPING.lines().count() + 1;
    assert!(why.contains(&format!("line {line} contains a NUL byte; save the file as plain UTF-8")), "{why}");
    ask(&world, &gate, "/a", "olaf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_an_id_with_a_nul_identifies_nobody_on_postgres() {
    let (world, _upstream, gate) = scene(Database::Postgres).await;
    let cookie = world.sign(&serde_json::json!({ "admin_id": "ol\0af" }), Utc::now());
    assert_eq!(gate.send(&Ask::get("/a").cookie(&cookie)).await.status, 302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disagreement_is_logged_once_and_counted_every_time() {
    let (world, _upstream, gate) = scene(Database::Sqlite).await;
    for _ in 0..20 {
        ask(&world, &gate, "/a", "olaf").await;
        ask(&world, &gate, "/b", "otto").await;
    }
    until_counted(&world, "GET /a", (20, 20)).await;
    let metric = "gate_drift_total{cluster=\"C\",direction=\"would_newly_deny\"}";
    assert_eq!(gate.metric(metric).await, Some(20.0));
    let log = gate.log();
    assert_eq!(log.matches("the legacy gate and RBAC V2 disagree").count(), 2, "{log}");
}
