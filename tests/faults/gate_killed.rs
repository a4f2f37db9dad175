//! The gate killed in a burst of denials.

use std::time::Duration;

use crate::callers::{Caller, Load};
use crate::figures::size;
use crate::scene::{DENIED, denials, get, people, setup, unaudited};
use crate::support::recorder::Recorder;
use crate::support::{Database, World};

/// Callers that are denied at the same time.
const BURST: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_denial_that_was_received_lacks_its_row_on_sqlite() {
    killed_in_a_burst(Database::Sqlite, size(5, 200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_denial_that_was_received_lacks_its_row_on_postgres() {
    killed_in_a_burst(Database::Postgres, size(5, 200)).await;
}

async fn killed_in_a_burst(database: Database, times: usize) {
    let world = World::new(database).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let mut gate = world.gate(&setup(&upstream.socket())).await;
    let denied = get("/gated/x", Some(&world.cookie("bob")));
    let socket = gate.socket();
    let (mut received, mut cut_off) = (Vec::new(), 0);
    for round in 0..times {
        let load = Load::new().with(BURST, DENIED, &denied, Duration::ZERO, || Caller::to(&socket));
        // At another moment each time, with other rows on their way.
        load.further(BURST + round * 37 % 400).await;
        gate.kill();
        let samples = load.stop().await;
        let before = received.len();
        received.extend(denials(&samples).map(str::to_owned));
        cut_off += samples.iter().filter(|sample| sample.status() == 0).count();
        assert!(received.len() > before, "no denial was received in round {round}");
        gate.restart().await;
        let missing = unaudited(&world, received[before..].iter().map(String::as_str)).await;
        assert!(missing.is_empty(), "round {round}: 403s without a row: {missing:?}");
    }
    let missing = unaudited(&world, received.iter().map(String::as_str)).await;
    assert!(missing.is_empty(), "403s whose row went later: {missing:?}");
    let (code, report) = gate.attempt(&["audit", "verify"]);
    assert_eq!(code, 0, "the chain of a gate that was killed is whole as far as it goes:\n{report}");
    assert!(cut_off > 0, "the gate was never killed while it was asked");
    println!(
        "fault: gate killed on {database:?}: {times} times in a burst, {} denials received, {cut_off} requests cut \
         off, 0 denials without their row, the chains verify",
        received.len()
    );
}
