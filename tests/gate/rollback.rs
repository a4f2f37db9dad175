//! `rollback` on a database with several gates: every gate follows, or is named.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

/// The legacy gate decides, and keeps anna out.
const LEGACY: &str = "version = 1\n[clusters]\nC = \"legacy\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n\"* /open/*\" = { public = true }\n";
/// The same, spelled otherwise: another file.
const LEGACY_TOO: &str = "# the second gate's\nversion = 1\n[clusters]\nC = \"legacy\"\n[blueprints.t]\ncluster = \"C\"\n\
    [blueprints.t.routes]\n\"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n\"* /open/*\" = { public = true }\n";

fn v2(mapping: &str) -> String {
    mapping.replace("C = \"legacy\"", "C = \"v2\"")
}

/// Replaces a file as docs/mapping.md has it: in one step.
fn put(gate: &Gate, mapping: &str) {
    let file = gate.mapping_file();
    std::fs::write(file.with_extension("new"), mapping).expect("a new file");
    std::fs::rename(file.with_extension("new"), file).expect("a rename");
}

async fn status(gate: &Gate, ask: &Ask) -> u16 {
    gate.send(ask).await.status
}

async fn until(gate: &Gate, ask: &Ask, expected: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while status(gate, ask).await != expected {
        assert!(Instant::now() < deadline, "not {expected}\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Two gates on one database, whose files differ, both brought to V2, which lets anna in.
struct Pair {
    gates: [Gate; 2],
    ask: Ask,
    world: World,
    _upstream: Recorder,
}

impl Pair {
    async fn new(database: Database) -> Pair {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        world.admin("anna", &["raxx-support-team"], &[]).await;
        let setup =
            |mapping| Setup { mapping: Some(mapping), upstream: Some(upstream.socket()), ..Setup::V2 };
        let gates = [world.gate(&setup(LEGACY)).await, world.gate(&setup(LEGACY_TOO)).await];
        let ask = Ask::get("/x").cookie(&world.cookie("anna"));
        let pair = Pair { gates, ask, world, _upstream: upstream };
        pair.all(403).await;
        put(&pair.gates[0], &v2(LEGACY));
        put(&pair.gates[1], &v2(LEGACY_TOO));
        for gate in &pair.gates {
            until(gate, &pair.ask, 200).await;
        }
        pair
    }

    /// What both gates answer now, and not in a while.
    async fn all(&self, expected: u16) {
        for (number, gate) in self.gates.iter().enumerate() {
            assert_eq!(status(gate, &self.ask).await, expected, "gate {number}\n{}", gate.log());
        }
    }

    fn names(&self) -> [String; 2] {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        [0, 1].map(|number: usize| format!("{}/{}", host.trim(), self.gates[number].id()))
    }

    /// The mappings that were activated, the first one first.
    async fn activated(&self) -> Vec<String> {
        let activations = self.world.store.activations(1_000).await.expect("the history");
        let activated = activations.into_iter().rev().filter(|one| one.outcome == "activated");
        activated.map(|one| one.sha256).collect()
    }
}

async fn every_gate_follows_whatever_its_file_is(database: Database) {
    let mut pair = Pair::new(database).await;
    let first = pair.activated().await[0].clone();
    let (code, output) = pair.gates[0].attempt(&["rollback", "--to", &first[..12], "--yes"]);
    assert_eq!(code, 0, "{output}");
    // The command reports it only once it is so.
    pair.all(403).await;
    for name in pair.names() {
        assert!(output.contains(&name), "{name}: {output}");
    }
    // A restart, of the one whose file the command never saw, keeps the rollback.
    pair.gates[1].stop().await;
    pair.gates[1].restart().await;
    pair.all(403).await;
    // A newer file with what was taken back is refused, and the reports say why.
    let edited = format!("{}\"GET /new\" = {{ public = true }}\n", v2(LEGACY_TOO));
    put(&pair.gates[1], &edited);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !pair.gates[1].log().contains("[taken-back]") {
        assert!(Instant::now() < deadline, "{}", pair.gates[1].log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pair.all(403).await;
    let (code, output) = pair.gates[1].attempt(&["diff"]);
    assert!(
        code == 1 && output.contains("Compared with what the gates run") && output.contains("1 gain"),
        "{output}"
    );
    assert!(output.contains("Rollback") && output.contains("the cluster `C`"), "{output}");
    let (code, output) = pair.gates[1].attempt(&["check"]);
    assert!(code == 1 && output.contains("error[taken-back]"), "{output}");
    // Typed twice, it says that it repeats.
    let (code, output) = pair.gates[0].attempt(&["rollback", "--yes"]);
    assert!(code == 0 && output.contains("is in force already"), "{output}");
    // A newer file without it ends the rollback for its own gate.
    put(
        &pair.gates[1],
        &LEGACY_TOO.replace("{ legacy = [\"ops\"], role = \"console-user\" }", "{ session = true }"),
    );
    until(&pair.gates[1], &pair.ask, 200).await;
    assert_eq!(status(&pair.gates[0], &pair.ask).await, 403);
    // And a release for all of them.
    let (code, output) = pair.gates[0].attempt(&["rollback", "--release", "--yes"]);
    assert_eq!(code, 0, "{output}");
    pair.all(200).await;
    let history = pair.gates[0].run(&["history"]);
    assert!(history.contains("  release by ") && history.contains("  rollback by "), "{history}");
    // Who: with the machine for what a command ordered, and the owner of the file for what a gate read.
    let by =
        history.split("  rollback by ").nth(1).and_then(|rest| rest.split(" on ").next()).unwrap_or_default();
    assert!(by.contains('@') && history.contains("  start of "), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gate_follows_whatever_its_file_is_on_sqlite() {
    every_gate_follows_whatever_its_file_is(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gate_follows_whatever_its_file_is_on_postgres() {
    every_gate_follows_whatever_its_file_is(Database::Postgres).await;
}

/// What cannot be compared is not taken for harmless.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_mapping_that_ran_cannot_be_read_no_file_is_activated_until_a_release() {
    let pair = Pair::new(Database::Sqlite).await;
    let activated = pair.activated().await;
    let (first, last) = (&activated[0], &activated[activated.len() - 1]);
    let (code, output) = pair.gates[0].attempt(&["rollback", "--to", first, "--yes"]);
    assert_eq!(code, 0, "{output}");
    pair.world.execute("DROP TRIGGER gate_mappings_refuse_update").await;
    pair.world
        .execute(&format!("UPDATE gate_mappings SET content = 'version = 9' WHERE sha256 = '{last}'"))
        .await;
    for file in [LEGACY.to_owned(), v2(LEGACY_TOO)] {
        let edited = format!("{file}\"GET /new\" = {{ public = true }}\n");
        put(&pair.gates[1], &edited);
        let (code, output) = pair.gates[1].attempt(&["check"]);
        assert!(code == 1 && output.contains("error[taken-back]"), "{output}");
        let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.contains("cannot be read") && output.contains("rollback --release"), "{output}");
    }
    pair.all(403).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_refuses_the_mapping_is_named_with_the_reason() {
    let pair = Pair::new(Database::Sqlite).await;
    // A mapping with a role that is gone by the time of the rollback.
    pair.world.execute("INSERT INTO rbac_roles (id, name) VALUES ('night', 'console-night')").await;
    let with_the_role = LEGACY.replace("console-user", "console-night");
    put(&pair.gates[0], &with_the_role);
    until(&pair.gates[0], &pair.ask, 403).await;
    let target = pair.activated().await.pop().expect("it was activated");
    put(&pair.gates[0], &v2(LEGACY));
    until(&pair.gates[0], &pair.ask, 200).await;
    pair.world.execute("DELETE FROM rbac_roles WHERE id = 'night'").await;
    let (code, output) = pair.gates[0].attempt(&["rollback", "--to", &target, "--yes"]);
    assert_eq!(code, 1, "{output}");
    for name in pair.names() {
        assert!(output.contains(&name), "{name}: {output}");
    }
    assert!(output.contains("console-night") && output.contains("missing-role"), "{output}");
    pair.all(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_says_nothing_is_named_and_waited_for_no_longer_than_its_lease() {
    let pair = Pair::new(Database::Sqlite).await;
    let first = pair.activated().await[0].clone();
    pair.gates[1].signal("STOP");
    let started = Instant::now();
    let (code, output) = pair.gates[0].attempt(&["rollback", "--to", &first, "--yes"]);
    pair.gates[1].signal("CONT");
    assert_eq!(code, 1, "{output}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let [follows, silent] = pair.names();
    let says = |name: &str, what: &str| output.lines().any(|line| line.contains(name) && line.contains(what));
    assert!(says(&silent, "has not reported") && says(&follows, "at 1 of 2 gates only"), "{output}");
    // It was only asleep: it follows when it wakes.
    until(&pair.gates[1], &pair.ask, 403).await;
    let (code, output) = pair.gates[0].attempt(&["rollback", "--yes"]);
    assert_eq!(code, 0, "the same again, and no step back to what was rolled back: {output}");
    pair.all(403).await;
}

/// What each of them ran before is not one mapping: which one is meant, nobody guesses.
#[tokio::test(flavor = "multi_thread")]
async fn where_gates_differ_every_command_says_so() {
    let pair = Pair::new(Database::Sqlite).await;
    let gate = &pair.gates[0];
    let both = |text: &str| pair.names().iter().all(|name| text.contains(name.as_str()));
    let output = gate.command(&["rollback", "--yes"]).output().expect("the binary runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--to") && both(&errors), "{errors}");
    pair.all(200).await;
    for arguments in [&["explain", "GET", "/x"][..], &["drift"], &["soak"]] {
        let (code, output) = gate.attempt(arguments);
        assert!(output.starts_with("the gates run different mappings: ") && both(&output), "{output}");
        assert_eq!(code, i32::from(arguments[0] == "soak"), "{arguments:?}: {output}");
        let (_, json) = gate.attempt(&[arguments, &["--format", "json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let json = json.as_array().map_or(&json, |clusters| &clusters[0]);
        assert_eq!(json["gates_differ"].as_array().map(Vec::len), Some(2), "{json}");
    }
    let first = pair.activated().await[0].clone();
    gate.run(&["rollback", "--to", &first, "--yes"]);
    let (code, output) = gate.attempt(&["explain", "GET", "/x"]);
    assert!(code == 0 && !output.contains("different"), "{output}");
    let (_, json) = gate.attempt(&["drift", "--format", "json"]);
    assert!(!json.contains("gates_differ"), "{json}");
}

/// `console-gate rollback --yes | head -1`, and a reader that is gone before the first byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_does_not_stop_it() {
    let pair = Pair::new(Database::Sqlite).await;
    let first = pair.activated().await[0].clone();
    let unread = |arguments: &[&str]| {
        let mut rollback = pair.gates[0].command(&[&["rollback", "--to", &first], arguments].concat());
        let mut process =
            rollback.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        drop(process.stdout.take());
        let code = process.wait().expect("it ends").code();
        let mut errors = String::new();
        process.stderr.take().expect("its errors").read_to_string(&mut errors).expect("text");
        (code, errors)
    };
    // Before anybody has confirmed, a closed output stops the rollback with a message.
    let (code, errors) = unread(&[]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("nothing was changed"), "{errors}");
    assert_eq!(pair.world.store.pin().await.expect("the pin").sha256, None);
    assert_eq!(unread(&["--yes"]), (Some(0), String::new()));
    pair.all(403).await;
    let mut release = pair.gates[0].command(&["rollback", "--release", "--yes"]);
    let mut process = release.stdout(Stdio::piped()).spawn().expect("the binary runs");
    let mut first = [0; 1];
    process.stdout.take().expect("its output").read_exact(&mut first).expect("a byte, and no more");
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
    pair.all(200).await;
}

/// The watcher, SIGHUPs and rollbacks at once: whatever comes first, the record is of one row of steps, each from the
/// mapping that the step before led to, and none is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn signals_rollbacks_and_changes_at_once_leave_one_row_of_steps() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup { mapping: Some(LEGACY), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let runs = async |mapping: &str| {
        let sha256 = policy::mapping::parse::sha256_of(mapping);
        gate.metric(&format!("gate_mapping_info{{sha256=\"{sha256}\"}}")).await == Some(1.0)
    };
    for round in 0..8 {
        let mapping = format!("{}# {round}\n", v2(LEGACY));
        put(&gate, &mapping);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !runs(&mapping).await {
            assert!(Instant::now() < deadline, "{}", gate.log());
            gate.signal("HUP");
        }
        if round % 2 == 1 {
            let mut rollback = gate.command(&["rollback", "--yes"]);
            let mut process = rollback.stdout(Stdio::null()).spawn().expect("the binary runs");
            let code = loop {
                if let Some(ended) = process.try_wait().expect("its state") {
                    break ended.code();
                }
                gate.signal("HUP");
                tokio::time::sleep(Duration::from_millis(2)).await;
            };
            assert_eq!(code, Some(0));
            assert!(!runs(&mapping).await, "it returns when it is so");
        }
    }
    let mut steps = world.store.activations(1_000).await.expect("the history");
    steps.reverse();
    assert!(steps.iter().all(|step| step.outcome == "activated"), "{steps:#?}");
    assert_eq!(steps.len(), 1 + 8 + 4, "{steps:#?}");
    for pair in steps.windows(2) {
        assert_eq!(pair[1].previous_sha256.as_ref(), Some(&pair[0].sha256), "{steps:#?}");
    }
}

/// The change is committed before anything is printed: a reader that is gone does not make it a failure.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_has_done_it_has_done_whether_somebody_reads_it_or_not() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&Setup { mapping: Some(LEGACY), ..Setup::V2 }).await;
    gate.run(&["token", "create", "ci"]);
    for arguments in
        [&["flag", "rbac-v2", "off"][..], &["token", "revoke", "ci"], &["retention"], &["migrate"]]
    {
        let mut process = gate
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(process.stdout.take());
        let ended = process.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    }
}
