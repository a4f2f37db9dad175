//! Pushed knowledge: when it is used, when it is not, and in which order it is gained.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use console_gate::freshness::AccessResolver;
use policy::ids::Epoch;
use policy::mapping::Freshness;
use store::instances::Hint;
use tokio::time::{Instant, sleep};

use crate::fake::{Fake, MAX_STALENESS, Step};

const HEARTBEAT: Duration = Duration::from_millis(500);

/// Whether the next answer comes from pushed knowledge: without a read.
async fn is_trusted(gate: &AccessResolver, database: &Fake) -> bool {
    let before = database.reads.load(Ordering::SeqCst);
    gate.observe(Freshness::Push).await.unwrap();
    database.reads.load(Ordering::SeqCst) == before
}

/// Waits, by the tests' own clock.
async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(1)).await;
    }
    started.elapsed()
}

async fn trusted_gate(database: &Arc<Fake>) -> Arc<AccessResolver> {
    let gate = database.gate();
    until("trust", HEARTBEAT, async || is_trusted(&gate, database).await).await;
    gate
}

async fn epoch(gate: &AccessResolver) -> Epoch {
    gate.observe(Freshness::Push).await.unwrap().epoch
}

#[tokio::test(start_paused = true)]
async fn trusted_knowledge_costs_no_read_for_as_long_as_the_heart_beats() {
    let database = Fake::new();
    database.grant("anna");
    let gate = trusted_gate(&database).await;
    let before = database.reads.load(Ordering::SeqCst);
    for _ in 0..10_000 {
        assert_eq!(epoch(&gate).await, Epoch(1));
        sleep(Duration::from_millis(3)).await;
    }
    assert_eq!(database.reads.load(Ordering::SeqCst), before);
}

#[tokio::test(start_paused = true)]
async fn strict_reads_whatever_was_pushed() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    database.loses_hints.store(true, Ordering::SeqCst);
    let committed = database.grant("anna");
    assert_eq!(epoch(&gate).await, Epoch(0), "or the test means nothing");
    assert_eq!(gate.observe(Freshness::Strict).await.unwrap().epoch, committed);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_never_asked_for_push_listens_to_nothing_and_has_no_lease() {
    let database = Fake::new();
    let gate = database.gate();
    for _ in 0..100 {
        gate.observe(Freshness::Strict).await.unwrap();
        sleep(HEARTBEAT).await;
    }
    assert_eq!(database.feeds_opened.load(Ordering::SeqCst), 0);
    assert_eq!(database.open_leases(), []);
}

#[tokio::test(start_paused = true)]
async fn a_sign_is_followed_within_a_millisecond() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    for _ in 0..100 {
        let committed = database.grant("anna");
        sleep(Duration::from_millis(1)).await;
        assert!(is_trusted(&gate, &database).await);
        assert_eq!(epoch(&gate).await, committed);
        sleep(Duration::from_millis(37)).await;
    }
}

/// The sign has come, the read that follows it hangs: nobody may be answered from before the sign.
#[tokio::test(start_paused = true)]
async fn a_sign_ends_the_trust_before_the_row_is_read() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    database.feed_hangs.store(true, Ordering::SeqCst);
    let committed = database.revoke("anna");
    sleep(Duration::from_millis(1)).await;
    assert!(!is_trusted(&gate, &database).await);
    assert_eq!(epoch(&gate).await, committed);
}

#[tokio::test(start_paused = true)]
async fn a_sign_that_nobody_can_read_ends_the_trust_too() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    database.feed_hangs.store(true, Ordering::SeqCst);
    database.announce(Hint::Rose(None));
    sleep(Duration::from_millis(1)).await;
    assert!(!is_trusted(&gate, &database).await);
}

/// Anybody may send on the channel. An old number is no news.
#[tokio::test(start_paused = true)]
async fn a_sign_of_what_is_known_changes_nothing() {
    let database = Fake::new();
    database.grant("anna");
    let gate = trusted_gate(&database).await;
    database.feed_hangs.store(true, Ordering::SeqCst);
    for known in [Epoch(1), Epoch(0), Epoch(-7)] {
        database.announce(Hint::Rose(Some(known)));
    }
    sleep(Duration::from_millis(1)).await;
    assert!(is_trusted(&gate, &database).await);
}

/// Neither a sign nor an error comes: the connection is dead without notice.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up_and_never_stale_for_longer_than_the_bound() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    for pause in [0, 1, 100, 250, 499] {
        sleep(Duration::from_millis(pause)).await;
        database.loses_hints.store(true, Ordering::SeqCst);
        database.feed_hangs.store(true, Ordering::SeqCst);
        let committed = database.revoke("anna");
        let stale = until("the new epoch", MAX_STALENESS, async || epoch(&gate).await == committed).await;
        assert!(stale <= HEARTBEAT * 2 + Duration::from_millis(2), "noticed after {stale:?}");
        // And from then on never again from before.
        for _ in 0..5_000 {
            assert_eq!(epoch(&gate).await, committed);
            sleep(Duration::from_millis(1)).await;
        }
        database.loses_hints.store(false, Ordering::SeqCst);
        database.feed_hangs.store(false, Ordering::SeqCst);
        until("trust again", Duration::from_secs(5), async || is_trusted(&gate, &database).await).await;
    }
}

/// What was missed between two connections is missed for good, so the row is read before anything is trusted.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_the_trust_and_the_next_one_reads_first() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    for _ in 0..20 {
        database.refuses_feeds.store(true, Ordering::SeqCst);
        database.break_feeds();
        let committed = database.revoke("anna");
        sleep(Duration::from_millis(1)).await;
        assert_eq!(epoch(&gate).await, committed);
        assert!(!is_trusted(&gate, &database).await);
        let unheard = database.grant("anna");
        database.refuses_feeds.store(false, Ordering::SeqCst);
        until("trust again", Duration::from_secs(5), async || {
            assert!(epoch(&gate).await >= unheard);
            is_trusted(&gate, &database).await
        })
        .await;
    }
    assert!(database.feeds_opened.load(Ordering::SeqCst) > 20);
}

/// A lease is taken before the read, and the acknowledgement comes after it. Were it otherwise, a barrier could
/// miss the gate, or believe it too early.
#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_before_reading_and_an_epoch_acknowledged_after() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    for _ in 0..20 {
        database.grant("anna");
        sleep(Duration::from_millis(333)).await;
    }
    assert_eq!(epoch(&gate).await, database.epoch());
    let steps = database.steps();
    assert!(matches!(steps[0], Step::Renewed { acknowledged: Epoch(0) }), "{steps:?}");
    let mut read = Epoch(0);
    for step in &steps {
        match *step {
            Step::Read(epoch) => read = epoch,
            Step::Renewed { acknowledged } => assert!(acknowledged <= read, "{steps:?}"),
        }
    }
    assert_eq!(database.open_leases()[0].acknowledged, database.epoch());
    assert_eq!(database.open_leases()[0].length, MAX_STALENESS);
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_is_pushed_with_the_epoch() {
    let database = Fake::new();
    database.flip(true);
    let gate = trusted_gate(&database).await;
    for on in [false, true, false] {
        database.flip(on);
        sleep(Duration::from_millis(1)).await;
        assert!(is_trusted(&gate, &database).await);
        assert_eq!(gate.observe(Freshness::Push).await.unwrap().rbac_v2, on);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_leaves_gives_its_lease_back_and_is_strict_from_then_on() {
    let database = Fake::new();
    let gate = trusted_gate(&database).await;
    assert_eq!(database.open_leases().len(), 1);
    gate.leave().await.unwrap();
    assert_eq!(database.open_leases(), []);
    for _ in 0..10 {
        assert!(!is_trusted(&gate, &database).await);
        sleep(HEARTBEAT).await;
    }
    assert_eq!(database.open_leases(), []);
}

/// Push is a saving, not a need: while the database can be read, requests are answered.
#[tokio::test(start_paused = true)]
async fn without_a_feed_push_is_strict() {
    let database = Fake::new();
    database.refuses_feeds.store(true, Ordering::SeqCst);
    let gate = database.gate();
    for _ in 0..100 {
        let committed = database.grant("anna");
        assert_eq!(epoch(&gate).await, committed);
        sleep(HEARTBEAT).await;
    }
}
