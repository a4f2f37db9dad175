//! Every way in which a mapping file can go bad: the last good one stays, and the alert is there within a second.
//!
//! `tests/gate/lifecycle.rs` has the outcomes of the good ones.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::figures::median;
use crate::scene::{MAPPING, people, setup};
use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, World};

const REFUSED: &str = "gate_mapping_reloads_total{outcome=\"refused\"}";
const ACTIVATED: &str = "gate_mapping_reloads_total{outcome=\"activated\"}";
const ALERT_LIMIT: Duration = Duration::from_secs(1);
/// Patience for a machine that stalls.
const LONG: Duration = Duration::from_secs(20);

type Fault = (&'static str, fn(&Path));

const FAULTS: [Fault; 12] = [
    ("is no TOML", |file| write(file, "nonsense")),
    ("half-written", |file| write(file, &MAPPING[..MAPPING.len() / 2])),
    ("cut inside a row", |file| write(file, MAPPING.trim_end().trim_end_matches('}'))),
    ("has fewer rows than it says", |file| {
        write(file, &MAPPING.replace("version = 1\n", "version = 1\nrows = 6\n"));
    }),
    ("empty", |file| write(file, "")),
    ("vanished", |file| std::fs::remove_file(file).expect("a file to remove")),
    ("no UTF-8", |file| std::fs::write(file, b"version = 1\n# \xff\n").expect("a file")),
    ("names a role that does not exist", |file| write(file, &MAPPING.replace("console-user", "console-usr"))),
    ("replaced by a folder", |file| {
        std::fs::remove_file(file).expect("a file to remove");
        std::fs::create_dir(file).expect("a folder");
    }),
    ("a link to nothing", |file| link(file, &file.with_extension("nowhere"))),
    ("a link swapped to a broken file", |file| {
        let broken = file.with_extension("broken");
        write(&broken, "version = 2\n");
        link(file, &broken);
    }),
    ("a link to itself", |file| link(file, file)),
];

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file can be written");
}

fn link(file: &Path, target: &Path) {
    let new = file.with_extension("link");
    std::os::unix::fs::symlink(target, &new).expect("a link");
    std::fs::rename(new, file).expect("a swap");
}

/// Puts the good file back, changed so that it is news, in whatever place the bad one has left.
fn repair(file: &Path, number: usize) {
    if std::fs::symlink_metadata(file).is_ok_and(|kind| kind.is_dir()) {
        std::fs::remove_dir(file).expect("an empty folder");
    }
    let new = file.with_extension("new");
    write(&new, &format!("{MAPPING}# {number}\n"));
    std::fs::rename(new, file).expect("a swap");
}

async fn read(gate: &Gate, metric: &str) -> f64 {
    gate.metric(metric).await.unwrap_or_else(|| panic!("no metric `{metric}`"))
}

/// How long until the metric is more than it was.
async fn rises(gate: &Gate, metric: &str, before: f64, what: &str) -> Duration {
    let started = Instant::now();
    while read(gate, metric).await <= before {
        assert!(started.elapsed() < LONG, "{what}: {metric} stays at {before}\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_mapping_file_changes_nothing_and_is_reported_at_once() {
    let world = World::new(Database::Sqlite).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(&upstream.socket())).await;
    let file = gate.mapping_file();
    let mut alerts = Vec::new();
    for (number, (what, break_it)) in FAULTS.into_iter().enumerate() {
        let (refused, activated) = (read(&gate, REFUSED).await, read(&gate, ACTIVATED).await);
        break_it(&file);
        alerts.push(rises(&gate, REFUSED, refused, what).await);
        for (admin, status) in [("anna", 200), ("bob", 403)] {
            let answer = gate.send(&Ask::get("/gated/x").cookie(&world.cookie(admin))).await;
            assert_eq!(answer.status, status, "{what}: {admin}");
        }
        assert_eq!(
            gate.send(&Ask::get("/nowhere").cookie(&world.cookie("anna"))).await.status,
            403,
            "{what}"
        );
        repair(&file, number);
        rises(&gate, ACTIVATED, activated, what).await;
    }
    let slowest = *alerts.iter().max().expect("there are faults");
    let middle = median(alerts);
    println!(
        "fault: routes.toml broken in {} ways: alert after {middle:.2?} (median), {slowest:.2?} at most",
        FAULTS.len()
    );
    assert!(middle < ALERT_LIMIT, "the alert takes {middle:?}");
}
