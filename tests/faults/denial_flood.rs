//! A flood of requests that are denied: each waits for its row.

use std::time::{Duration, Instant};

use crate::callers::{Caller, Load};
use crate::connections::allowed_p99;
use crate::figures::{median, resident_kib, size};
use crate::scene::{DENIED, denials, get, people, setup, unaudited};
use crate::support::recorder::Recorder;
use crate::support::{Database, Gate, Setup, World};

/// What the gate may hold more in the flood than before it.
const GROWTH_KIB: u64 = 64 * 1024;

fn flood(world: &World, gate: &Gate, callers: usize, pause: Duration) -> Load {
    let request = get("/gated/x", Some(&world.cookie("bob")));
    Load::new().with(callers, DENIED, &request, pause, || Caller::to(&gate.socket()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_denials_takes_a_bounded_memory_and_each_has_its_row() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = World::new(database).await;
        people(&world).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let setup = Setup { patience_ms: 30_000, ..setup(&upstream.socket()) };
        let gate = world.gate(&setup).await;
        let load = flood(&world, &gate, 256, Duration::ZERO);
        load.further(500).await;
        let (before, started) = (resident_kib(gate.id()), Instant::now());
        let mut most = before;
        let parts = size(10, 100);
        for _ in 0..parts {
            load.further(300).await;
            most = most.max(resident_kib(gate.id()));
        }
        let rate = (parts * 300) as f64 / started.elapsed().as_secs_f64();
        let samples = load.stop().await;
        for sample in &samples {
            assert_eq!(sample.status(), 403, "{sample:?}");
        }
        let missing = unaudited(&world, denials(&samples)).await;
        assert!(missing.is_empty(), "403s without a row: {missing:?}");
        let growth = most.saturating_sub(before);
        println!(
            "fault: 403 flood on {database:?}: {} denials from 256 callers, {rate:.0} a second, each with its row, \
             memory grows by {:.1} MiB",
            samples.len(),
            growth as f64 / 1024.0
        );
        assert!(growth < GROWTH_KIB, "the gate grew by {growth} KiB");
    }
}

/// The flood keeps a steady rate, the same on every machine: one that took all of the processor would show how the
/// kernel shares it, and not how the gate does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make faults"]
async fn a_flood_of_denials_does_not_slow_allowed_traffic() {
    const ROUNDS: usize = 7;
    for database in [Database::Sqlite, Database::Postgres] {
        let world = World::new(database).await;
        people(&world).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let setup = Setup { patience_ms: 30_000, ..setup(&upstream.socket()) };
        let gate = world.gate(&setup).await;
        let (mut alone, mut beside, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        allowed_p99(&world, &gate).await;
        for _ in 0..ROUNDS {
            alone.push(allowed_p99(&world, &gate).await);
            let load = flood(&world, &gate, 32, Duration::from_millis(100));
            let started = Instant::now();
            beside.push(allowed_p99(&world, &gate).await);
            let took = started.elapsed().as_secs_f64();
            rates.push(load.stop().await.len() as f64 / took);
        }
        let ratios =
            alone.iter().zip(&beside).map(|(alone, beside)| beside.as_secs_f64() / alone.as_secs_f64());
        let ratio = median(ratios.collect());
        println!(
            "fault: 403 flood on {database:?} at {:.0} a second: p99 of allowed traffic {:.2?}, without it {:.2?}, \
             ratio {ratio:.2} (median of {ROUNDS} rounds in turn)",
            median(rates),
            median(beside),
            median(alone)
        );
        assert!(ratio <= 2.0, "{database:?}: allowed traffic's p99 grows to {ratio:.2} of what it was");
    }
}
