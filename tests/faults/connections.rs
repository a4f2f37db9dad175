//! Many connections that do nothing, and many that say their head a byte at a time.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::callers::{Caller, Load, Outcome, Sample};
use crate::figures::{longest, median, p99, resident_kib, size};
use crate::scene::{ALLOWED, get, people, setup};
use crate::support::recorder::Recorder;
use crate::support::{Database, Gate, Setup, World};

/// What an idle connection may cost the gate.
const IDLE_KIB: f64 = 64.0;
const SLOW_KIB: f64 = 64.0;
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two bytes of a slow head.
const DRIP: Duration = Duration::from_millis(500);
/// To write and read the answers to thousands of clients.
const GRACE: Duration = Duration::from_secs(4);

/// Lets this process, and those that it starts, open as many files as the test needs.
fn allow_files(count: usize) {
    let this = std::process::id().to_string();
    let set = Command::new("prlimit").args(["--pid", &this, &format!("--nofile={count}:")]).status();
    let hard = Command::new("prlimit").args(["--pid", &this, "--nofile"]).output();
    assert!(
        set.is_ok_and(|set| set.success()),
        "{count} open files are not allowed here: {}",
        hard.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    );
}

async fn scene(world: &World, upstream: &Recorder, connections: usize, firewall: &'static str) -> Gate {
    allow_files(connections + 2_000);
    people(world).await;
    world.gate(&Setup { firewall, ..setup(&upstream.socket()) }).await
}

/// Opens connections, each with one answered request behind it.
async fn open_idle(gate: &Gate, count: usize) -> Vec<Caller> {
    let mut opening = JoinSet::new();
    for part in 0..16 {
        let (socket, share) = (gate.socket(), count / 16 + usize::from(part < count % 16));
        opening.spawn(async move {
            let mut callers = Vec::new();
            for _ in 0..share {
                let mut caller = Caller::to(&socket);
                let answer = caller.ask(&get("/open/x", None)).await;
                assert!(matches!(answer, Outcome::Answered { status: 200, .. }), "{answer:?}");
                callers.push(caller);
            }
            callers
        });
    }
    opening.join_all().await.into_iter().flatten().collect()
}

/// Opens connections that send one byte of a head after the other: how long each was held, and its answer.
async fn open_slow(gate: &Gate, count: usize, drip: Duration) -> JoinSet<(Duration, String)> {
    let mut slow = JoinSet::new();
    for _ in 0..count {
        let mut stream = UnixStream::connect(gate.socket()).await.expect("the gate takes connections");
        let started = Instant::now();
        stream.write_all(b"GET /open/x HTTP/1.1\r\nHost: console.test\r\nX-Slow: ").await.expect("a write");
        slow.spawn(async move {
            let mut answer = Vec::new();
            let mut ticks = tokio::time::interval(drip);
            loop {
                tokio::select! {
                    read = stream.read_buf(&mut answer) => if !matches!(read, Ok(1..)) { break },
                    _ = ticks.tick() => if stream.write_all(b"x").await.is_err() { break },
                }
                if started.elapsed() > 10 * HEAD_TIMEOUT {
                    break;
                }
            }
            (started.elapsed(), String::from_utf8_lossy(&answer).into_owned())
        });
    }
    slow
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_a_bounded_memory_each() {
    let count = size(500, 10_000);
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream, count, "head_timeout_ms = 3000\n").await;
    // What the first requests cost is not what each costs.
    drop(open_idle(&gate, 200).await);
    let before = resident_kib(gate.id());
    let mut idle = open_idle(&gate, count).await;
    let after = resident_kib(gate.id());
    assert_eq!(idle.iter().filter(|caller| caller.is_connected()).count(), count, "all are held");
    for caller in idle.iter_mut().step_by(count / 50) {
        let answer = caller.ask(&get("/open/x", None)).await;
        assert!(matches!(answer, Outcome::Answered { status: 200, .. }), "{answer:?}");
    }
    let each = after.saturating_sub(before) as f64 / count as f64;
    println!(
        "fault: {count} idle connections: {each:.1} KiB each ({} MiB in all, {} MiB before)",
        after / 1024,
        before / 1024
    );
    assert!(each < IDLE_KIB, "an idle connection costs {each:.1} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_are_ended_by_the_total_deadline() {
    let count = size(300, 5_000);
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream, count, "head_timeout_ms = 3000\n").await;
    drop(open_idle(&gate, 200).await);
    let before = resident_kib(gate.id());
    let opened = Instant::now();
    let slow = open_slow(&gate, count, DRIP).await;
    let mut most = before;
    while opened.elapsed() < HEAD_TIMEOUT {
        most = most.max(resident_kib(gate.id()));
        let answer = Caller::to(&gate.socket()).ask(&get("/open/x", None)).await;
        assert!(matches!(answer, Outcome::Answered { status: 200, .. }), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ends = slow.join_all().await;
    let answered = ends.iter().filter(|(_, answer)| answer.starts_with("HTTP/1.1 408 ")).count();
    let held = longest(ends.iter().map(|(held, _)| *held));
    let each = most.saturating_sub(before) as f64 / count as f64;
    println!(
        "fault: {count} slow heads: all closed after {held:.2?} at most (deadline {HEAD_TIMEOUT:?}), {answered} \
         answered 408, {each:.1} KiB each"
    );
    assert_eq!(answered, count, "each gets the reason");
    assert!(ends.iter().all(|(held, _)| *held >= HEAD_TIMEOUT), "a head was given up too early");
    assert!(held < HEAD_TIMEOUT + GRACE, "held for {held:?}");
    assert!(each < SLOW_KIB, "a slow head costs {each:.1} KiB");
}

/// Allowed traffic, alone and beside the crowd, in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make faults"]
async fn a_crowd_does_not_slow_allowed_traffic() {
    const ROUNDS: usize = 7;
    let (idle_count, slow_count) = (10_000, 5_000);
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    // So long that all of the slow heads last until the measurement is over.
    let gate = scene(&world, &upstream, idle_count + slow_count, "head_timeout_ms = 60000\n").await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    allowed_p99(&world, &gate).await;
    for _ in 0..ROUNDS {
        alone.push(allowed_p99(&world, &gate).await);
        let idle = open_idle(&gate, idle_count).await;
        let slow = open_slow(&gate, slow_count, Duration::from_secs(5)).await;
        beside.push(allowed_p99(&world, &gate).await);
        drop((idle, slow));
    }
    let ratios = alone.iter().zip(&beside).map(|(alone, beside)| beside.as_secs_f64() / alone.as_secs_f64());
    let ratio = median(ratios.collect());
    println!(
        "fault: {idle_count} idle connections and {slow_count} slow heads: p99 of allowed traffic {:.2?}, without them \
         {:.2?}, ratio {ratio:.2} (median of {ROUNDS} rounds in turn)",
        median(beside),
        median(alone)
    );
    assert!(ratio <= 2.0, "allowed traffic's p99 grows to {ratio:.2} of what it was");
}

/// The p99 of a steady, light load of allowed requests.
pub async fn allowed_p99(world: &World, gate: &Gate) -> Duration {
    let request = get("/gated/x", Some(&world.cookie("anna")));
    let load =
        Load::new().with(4, ALLOWED, &request, Duration::from_millis(5), || Caller::to(&gate.socket()));
    load.further(2_000).await;
    let samples: Vec<Sample> = load.stop().await;
    for sample in &samples {
        assert_eq!(sample.status(), 200, "{sample:?}");
    }
    p99(samples.iter().map(|sample| sample.took).collect())
}
