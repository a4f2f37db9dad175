//! The decision log of a running gate, and what is made of it: `replay`, and the unmapped paths of `coverage`.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use policy::rbac::LegacyRole;
use store::decisions::StoredDecision;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"shadow\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /x/<id>\" = { legacy = [\"ops\"], role = \"console-manager\" }\n\"GET /open\" = { public = true }\n";

/// What the log has once it has as many requests as were made: it is written behind the answers.
async fn logged(world: &World, requests: i64) -> Vec<StoredDecision> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let rows = world.store.decisions(Utc::now() - TimeDelta::hours(1)).await.expect("the log");
        if rows.iter().map(|row| row.count).sum::<i64>() >= requests {
            return rows;
        }
        assert!(Instant::now() < deadline, "{rows:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Olaf holds the legacy role, Pat the V2 role; both ask, and Pat asks for something without a row, too.
async fn scene(world: &World, upstream: &Recorder, sections: &'static str) -> Gate {
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    world.admin("pat", &["raxx-platform-admins"], &[]).await;
    let upstream = Some(upstream.socket());
    let gate = world.gate(&Setup { mapping: Some(MAPPING), upstream, sections, ..Setup::V2 }).await;
    let ask = |path: &str, who: &str| Ask::get(path).cookie(&world.cookie(who));
    for (path, who, status) in [
        ("/x/1?secret=1", "olaf", 200),
        ("/x/1", "olaf", 200),
        ("/x/2", "pat", 403),
        ("/new", "pat", 403),
        ("/open", "pat", 200),
    ] {
        assert_eq!(gate.send(&ask(path, who)).await.status, status, "{path} {who}");
    }
    assert_eq!(gate.send(&Ask::get("/new")).await.status, 302);
    assert_eq!(gate.send(&Ask::get("/x/9")).await.status, 302);
    gate
}

async fn what_people_asked_for_is_added_up(database: Database) {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let _gate = scene(&world, &upstream, "").await;
    let mut rows: Vec<_> = logged(&world, 5)
        .await
        .into_iter()
        .map(|row| {
            (row.path, row.route, row.cluster, row.gate, row.actor_id, row.answer, row.reason, row.count)
        })
        .collect();
    rows.sort();
    let row = |path: &str,
               route: &str,
               cluster: &str,
               gate: &str,
               actor: &str,
               answer: &str,
               reason: &str,
               count| {
        let text = |text: &str| text.to_owned();
        (text(path), text(route), text(cluster), text(gate), text(actor), text(answer), text(reason), count)
    };
    // Anonymous requests for rows are of no use; a query is never kept; a public row asks for nobody.
    let expected = [
        row("/new", "", "", "none", "", "login", "", 1),
        row("/new", "", "", "none", "pat", "deny", "unmapped_route", 1),
        row("/x/1", "GET /x/<id>", "C", "shadow", "olaf", "allow", "", 2),
        row("/x/2", "GET /x/<id>", "C", "shadow", "pat", "deny", "missing_legacy_role", 1),
    ];
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_asked_for_is_added_up_on_sqlite() {
    what_people_asked_for_is_added_up(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_asked_for_is_added_up_on_postgres() {
    what_people_asked_for_is_added_up(Database::Postgres).await;
}

/// What `replay` reports for a candidate is what the gate does once the candidate runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_says_which_requests_end_otherwise() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream, "").await;
    logged(&world, 5).await;
    let candidate = gate.folder().join("candidate.toml");
    std::fs::write(&candidate, MAPPING.replace("C = \"shadow\"", "C = \"v2\"")).expect("the candidate");
    let candidate = candidate.to_str().expect("UTF-8");
    let since = "2026-01-01";
    let (code, output) = gate.attempt(&["replay", "--since", since, "--mapping", candidate]);
    assert_eq!(code, 1, "{output}");
    let expected = "\
5 request(s) by 2 caller(s) since 2026-01-01 00:00:00Z
1 newly allowed, 2 newly denied

GET /x/1
    row GET /x/<id>
    olaf: allow -> deny, 2 time(s)

GET /x/2
    row GET /x/<id>
    pat: deny -> allow, 1 time(s)
";
    assert_eq!(output, expected);
    let (code, output) = gate.attempt(&["replay", "--since", since]);
    assert_eq!(code, 0, "the running mapping against itself: {output}");
    assert!(output.ends_with("0 newly allowed, 0 newly denied\n"), "{output}");
    let (code, output) =
        gate.attempt(&["replay", "--since", since, "--mapping", candidate, "--format", "json"]);
    let replay: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, replay["changed"].as_array().map(Vec::len)), (1, Some(2)));
    assert_eq!(gate.attempt(&["replay", "--since", "yesterday"]).0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_lists_what_was_hit_and_has_no_row() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream, "").await;
    logged(&world, 5).await;
    let (code, output) = gate.attempt(&["coverage", "--hits", "--format", "json"]);
    assert_eq!(code, 1, "{output}");
    let report: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 1, "{output}");
    let message = findings[0]["message"].as_str().expect("a message");
    let begins = "`GET /new` has no row and was requested 2 time(s), by 1 known caller(s) and 1 time(s) by unknown callers";
    assert!(message.starts_with(begins), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_logged_where_the_settings_say_so() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let mut gate = scene(&world, &upstream, "[decisions]\nlog = false\n").await;
    // A gate that has stopped has written whatever it would write.
    gate.signal("TERM");
    assert!(gate.ends(Duration::from_secs(15)).await, "{}", gate.log());
    assert_eq!(world.store.decisions(Utc::now() - TimeDelta::hours(1)).await.expect("the log"), []);
}

/// A row of the gate's own is not there while V2 is off: nothing that the log could not keep, so no evidence is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_there_while_v2_is_off_loses_no_evidence() {
    const OWN: &str =
        "\"GET /api/rbac/me\" = { role = \"console-user\", gate = true, unauthenticated = \"401\" }\n";
    for database in [Database::Sqlite, Database::Postgres] {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        world.admin_holding("pat", &["console-user", "console-manager"]).await;
        let mapping = format!("{MAPPING}{OWN}").leak();
        let setup = Setup { mapping: Some(mapping), upstream: Some(upstream.socket()), ..Setup::V2 };
        let mut gate = world.gate(&setup).await;
        gate.run(&["flag", "rbac-v2", "off"]);
        let ask = |path: &str| Ask::get(path).cookie(&world.cookie("pat"));
        assert_eq!(gate.send(&ask("/api/rbac/me")).await.status, 404);
        assert_eq!(gate.send(&ask("/x/1")).await.status, 403);
        // A gate that has stopped has written whatever it would write.
        gate.signal("TERM");
        assert!(gate.ends(Duration::from_secs(15)).await, "{}", gate.log());
        let since = Utc::now() - TimeDelta::hours(1);
        assert_eq!(world.store.gaps(since).await.expect("the gaps"), [], "{}", gate.log());
        let logged: Vec<_> =
            world.store.decisions(since).await.expect("the log").into_iter().map(|row| row.path).collect();
        assert_eq!(logged, ["/x/1"]);
    }
}
