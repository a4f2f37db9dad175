//! What the database has announced, and until when it may be trusted.
//!
//! The rule: a request may be decided by pushed knowledge only while a lease holds that was taken *before* that
//! knowledge was read, and the lease counts from before it was asked for.
//!
//! ```text
//!   gate   t0 ── renew ──> committed ──> read ──> epoch 7, trusted until t0 + max_staleness ── renew (7) ──>
//!   others                          ^ from here on a look at the leases finds this one
//! ```
//!
//! Why in this order, and in two transactions: a revocation that is committed after the renewal finds the lease and
//! waits for it ([`super::barrier`]); one that was committed before is in the row read. Were the lease renewed in the
//! statement that reads, its snapshot could be older than the revocation and its commit later than the look at the
//! leases, and no revocation would wait for what the gate then trusts. `tests/model` has both.
//!
//! A sign that the epoch rose ends the trust at once; requests read for themselves until the row was read again. So
//! does any error, and a lease that is not renewed in time ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clock::SharedClock;
use policy::ids::InstanceId;
use store::control::ControlRow;
use store::{AccessSource, StoreError};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::keeper::Keeper;
use super::ledger::Ledger;
pub use super::pushed::PushTerms;
use super::pushed::Pushed;

/// Pushed knowledge, and the task that keeps it.
pub(super) struct Push {
    pushed: Arc<Pushed>,
    store: Arc<dyn AccessSource>,
    instance: InstanceId,
    wanted: Arc<Notify>,
    has_left: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Push {
    /// Starts the task on the current runtime. It sleeps until knowledge is first asked for.
    pub(super) fn start(
        store: Arc<dyn AccessSource>,
        clock: SharedClock,
        ledger: Arc<Ledger>,
        terms: PushTerms,
    ) -> Push {
        let pushed = Arc::new(Pushed::default());
        let wanted = Arc::new(Notify::new());
        let instance = InstanceId::new(uuid::Uuid::now_v7().to_string());
        let keeper = Keeper::new(store.clone(), clock, ledger, instance.clone(), terms, pushed.clone());
        let asked = wanted.clone();
        let task = tokio::spawn(async move {
            asked.notified().await;
            keeper.run().await;
        });
        let task = Mutex::new(Some(task));
        Push { pushed, store, instance, wanted, has_left: AtomicBool::new(false), task }
    }

    /// The known row, if it may be trusted now.
    pub(super) fn trusted(&self) -> Option<ControlRow> {
        let row = self.pushed.trusted(Instant::now());
        if row.is_none() && !self.has_left.load(Ordering::Relaxed) {
            self.wanted.notify_one();
        }
        row
    }

    /// Ends the task and the trust, then the lease, in this order, because others wait for the lease.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        self.has_left.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.lock().await.take() {
            task.abort();
            // Cancelled, as was asked for.
            let _ = task.await;
        }
        self.pushed.doubt();
        self.store.leave(&self.instance).await
    }
}
