//! Postgres killed under load, and started again.

use std::time::{Duration, Instant};

use crate::callers::{Load, Sample};
use crate::figures::{longest, size};
use crate::scene::{ALLOWED, DENIED, denials, everybody, hold_to_the_promises, of, people, setup, unaudited};
use crate::support::postgres::Postgres;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Gate, World};

/// What a decision may take, and what a busy machine may take to deliver it.
pub const DECISION_LIMIT: Duration = Duration::from_millis(2_000 + 500);
/// From the database's return to the gate's.
pub const BACK_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_nobody_is_let_in_by_a_role_and_the_rest_goes_on() {
    let postgres = Postgres::start();
    let world = World::on(postgres.database()).await;
    people(&world).await;
    world.admin("carol", &["raxx-support-team"], &[]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(&upstream.socket())).await;

    let mut outage = Outage::default();
    for _ in 0..size(1, 10) {
        let load = everybody(&world, &gate.socket(), 4, Duration::from_millis(5));
        load.further(200).await;
        outage.happens(&world, &gate, load, || postgres.crash(), || postgres.restart()).await;
    }
    println!(
        "fault: postgres killed: 503 after at most {:.2} s, back {:.2} s after its return, 0 wrong \
         allows in {} requests",
        outage.slowest.as_secs_f64(),
        outage.latest.as_secs_f64(),
        outage.requests
    );
    outage.stays_within_the_limits();
}

/// A role that is taken away in the moment of the return is not found again in the gate's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_away_while_the_gate_was_blind_is_gone() {
    let postgres = Postgres::start();
    let world = World::on(postgres.database()).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(&upstream.socket())).await;
    let load = everybody(&world, &gate.socket(), 2, Duration::from_millis(5));
    load.further(100).await;
    postgres.crash();
    postgres.restart();
    world.execute("DELETE FROM rbac_user_groups WHERE user_id = 'anna'").await;
    let revoked = Instant::now();
    let ask = Ask::get("/gated/x").cookie(&world.cookie("anna"));
    while gate.send(&ask).await.status != 403 {
        assert!(revoked.elapsed() < BACK_LIMIT, "the gate does not come back");
    }
    load.further(200).await;
    for sample in of(&load.stop().await, ALLOWED).filter(|sample| sample.began > revoked) {
        assert_ne!(sample.status(), 200, "let in by a role that was gone: {sample:?}");
    }
}

/// What the outages of a database cost.
#[derive(Default)]
pub struct Outage {
    /// The longest that a decision took.
    pub slowest: Duration,
    /// From the database's return to the last 503.
    pub latest: Duration,
    pub requests: usize,
}

impl Outage {
    /// One outage under load, for long enough for two decisions one after the other. Checks that nobody was let in
    /// meanwhile, and that each 403 has its row.
    pub async fn happens(
        &mut self,
        world: &World,
        gate: &Gate,
        load: Load,
        begin: impl FnOnce(),
        end: impl FnOnce(),
    ) {
        begin();
        let gone = Instant::now();
        while gone.elapsed() < 2 * DECISION_LIMIT {
            load.further(10).await;
        }
        end();
        let returned = Instant::now();
        until_back(gate, world, returned).await;
        load.further(400).await;
        let samples = load.stop().await;
        hold_to_the_promises(&samples);
        for sample in of(&samples, ALLOWED).filter(|sample| sample.began > gone && sample.ended() < returned)
        {
            assert_eq!(sample.status(), 503, "let in without a database: {sample:?}");
        }
        self.slowest = self.slowest.max(slowest_decision(&samples));
        self.latest = self.latest.max(last_unavailable(&samples).saturating_duration_since(returned));
        self.requests += samples.len();
        let missing = unaudited(world, denials(&samples)).await;
        assert!(missing.is_empty(), "403s without a row: {missing:?}");
    }

    pub fn stays_within_the_limits(&self) {
        assert!(self.slowest < DECISION_LIMIT, "a decision took {:?}", self.slowest);
        assert!(self.latest < BACK_LIMIT, "back only after {:?}", self.latest);
    }
}

/// Waits for an allow and a denial.
pub async fn until_back(gate: &Gate, world: &World, returned: Instant) {
    for (admin, status) in [("anna", 200), ("bob", 403)] {
        let ask = Ask::get("/gated/x").cookie(&world.cookie(admin));
        while gate.send(&ask).await.status != status {
            assert!(returned.elapsed() < 6 * BACK_LIMIT, "the gate does not come back:\n{}", gate.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The longest that anything took which needs the database, yes and no and 503.
pub fn slowest_decision(samples: &[Sample]) -> Duration {
    longest(of(samples, ALLOWED).chain(of(samples, DENIED)).map(|sample| sample.took))
}

/// When the last 503 was answered.
pub fn last_unavailable(samples: &[Sample]) -> Instant {
    let unavailable = samples.iter().filter(|sample| sample.status() == 503);
    unavailable.map(Sample::ended).max().expect("without a database something is unavailable")
}
