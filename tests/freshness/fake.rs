//! A database in memory, whose connections can be made to lie, to hang and to break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clock::SystemClock;
use console_gate::freshness::push::PushTerms;
use console_gate::freshness::{AccessResolver, Posture};
use policy::decision::ticket::TicketName;
use policy::identity::Subject;
use policy::identity::machine_token::TokenDigest;
use policy::ids::{AdminId, Epoch, InstanceId, SessionId};
use policy::rbac::{Access, Standing};
use store::control::{ControlReading, ControlRow, SessionChange};
use store::instances::{ControlFeed, Hint, Lease, Renewal};
use store::tickets::TicketAccess;
use store::{AccessSource, StoreError};
use tokio::sync::mpsc;

/// The role that everybody has or has not.
pub const ROLE: &str = "role";
/// What it takes to look a token up.
pub const LOOKUP: Duration = Duration::from_millis(1);
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
    /// The live ones.
    sessions: BTreeSet<String>,
    /// The hashes of those that are enrolled.
    tokens: BTreeSet<String>,
    /// The sessions that a change concerns, where it concerns nobody else; the newest of them.
    changes: Vec<SessionChange>,
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
    /// Reads of what somebody holds.
    pub loads: AtomicU64,
    /// Reads of what a token holds: now, and at most at a time.
    lookups: AtomicU64,
    pub most_lookups: AtomicU64,
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
        self.gate_that_keeps(10_000)
    }

    /// A gate whose cache has so much room.
    pub fn gate_that_keeps(self: &Arc<Self>, capacity: u64) -> Arc<AccessResolver> {
        let posture = Posture { flag_at_start: None, production: false };
        let terms = PushTerms { name: "gate/1".into(), max_staleness: MAX_STALENESS };
        let resolver = AccessResolver::start(self.clone(), Arc::new(SystemClock), posture, capacity);
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

    /// A change of one session's row, listed as the databases' triggers list it.
    fn commit_session(&self, session: &str, change: impl FnOnce(&mut State)) -> Epoch {
        self.commit(|state| {
            change(state);
            let epoch = Epoch(state.epoch + 1);
            state.changes.push(SessionChange { epoch, session: SessionId::new(session) });
            // Little enough that readers find some forgotten.
            let forgotten = state.changes.len().saturating_sub(20);
            state.changes.drain(..forgotten);
        })
    }

    pub fn log_in(&self, session: &str) -> Epoch {
        self.commit_session(session, |state| {
            state.sessions.insert(session.to_owned());
        })
    }

    pub fn log_out(&self, session: &str) -> Epoch {
        self.commit_session(session, |state| {
            state.sessions.remove(session);
        })
    }

    /// Everybody's access, and the number with it, as they were before: another database, or an old backup.
    pub fn go_back(&self, to: Epoch) {
        let mut state = self.state.lock().unwrap();
        state.epoch = to.0;
        state.holders.clear();
    }

    pub fn enrol(&self, token: &str) -> Epoch {
        self.commit(|state| {
            state.tokens.insert(TokenDigest::of(token).to_hex());
        })
    }

    /// Takes a moment, so that lookups meet.
    async fn look_up(&self, digest: TokenDigest) -> Access {
        let under_way = self.lookups.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_lookups.fetch_max(under_way, Ordering::SeqCst);
        tokio::time::sleep(LOOKUP).await;
        self.lookups.fetch_sub(1, Ordering::SeqCst);
        let state = self.state.lock().unwrap();
        let mut access = Access::nothing(Epoch(state.epoch));
        if state.tokens.contains(&digest.to_hex()) {
            access.standing = Standing::Active;
        }
        access
    }

    pub fn flip(&self, rbac_v2: bool) -> Epoch {
        self.commit(|state| state.rbac_v2 = Some(rbac_v2))
    }

    pub fn epoch(&self) -> Epoch {
        Epoch(self.state.lock().unwrap().epoch)
    }

    /// Sends every feed a hint, true or not.
    pub fn announce(&self, hint: Hint) {
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

    fn row(&self, known: Option<Epoch>) -> ControlReading {
        let state = self.state.lock().unwrap();
        let is_new = |change: &&SessionChange| known.is_some_and(|known| change.epoch > known);
        ControlReading {
            row: ControlRow {
                epoch: Epoch(state.epoch),
                rbac_v2: state.rbac_v2,
                promoted: false,
                console_watched: true,
            },
            changes: state.changes.iter().filter(is_new).cloned().collect(),
        }
    }
}

#[async_trait]
impl AccessSource for Fake {
    async fn access(&self, subject: &Subject, _now: DateTime<Utc>) -> Result<Access, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let (id, session) = match subject {
            Subject::Admin { id, session } => (id, session),
            Subject::Machine(digest) => return Ok(self.look_up(*digest).await),
            Subject::Session(key) => {
                return Ok(self.look_up(TokenDigest::of(key.expose().unwrap())).await);
            }
            Subject::Enrolled(_) | Subject::Stated(_) => panic!("nobody asks for it here"),
        };
        let access = {
            let state = self.state.lock().unwrap();
            let is_live = session.as_ref().is_none_or(|session| state.sessions.contains(session.as_str()));
            let standing = if is_live { Standing::Active } else { Standing::SessionEnded };
            let mut access = Access { standing, ..Access::nothing(Epoch(state.epoch)) };
            if is_live && state.holders.contains(id.as_str()) {
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

    async fn ticket_access(
        &self,
        _admin: &AdminId,
        _name: &TicketName,
        _now: DateTime<Utc>,
    ) -> Result<TicketAccess, StoreError> {
        panic!("nobody asks for it here")
    }

    async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(down());
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
        let row = self.row(known);
        tokio::task::yield_now().await;
        Ok(row)
    }

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

    async fn control(&mut self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
        self.answers().await;
        let reading = self.database.row(known);
        self.database.state.lock().unwrap().steps.push(Step::Read(reading.row.epoch));
        tokio::task::yield_now().await;
        Ok(reading)
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

pub fn admin(id: &str) -> Subject {
    Subject::Admin { id: AdminId::new(id), session: None }
}

pub fn admin_in(id: &str, session: &str) -> Subject {
    Subject::Admin { id: AdminId::new(id), session: Some(SessionId::new(session)) }
}
