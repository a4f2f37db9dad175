//! The barrier: when it returns, and whom it waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clock::SystemClock;
use console_gate::freshness::barrier::{Barrier, BarrierError};
use policy::ids::Epoch;
use tokio::time::{Instant, sleep};

use crate::fake::Fake;

const LIMIT: Duration = Duration::from_secs(15);
const LEASE: Duration = Duration::from_secs(2);
/// Two looks at the leases.
const SOON: Duration = Duration::from_millis(20);

fn barrier(database: &Arc<Fake>) -> Barrier {
    Barrier::new(database.clone(), Arc::new(SystemClock))
}

#[tokio::test(start_paused = true)]
async fn without_leases_there_is_nothing_to_wait_for() {
    let database = Fake::new();
    let settled = barrier(&database).settle(database.grant("anna"), LIMIT).await.unwrap();
    assert_eq!(settled.waited, Duration::ZERO);
    assert!(settled.acknowledged.is_empty() && settled.lapsed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_last_gate_to_acknowledge() {
    let database = Fake::new();
    database.renew("a", LEASE, Epoch(0));
    database.renew("b", LEASE, Epoch(0));
    let epoch = database.revoke("anna");
    let later = database.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(30)).await;
        later.renew("a", LEASE, epoch);
        sleep(Duration::from_millis(300)).await;
        // A later epoch is as good.
        later.renew("b", LEASE, Epoch(epoch.0 + 5));
    });
    let settled = barrier(&database).settle(epoch, LIMIT).await.unwrap();
    assert!(settled.waited >= Duration::from_millis(330), "{settled:?}");
    assert!(settled.waited <= Duration::from_millis(330) + SOON, "{settled:?}");
    assert_eq!(settled.acknowledged, ["name of a", "name of b"]);
    assert!(settled.lapsed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_older_acknowledgement_is_none() {
    let database = Fake::new();
    let old = database.grant("anna");
    let epoch = database.revoke("anna");
    database.renew("a", LEASE, old);
    let settled = barrier(&database).settle(epoch, LIMIT).await.unwrap();
    assert_eq!(settled.lapsed, ["name of a"]);
}

/// A dead gate costs one barrier its lease, and the next one nothing.
#[tokio::test(start_paused = true)]
async fn a_dead_gate_is_waited_out_once() {
    let database = Fake::new();
    database.renew("dead", LEASE, Epoch(0));
    let barrier = barrier(&database);
    let first = barrier.settle(database.revoke("anna"), LIMIT).await.unwrap();
    assert!(first.waited >= LEASE && first.waited <= LEASE + SOON, "{first:?}");
    assert_eq!(first.lapsed, ["name of dead"]);
    let second = barrier.settle(database.revoke("anna"), LIMIT).await.unwrap();
    assert_eq!(second.waited, Duration::ZERO);
    // If it was not dead after all, it counts again.
    database.renew("dead", LEASE, Epoch(0));
    let third = barrier.settle(database.revoke("anna"), LIMIT).await.unwrap();
    assert_eq!(third.lapsed, ["name of dead"]);
}

/// The lease that is waited for is the one that was seen. A renewal while the barrier waits is another lease, and who
/// comes next has to wait for it.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_renewed_meanwhile_is_not_ended() {
    let database = Fake::new();
    database.renew("slow", LEASE, Epoch(0));
    let epoch = database.revoke("anna");
    let later = database.clone();
    tokio::spawn(async move {
        sleep(LEASE / 2).await;
        later.renew("slow", LEASE, Epoch(0));
    });
    let settled = barrier(&database).settle(epoch, LIMIT).await.unwrap();
    assert!(settled.waited >= LEASE && settled.waited <= LEASE + SOON, "{settled:?}");
    assert_eq!(database.open_leases().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_leaves_is_not_waited_for() {
    let database = Fake::new();
    let gate = database.gate();
    // A gate that holds a lease, and is then cut off from what it should hear.
    while database.open_leases().is_empty() {
        gate.observe(policy::mapping::Freshness::Push).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    database.loses_hints.store(true, Ordering::SeqCst);
    database.feed_hangs.store(true, Ordering::SeqCst);
    let epoch = database.revoke("anna");
    let leaving = tokio::spawn(async move {
        sleep(Duration::from_millis(50)).await;
        gate.leave().await.unwrap();
    });
    let settled = barrier(&database).settle(epoch, LIMIT).await.unwrap();
    leaving.await.unwrap();
    assert!(settled.waited <= Duration::from_millis(50) + SOON, "{settled:?}");
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_where_a_lease_is_longer_than_the_caller_waits() {
    let database = Fake::new();
    database.renew("odd", Duration::from_secs(3_600), Epoch(0));
    let started = Instant::now();
    let outcome = barrier(&database).settle(database.revoke("anna"), LIMIT).await;
    assert!(matches!(outcome, Err(BarrierError::TooLong { .. })), "{outcome:?}");
    assert!(started.elapsed() <= LIMIT + SOON);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_does_not_answer_is_an_error() {
    let database = Fake::new();
    database.is_down.store(true, Ordering::SeqCst);
    assert!(matches!(barrier(&database).settle_now(LIMIT).await, Err(BarrierError::Store(_))));
    // Nor may it go away in the middle.
    database.is_down.store(false, Ordering::SeqCst);
    database.renew("a", LEASE, Epoch(0));
    let later = database.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(100)).await;
        later.is_down.store(true, Ordering::SeqCst);
    });
    let epoch = database.revoke("anna");
    assert!(matches!(barrier(&database).settle(epoch, LIMIT).await, Err(BarrierError::Store(_))));
}
