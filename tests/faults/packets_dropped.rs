//! The way to Postgres fails in every manner but an honest one: packets vanish, come late, or the line is cut.

use std::time::{Duration, Instant};

use crate::faulty_wire::{FaultyWire, Wire};
use crate::figures::size;
use crate::postgres_killed::{
    BACK_LIMIT, DECISION_LIMIT, Outage, last_unavailable, slowest_decision, until_back,
};
use crate::scene::{everybody, hold_to_the_promises, people, setup};
use crate::support::postgres::Postgres;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Gate, Setup, World};

/// A gate whose only way to its database is the wire.
async fn scene(world: &World, upstream: &Recorder) -> (FaultyWire, Gate) {
    people(world).await;
    let address = world.database_url.split('?').next().and_then(|url| url.split_once('@')).expect("a URL").1;
    let (server, name) = address.split_once('/').expect("a database");
    let wire = FaultyWire::to(server.to_owned()).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}?sslmode=disable", wire.port());
    // So few connections that each of them meets the fault.
    let setup = Setup { database: "max_connections = 2\n", ..setup(&upstream.socket()) };
    let gate = Gate::start(world.folder().join("gate"), &url, &setup).await;
    (wire, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_packets_are_dropped_every_decision_has_its_answer_in_time() {
    let postgres = Postgres::start();
    let world = World::on(postgres.database()).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (wire, gate) = scene(&world, &upstream).await;
    let mut outage = Outage::default();
    for _ in 0..size(1, 10) {
        let load = everybody(&world, &gate.socket(), 8, Duration::from_millis(2));
        load.further(400).await;
        outage.happens(&world, &gate, load, || wire.set(Wire::Drops), || wire.set(Wire::Forwards)).await;
    }
    println!(
        "fault: packets to postgres dropped: every decision within {:.2} s, back {:.2} s after the hole \
         was closed, 0 wrong allows in {} requests",
        outage.slowest.as_secs_f64(),
        outage.latest.as_secs_f64(),
        outage.requests
    );
    outage.stays_within_the_limits();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_line_is_waited_for_and_a_cut_one_replaced() {
    let postgres = Postgres::start();
    let world = World::on(postgres.database()).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let (wire, gate) = scene(&world, &upstream).await;
    let load = everybody(&world, &gate.socket(), 4, Duration::from_millis(5));
    load.further(200).await;

    wire.set(Wire::Delays(Duration::from_millis(100)));
    // What was under way may be in time or not; from here on each packet is late.
    let slowed = Instant::now();
    let ask = Ask::get("/gated/x").cookie(&world.cookie("anna"));
    let mut served = 0;
    while slowed.elapsed() < DECISION_LIMIT {
        served += usize::from(gate.send(&ask).await.status == 200);
    }
    assert!(served > 0, "a slow line is not a broken one");
    wire.set(Wire::Forwards);

    load.further(200).await;
    wire.set(Wire::Cuts);
    let cut = Instant::now();
    while cut.elapsed() < DECISION_LIMIT {
        load.further(10).await;
    }
    wire.set(Wire::Forwards);
    let repaired = Instant::now();
    until_back(&gate, &world, repaired).await;
    load.further(200).await;

    let samples = load.stop().await;
    hold_to_the_promises(&samples);
    let latest = last_unavailable(&samples).saturating_duration_since(repaired);
    println!("fault: the line to postgres cut: back {:.2} s after it was repaired", latest.as_secs_f64());
    assert!(slowest_decision(&samples) < DECISION_LIMIT);
    assert!(latest < BACK_LIMIT, "back only after {latest:?}");
}
