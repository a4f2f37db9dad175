//! A mapping file that is being written: nothing of it is taken up before it is whole.
//!
//! The steps go by what the gate has seen, not by time: after each part the test waits until the gate has looked.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World, project_text};

/// What `cp` writes at once in the report that this is about.
const STEP: usize = 4 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a busy machine stalls: no part may settle while the test has yet to write the next.
const SETTLE: u64 = 5_000;
const SECRETS: &str = "/secrets";

/// The shipped file, which leaves what it has no row for to Console: cut short, it opens everything.
fn new_mapping() -> String {
    project_text("routes.toml").replace("unmapped = \"deny\"", "unmapped = \"forward\"")
}

async fn looked(gate: &Gate, times: f64) {
    let looks = async || gate.metric("gate_mapping_looks_total").await.unwrap_or_default();
    let (before, deadline) = (looks().await, Instant::now() + PATIENCE);
    while looks().await < before + times {
        assert!(Instant::now() < deadline, "the gate does not look\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many activations and refusals there are.
async fn steps(world: &World) -> usize {
    world.store.activations(1_000).await.expect("the history").len()
}

async fn until_steps(world: &World, expected: usize, gate: &Gate) {
    let deadline = Instant::now() + PATIENCE;
    while steps(world).await < expected {
        assert!(Instant::now() < deadline, "not {expected} steps\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A gate on the shipped file, and somebody whom it keeps from the secrets.
async fn scene(world: &World, upstream: &Recorder, settle_ms: u64) -> (Gate, Ask) {
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let setup = Setup { upstream: Some(upstream.socket()), settle_ms, ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let ask = Ask::get(SECRETS).cookie(&world.cookie("anna"));
    assert_eq!(gate.send(&ask).await.status, 403, "{SECRETS}");
    (gate, ask)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_copy_is_taken_up_whole_or_not_at_all() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (gate, ask) = scene(&world, &upstream, SETTLE).await;
    let new = new_mapping();
    // As cp does: the file that is there is cut to nothing, then written part by part.
    let mut file = std::fs::File::create(gate.mapping_file()).expect("the file");
    for part in new.as_bytes().chunks(STEP) {
        file.write_all(part).and_then(|()| file.sync_all()).expect("a part");
        looked(&gate, 2.0).await;
        assert_eq!(gate.send(&ask).await.status, 403);
        assert_eq!(steps(&world).await, 1, "{}", gate.run(&["history"]));
    }
    assert!(gate.metric("gate_mapping_file_changing_seconds").await.is_some_and(|seconds| seconds > 0.0));
    until_steps(&world, 2, &gate).await;
    let whole = policy::mapping::parse::sha256_of(&new);
    assert_eq!(gate.metric(&format!("gate_mapping_info{{sha256=\"{whole}\"}}")).await, Some(1.0));
    assert_eq!(gate.send(&ask).await.status, 403, "the row is there");
    assert_eq!(gate.metric("gate_mapping_reloads_total{outcome=\"refused\"}").await, Some(0.0));
    assert_eq!(gate.metric("gate_mapping_file_changing_seconds").await, Some(0.0));
}

/// SIGHUP says "now", and still a part of a file is no file.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_does_not_take_up_a_part() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let setup = Setup {
        upstream: Some(upstream.socket()),
        mapping_settings: "watch = false\n",
        settle_ms: SETTLE,
        ..Setup::V2
    };
    let gate = world.gate(&setup).await;
    let new = new_mapping();
    let mut file = std::fs::File::create(gate.mapping_file()).expect("the file");
    for part in new.as_bytes().chunks(STEP) {
        file.write_all(part).and_then(|()| file.sync_all()).expect("a part");
        gate.signal("HUP");
        looked(&gate, 2.0).await;
        assert_eq!(steps(&world).await, 1, "{}", gate.run(&["history"]));
    }
    until_steps(&world, 2, &gate).await;
    let latest = &world.store.activations(1).await.expect("the history")[0];
    assert_eq!(latest.outcome, "activated");
    assert!(latest.activated_by.starts_with("signal of "), "{}", latest.activated_by);
}

/// A copy that pauses for longer than the settling time looks like a complete file, except for its row count.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_pauses_is_refused_by_its_row_count() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (gate, ask) = scene(&world, &upstream, 100).await;
    let new = new_mapping();
    // Cut between two rows: sound, if it did not say how many there are.
    let cut = new.find("[blueprints.secrets").expect("the secrets have a blueprint");
    let part = &new[..cut];
    policy::mapping::Mapping::parse("part", &part.replace("rows = 106", "")).expect("a sound part");
    std::fs::write(gate.mapping_file(), part).expect("a part");
    until_steps(&world, 2, &gate).await;
    assert_eq!(gate.send(&ask).await.status, 403);
    let refused = &world.store.activations(1).await.expect("the history")[0];
    assert_eq!(refused.outcome, "refused");
    let why = refused.diagnostics.clone().unwrap_or_default();
    assert!(why.contains("`rows = 106`, but the file has ") && why.contains("[row-count]"), "{why}");
    std::fs::write(gate.mapping_file(), &new).expect("all of it");
    until_steps(&world, 3, &gate).await;
    assert_eq!(world.store.activations(1).await.expect("the history")[0].outcome, "activated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_acts_while_the_file_keeps_changing() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (gate, ask) = scene(&world, &upstream, 100).await;
    let out_of_order =
        ", after = [\"S1\", \"S2\", \"S3\", \"S4\", \"S5\", \"S6\", \"S7\"], soaked_hours = 24";
    let mapping = project_text("routes.toml");
    assert!(mapping.contains(out_of_order));
    let open = mapping.replace(out_of_order, "").replace("= \"legacy\"", "= \"v2\"").replacen(
        "\"GET /secrets\"",
        "\"GET /secrets-elsewhere/\"",
        1,
    );
    let open = open.replace("unmapped = \"deny\"", "unmapped = \"forward\"");
    std::fs::write(gate.mapping_file(), &open).expect("the mapping");
    until_steps(&world, 2, &gate).await;
    assert_eq!(gate.send(&ask).await.status, 200);
    let file = gate.mapping_file();
    let writer = tokio::spawn(async move {
        for number in 0_u64.. {
            std::fs::write(&file, format!("{open}# {number}\n")).expect("the mapping");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    looked(&gate, 3.0).await;
    let (code, output) = gate.attempt(&["rollback", "--yes"]);
    assert_eq!(code, 0, "{output}");
    assert_eq!(gate.send(&ask).await.status, 403);
    writer.abort();
}

/// A gate that is started while its file is being copied waits for the whole of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_starts_during_a_copy_waits_for_its_end() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (mut gate, ask) = scene(&world, &upstream, 1_000).await;
    gate.kill();
    let new = new_mapping();
    let mut file = std::fs::File::create(gate.mapping_file()).expect("the file");
    file.write_all(&new.as_bytes()[..STEP]).expect("a part");
    gate.restart_without_waiting();
    let deadline = Instant::now() + PATIENCE;
    let mut blanks = 0;
    // Still no mapping that it could run: a comment grows.
    while !gate.log().contains("the mapping file is changing: waiting") {
        assert!(Instant::now() < deadline, "{}", gate.log());
        file.write_all(b"#").expect("a little more");
        blanks += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(blanks > 0);
    drop(file);
    std::fs::write(gate.mapping_file(), &new).expect("all of it");
    gate.wait_until_ready().await;
    assert_eq!(gate.send(&ask).await.status, 403);
    let history = world.store.activations(10).await.expect("the history");
    let whole = policy::mapping::parse::sha256_of(&new);
    assert_eq!(history.len(), 2, "{history:#?}");
    assert_eq!(history[0].sha256, whole.as_str());
}
