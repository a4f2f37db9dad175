//! Gates replaced one after the other while everybody goes on asking.

use std::path::Path;
use std::time::Duration;

use crate::callers::{Caller, Load, Sample};
use crate::figures::{longest, size};
use crate::scene::{ALLOWED, DENIED, PUBLIC, get, people, setup};
use crate::support::recorder::Recorder;
use crate::support::{Database, Setup, World};

const END_LIMIT: Duration = Duration::from_secs(30);

/// Patient with its database: what is tested is the hand-over.
fn patient(upstream: &Path) -> Setup {
    Setup { patience_ms: 30_000, ..setup(upstream) }
}

/// Callers of every manner: those who ask without a pause, those who let their connection lie idle for a while, and
/// those who open one for each request.
fn crowd(world: &World, gates: &[&Path]) -> Load {
    let (keeps, one_shot) = (|| Caller::to_either(gates), || Caller::to_either(gates).one_shot());
    let allowed = get("/gated/x", Some(&world.cookie("anna")));
    let denied = get("/gated/x", Some(&world.cookie("bob")));
    let open = get("/open/x", None);
    let ms = Duration::from_millis;
    Load::new()
        .with(8, ALLOWED, &allowed, ms(1), keeps)
        .with(8, ALLOWED, &allowed, ms(37), keeps)
        .with(8, ALLOWED, &allowed, ms(11), one_shot)
        .with(4, DENIED, &denied, ms(5), keeps)
        .with(8, PUBLIC, &open, ms(150), keeps)
        .with(8, PUBLIC, &open, ms(7), one_shot)
}

fn hold_all_answered(samples: &[Sample]) {
    let mut failed = Vec::new();
    for sample in samples {
        let expected = if sample.kind == DENIED { 403 } else { 200 };
        if sample.status() != expected {
            failed.push(format!("{} {:?} after {:?}", sample.kind, sample.outcome, sample.took));
        }
    }
    let count = failed.len();
    failed.truncate(10);
    assert!(failed.is_empty(), "{count} of {} requests failed: {failed:#?}", samples.len());
}

/// SIGQUIT: the new process takes the sockets of the old one over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_under_load_loses_no_request() {
    let restarts = size(2, 20);
    let world = World::new(Database::Postgres).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let mut gate = world.gate(&patient(&upstream.socket())).await;
    let load = crowd(&world, &[&gate.socket()]);
    for _ in 0..restarts {
        load.further(300).await;
        let new = gate.successor().await;
        gate.signal("QUIT");
        assert!(gate.ends(END_LIMIT).await, "the old gate did not end:\n{}", gate.log());
        gate = new;
    }
    load.further(300).await;
    let samples = load.stop().await;
    hold_all_answered(&samples);
    println!(
        "fault: {restarts} hand-overs under load: 0 of {} requests failed, the slowest took {:.2?}",
        samples.len(),
        longest(samples.iter().map(|sample| sample.took))
    );
}

/// SIGTERM: each of two gates is drained and started again while the other one serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gates_are_drained_in_turn_and_no_request_is_lost() {
    let restarts = size(2, 20);
    let world = World::new(Database::Postgres).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = patient(&upstream.socket());
    let mut gates = [world.gate(&setup).await, world.gate(&setup).await];
    let load = crowd(&world, &[&gates[0].socket(), &gates[1].socket()]);
    for restart in 0..restarts {
        load.further(300).await;
        let gate = &mut gates[restart % 2];
        gate.signal("TERM");
        assert!(gate.ends(END_LIMIT).await, "the gate did not end:\n{}", gate.log());
        load.further(300).await;
        gate.restart().await;
    }
    load.further(300).await;
    let samples = load.stop().await;
    hold_all_answered(&samples);
    println!(
        "fault: {restarts} drains of two gates in turn, under load: 0 of {} requests failed, the slowest took {:.2?}",
        samples.len(),
        longest(samples.iter().map(|sample| sample.took))
    );
}
