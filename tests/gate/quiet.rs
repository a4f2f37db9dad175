//! Quiet paths, and denials that repeat: what leaves no row, what is counted in one, and what has its own.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use store::audit::StoredEvent;

use crate::support::recorder::Recorder;
use crate::support::{Answer, Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\nquiet = [\"/favicon.ico\", \"/icons/ü.png\"]\n[clusters]\nC = \"v2\"\n\
    [blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /denied\" = { legacy = [\"superadmin\"], role = \"console-manager\" }\n\
    \"GET /open\" = { public = true }\n";

struct Scene {
    world: World,
    gate: Gate,
    upstream: Recorder,
}

/// A gate, and Anna, who may open nothing.
async fn scene(database: Database, mapping: &'static str) -> Scene {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let setup = Setup { mapping: Some(mapping), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    Scene { world, gate, upstream }
}

impl Scene {
    async fn send(&self, ask: &Ask) -> Answer {
        self.gate.send(ask).await
    }

    async fn denied(&self, ask: &Ask) -> String {
        let answer = self.send(&ask.clone().cookie(&self.world.cookie("anna"))).await;
        assert_eq!(answer.status, 403, "{ask:?}");
        answer.request_id().to_owned()
    }

    async fn rows(&self, event_type: &str) -> Vec<StoredEvent> {
        let rows = self.world.store.recent(10_000).await.expect("the audit rows");
        rows.into_iter().filter(|row| row.event_type == event_type).collect()
    }

    fn is_verified(&self) -> bool {
        let (code, printed) = self.gate.attempt(&["audit", "verify", "--format", "json"]);
        let report: Value = serde_json::from_str(&printed).expect("a report");
        assert_eq!(report["findings"], json!([]), "{report}");
        code == 0
    }
}

async fn a_quiet_path_is_not_found_and_leaves_nothing(database: Database) {
    let scene = scene(database, MAPPING).await;
    let anna = scene.world.cookie("anna");
    let asks = [
        Ask::get("/favicon.ico"),
        Ask::get("/favicon.ico?v=2"),
        Ask::new("HEAD", "/favicon.ico"),
        Ask::new("POST", "/favicon.ico").body("x"),
        Ask::get("/icons/%C3%BC.png"),
        Ask::get("/favicon.ico").header("accept", "text/html"),
        Ask::get("/favicon.ico").bearer("cgm_nobodys"),
    ];
    let mut count = 0.0;
    for ask in &asks {
        for ask in [ask.clone(), ask.clone().cookie(&anna)] {
            let answer = scene.send(&ask).await;
            assert_eq!((answer.status, answer.header("cache-control")), (404, "no-store"), "{ask:?}");
            assert_eq!(answer.header("set-cookie"), "");
            count += 1.0;
        }
    }
    // Another spelling is another path.
    for near in ["/favicon.ico/", "/Favicon.ico", "/icons/u.png", "/favicon.icon"] {
        scene.denied(&Ask::get(near)).await;
        assert_eq!(scene.send(&Ask::get(near)).await.status, 302, "{near}");
    }
    assert_eq!(scene.gate.metric("gate_quiet_total").await, Some(count));
    assert_eq!(scene.gate.metric("gate_unmapped_total").await, Some(8.0));
    assert_eq!(scene.gate.metric("gate_requests_total{outcome=\"quiet\"}").await, Some(count));
    assert_eq!(scene.rows("access_denied").await.len(), 4);
    assert!(scene.upstream.requests().is_empty(), "nothing of it reached Console");
    // Once the log has what came last, it has all of it.
    let since = Utc::now() - TimeDelta::hours(1);
    let deadline = Instant::now() + Duration::from_secs(30);
    let logged = loop {
        let logged = scene.world.store.decisions(since).await.expect("the decision log");
        if logged.iter().map(|row| row.count).sum::<i64>() >= 8 {
            break logged;
        }
        assert!(Instant::now() < deadline, "{logged:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(logged.iter().all(|row| row.path != "/favicon.ico" && row.path != "/icons/ü.png"), "{logged:?}");
    // Nobody is looked up for it, so that it needs no database.
    scene.world.execute("ALTER TABLE gate_epoch RENAME TO gate_epoch_away").await;
    assert_eq!(scene.send(&Ask::get("/favicon.ico").cookie(&anna)).await.status, 404);
    assert_eq!(scene.send(&Ask::get("/nowhere").cookie(&anna)).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_path_is_not_found_and_leaves_nothing_on_sqlite() {
    a_quiet_path_is_not_found_and_leaves_nothing(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_path_is_not_found_and_leaves_nothing_on_postgres() {
    a_quiet_path_is_not_found_and_leaves_nothing(Database::Postgres).await;
}

/// What the mapping leaves to Console otherwise does not reach it.
#[tokio::test]
async fn a_quiet_path_is_not_forwarded() {
    const FORWARD: &str = "version = 1\nunmapped = \"forward\"\nquiet = [\"/favicon.ico\"]\n[blueprints.t.routes]\n\
        \"GET /open\" = { public = true }\n";
    let scene = scene(Database::Sqlite, FORWARD).await;
    assert_eq!(scene.send(&Ask::get("/favicon.ico")).await.status, 404);
    assert_eq!(scene.send(&Ask::get("/favicon.png")).await.status, 200);
    assert_eq!(scene.upstream.requests().len(), 1);
    let (code, text) = scene.gate.attempt(&["explain", "GET", "/favicon.ico"]);
    assert!(code == 0 && text.contains("none: quiet, answered 404 and not audited"), "{code} {text}");
}

async fn repeats_on_an_unmapped_path_are_counted_in_one_sealed_row(database: Database) {
    let mut scene = scene(database, MAPPING).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(scene.denied(&Ask::get("/nowhere?a=b")).await);
    }
    // Another method, path or principal, and every denial where the mapping has the path, has its own row.
    scene.denied(&Ask::new("POST", "/nowhere")).await;
    scene.denied(&Ask::get("/nowhere/else")).await;
    for _ in 0..3 {
        scene.denied(&Ask::get("/denied")).await;
        scene.denied(&Ask::new("DELETE", "/denied")).await;
    }
    assert_eq!(scene.gate.metric("gate_denials_repeated_total").await, Some(4.0));
    assert_eq!(scene.gate.metric("gate_denials_total{reason=\"unmapped_route\"}").await, Some(10.0));
    let denials = scene.rows("access_denied").await;
    let count = |path: &str| denials.iter().filter(|row| row.path.as_deref() == Some(path)).count();
    assert_eq!((count("/nowhere"), count("/nowhere/else"), count("/denied")), (2, 1, 6));
    assert_eq!(scene.rows("denials_repeated").await, []);
    scene.gate.stop().await;
    let repeated = scene.rows("denials_repeated").await;
    let [row] = &repeated[..] else { panic!("{repeated:?}") };
    let first =
        denials.iter().find(|row| row.request_id.as_deref() == Some(&*ids[0])).expect("the first row");
    let detail = &row.detail.as_ref().expect("a detail").0;
    assert_eq!((&detail["first"], &detail["count"]), (&json!(first.id), &json!(4)));
    assert_eq!((row.request_id.as_deref(), row.reason.as_deref()), (Some(&*ids[4]), Some("unmapped_route")));
    assert_eq!(
        (&row.actor_id, &row.path, &row.client_address, &row.session_id),
        (&None, &None, &None, &None)
    );
    assert!(row.chain_id == first.chain_id && row.sequence > first.sequence, "sealed in the gate's chain");
    assert!(scene.is_verified());
    // The next gate begins anew.
    scene.gate.restart().await;
    let id = scene.denied(&Ask::get("/nowhere?a=b")).await;
    assert_eq!(scene.world.store.by_request(&id).await.expect("the audit rows").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_on_an_unmapped_path_are_counted_in_one_sealed_row_on_sqlite() {
    repeats_on_an_unmapped_path_are_counted_in_one_sealed_row(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_on_an_unmapped_path_are_counted_in_one_sealed_row_on_postgres() {
    repeats_on_an_unmapped_path_are_counted_in_one_sealed_row(Database::Postgres).await;
}

/// A gate that is killed loses the count, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_killed_has_recorded_the_first_denial() {
    let mut scene = scene(Database::Sqlite, MAPPING).await;
    let first = scene.denied(&Ask::get("/nowhere")).await;
    scene.denied(&Ask::get("/nowhere")).await;
    scene.gate.kill();
    let denials = scene.rows("access_denied").await;
    assert_eq!(denials.iter().map(|row| row.request_id.as_deref()).collect::<Vec<_>>(), [Some(&*first)]);
    assert_eq!(scene.rows("denials_repeated").await, []);
}

/// A row is never deleted, so no file may make a large one.
#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_of_overlaps_leaves_a_small_row() {
    let scene = scene(Database::Sqlite, MAPPING).await;
    let mut file = "version = 1\n[blueprints.b.routes]\n".to_owned();
    for number in 0..905 {
        file.push_str(&format!("\"GET /<a{number}>\" = {{ public = true }}\n"));
    }
    let began = Instant::now();
    std::fs::write(scene.gate.mapping_file(), &file).expect("the mapping");
    let refused = loop {
        if let Some(row) = scene.rows("mapping_refused").await.pop() {
            break row;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{}", scene.gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let detail = refused.detail.expect("a detail").0;
    let findings = detail["diagnostics"].as_str().expect("the findings");
    assert_eq!(findings.lines().count(), 21, "{findings}");
    let first = findings.lines().next().unwrap_or_default();
    let message =
        "at least 1000 pairs of rows overlap; the rows were compared no further [overlaps-not-counted]";
    assert!(first.ends_with(message), "{first}");
    assert!(findings.ends_with("and 981 more, 1001 findings in all"), "{findings}");
    let (code, printed) =
        scene.gate.attempt(&["check", "--offline", &scene.gate.mapping_file().display().to_string()]);
    assert!(code == 1 && printed.contains("at least 1000 pairs of rows overlap"), "{code} {printed}");
}
