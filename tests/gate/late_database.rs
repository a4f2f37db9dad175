//! A gate that starts before its database: it waits, reports that, and comes up by itself.

use std::process::Stdio;
use std::time::{Duration, Instant};

use policy::rbac::LegacyRole;
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::postgres::Postgres;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nL = \"legacy\"\n\
    [blueprints.l]\ncluster = \"L\"\n[blueprints.l.routes]\n\
    \"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n\"GET /public\" = { public = true }\n";
const LIMIT: Duration = Duration::from_secs(60);

async fn scene(postgres: &Postgres, database: &'static str) -> (World, Recorder, Gate) {
    let world = World::on(postgres.database()).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        database,
        patience_ms: 2_000,
        ..Setup::V2
    };
    let mut gate = world.gate(&setup).await;
    gate.stop().await;
    postgres.stop();
    gate.restart_without_waiting();
    (world, upstream, gate)
}

/// Waits until the gate reports that it waits.
async fn until_waiting(gate: &Gate) {
    let deadline = Instant::now() + LIMIT;
    while !gate.log().contains("the gate waits for the database; requests get 503 meanwhile") {
        assert!(Instant::now() < deadline, "it does not wait:\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The bytes of a whole answer to a request over TCP.
async fn over_tcp(port: u16, request: &str) -> String {
    let deadline = Instant::now() + LIMIT;
    let mut stream = loop {
        match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{port}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_comes_up_by_itself_when_its_database_does() {
    let postgres = Postgres::start();
    let (world, upstream, mut gate) = scene(&postgres, "").await;
    until_waiting(&gate).await;
    let admin = || Client::to(&gate.admin_socket());
    for ask in [Ask::get("/x").cookie(&world.cookie("olaf")), Ask::get("/public"), Ask::new("POST", "/x")] {
        let answer = gate.send(&ask).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "2"));
        assert_eq!(answer.json()["detail"], "The gate waits for its database. Try again in a moment.");
    }
    assert_eq!(admin().send(&Ask::get("/healthz")).await.status, 200);
    let ready = admin().send(&Ask::get("/readyz")).await;
    assert_eq!(ready.status, 503);
    let state = ready.json();
    assert_eq!((&state["ready"], &state["waiting_for"]), (&false.into(), &"database".into()));
    assert_eq!(state["database_problem"], "unavailable");
    assert_eq!(admin().send(&Ask::get("/api/gate/mapping")).await.status, 503);
    // A silent client keeps no other from an answer.
    let _silent = tokio::net::UnixStream::connect(gate.socket()).await.expect("a connection");
    assert_eq!(gate.send(&Ask::get("/x")).await.status, 503);
    assert_eq!(upstream.requests().len(), 0);

    postgres.restart();
    gate.wait_until_ready().await;
    assert_eq!(gate.send(&Ask::get("/x").cookie(&world.cookie("olaf"))).await.status, 200);
    assert!(gate.log().contains("the database answers"), "{}", gate.log());
    // It stops as any gate does.
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_at_tcp_addresses_too() {
    let postgres = Postgres::start();
    let (_world, _upstream, mut gate) = scene(&postgres, "").await;
    until_waiting(&gate).await;
    gate.kill();
    let port = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    let (proxy, admin) = (port(), port());
    let mut process = gate
        .command(&["serve"])
        .env("CONSOLE_GATE_LISTEN", format!("127.0.0.1:{proxy}"))
        .env("CONSOLE_GATE_ADMIN", format!("127.0.0.1:{admin}"))
        .spawn()
        .expect("the binary runs");
    let answer = over_tcp(proxy, "GET /public HTTP/1.1\r\nhost: console.test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("waits for its database"), "{answer}");
    let readyz = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = over_tcp(admin, readyz).await;
    assert!(answer.contains("\"waiting_for\":\"database\""), "{answer}");
    postgres.restart();
    let deadline = Instant::now() + LIMIT;
    while !over_tcp(admin, readyz).await.starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < deadline && process.try_wait().expect("its state").is_none());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer =
        over_tcp(proxy, "GET /public HTTP/1.1\r\nhost: console.test\r\nconnection: close\r\n\r\n").await;
    assert!(!answer.contains("waits for its database"), "{answer}");
    process.kill().expect("a child");
    process.wait().expect("a killed process ends");
}

/// Holds a lock on a table until it is dropped: the database answers, but for what reads the table.
async fn lock(world: &World, table: &str) -> sqlx::PgConnection {
    let mut connection = sqlx::PgConnection::connect(&world.database_url).await.expect("Postgres");
    let lock = format!("BEGIN; LOCK TABLE console_gate.{table} IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut connection).await.expect("the lock");
    connection
}

/// Waits until a statement has waited for a lock for longer than a serving gate waits for one.
async fn until_stuck(world: &World) {
    let stuck = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '700 milliseconds'";
    let deadline = Instant::now() + LIMIT;
    loop {
        let pool = world.store.postgres().expect("Postgres");
        let count: i64 = sqlx::query_scalar(stuck).fetch_one(pool).await.expect("the statements that wait");
        if count > 0 {
            return;
        }
        assert!(Instant::now() < deadline, "nothing waits for the lock");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn slow_scene(database: &'static str) -> (World, Recorder, Gate) {
    let world = World::new(Database::Postgres).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (mapping, upstream_socket) = (Some(MAPPING), Some(upstream.socket()));
    let setup = Setup { mapping, upstream: upstream_socket, database, patience_ms: 500, ..Setup::V2 };
    let mut gate = world.gate(&setup).await;
    gate.stop().await;
    (world, upstream, gate)
}

/// A start has more patience than a request, and says that it needs it; what serves then has a request's again.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_starts_on_a_database_that_answers_slowly() {
    let (world, _upstream, mut gate) = slow_scene("").await;
    let locked = lock(&world, "rbac_roles").await;
    gate.restart_without_waiting();
    until_stuck(&world).await;
    drop(locked);
    gate.wait_until_ready().await;
    assert!(gate.log().contains("the gate still starts: the database answers slowly"), "{}", gate.log());
    assert_eq!(gate.send(&Ask::get("/x").cookie(&world.cookie("olaf"))).await.status, 200);

    let _locked = lock(&world, "gate_epoch").await;
    let began = Instant::now();
    let answer = gate.send(&Ask::get("/x").cookie(&world.cookie("olaf"))).await;
    assert_eq!(answer.status, 503, "{}", gate.log());
    let ready = Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await.json();
    assert_eq!(ready["database_problem"], "timeout", "{ready}");
    assert!(began.elapsed() < Duration::from_secs(20), "what serves has the patience of a start");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_patience_of_a_start_has_an_end() {
    let (world, _upstream, mut gate) = slow_scene("start_timeout_ms = 700\n").await;
    let _locked = lock(&world, "rbac_roles").await;
    gate.restart_without_waiting();
    assert!(gate.ends(LIMIT).await, "it waits on:\n{}", gate.log());
    assert!(gate.log().contains("the database did not answer within 700ms"), "{}", gate.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_more_patience_than_a_request() {
    let (world, _upstream, gate) = slow_scene("").await;
    let locked = lock(&world, "rbac_roles").await;
    let mut listing = gate.command(&["role", "list"]).stdout(Stdio::null()).spawn().expect("the binary runs");
    until_stuck(&world).await;
    assert!(listing.try_wait().expect("its state").is_none(), "it has given up");
    drop(locked);
    assert_eq!(listing.wait().expect("its end").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_wait_for_ever_and_stops_on_a_signal() {
    let postgres = Postgres::start();
    let (_world, _upstream, mut gate) = scene(&postgres, "wait_ms = 1500\n").await;
    until_waiting(&gate).await;
    assert!(gate.ends(LIMIT).await, "it waits on:\n{}", gate.log());
    let message =
        "the database did not answer within 1 s (`database.wait_ms`): the database is unavailable: ";
    assert!(gate.log().contains(message), "{}", gate.log());

    let output =
        gate.command(&["serve"]).env("CONSOLE_GATE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/x").output();
    assert_eq!(output.expect("the binary runs").status.code(), Some(2));

    gate.restart_without_waiting();
    let waits = || gate.log().matches("the gate waits for the database").count();
    let deadline = Instant::now() + LIMIT;
    while waits() < 2 {
        assert!(Instant::now() < deadline, "{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gate.stop().await;
    assert!(gate.log().contains("stopped before the database answered"), "{}", gate.log());
}
