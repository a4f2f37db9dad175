//! Waits until every gate acts on a change.
//!
//! A revocation that goes through the gate's own commands ends here: when [`Barrier::settle`] has returned, no request
//! that arrives at any gate is allowed by what was known before.
//!
//! No clock is compared with another one. A lease that is there when the barrier looks was renewed before it looked,
//! and the trust under it counts from before the renewal: `length` later, by the barrier's own clock, it is over.
//! A lease that appears later belongs to a gate that has yet to read, and will read the change.

use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use policy::ids::{Epoch, InstanceId};
use store::instances::Lease;
use store::{AccessSource, StoreError};
use tokio::time::{Instant, sleep};

/// Between two looks at the leases. A gate acknowledges within a few milliseconds.
const LOOK: Duration = Duration::from_millis(5);

/// Every gate acts on the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub waited: Duration,
    /// The gates that acknowledged it, by name.
    pub acknowledged: Vec<String>,
    /// The gates that said nothing until their lease had run out: dead, cut off, or in doubt and so reading for
    /// themselves.
    pub lapsed: Vec<String>,
}

/// It is not known that every gate acts on the change. The change itself is committed.
#[derive(Debug, thiserror::Error)]
pub enum BarrierError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A lease is longer than the caller will wait.
    #[error("no response within {limit:?} from {}", silent.join(", "))]
    TooLong { limit: Duration, silent: Vec<String> },
}

/// Waits for the gates on one database.
pub struct Barrier {
    store: Arc<dyn AccessSource>,
    clock: SharedClock,
}

impl Barrier {
    /// A barrier for the gates on `store`.
    pub fn new(store: Arc<dyn AccessSource>, clock: SharedClock) -> Barrier {
        Barrier { store, clock }
    }

    /// Waits for whatever was committed before this call.
    ///
    /// # Errors
    ///
    /// As [`Barrier::settle`].
    pub async fn settle_now(&self, limit: Duration) -> Result<Settled, BarrierError> {
        let epoch = self.store.control().await?.epoch;
        self.settle(epoch, limit).await
    }

    /// Returns when every gate acts on `epoch` or a later one, or no longer trusts what it knew before. `epoch` must be
    /// committed. Ends within the longest lease, and `limit`.
    ///
    /// # Errors
    ///
    /// The database did not answer, or a lease is longer than `limit`.
    pub async fn settle(&self, epoch: Epoch, limit: Duration) -> Result<Settled, BarrierError> {
        let started = Instant::now();
        let acts = |lease: &Lease| lease.acknowledged >= epoch;
        let (mut done, mut open): (Vec<Lease>, Vec<Lease>) =
            self.store.leases().await?.into_iter().partition(acts);
        // After the answer: the leases in it were renewed before, so they end sooner than by this clock.
        let looked = Instant::now();
        let mut lapsed = Vec::new();
        while !open.is_empty() {
            let is_over = |lease: &Lease| looked.elapsed() >= lease.length;
            lapsed.extend(open.extract_if(.., |lease| is_over(lease)));
            if open.is_empty() {
                break;
            }
            if started.elapsed() >= limit {
                return Err(BarrierError::TooLong { limit, silent: names(&open) });
            }
            sleep(LOOK).await;
            let now = self.store.leases().await?;
            let is_done = |lease: &Lease| still_open(&now, &lease.instance).is_none_or(acts);
            done.extend(open.extract_if(.., |lease| is_done(lease)));
        }
        if !lapsed.is_empty() {
            // So that the next command need not wait for gates that have ended. A lease that was renewed since is kept.
            self.store.end_leases(&lapsed, self.clock.now()).await?;
        }
        Ok(Settled { waited: started.elapsed(), acknowledged: names(&done), lapsed: names(&lapsed) })
    }
}

/// The lease of `instance`, if it has one: a gate that left, or was waited out by another command, trusts nothing.
fn still_open<'l>(leases: &'l [Lease], instance: &InstanceId) -> Option<&'l Lease> {
    leases.iter().find(|lease| lease.instance == *instance)
}

fn names(leases: &[Lease]) -> Vec<String> {
    leases.iter().map(|lease| lease.name.clone()).collect()
}
