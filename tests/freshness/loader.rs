//! Loads that are under way while what they load is taken away: their answer must never come back.
//!
//! `GATE_ROUNDS` sets the number of rounds; the product's promise is for a million.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clock::SystemClock;
use console_gate::freshness::AccessResolver;
use console_gate::freshness::barrier::Barrier;
use policy::identity::Subject;
use policy::ids::Epoch;
use policy::mapping::Freshness;

use crate::fake::{Fake, ROLE, admin_in};

const WORKERS: usize = 16;
/// Requests that are under way when something is taken away.
const IN_FLIGHT: usize = 3;

fn rounds() -> usize {
    std::env::var("GATE_ROUNDS").map_or(20_000, |text| text.parse().expect("GATE_ROUNDS is a number"))
}

/// As a request does it.
async fn holds(gate: &AccessResolver, subject: &Subject, freshness: Freshness) -> bool {
    let control = gate.observe(freshness).await.unwrap();
    gate.resolve(subject, control.epoch).await.unwrap().roles.contains(ROLE)
}

struct Worker {
    database: Arc<Fake>,
    gate: Arc<AccessResolver>,
    /// `None`: every observation is strict.
    barrier: Option<Barrier>,
    /// The name of the admin and of the session.
    id: String,
}

/// How access is given and taken away: a role, which concerns everybody, or the session, which concerns itself alone.
type Change = fn(&Fake, &str) -> Epoch;
const CHANGES: [(Change, Change); 2] = [(Fake::grant, Fake::revoke), (Fake::log_in, Fake::log_out)];

impl Worker {
    /// A grant is honoured, and a revocation is honoured whatever was loading. Returns how often it was not.
    async fn round(&self, number: usize) -> usize {
        let subject = admin_in(&self.id, &self.id);
        let freshness = if self.barrier.is_some() { Freshness::Push } else { Freshness::Strict };
        let (give, take) = CHANGES[number % 2];
        self.change(give).await;
        let mut stale = usize::from(!holds(&self.gate, &subject, freshness).await);
        // These load while the change is committed: everybody's answers are too old, or this one's alone, or none is.
        match number / 2 % 3 {
            0 => self.database.grant("somebody else"),
            1 => self.database.log_in(&self.id),
            _ => self.database.log_in("somebody else"),
        };
        let in_flight =
            futures::future::join_all((0..IN_FLIGHT).map(|_| holds(&self.gate, &subject, freshness)));
        let taken_away = async {
            for _ in 0..number % 5 {
                tokio::task::yield_now().await;
            }
            self.change(take).await;
            holds(&self.gate, &subject, freshness).await
        };
        let (_, still_holds) = tokio::join!(in_flight, taken_away);
        stale += usize::from(still_holds);
        // And what was in flight has written nothing back.
        stale += usize::from(holds(&self.gate, &subject, freshness).await);
        // As the next round expects it.
        self.change(give).await;
        stale
    }

    async fn change(&self, change: Change) {
        let epoch = change(&self.database, &self.id);
        if let Some(barrier) = &self.barrier {
            barrier.settle(epoch, Duration::from_secs(60)).await.unwrap();
        }
    }
}

async fn stale_in(rounds: usize, with_push: bool) -> usize {
    let database = Fake::new();
    let gate = database.gate();
    let left = Arc::new(AtomicUsize::new(rounds));
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let worker = Worker {
            database: database.clone(),
            gate: gate.clone(),
            barrier: with_push.then(|| Barrier::new(database.clone(), Arc::new(SystemClock))),
            id: format!("admin-{number}"),
        };
        worker.change(Fake::grant).await;
        worker.change(Fake::log_in).await;
        let left = left.clone();
        workers.spawn(async move {
            let (mut stale, mut number) = (0, 0);
            let take_one = |left: usize| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
                stale += worker.round(number).await;
                number += 1;
            }
            stale
        });
    }
    let mut stale = 0;
    while let Some(one) = workers.join_next().await {
        stale += one.unwrap();
    }
    println!("{rounds} rounds, push {with_push}, in {:?}: {stale} stale", started.elapsed());
    stale
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_is_never_stale_whatever_was_loading() {
    assert_eq!(stale_in(rounds(), false).await, 0);
}

/// Fewer rounds, because a barrier takes its milliseconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_behind_the_barrier_is_never_stale_whatever_was_loading() {
    assert_eq!(stale_in(rounds() / 20, true).await, 0);
}
