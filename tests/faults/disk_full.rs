//! The disk under SQLite and under the spool is full.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::again;
use crate::callers::{Caller, Load};
use crate::scene::{
    ALLOWED, DENIED, PUBLIC, denials, everybody, get, hold_to_the_promises, of, people, setup, unaudited,
};
use crate::support::http::Client;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Gate, Setup, World};

const LONG: Duration = Duration::from_secs(30);

/// A file system of a few MiB in memory. It goes with this value.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// `None` where this user may mount nothing: anybody but root, and root in most containers.
    fn mount() -> Option<SmallDisk> {
        let place =
            tempfile::Builder::new().prefix("gate-disk-").tempdir_in("/tmp").expect("a folder").keep();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "gate-test"]).arg(&place).output();
        let mounted = mounted.expect("`mount` runs");
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr);
            assert!(!again::is_again(), "root of a namespace may mount a small disk: {why}");
            let _ = std::fs::remove_dir(&place);
            return None;
        }
        Some(SmallDisk { place })
    }

    /// Takes what is left of the space.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.place.join("filler")).expect("a file");
        for piece in [64 * 1024, 4096, 512, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn make_space(&self) {
        std::fs::remove_file(self.place.join("filler")).expect("the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the test's own connections may be open still.
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
        let _ = std::fs::remove_dir(&self.place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_that_cannot_be_written_is_not_given() {
    const TEST: &str = "disk_full::a_denial_that_cannot_be_written_is_not_given";
    let Some(disk) = SmallDisk::mount() else {
        let ran = tokio::task::block_in_place(|| again::as_root_of_a_namespace(TEST));
        return ran.unwrap_or_else(|why| again::skip(TEST, &format!("no small disk can be mounted: {why}")));
    };
    let world = World::on(format!("sqlite:{}/gate.sqlite", disk.place.display())).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let spool = format!("spool_folder = \"{}/spool\"\n", disk.place.display()).leak();
    let gate = world.gate(&Setup { patience_ms: 5_000, audit: spool, ..setup(&upstream.socket()) }).await;
    let load = everybody(&world, &gate.socket(), 4, Duration::from_millis(2));
    load.further(200).await;
    disk.fill();
    let mut given = until(&gate, &world, 503).await;
    let full = Instant::now();
    load.further(800).await;
    let space = Instant::now();
    disk.make_space();
    given.extend(until(&gate, &world, 403).await);
    let back = space.elapsed();
    load.further(200).await;
    let samples = load.stop().await;
    hold_to_the_promises(&samples);
    let while_full =
        |kind| of(&samples, kind).filter(move |sample| sample.began > full && sample.ended() < space);
    let refused = while_full(DENIED).filter(|sample| sample.status() == 503).count();
    let denied = while_full(DENIED).filter(|sample| sample.status() == 403).count();
    let served = while_full(ALLOWED).chain(while_full(PUBLIC)).count();
    for sample in while_full(ALLOWED) {
        assert_eq!(sample.status(), 200, "allowed traffic writes nothing: {sample:?}");
    }
    // What the last free bytes of the spool took comes to the database when there is space.
    settled(&gate).await;
    given.extend(denials(&samples).map(str::to_owned));
    let missing = unaudited(&world, given.iter().map(String::as_str)).await;
    assert!(missing.is_empty(), "403s without a row: {missing:?}");
    let (code, report) = gate.attempt(&["audit", "verify"]);
    assert_eq!(code, 0, "{report}");
    println!(
        "fault: disk full: {refused} denials answered 503 and {denied} with 403 and their row, {served} allowed and \
         public requests served, denials again {back:.2?} after there was space"
    );
    assert!(refused > 0, "the disk was not full");
}

/// Waits until no row waits for the database.
async fn settled(gate: &Gate) {
    let started = Instant::now();
    let ready = async || Client::to(&gate.admin_socket()).send(&Ask::get("/readyz")).await.json();
    while ready().await["audit"] != "database" {
        assert!(started.elapsed() < LONG, "rows still wait\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a denial is answered so, and returns the ids of the 403s meanwhile.
async fn until(gate: &Gate, world: &World, status: u16) -> Vec<String> {
    let request = get("/gated/x", Some(&world.cookie("bob")));
    let started = Instant::now();
    let mut given = Vec::new();
    loop {
        let load = Load::new().with(4, DENIED, &request, Duration::ZERO, || Caller::to(&gate.socket()));
        load.further(50).await;
        let samples = load.stop().await;
        given.extend(denials(&samples).map(str::to_owned));
        if samples.last().is_some_and(|sample| sample.status() == status) {
            return given;
        }
        assert!(started.elapsed() < LONG, "no denial is answered {status}\n{}", gate.log());
    }
}
