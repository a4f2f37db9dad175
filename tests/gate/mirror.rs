//! Console's own audit table beside the gate's, and what the log says where V2 is not in force.

use std::time::{Duration, Instant};

use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /denied/<path:rest>\" = { legacy = [\"superadmin\"], role = \"console-manager\" }\n";

const MIRROR: &str = "[audit.mirror]\ntable = \"audit_log\"\n[audit.mirror.columns]\n\
    id = { field = \"event_id\" }\naction = { constant = \"denied by the gate\" }\nactor = { field = \"actor\" }\n\
    details = { json = [\"path\", \"request\"] }\n";

const TABLE: &str = "CREATE TABLE audit_log (id VARCHAR(36) PRIMARY KEY, action TEXT NOT NULL, actor TEXT, details JSON NOT NULL)";

/// Asks until it is so.
async fn until(what: &str, gate: &Gate, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn number(world: &World, query: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(query.to_owned());
    let answered = match (world.store.sqlite(), world.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(query).fetch_one(pool).await,
        (None, Some(pool)) => sqlx::query_scalar(query).fetch_one(pool).await,
        (None, None) => unreachable!("a store is one of them"),
    };
    answered.expect("a query for one number")
}

async fn console_sees_denials(database: Database) {
    let world = World::new(database).await;
    world.execute(TABLE).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let setup =
        Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), sections: MIRROR, ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let cookie = world.cookie("anna");
    let deny = async |number: u32| {
        let answer = gate.send(&Ask::get(&format!("/denied/{number}")).cookie(&cookie)).await;
        assert_eq!(answer.status, 403, "{}", gate.log());
        answer.request_id().to_owned()
    };
    let there = async |request: &str| {
        let count = format!(
            "SELECT count(*) FROM audit_log WHERE action = 'denied by the gate' AND actor = 'anna'
                AND CAST(details AS TEXT) LIKE '%{request}%'"
        );
        number(&world, &count).await == 1
    };
    // In the transaction of the sealed row: it is there when the caller has its answer, unless rows were behind at the start.
    let first = deny(1).await;
    until("the first denial", &gate, async || there(&first).await).await;
    let second = deny(2).await;
    assert!(there(&second).await, "a denial is in Console's table before it is answered");

    world.execute("ALTER TABLE audit_log RENAME TO away").await;
    let third = deny(3).await;
    assert_eq!(number(&world, "SELECT count(*) FROM gate_audit_outbox").await, 1);
    until("the metric", &gate, async || gate.metric("gate_audit_mirror_waiting").await == Some(1.0)).await;
    assert!(gate.log().contains("Console's audit table does not take rows"), "{}", gate.log());
    world.execute("ALTER TABLE away RENAME TO audit_log").await;
    until("the third denial", &gate, async || there(&third).await).await;
    until("the metric", &gate, async || gate.metric("gate_audit_mirror_waiting").await == Some(0.0)).await;
    assert_eq!(number(&world, "SELECT count(*) FROM audit_log").await, 3);
}

/// A row that the table refuses for what it says is set aside, and readiness says so.
async fn a_row_that_is_set_aside_is_said(database: Database) {
    let world = World::new(database).await;
    world.execute(TABLE).await;
    world.execute("ALTER TABLE audit_log ADD COLUMN short TEXT CHECK (length(short) < 3)").await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let sections = format!("{MIRROR}short = {{ field = \"request\" }}\n").leak();
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), sections, ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let ready = async || Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await;
    assert_eq!(ready().await.json()["mirror"]["refused"], 0);
    let denied = gate.send(&Ask::get("/denied/1").cookie(&world.cookie("anna"))).await;
    assert_eq!(denied.status, 403, "{}", gate.log());
    let refused = async || ready().await.json()["mirror"]["refused"] == 1;
    until("the refused row", &gate, refused).await;
    let answer = ready().await;
    assert_eq!(answer.status, 200, "the gate serves all the same");
    assert!(answer.json()["mirror"]["problem"].is_string(), "{:?}", answer.json());
    let (code, printed) = gate.attempt(&["doctor", "--format", "json"]);
    assert!(code == 1 && printed.contains("refused 1 row(s), which are set aside"), "{printed}");
}

#[tokio::test]
async fn a_row_that_is_set_aside_is_said_on_sqlite() {
    a_row_that_is_set_aside_is_said(Database::Sqlite).await;
}

#[tokio::test]
async fn a_row_that_is_set_aside_is_said_on_postgres() {
    a_row_that_is_set_aside_is_said(Database::Postgres).await;
}

#[tokio::test]
async fn console_sees_denials_on_sqlite() {
    console_sees_denials(Database::Sqlite).await;
}

#[tokio::test]
async fn console_sees_denials_on_postgres() {
    console_sees_denials(Database::Postgres).await;
}

/// Where nothing was promoted, V2 is not enforced in production, and the log reports that; `promote` enforces it.
#[tokio::test]
async fn a_cluster_that_falls_back_is_reported_until_it_is_promoted() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-platform-admins"], &[]).await;
    let setup = Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        environment: "production",
        ..Setup::V2
    };
    let gate = world.gate(&setup).await;
    let cookie = world.cookie("anna");
    let status = async || gate.send(&Ask::get("/denied/1").cookie(&cookie)).await.status;
    let fallback = "gate_cluster_fallback{cluster=\"C\",reason=\"not_promoted\"}";
    assert_eq!(status().await, 403, "anna holds no legacy role");
    until("the metric", &gate, async || gate.metric(fallback).await == Some(1.0)).await;
    assert!(gate.log().contains("FLAG_RBAC_V2 is not promoted to production"), "{}", gate.log());
    let (code, printed) = gate.attempt(&["promote", "--to", "prod"]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(status().await, 200, "{}", gate.log());
    until("the metric", &gate, async || gate.metric(fallback).await == Some(0.0)).await;
}
