//! A running gate's mapping and its signals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use policy::mapping::parse::sha256_of;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Database, Gate, Setup, World};

const LEGACY: &str = "version = 1\n[clusters]\nC = \"legacy\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n\"* /open/*\" = { public = true }\n";

fn v2() -> String {
    LEGACY.replace("C = \"legacy\"", "C = \"v2\"")
}

/// Waits until a request is answered with `status`: the gate takes a file up in its own time, but soon.
async fn until(gate: &Gate, ask: &Ask, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = gate.send(ask).await;
        if answer.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "still {} and not {status}\n{}", answer.status, gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A gate on [`LEGACY`], an upstream, and a request by somebody whom only V2 lets in.
async fn scene(world: &World, upstream: &Recorder) -> (Gate, Ask) {
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let gate =
        world.gate(&Setup { mapping: Some(LEGACY), upstream: Some(upstream.socket()), ..Setup::V2 }).await;
    let ask = Ask::get("/x").cookie(&world.cookie("anna"));
    assert_eq!(gate.send(&ask).await.status, 403);
    (gate, ask)
}

/// Waits until `/readyz` says this of the mapping; of one that is as it should be, nothing.
async fn until_ready_says(gate: &Gate, word: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await;
        let readiness = answer.json();
        if readiness["mapping"].as_str().unwrap_or_default() == word {
            assert_eq!(answer.status, 200, "{readiness}");
            assert_eq!(readiness["mapping_problem"].is_string(), !word.is_empty(), "{readiness}");
            return;
        }
        assert!(Instant::now() < deadline, "{readiness}\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_log(gate: &Gate, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !gate.log().contains(line) {
        assert!(Instant::now() < deadline, "`{line}` is missing:\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn outcomes(world: &World) -> Vec<String> {
    let activations = world.store.activations(100).await.expect("the activations");
    activations.into_iter().rev().map(|activation| activation.outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_file_is_taken_up_and_a_broken_one_is_not() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (gate, ask) = scene(&world, &upstream).await;
    let file = gate.mapping_file();
    std::fs::write(&file, v2()).expect("the mapping");
    until(&gate, &ask, 200).await;
    // Broken, half-written, naming a role that does not exist, gone: the last good mapping stays.
    let broken = ["nonsense", &v2()[..80], &v2().replace("console-user", "console-usr")];
    for text in broken {
        std::fs::write(&file, text).expect("the mapping");
        let deadline = Instant::now() + Duration::from_secs(30);
        let refused = |outcomes: &[String]| outcomes.iter().filter(|outcome| *outcome == "refused").count();
        let before = refused(&outcomes(&world).await);
        while refused(&outcomes(&world).await) == before {
            assert!(Instant::now() < deadline, "no refusal was recorded of {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(gate.send(&ask).await.status, 200, "{text}");
        until_ready_says(&gate, "refused").await;
    }
    let errors = Client::to(&gate.admin_socket()).send(&Ask::get("/errors")).await.json();
    let last = &errors[0];
    assert_eq!(last["message"], "the mapping file was refused; the running mapping stays", "{errors}");
    assert!(
        last["fields"]["diagnostics"].as_str().is_some_and(|why| why.contains("console-usr")),
        "{errors}"
    );
    let (code, printed) = gate.attempt(&["doctor", "--format", "json"]);
    assert!(code == 1 && printed.contains("the running gate's mapping: refused"), "{printed}");
    assert!(printed.contains("the mapping file was refused; the running mapping stays: "), "{printed}");
    std::fs::remove_file(&file).expect("the mapping");
    until_ready_says(&gate, "missing").await;
    std::fs::write(file.with_extension("new"), LEGACY).expect("a new mapping");
    assert_eq!(gate.send(&ask).await.status, 200);
    // Renamed over, as editors and Kubernetes do.
    std::fs::rename(file.with_extension("new"), &file).expect("a rename");
    until(&gate, &ask, 403).await;
    until_ready_says(&gate, "").await;
    let events = world.store.recent(100).await.expect("the audit rows");
    let of_kind = |kind: &str| events.iter().filter(|event| event.event_type == kind).count();
    assert_eq!(of_kind("mapping_activated"), 3, "start, v2, legacy");
    assert_eq!(of_kind("mapping_refused"), outcomes(&world).await.iter().filter(|o| *o == "refused").count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symlink_that_is_swapped_is_noticed() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (gate, ask) = scene(&world, &upstream).await;
    let file = gate.mapping_file();
    let elsewhere = tempfile::tempdir_in("/tmp").expect("a folder");
    std::fs::write(elsewhere.path().join("one"), LEGACY).expect("a mapping");
    std::fs::write(elsewhere.path().join("two"), v2()).expect("a mapping");
    let link = file.with_extension("link");
    for (target, status) in [("one", 403), ("two", 200), ("one", 403)] {
        std::os::unix::fs::symlink(elsewhere.path().join(target), &link).expect("a link");
        std::fs::rename(&link, &file).expect("a swap");
        until(&gate, &ask, status).await;
    }
}

/// Assertions of one second share their beginning, in which the mapping is; requests go on while mappings change.
#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_names_the_mapping_whose_row_let_the_request_in() {
    const MAPPINGS: usize = 12;
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    // Each names its one row otherwise, so that the claimed row says which file decided.
    let row = |number: usize| format!("* /open/<path:p{number}>");
    let file = |number: usize| {
        format!("version = 1\n[blueprints.t.routes]\n\"{}\" = {{ public = true }}\n", row(number))
    };
    let setup = Setup {
        mapping: Some(file(0).leak()),
        upstream: Some(upstream.socket()),
        settle_ms: 50,
        ..Setup::V2
    };
    let gate = world.gate(&setup).await;
    let stop = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (stop, mut client) = (stop.clone(), gate.client());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.send(&Ask::get("/open/x")).await.status, 200);
                }
            })
        })
        .collect();
    for number in 1..MAPPINGS {
        let mapping = gate.mapping_file();
        std::fs::write(mapping.with_extension("new"), file(number)).expect("a new mapping");
        std::fs::rename(mapping.with_extension("new"), &mapping).expect("a rename");
        let sha256 = sha256_of(&file(number));
        let runs = format!("gate_mapping_info{{sha256=\"{sha256}\"}}");
        let deadline = Instant::now() + Duration::from_secs(30);
        while gate.metric(&runs).await != Some(1.0) {
            assert!(Instant::now() < deadline, "{number}\n{}", gate.log());
        }
    }
    stop.store(true, Ordering::Relaxed);
    for asked in asking {
        asked.await.expect("every request was answered");
    }
    let expected: BTreeMap<String, String> =
        (0..MAPPINGS).map(|number| (row(number), sha256_of(&file(number)).to_string())).collect();
    let mut in_one_second: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for request in upstream.requests() {
        let claims = request.claims();
        let text = |name: &str| claims[name].as_str().expect("a text").to_owned();
        assert_eq!(expected.get(&text("route")), Some(&text("mapping")), "{claims}");
        in_one_second.entry(claims["iat"].as_i64().expect("a time")).or_default().insert(text("mapping"));
    }
    assert!(
        in_one_second.values().any(|mappings| mappings.len() > 1),
        "no mapping changed within a second, so this showed nothing: {in_one_second:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_where_nothing_is_watched() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let setup = Setup {
        mapping: Some(LEGACY),
        upstream: Some(upstream.socket()),
        mapping_settings: "watch = false\n",
        ..Setup::V2
    };
    let gate = world.gate(&setup).await;
    let ask = Ask::get("/x").cookie(&world.cookie("anna"));
    std::fs::write(gate.mapping_file(), v2()).expect("the mapping");
    gate.signal("HUP");
    until(&gate, &ask, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_a_broken_file_serves_what_was_activated_last() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let (mut gate, ask) = scene(&world, &upstream).await;
        std::fs::write(gate.mapping_file(), v2()).expect("the mapping");
        until(&gate, &ask, 200).await;
        std::fs::write(gate.mapping_file(), "version = 2\n").expect("a broken mapping");
        gate.stop().await;
        // Ready: a request is decided as before.
        gate.restart().await;
        assert_eq!(gate.send(&ask).await.status, 200);
        let ready = Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await;
        assert_eq!((ready.status, &ready.json()["mapping"]), (200, &serde_json::json!("fallback")));
        assert_eq!(gate.metric("gate_mapping_fallback").await, Some(1.0));
        until_log(&gate, "the gate serves with the mapping that was activated last").await;
        std::fs::write(gate.mapping_file(), format!("{}# repaired\n", v2())).expect("the mapping");
        let deadline = Instant::now() + Duration::from_secs(30);
        while gate.metric("gate_mapping_fallback").await != Some(0.0) {
            assert!(Instant::now() < deadline, "{}", gate.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ready = Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await;
        assert_eq!((ready.status, ready.json().get("mapping")), (200, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_holds_until_the_file_changes() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (mut gate, ask) = scene(&world, &upstream).await;
    std::fs::write(gate.mapping_file(), v2()).expect("the mapping");
    until(&gate, &ask, 200).await;
    // It says first what it does to whom. Where nobody can be asked, it does nothing by itself.
    let (code, output) = gate.attempt(&["rollback"]);
    assert_eq!(code, 2, "{output}");
    assert!(output.starts_with("1 admin, "), "{output}");
    assert!(output.contains("\n  - 1 admin ") && output.contains(": anna\n"), "{output}");
    assert_eq!(gate.send(&ask).await.status, 200);
    gate.run(&["rollback", "--yes"]);
    // It returns when it is so.
    assert_eq!(gate.send(&ask).await.status, 403);
    assert_eq!(gate.metric("gate_mapping_pinned").await, Some(1.0));
    // The same bad file, touched: still rolled back. A restart keeps the rollback, too.
    std::fs::write(gate.mapping_file(), v2()).expect("the mapping");
    gate.signal("HUP");
    until_log(&gate, "the mapping file was rolled back and is not activated").await;
    assert_eq!(gate.send(&ask).await.status, 403);
    gate.stop().await;
    gate.restart().await;
    assert_eq!(gate.send(&ask).await.status, 403);
    // An edit that contains what was rolled back is refused; a release says that it is meant.
    std::fs::write(gate.mapping_file(), format!("{}# edited\n", v2())).expect("the mapping");
    until_log(&gate, "[taken-back]").await;
    assert_eq!(gate.send(&ask).await.status, 403);
    gate.run(&["rollback", "--release", "--yes"]);
    until(&gate, &ask, 200).await;
    gate.run(&["rollback", "--yes"]);
    let history = gate.run(&["history"]);
    let (in_force, history) = history.split_once("\n\n").expect("the rollback in force");
    assert!(in_force.starts_with("rolled back to ") && in_force.contains(" by "), "{in_force}");
    assert!(history.lines().count() >= 4, "{history}");
    assert!(history.contains("activated  ") && history.contains("  rollback by "), "{history}");
    assert!(history.contains(": 1 gain, 0 losses\n") && history.contains(": 0 gains, 1 loss\n"), "{history}");
    let latest = history.split_whitespace().nth(3).expect("a SHA-256");
    let step = gate.run(&["history", "--show", latest]);
    assert!(step.contains(" 1 admin ") && step.contains(": anna\n"), "{step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_requests_finish() {
    let world = World::new(Database::Sqlite).await;
    let setup = Setup {
        mapping: Some("version = 1\n[blueprints.t.routes]\n\"* /__test/*\" = { public = true }\n"),
        ..Setup::V2
    };
    let mut gate = world.gate(&setup).await;
    let mut client = gate.client();
    let slow = tokio::spawn(async move { client.send(&Ask::get("/__test/slow?ms=1500")).await.status });
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.signal("TERM");
    assert_eq!(slow.await.expect("the request"), 200);
    assert!(gate.ends(Duration::from_secs(15)).await, "the gate did not end:\n{}", gate.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigquit_hands_the_sockets_over_without_a_failed_request() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let mut old =
        world.gate(&Setup { mapping: Some(LEGACY), upstream: Some(upstream.socket()), ..Setup::V2 }).await;
    let socket = old.socket();
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = crate::support::Client::to(&socket).send(&Ask::get("/open/x")).await;
                assert_eq!(answer.status, 200);
                answered += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answered
        })
    };
    let new = old.successor().await;
    old.signal("QUIT");
    assert!(old.ends(Duration::from_secs(30)).await, "the old gate did not end:\n{}", old.log());
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let answered = asking.await.expect("no request failed");
    assert!(answered > 20, "{answered}");
    drop(new);
}
