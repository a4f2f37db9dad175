//! `freshness = "push"` on a real Postgres: how soon a change is seen, what the barrier promises, and what happens when
//! the connection that listens is lost or falls silent.
//!
//! `GATE_ROUNDS` sets the number of rounds behind the barrier; each runs the command, a process of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use console_gate::random::machine_token;
use ledger::AuditEvent;
use policy::identity::machine_token::TokenDigest;
use policy::ids::{AdminId, MachineTokenId};
use sqlx::postgres::PgPool;
use store::tokens::NewToken;
use tempfile::TempDir;

use crate::freshness::serve_ok;
use crate::support::{Ask, Database, Gate, Setup, World};

/// Every row is push; one takes machines.
const MAPPING: &str = r#"
version = 1
[clusters]
all = "v2"
[blueprints.audit]
cluster = "all"
freshness = "push"
[blueprints.audit.routes]
"GET /audit" = { legacy = ["ops"], role = "console-audit-user" }
"GET /money" = { legacy = ["ops"], role = "console-audit-user", freshness = "strict" }
"GET /metered" = { role = "console-audit-user", machine_or_session = true, unauthenticated = "401" }
"#;

const MAX_STALENESS: Duration = Duration::from_millis(2_000);
/// How long the gate may take to notice a dead connection.
const NOTICE: Duration = Duration::from_secs(5);
/// For what has no bound of its own. A busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

struct Push {
    gates: [Gate; 2],
    pool: PgPool,
    world: Arc<World>,
    _stand_in: TempDir,
}

impl Push {
    async fn start() -> Push {
        let world = Arc::new(World::new(Database::Postgres).await);
        let folder = tempfile::Builder::new().prefix("gate-stand-in-").tempdir_in("/tmp").expect("a folder");
        let stand_in = folder.path().join("upstream.sock");
        serve_ok(&stand_in);
        let setup = Setup { upstream: Some(stand_in), mapping: Some(MAPPING), ..Setup::V2 };
        let gates = [world.gate(&setup).await, world.gate(&setup).await];
        let pool = PgPool::connect_with(world.around()).await.expect("Postgres");
        world.store.add_group("readers", &["console-audit-user"]).await.expect("a group");
        world.admin("anna", &["readers"], &[]).await;
        let push = Push { gates, pool, world, _stand_in: folder };
        push.all_trusted(PATIENCE).await;
        push
    }

    fn ask(&self) -> Ask {
        Ask::get("/audit").cookie(&self.world.cookie("anna"))
    }

    /// Both gates answer from pushed knowledge, which begins when they are first asked.
    async fn all_trusted(&self, limit: Duration) {
        for gate in &self.gates {
            within(limit, "trust", async || {
                gate.send(&self.ask()).await;
                gate.metric("gate_push_trusted").await == Some(1.0)
            })
            .await;
        }
    }

    /// By SQL that knows nothing of gates.
    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.pool).await.expect("the statement");
    }

    async fn grant(&self) {
        self.execute("INSERT INTO rbac_user_groups (user_id, group_id) SELECT 'anna', id FROM rbac_groups WHERE name = 'readers'").await;
    }

    async fn revoke(&self) {
        self.execute("DELETE FROM rbac_user_groups").await;
    }

    /// How long after now every gate answers `status`.
    async fn all_answer(&self, status: u16, limit: Duration) -> Duration {
        let started = Instant::now();
        for gate in &self.gates {
            within(limit, "the answer", async || gate.send(&self.ask()).await.status == status).await;
        }
        started.elapsed()
    }

    /// The server processes behind the connections that listen.
    async fn listeners(&self) -> Vec<i32> {
        let pids = "SELECT pid FROM pg_stat_activity
                     WHERE application_name = 'console-gate push' AND datname = current_database() ORDER BY pid";
        sqlx::query_scalar(pids).fetch_all(&self.pool).await.expect("the server's processes")
    }

    async fn reconnects(&self) -> f64 {
        let mut reconnects = 0.0;
        for gate in &self.gates {
            reconnects += gate.metric("gate_push_reconnects_total").await.unwrap_or_default();
        }
        reconnects
    }
}

async fn within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn signal(process: i32, name: &str) {
    let sent = std::process::Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {process}");
}

/// Stopped while this value is there.
struct Stopped(i32);

impl Stopped {
    fn process(process: i32) -> Stopped {
        signal(process, "STOP");
        Stopped(process)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_anybodys_sql_is_pushed_to_every_gate() {
    let push = Push::start().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        push.revoke().await;
        slowest = slowest.max(push.all_answer(403, MAX_STALENESS).await);
        push.grant().await;
        slowest = slowest.max(push.all_answer(200, MAX_STALENESS).await);
    }
    println!("200 changes by SQL, seen by both gates within {slowest:?}");
    assert_eq!(push.reconnects().await, 0.0);
}

/// What says nothing has what the settings say; a path that no row covers is strict whatever they say; and a gate in
/// which nothing asks for push has no lease and nothing to be alarmed about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_speak_for_rows_that_say_nothing() {
    let world = World::new(Database::Postgres).await;
    world.admin_holding("anna", &["console-audit-user"]).await;
    let folder = tempfile::Builder::new().prefix("gate-stand-in-").tempdir_in("/tmp").expect("a folder");
    let stand_in = folder.path().join("upstream.sock");
    serve_ok(&stand_in);
    let mapping = "version = 1\n[clusters]\nall = \"v2\"\n[blueprints.b]\ncluster = \"all\"\n[blueprints.b.routes]\n\
                   \"GET /silent\" = { role = \"console-audit-user\" }\n\
                   \"GET /strict\" = { role = \"console-audit-user\", freshness = \"strict\" }\n";
    for (access, silent_reads) in [("", true), ("freshness = \"push\"\n", false)] {
        let setup = Setup { upstream: Some(stand_in.clone()), mapping: Some(mapping), access, ..Setup::V2 };
        let gate = world.gate(&setup).await;
        let ask = |path: &str| Ask::get(path).cookie(&world.cookie("anna"));
        gate.send(&ask("/silent")).await;
        if !silent_reads {
            let trusted = async || gate.metric("gate_push_trusted").await == Some(1.0);
            within(PATIENCE, "trust", trusted).await;
        }
        for (path, status, reads) in
            [("/silent", 200, silent_reads), ("/strict", 200, true), ("/no-row", 403, true)]
        {
            let before = gate.metric("gate_epoch_reads_total").await.expect("the metric");
            assert_eq!(gate.send(&ask(path)).await.status, status, "{path}");
            let after = gate.metric("gate_epoch_reads_total").await.expect("the metric");
            assert_eq!(after > before, reads, "{access}{path}: {before} then {after} reads");
        }
        if silent_reads {
            assert_eq!(gate.metric("gate_push_trusted").await, None);
            assert_eq!(world.store.leases().await.expect("the leases"), []);
        }
    }
}

/// On SQLite the gate looks often instead; bound and barrier are the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_push_keeps_its_word_too() {
    let world = World::new(Database::Sqlite).await;
    world.store.add_group("readers", &["console-audit-user"]).await.expect("a group");
    world.admin("anna", &["readers"], &[]).await;
    let folder = tempfile::Builder::new().prefix("gate-stand-in-").tempdir_in("/tmp").expect("a folder");
    let stand_in = folder.path().join("upstream.sock");
    serve_ok(&stand_in);
    let gate = world.gate(&Setup { upstream: Some(stand_in), mapping: Some(MAPPING), ..Setup::V2 }).await;
    let ask = Ask::get("/audit").cookie(&world.cookie("anna"));
    within(PATIENCE, "trust", async || {
        gate.send(&ask).await;
        gate.metric("gate_push_trusted").await == Some(1.0)
    })
    .await;
    for _ in 0..20 {
        world.execute("DELETE FROM rbac_user_groups").await;
        within(MAX_STALENESS, "the revocation", async || gate.send(&ask).await.status == 403).await;
        world.store.join_group(&AdminId::new("anna"), "readers", "tests").await.expect("a grant");
        within(MAX_STALENESS, "the grant", async || gate.send(&ask).await.status == 200).await;
        for (state, status) in [("off", 403), ("on", 200)] {
            let said = gate.run(&["flag", "rbac-v2", state]);
            assert_eq!(gate.send(&ask).await.status, status, "{said}");
            assert!(said.contains("has acknowledged it"), "{said}");
        }
    }
}

/// The row's own word wins over its blueprint's, and needs no patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_row_is_strict_in_a_gate_that_has_it_pushed() {
    let push = Push::start().await;
    let ask = Ask::get("/money").cookie(&push.world.cookie("anna"));
    for _ in 0..100 {
        for (gate, other) in [(0, 1), (1, 0)] {
            push.revoke().await;
            assert_eq!(push.gates[gate].send(&ask).await.status, 403);
            push.grant().await;
            assert_eq!(push.gates[other].send(&ask).await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_token_revoke_has_revoked_no_gate_takes_any_more() {
    let rounds: usize = std::env::var("GATE_ROUNDS")
        .map_or(200, |text| text.parse::<usize>().expect("GATE_ROUNDS is a number") / 100);
    let push = Push::start().await;
    let started = Instant::now();
    for round in 0..rounds {
        let token = machine_token().expect("a token");
        let name = format!("robot-{round}");
        let now = Utc::now();
        let new = NewToken {
            id: MachineTokenId::new(name.clone()),
            name: name.clone(),
            digest: TokenDigest::of(&token),
            groups: vec!["readers".into()],
            legacy: Vec::new(),
            created_by: "tests".into(),
            created_at: now,
            expires_at: None,
        };
        let record = AuditEvent::TokenRevoked { name: name.clone(), by: "tests".into() }.into_record(now);
        push.world.store.create_token(&new, &push.world.note(record)).await.expect("a token is enrolled");
        let ask = Ask::get("/metered").bearer(&token);
        for gate in &push.gates {
            within(PATIENCE, "a token that is taken", async || gate.send(&ask).await.status == 200).await;
        }
        let said = push.gates[round % 2].run(&["token", "revoke", &name]);
        for gate in &push.gates {
            assert_eq!(gate.send(&ask).await.status, 401, "round {round}: {said}");
        }
        assert!(said.contains("2 gates have acknowledged it"), "{said}");
    }
    println!("{rounds} tokens revoked in {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_acts_in_every_gate_when_the_command_returns() {
    let push = Push::start().await;
    // Anna has the V2 role and no legacy role.
    for _ in 0..20 {
        for (state, status) in [("off", 403), ("on", 200)] {
            push.gates[0].run(&["flag", "rbac-v2", state]);
            for gate in &push.gates {
                assert_eq!(gate.send(&push.ask()).await.status, status, "{state}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_killed_is_noticed_and_replaced() {
    let push = Push::start().await;
    for _ in 0..5 {
        let before = push.reconnects().await;
        push.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE application_name = 'console-gate push' AND datname = current_database()",
        )
        .await;
        push.revoke().await;
        let stale = push.all_answer(403, MAX_STALENESS).await;
        within(NOTICE, "the loss is noticed", async || push.reconnects().await >= before + 2.0).await;
        push.all_trusted(NOTICE).await;
        println!("killed: stale for at most {stale:?}");
        push.grant().await;
        push.all_answer(200, MAX_STALENESS).await;
    }
}

/// The worst kind: the connection stays open, and nothing comes over it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_falls_silent_is_noticed_and_replaced() {
    let push = Push::start().await;
    for _ in 0..3 {
        let before = push.reconnects().await;
        let listeners = push.listeners().await;
        assert_eq!(listeners.len(), 2, "one a gate");
        let stopped: Vec<Stopped> = listeners.into_iter().map(Stopped::process).collect();
        push.revoke().await;
        let stale = push.all_answer(403, MAX_STALENESS).await;
        // Fresh from here on, though nobody has pushed anything.
        for _ in 0..20 {
            push.grant().await;
            push.all_answer(200, MAX_STALENESS).await;
            push.revoke().await;
            push.all_answer(403, MAX_STALENESS).await;
        }
        within(NOTICE, "the silence is noticed", async || push.reconnects().await >= before + 2.0).await;
        push.all_trusted(NOTICE).await;
        println!("silent: stale for at most {stale:?}");
        drop(stopped);
        push.grant().await;
        push.all_answer(200, MAX_STALENESS).await;
        within(PATIENCE, "the old connections go", async || push.listeners().await.len() == 2).await;
    }
}

/// A gate that cannot hear holds the barrier up for no longer than its lease, and cannot make it lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_barrier_waits_a_silent_gate_out() {
    let push = Push::start().await;
    let stopped = Stopped::process(push.listeners().await[0]);
    let started = Instant::now();
    push.world.store.leave_group(&AdminId::new("anna"), "readers").await.expect("a revoke");
    let said = push.gates[1].run(&["flag", "rbac-v2", "on"]);
    let waited = started.elapsed();
    for gate in &push.gates {
        assert_eq!(gate.send(&push.ask()).await.status, 403, "{said}");
    }
    assert!(waited < MAX_STALENESS + NOTICE, "{waited:?}: {said}");
    drop(stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_stops_gives_its_lease_back() {
    let mut push = Push::start().await;
    let leases = "SELECT count(*) FROM gate_instances";
    let count =
        async |pool: &PgPool| -> i64 { sqlx::query_scalar(leases).fetch_one(pool).await.expect("a count") };
    assert_eq!(count(&push.pool).await, 2);
    push.gates[0].signal("TERM");
    assert!(push.gates[0].ends(PATIENCE).await);
    assert_eq!(count(&push.pool).await, 1);
}

/// What strict costs the database does not grow with the load: all who wait share a read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_requests_share_their_epoch_reads() {
    const CONNECTIONS: usize = 256;
    const REQUESTS: usize = 20;
    let push = Push::start().await;
    let gate = &push.gates[0];
    let before = gate.metric("gate_epoch_reads_total").await.expect("the metric");
    let started = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (mut client, ask) = (gate.client(), Ask::get("/money").cookie(&push.world.cookie("anna")));
        callers.spawn(async move {
            for _ in 0..REQUESTS {
                assert_eq!(client.send(&ask).await.status, 200);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.expect("a caller gets its answers");
    }
    let took = started.elapsed();
    let reads = gate.metric("gate_epoch_reads_total").await.expect("the metric") - before;
    let requests = (CONNECTIONS * REQUESTS) as f64;
    println!("{requests} strict requests over {CONNECTIONS} connections in {took:?}: {reads} epoch reads");
    assert!(reads < requests / 2.0, "{reads} reads for {requests} requests");
}
