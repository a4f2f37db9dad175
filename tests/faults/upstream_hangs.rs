//! One path of Console hangs. What Console's other faults are answered with is in `tests/gate/upstreams.rs`.

use std::time::Duration;

use crate::callers::{Caller, Load, Sample};
use crate::figures::{median, p99};
use crate::scene::{PUBLIC, get, setup};
use crate::support::recorder::Recorder;
use crate::support::{Database, Gate, World};

/// Requests that hang at the same time: as many as the pool of connections to Console has places, and half as many again.
const HANGING: usize = 384;
const HANGS: &str = "hangs";

async fn scene(world: &World, upstream: &Recorder) -> Gate {
    world.gate(&setup(&upstream.socket())).await
}

fn hang(gate: &Gate, count: usize) -> Load {
    Load::new().with(count, HANGS, &get("/never", None), Duration::ZERO, || Caller::to(&gate.socket()))
}

/// Waits until so many requests hang in the upstream.
async fn until_hanging(upstream: &Recorder, count: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let hanging =
            upstream.requests().iter().filter(|request| request.head.starts_with("GET /never ")).count();
        if hanging >= count {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "only {hanging} of {count} requests reached the upstream"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ask_elsewhere(gate: &Gate, requests: usize) -> Vec<Sample> {
    let load = Load::new()
        .with(4, PUBLIC, &get("/open/x", None), Duration::from_millis(1), || Caller::to(&gate.socket()));
    load.further(requests).await;
    let samples = load.stop().await;
    for sample in &samples {
        assert_eq!(sample.status(), 200, "{sample:?}");
    }
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_path_hangs_the_others_are_served() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream).await;
    let hanging = hang(&gate, HANGING);
    until_hanging(&upstream, HANGING).await;
    ask_elsewhere(&gate, 500).await;
    drop(hanging);
}

/// The machine's own noise is larger than what is measured, so the two are measured in turn, each many times, and the
/// middles are compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make faults"]
async fn while_a_path_hangs_the_others_are_not_slower() {
    const ROUNDS: usize = 15;
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream).await;
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    let times = |samples: Vec<Sample>| samples.iter().map(|sample| sample.took).collect::<Vec<Duration>>();
    ask_elsewhere(&gate, 2_000).await;
    for round in 1..=ROUNDS {
        quiet.push(p99(times(ask_elsewhere(&gate, 3_000).await)));
        let hanging = hang(&gate, HANGING);
        until_hanging(&upstream, round * HANGING).await;
        beside.push(p99(times(ask_elsewhere(&gate, 3_000).await)));
        drop(hanging);
    }
    let ratios = quiet.iter().zip(&beside).map(|(quiet, beside)| beside.as_secs_f64() / quiet.as_secs_f64());
    let ratio = median(ratios.collect());
    println!(
        "fault: {HANGING} requests hang in the upstream: p99 of other routes {:.2?}, without them {:.2?}, ratio {ratio:.2} \
         (median of {ROUNDS} rounds in turn)",
        median(beside),
        median(quiet)
    );
    assert!(ratio <= 1.2, "the others' p99 grows to {ratio:.2} of what it was");
}
