//! What a caller holds, proven current.
//!
//! The rule (the decided tension about the cutover design's invariant I-1, "read live, cache no credential"): a request
//! may use a cached answer only after an epoch read that began after the request arrived, and only if nothing about the
//! caller has changed between the epoch at which the answer was read and the observed one. Requests that wait at the
//! same time share one read, so the cost does not grow with load. A change that was committed before a request arrived
//! is therefore always seen.
//!
//! ```text
//! request --observe()--> epoch 7 --resolve(anna, 7)--> cache[anna], if it was read at or after the last change that
//!                          |                           concerns anna; or one load that finds such an epoch
//!                          +--> ledger: which callers a change concerns
//! ```
//!
//! The [`ledger`] knows which callers a change concerns. A row may set `freshness = "push"` instead: then the epoch is
//! the one that the database announced last, as long as it is proven that it would have announced a change ([`push`]).
//! A command that takes access away waits at the [`barrier`] until every gate has taken note, so that for such changes
//! push is as good as a read for each request.
//!
//! An answer carries the epoch of its own snapshot, and each request compares that with the epoch that it needs. So a
//! load that was under way when the epoch rose cannot bring an old answer back (a trap that others fell into with
//! moka), no matter which request stores it or waits for it.

pub mod barrier;
mod keeper;
mod ledger;
mod notices;
pub mod push;
mod pushed;
mod seen;
mod shared_read;
pub mod slides;
mod strangers;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, SharedClock};
use metrics::{Counter, counter};
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use policy::decision::Control;
use policy::decision::ticket::TicketName;
use policy::identity::Subject;
use policy::ids::{AdminId, Epoch};
use policy::mapping::Freshness;
use policy::rbac::{Access, Standing};
use store::control::ControlRow;
use store::tickets::TicketAccess;
use store::{AccessSource, StoreError};
use tokio::sync::Mutex;

use ledger::{Ledger, Terms};
use notices::Notices;
use push::{Push, PushTerms};
use seen::Seen;
use shared_read::SharedRead;
use strangers::Strangers;

/// Nothing is known about the caller, so nothing may be allowed: 503.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// A snapshot from before an epoch that was already seen: a lagging replica, or a restored backup.
    #[error("the database answered as of epoch {answered}, although epoch {observed} was committed")]
    Backwards { answered: Epoch, observed: Epoch },
    /// Each operation was in time, but all of them together were not.
    #[error("the database took more than {0:?} for one decision")]
    Late(Duration),
    /// It is unknown whether the ticket that the decision depends on is open.
    #[error("a ticket could not be verified: {0}")]
    Ticket(String),
    #[error("too many requests wait for the epoch")]
    Overloaded,
    /// Strangers cause this, so it is counted and not logged for each request.
    #[error("too many unknown credentials wait to be looked up")]
    Crowded,
}

/// The switches that override the mapping and do not come from the database.
#[derive(Clone, Copy, Debug)]
pub struct Posture {
    /// `FLAG_RBAC_V2` in the environment at start; `None` where it is not set.
    pub flag_at_start: Option<bool>,
    /// `environment = "production"`: V2 is enforced only once its flag is promoted (RBAC V2 design, I-11).
    pub production: bool,
}

impl Posture {
    /// Whether `FLAG_RBAC_V2` is on. Off in either place is off, because a kill-switch that can be overruled elsewhere
    /// is none. On must be stated.
    pub fn control(self, row: &ControlRow) -> Control {
        let rbac_v2 = match (self.flag_at_start, row.rbac_v2) {
            (Some(false), _) | (_, Some(false)) | (None, None) => false,
            (Some(true), None) | (_, Some(true)) => true,
        };
        Control { epoch: row.epoch, rbac_v2, may_enforce: !self.production || row.promoted }
    }
}

/// Resolves callers through the cache.
pub struct AccessResolver {
    store: Arc<dyn AccessSource>,
    clock: SharedClock,
    posture: Posture,
    ledger: Arc<Ledger>,
    epoch: SharedRead<ControlRow>,
    /// `None` if nothing is pushed: then every observation is strict.
    push: Option<Push>,
    /// By subject alone: an outdated entry is replaced, and displaces no other one meanwhile. The least recently used
    /// one goes first.
    cache: Cache<Subject, Kept>,
    strangers: Strangers,
    flights: Flights,
    notices: Notices,
    /// For the metrics.
    seen: Arc<Seen>,
    hits: Counter,
}

/// An answer, the generation of the ledger by which its epoch counts, and the era of the clock by which its grants had
/// ended.
#[derive(Clone, Debug)]
struct Kept {
    access: Arc<Access>,
    generation: u64,
    unheard: u64,
    era: u64,
}

impl Kept {
    fn is_current(&self, terms: Terms, clock: &dyn Clock) -> bool {
        // A temporary grant may have ended since. No row changed then, so the epoch did not rise: the time has to be
        // read. And if the clock has gone back, ended grants may be in force again. The time is read first, because
        // that detects a clock that went back; if nothing ends, it is enough that the process reads the clock every
        // second.
        let has_lapsed = self.access.has_lapsed(|| clock.now());
        self.generation == terms.generation
            && self.unheard >= terms.unheard
            && self.access.epoch >= terms.least
            && self.era == clock.era()
            && !has_lapsed
    }
}

impl AccessResolver {
    /// The cache holds at most `capacity` subjects.
    pub fn start(store: Arc<dyn AccessSource>, clock: SharedClock, posture: Posture, capacity: u64) -> Self {
        let ledger = Arc::new(Ledger::default());
        let seen = Arc::new(Seen::default());
        let (reader, notes, seen_last) = (store.clone(), ledger.clone(), seen.clone());
        let epoch = SharedRead::new(move || {
            let (reader, notes, seen) = (reader.clone(), notes.clone(), seen_last.clone());
            async move {
                let known = notes.known();
                let reading = reader.control_since(known).await?;
                notes.learn(known, &reading);
                seen.note(&reading.row);
                Ok(reading.row)
            }
        });
        let cache = Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru()).build();
        AccessResolver {
            store,
            clock,
            posture,
            ledger,
            epoch,
            push: None,
            cache,
            strangers: Strangers::new(),
            flights: Flights::default(),
            notices: Notices::default(),
            seen,
            hits: counter!("gate_access_hits_total"),
        }
    }

    /// Records a control row that was read elsewhere.
    pub fn saw(&self, row: &ControlRow) {
        self.seen.note(row);
    }

    /// The switches as they were last read, and the age of that read. For reports: no decision may rest on it.
    pub fn last_seen(&self) -> Option<(Duration, Control)> {
        let (age, row) = self.seen.last()?;
        Some((age, self.posture.control(&row)))
    }

    /// Lets the database push, from the first observation that asks for it. Until then, and for a gate that never asks,
    /// there is no lease and no separate connection.
    pub fn with_push(mut self, terms: PushTerms) -> Self {
        self.push = Some(Push::start(self.store.clone(), self.clock.clone(), self.ledger.clone(), terms));
        self
    }

    /// Stops trusting what was pushed and releases the lease, so that no revocation has to wait until it expires.
    ///
    /// # Errors
    ///
    /// The database did not accept it; the lease then expires.
    pub async fn leave(&self) -> Result<(), StoreError> {
        match &self.push {
            Some(push) => push.leave().await,
            None => Ok(()),
        }
    }

    /// The switches and the epoch: read after this call began, or pushed ones as long as they may be trusted.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn observe(&self, freshness: Freshness) -> Result<Control, AccessError> {
        if freshness == Freshness::Push
            && let Some(push) = &self.push
            && let Some(row) = push.trusted()
        {
            return Ok(self.posture.control(&row));
        }
        Ok(self.posture.control(&self.epoch.read().await?))
    }

    /// What `subject` holds, as of `observed` or later.
    ///
    /// # Errors
    ///
    /// The database did not answer, or answered from the past; or too many unknown tokens are presented.
    pub async fn resolve(&self, subject: &Subject, observed: Epoch) -> Result<Arc<Access>, AccessError> {
        let terms = self.ledger.terms(subject, observed);
        if let Some(access) = self.current(subject, observed, terms).await {
            self.hits.increment(1);
            return Ok(access);
        }
        let _turn =
            if self.cache.contains_key(subject) { None } else { self.strangers.turn(subject).await? };
        let _flight = self.flights.of(subject).lock().await;
        // Another request may have loaded it meanwhile: it counts if it is new enough for this request.
        if let Some(access) = self.current(subject, observed, terms).await {
            self.hits.increment(1);
            return Ok(access);
        }
        counter!("gate_access_loads_total").increment(1);
        // The era first: an answer by the time of one era must not be kept under the next.
        let era = self.clock.era();
        let loaded = self.store.access(subject, self.clock.now()).await;
        let access = loaded.map(Arc::new).map_err(|error| AccessError::Store(Arc::new(error)))?;
        self.notices.warn_about(&access.flaws);
        if access.epoch < terms.least {
            return Err(AccessError::Backwards { answered: access.epoch, observed: terms.least });
        }
        self.keep(
            subject,
            Kept { access: access.clone(), generation: terms.generation, unheard: terms.unheard, era },
        )
        .await;
        Ok(access)
    }

    /// The grants of an admin for one ticket and one customer, as of `observed` or later. They are never cached: the
    /// ticket can be closed between two requests.
    ///
    /// # Errors
    ///
    /// The database did not answer, or answered from the past.
    pub async fn ticket_access(
        &self,
        admin: &AdminId,
        name: &TicketName,
        observed: Epoch,
    ) -> Result<TicketAccess, AccessError> {
        let read = self.store.ticket_access(admin, name, self.clock.now()).await;
        let access = read.map_err(|error| AccessError::Store(Arc::new(error)))?;
        match access.epoch < observed {
            true => Err(AccessError::Backwards { answered: access.epoch, observed }),
            false => Ok(access),
        }
    }

    /// The cached answer, if it is current for a request that observed `observed`.
    async fn current(&self, subject: &Subject, observed: Epoch, terms: Terms) -> Option<Arc<Access>> {
        let kept = match self.cache.get(subject).await {
            Some(kept) => kept,
            None => self.strangers.get(subject).await?,
        };
        let terms = self.ledger.terms_of(&kept.access, subject, observed, terms);
        kept.is_current(terms, &*self.clock).then_some(kept.access)
    }

    /// Stores an answer that was loaded under the subject's flight: no other takes its place meanwhile.
    async fn keep(&self, subject: &Subject, kept: Kept) {
        if kept.access.standing == Standing::Unknown {
            self.cache.invalidate(subject).await;
            self.strangers.remember(subject, kept).await;
        } else {
            self.cache.insert(subject.without_credential(), kept).await;
        }
    }
}

/// At most one load at a time for each subject. Subjects share a few locks, so that there is nothing to clean up.
struct Flights {
    locks: [Mutex<()>; FLIGHTS],
    hasher: RandomState,
}

const FLIGHTS: usize = 256;

impl Default for Flights {
    fn default() -> Flights {
        Flights { locks: std::array::from_fn(|_| Mutex::new(())), hasher: RandomState::new() }
    }
}

impl Flights {
    fn of(&self, subject: &Subject) -> &Mutex<()> {
        let number = self.hasher.hash_one(subject) % FLIGHTS as u64;
        // The number is less than that of the locks, so the first one is only there for the compiler.
        usize::try_from(number).ok().and_then(|number| self.locks.get(number)).unwrap_or(&self.locks[0])
    }
}

#[cfg(test)]
mod tests;
