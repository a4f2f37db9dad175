//! A database in memory, whose connections can be made to lie, to hang and to break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use console_gate::access::push::PushTerms;
use console_gate::access::{AccessResolver, Posture};
use console_gate::audit::Note;
use console_gate::clock::SystemClock;
use console_gate::identity::Subject;
use console_gate::ids::{AdminId, Epoch, InstanceId};
use console_gate::rbac::{Access, Standing};
use console_gate::store::control::ControlRow;
use console_gate::store::instances::{ControlFeed, Hint, Lease, Renewal};
use console_gate::store::{AccessStore, ControlStore, InstanceStore, StoreError};
use tokio::sync::mpsc;

/// The role that everybody has or has not.
pub const ROLE: &str = "role";
pub const MAX_STALENESS: Duration = Duration::from_millis(2_000);

/// What was asked of a feed, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Renewed { acknowledged: Epoch },
    Read(Epoch),
}

#[derive(Default)]
struct State {
    epoch: i64,
    rbac_v2: Option<bool>,
    holders: BTreeSet<String>,
    /// And whether it has ended.
    leases: BTreeMap<InstanceId, (Lease, bool)>,
    feeds: Vec<mpsc::UnboundedSender<Result<Hint, StoreError>>>,
    steps: Vec<Step>,
}

/// The database.
#[derive(Default)]
pub struct Fake {
    /// A feed outlives the call that opens it.
    itself: Weak<Fake>,
    state: Mutex<State>,
    /// Reads of the control row on behalf of requests.
    pub reads: AtomicU64,
    pub feeds_opened: AtomicU64,
    /// Signs get lost.
    pub loses_hints: AtomicBool,
    /// Nothing that is asked over a feed is answered.
    pub feed_hangs: AtomicBool,
    /// No feed can be opened.
    pub refuses_feeds: AtomicBool,
    /// Not even the leases can be read.
    pub is_down: AtomicBool,
}

fn down() -> StoreError {
    StoreError::Unavailable("down".into())
}

impl Fake {
    pub fn new() -> Arc<Fake> {
        Arc::new_cyclic(|itself| Fake { itself: itself.clone(), ..Fake::default() })
    }

    /// A gate on it.
    pub fn gate(self: &Arc<Self>) -> Arc<AccessResolver> {
        let posture = Posture { flag_at_start: None, production: false };
        let terms = PushTerms { name: "gate/1".into(), max_staleness: MAX_STALENESS };
        let resolver = AccessResolver::start(self.clone(), Arc::new(SystemClock), posture, 10_000);
        Arc::new(resolver.with_push(terms))
    }

    fn commit(&self, change: impl FnOnce(&mut State)) -> Epoch {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        state.epoch += 1;
        let epoch = Epoch(state.epoch);
        if !self.loses_hints.load(Ordering::SeqCst) {
            state.feeds.retain(|feed| feed.send(Ok(Hint::Rose(Some(epoch)))).is_ok());
        }
        epoch
    }

    pub fn grant(&self, admin: &str) -> Epoch {
        self.commit(|state| {
            state.holders.insert(admin.to_owned());
        })
    }

    pub fn revoke(&self, admin: &str) -> Epoch {
        self.commit(|state| {
            state.holders.remove(admin);
        })
    }

    pub fn flip(&self, rbac_v2: bool) -> Epoch {
        self.commit(|state| state.rbac_v2 = Some(rbac_v2))
    }

    pub fn epoch(&self) -> Epoch {
        Epoch(self.state.lock().unwrap().epoch)
    }

    /// Tells every feed something, true or not.
    pub fn tell(&self, hint: Hint) {
        self.state.lock().unwrap().feeds.retain(|feed| feed.send(Ok(hint)).is_ok());
    }

    /// Breaks every connection that listens.
    pub fn break_feeds(&self) {
        for feed in self.state.lock().unwrap().feeds.drain(..) {
            let _ = feed.send(Err(down()));
        }
    }

    pub fn steps(&self) -> Vec<Step> {
        self.state.lock().unwrap().steps.clone()
    }

    /// Renews a lease as a gate does.
    pub fn renew(&self, instance: &str, length: Duration, acknowledged: Epoch) {
        let mut state = self.state.lock().unwrap();
        let instance = InstanceId::new(instance);
        let renewals = state.leases.get(&instance).map_or(0, |(lease, _)| lease.renewals) + 1;
        let name = format!("name of {instance}");
        let lease = Lease { instance: instance.clone(), name, renewals, length, acknowledged };
        state.leases.insert(instance, (lease, false));
    }

    pub fn open_leases(&self) -> Vec<Lease> {
        let state = self.state.lock().unwrap();
        state.leases.values().filter(|(_, ended)| !ended).map(|(lease, _)| lease.clone()).collect()
    }

    fn row(&self) -> ControlRow {
        let state = self.state.lock().unwrap();
        ControlRow { epoch: Epoch(state.epoch), rbac_v2: state.rbac_v2, promoted: false }
    }
}

#[async_trait]
impl AccessStore for Fake {
    async fn access(&self, subject: &Subject, _now: DateTime<Utc>) -> Result<Access, StoreError> {
        let Subject::Admin { id, .. } = subject else { panic!("only admins here") };
        let access = {
            let state = self.state.lock().unwrap();
            let mut access = Access { standing: Standing::Active, ..Access::nothing(Epoch(state.epoch)) };
            if state.holders.contains(id.as_str()) {
                access.roles.insert(Arc::from(ROLE));
            }
            access
        };
        // The answer is on its way while others go on: that is when it can become old.
        for _ in 0..access.epoch.0 % 4 {
            tokio::task::yield_now().await;
        }
        Ok(access)
    }
}

#[async_trait]
impl ControlStore for Fake {
    async fn control(&self) -> Result<ControlRow, StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(down());
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
        let row = self.row();
        tokio::task::yield_now().await;
        Ok(row)
    }

    async fn set_rbac_v2(&self, _: bool, _: &str, _: DateTime<Utc>, _: &Note) -> Result<(), StoreError> {
        Err(down())
    }
}

struct FakeFeed {
    database: Arc<Fake>,
    hints: mpsc::UnboundedReceiver<Result<Hint, StoreError>>,
}

impl FakeFeed {
    async fn answers(&self) {
        if self.database.feed_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl ControlFeed for FakeFeed {
    async fn hint(&mut self) -> Result<Hint, StoreError> {
        self.hints.recv().await.unwrap_or_else(|| Err(down()))
    }

    fn waiting_hint(&mut self) -> Option<Hint> {
        self.hints.try_recv().ok().and_then(Result::ok)
    }

    async fn control(&mut self) -> Result<ControlRow, StoreError> {
        self.answers().await;
        let row = self.database.row();
        self.database.state.lock().unwrap().steps.push(Step::Read(row.epoch));
        tokio::task::yield_now().await;
        Ok(row)
    }

    async fn renew(&mut self, renewal: &Renewal) -> Result<(), StoreError> {
        self.answers().await;
        self.database.renew(renewal.instance.as_str(), renewal.length, renewal.acknowledged);
        let acknowledged = renewal.acknowledged;
        self.database.state.lock().unwrap().steps.push(Step::Renewed { acknowledged });
        tokio::task::yield_now().await;
        Ok(())
    }
}

#[async_trait]
impl InstanceStore for Fake {
    async fn feed(&self) -> Result<Box<dyn ControlFeed>, StoreError> {
        self.feeds_opened.fetch_add(1, Ordering::SeqCst);
        if self.refuses_feeds.load(Ordering::SeqCst) {
            return Err(down());
        }
        let (sender, hints) = mpsc::unbounded_channel();
        self.state.lock().unwrap().feeds.push(sender);
        Ok(Box::new(FakeFeed { database: self.itself.upgrade().unwrap(), hints }))
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(down());
        }
        Ok(self.open_leases())
    }

    async fn end_leases(&self, leases: &[Lease], _now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        for ending in leases {
            if let Some((lease, ended)) = state.leases.get_mut(&ending.instance)
                && lease.renewals == ending.renewals
            {
                *ended = true;
            }
        }
        Ok(())
    }

    async fn leave(&self, instance: &InstanceId) -> Result<(), StoreError> {
        self.state.lock().unwrap().leases.remove(instance);
        Ok(())
    }
}

pub fn admin(id: &str) -> Subject {
    Subject::Admin { id: AdminId::new(id), session: None }
}
