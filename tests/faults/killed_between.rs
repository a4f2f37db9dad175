//! The gate killed between the rows that record a grant and the grant (I-9): there are both afterwards, or neither.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::callers::{Caller, Outcome};
use crate::figures::size;
use crate::support::http::HOST;
use crate::support::recorder::Recorder;
use crate::support::{Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\nclusters.V = \"v2\"\n[blueprints.api]\ncluster = \"V\"\n[blueprints.api.routes]\n\
    \"GET /audit\" = { role = \"console-audit-user\" }\n\
    \"* /api/rbac/*\" = { session = true, gate = true, unauthenticated = \"401\" }\n";
const GROUP: &str = "raxx-support-team";
const LIMIT: Duration = Duration::from_secs(30);
/// For how long nobody else gets to write before a transaction counts as held.
const HELD: Duration = Duration::from_millis(300);
/// A lock that nothing else uses.
const LOCK: i64 = 7_777;

/// Where a transaction that grants is held.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// Before it inserts into this table.
    Before(&'static str),
    /// In its COMMIT, on Postgres.
    Commit,
}

async fn place(database: Database) -> (World, Recorder, Gate) {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-platform-admins"], &[]).await;
    world.admin("carol", &[], &[]).await;
    let delegation = format!(
        "INSERT INTO gate_grantors (kind, name, grantor_group, with_approval, added_by, added_at_utc)
         VALUES ('group', '{GROUP}', 'raxx-platform-admins', FALSE, 'tests', '2026-03-29T12:00:00+00:00')"
    );
    world.execute(&delegation).await;
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    (world, upstream, gate)
}

fn grant(world: &World) -> String {
    let body = format!("{{\"user\":\"carol\",\"group\":\"{GROUP}\",\"reason\":\"RAXX-7\"}}");
    let cookie = world.cookie("anna");
    format!(
        "POST /api/rbac/grants HTTP/1.1\r\nHost: {HOST}\r\nCookie: session={cookie}\r\nSec-Fetch-Site: same-origin\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn revoke(world: &World) -> String {
    use base64::Engine as _;
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let (cookie, id) = (world.cookie("anna"), format!("direct.{}.{}", part("carol"), part(GROUP)));
    format!(
        "DELETE /api/rbac/grants/{id} HTTP/1.1\r\nHost: {HOST}\r\nCookie: session={cookie}\r\n\
         Sec-Fetch-Site: same-origin\r\n\r\n"
    )
}

/// What `rbac_grants_audit` says when it is replayed, and what the table has.
async fn replayed(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut rows = world.store.grants_audit(Some("carol"), None, 100_000).await.expect("the rows");
    rows.sort_by_key(|row| row.created_at_utc);
    let mut replayed = BTreeSet::new();
    for row in rows {
        let group = row.group.expect("a group");
        match row.event_type.as_str() {
            "grant" => assert!(replayed.insert(group), "granted twice"),
            _ => assert!(replayed.remove(&group), "revoked twice"),
        }
    }
    let table = world.store.memberships().await.expect("the memberships");
    (
        replayed,
        table.into_iter().filter(|one| *one.admin == *"carol").map(|one| one.group.to_string()).collect(),
    )
}

/// The sealed rows, and those for customers.
async fn records(world: &World) -> [usize; 2] {
    let sealed = world.store.recent(100_000).await.expect("the audit");
    let sealed = sealed.iter().filter(|event| event.event_type == "rbac_changed").count();
    let rows = world.store.grants_audit(None, None, 100_000).await.expect("the rows");
    [sealed, rows.len()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_and_its_rows_are_both_there_or_neither_on_postgres() {
    let tables = ["rbac_grants_audit", "customer_audit_events", "rbac_user_groups"];
    for held in tables.map(Held::Before).into_iter().chain([Held::Commit]) {
        let (world, _upstream, mut gate) = place(Database::Postgres).await;
        let mut lock = PgConnection::connect_with(&world.around()).await.expect("Postgres");
        let number = async |lock: &mut PgConnection, statement: &'static str| -> i64 {
            sqlx::query_scalar(statement).fetch_one(lock).await.expect("Postgres answers")
        };
        sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut lock).await.expect("a lock");
        let (kind, when, table) = match held {
            Held::Before(table) => ("TRIGGER", "BEFORE INSERT", table),
            Held::Commit => ("CONSTRAINT TRIGGER", "AFTER INSERT", "rbac_user_groups"),
        };
        let deferred = if matches!(held, Held::Commit) { "DEFERRABLE INITIALLY DEFERRED" } else { "" };
        world
            .execute(&format!(
                "CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NEW; END $$;
                 CREATE {kind} aaa_held {when} ON {table} {deferred} FOR EACH ROW EXECUTE FUNCTION held()"
            ))
            .await;
        let (text, socket) = (grant(&world), gate.socket());
        let asking = tokio::spawn(async move { Caller::to(&socket).ask(&text).await });
        let began = Instant::now();
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 7777";
        while number(&mut lock, waiting).await == 0 {
            assert!(began.elapsed() < LIMIT, "{held:?}: the grant is not held\n{}", gate.log());
        }
        gate.kill();
        assert!(!matches!(asking.await, Ok(Outcome::Answered { .. })), "{held:?}: it was answered");
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut lock).await.expect("unlocked");
        // The server finds out that its client is gone when it has done what it was asked for.
        let busy = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7777";
        while number(&mut lock, busy).await > 0 {
            assert!(began.elapsed() < LIMIT, "{held:?}: the transaction goes on");
        }
        world.execute(&format!("DROP TRIGGER aaa_held ON {table}; DROP FUNCTION held()")).await;
        let (replayed, table) = replayed(&world).await;
        assert_eq!(replayed, table, "{held:?}");
        let count = usize::from(matches!(held, Held::Commit));
        assert_eq!((table.len(), records(&world).await), (count, [count; 2]), "{held:?}");
        goes_on(&world, &mut gate, count == 1).await;
    }
    println!(
        "fault: gate killed while it grants, in 4 places on Postgres: the grant with its rows, or neither"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_and_its_rows_are_both_there_or_neither_on_sqlite() {
    for table in ["rbac_grants_audit", "customer_audit_events", "rbac_user_groups"] {
        let (world, _upstream, mut gate) = place(Database::Sqlite).await;
        // SQLite has no lock to wait for: the trigger counts, for hours.
        world
            .execute(&format!(
                "CREATE TRIGGER aaa_held BEFORE INSERT ON {table} BEGIN
                     SELECT count(*) FROM (WITH RECURSIVE c (x) AS
                         (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 100000000000) SELECT x FROM c);
                 END"
            ))
            .await;
        let mut other = SqliteConnection::connect(&world.database_url).await.expect("SQLite");
        sqlx::raw_sql("PRAGMA busy_timeout = 0").execute(&mut other).await.expect("a setting");
        let (text, socket) = (grant(&world), gate.socket());
        let asking = tokio::spawn(async move { Caller::to(&socket).ask(&text).await });
        let (began, mut free) = (Instant::now(), Instant::now());
        while free.elapsed() < HELD {
            if sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.is_ok() {
                sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("it ends");
                free = Instant::now();
            }
            assert!(began.elapsed() < LIMIT, "{table}: the grant is not held\n{}", gate.log());
            tokio::task::yield_now().await;
        }
        gate.kill();
        assert!(!matches!(asking.await, Ok(Outcome::Answered { .. })), "{table}: it was answered");
        world.execute("DROP TRIGGER aaa_held").await;
        let (replayed, memberships) = replayed(&world).await;
        assert_eq!((replayed.len(), memberships.len(), records(&world).await), (0, 0, [0; 2]), "{table}");
        goes_on(&world, &mut gate, false).await;
    }
    println!("fault: gate killed while it grants, in 3 places on SQLite: neither the grant nor a row");
}

/// The next gate grants as if nothing had been.
async fn goes_on(world: &World, gate: &mut Gate, is_granted: bool) {
    gate.restart().await;
    let answer = Caller::to(&gate.socket()).ask(&grant(world)).await;
    let expected = if is_granted { 200 } else { 201 };
    assert!(matches!(answer, Outcome::Answered { status, .. } if status == expected), "{answer:?}");
    assert_eq!(records(world).await, [1; 2]);
    let (code, report) = gate.attempt(&["audit", "verify"]);
    assert_eq!(code, 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_changes_that_is_cut_off_is_explained_by_its_rows() {
    for database in [Database::Sqlite, Database::Postgres] {
        let (world, _upstream, mut gate) = place(database).await;
        let rounds = size(3, 60);
        let (mut cut, mut made) = (0, 0);
        for round in 0..rounds {
            let answered = Arc::new(AtomicUsize::new(0));
            let mut callers = tokio::task::JoinSet::new();
            for number in 0..6 {
                let text = if number % 2 == 0 { grant(&world) } else { revoke(&world) };
                let (mut caller, answered) = (Caller::to(&gate.socket()), answered.clone());
                callers.spawn(async move {
                    while let Outcome::Answered { .. } = caller.ask(&text).await {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let (enough, began) = (10 + round * 7 % 23, Instant::now());
            while answered.load(Ordering::Relaxed) < enough {
                assert!(began.elapsed() < LIMIT, "nothing is answered\n{}", gate.log());
                tokio::task::yield_now().await;
            }
            gate.kill();
            cut += callers.join_all().await.len();
            gate.restart().await;
            let (replayed, table) = replayed(&world).await;
            assert_eq!(replayed, table, "{database:?}, round {round}");
            let [sealed, rows] = records(&world).await;
            assert_eq!(sealed, rows, "{database:?}, round {round}: each change has both rows");
            made = rows;
        }
        let (code, report) = gate.attempt(&["audit", "verify"]);
        assert_eq!(code, 0, "{report}");
        assert!(made > rounds, "{made} changes in {rounds} rounds");
        println!(
            "fault: gate killed in a burst of grants and revocations on {database:?}: {rounds} times, {cut} requests \
             cut off, {made} changes, each explained by its rows"
        );
    }
}
