//! What a caller holds, proven current.
//!
//! The rule (the decided tension about invariant I-1, "read live, cache no credential"): a request may use a cached
//! answer only after an epoch read that began after the request arrived, and only if the answer was read at that
//! epoch. Requests that wait at the same time share one read, so the cost does not grow with load. A change that was
//! committed before a request arrived is therefore always seen.
//!
//! ```text
//! request --observe()--> epoch 7 --resolve(anna, 7)--> cache[(anna, 7)], or one load that finds epoch 7 or later
//! ```
//!
//! A row may say `freshness = "push"` instead: then the epoch is what the database has told last, for as long as it is
//! proven that it would have told of a change ([`push`]). Whoever takes something away waits at the [`barrier`] until
//! every gate has taken note, so that for such changes push is as good as a read for each request.
//!
//! The epoch is part of the cache's key. A load that was under way when the epoch rose stores its answer under the
//! old epoch, which nobody asks for any more: it cannot come back (the trap that others fell into with moka).

pub mod barrier;
mod keeper;
pub mod push;
mod shared_read;

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use moka::future::Cache;

use crate::clock::SharedClock;
use crate::decision::Control;
use crate::identity::Subject;
use crate::ids::Epoch;
use crate::mapping::Freshness;
use crate::rbac::Access;
use crate::store::control::ControlRow;
use crate::store::{AccessSource, StoreError};

use push::{Push, PushTerms};
use shared_read::SharedRead;

/// Nothing is known about the caller, so nothing may be allowed: 503.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// A snapshot from before an epoch that was already seen: a lagging replica, or a restored backup.
    #[error("the database answered as of epoch {answered}, although epoch {observed} was committed")]
    Backwards { answered: Epoch, observed: Epoch },
    /// Each operation was in time, but not all of them together.
    #[error("the database took more than {0:?} for one decision")]
    Late(Duration),
    #[error("more requests wait for the epoch than the gate will hold")]
    Overloaded,
}

/// What stands above the mapping and does not come from the database.
#[derive(Clone, Copy, Debug)]
pub struct Posture {
    /// `FLAG_RBAC_V2` in the environment at start; `None` where it is not set.
    pub flag_at_start: Option<bool>,
    /// `environment = "production"`: V2 is enforced only once its flag is promoted (I-11).
    pub production: bool,
}

impl Posture {
    /// Off in either place is off: a kill-switch that something else can overrule is none. On needs a yes.
    fn control(self, row: &ControlRow) -> Control {
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
    epoch: SharedRead<ControlRow>,
    /// `None` where nothing is pushed: then every observation is strict.
    push: Option<Push>,
    cache: Cache<(Subject, Epoch), Arc<Access>>,
}

impl AccessResolver {
    /// Starts the shared epoch reader on the current runtime. The cache holds at most `capacity` subjects.
    pub fn start(store: Arc<dyn AccessSource>, clock: SharedClock, posture: Posture, capacity: u64) -> Self {
        let reader = store.clone();
        let epoch = SharedRead::start(move || {
            let reader = reader.clone();
            async move { reader.control().await }
        });
        AccessResolver { store, clock, posture, epoch, push: None, cache: Cache::new(capacity) }
    }

    /// Lets the database push, from the first observation on that asks for it. Until then, and for a gate that never
    /// asks, there is no lease and no connection of its own.
    pub fn with_push(mut self, terms: PushTerms) -> Self {
        self.push = Some(Push::start(self.store.clone(), self.clock.clone(), terms));
        self
    }

    /// Stops trusting what was pushed and gives the lease back, so that nobody has to wait for it to run out.
    ///
    /// # Errors
    ///
    /// The database did not take it; then the lease runs out.
    pub async fn leave(&self) -> Result<(), StoreError> {
        match &self.push {
            Some(push) => push.leave().await,
            None => Ok(()),
        }
    }

    /// The switches and the epoch: read after this call began, or what was pushed while that may be trusted.
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
    /// The database did not answer, or answered from the past.
    pub async fn resolve(&self, subject: &Subject, observed: Epoch) -> Result<Arc<Access>, AccessError> {
        let now = self.clock.now();
        let key = (subject.clone(), observed);
        if let Some(access) = self.cache.get(&key).await {
            if !access.has_lapsed(now) {
                return Ok(access);
            }
            // A temporary grant has ended since. No row changed, so the epoch did not rise: time has to be asked.
            self.cache.invalidate(&key).await;
        }
        let load = async {
            counter!("gate_access_loads_total").increment(1);
            self.store.access(subject, now).await.map(Arc::new)
        };
        let access = self.cache.try_get_with(key, load).await.map_err(AccessError::Store)?;
        if access.epoch < observed {
            return Err(AccessError::Backwards { answered: access.epoch, observed });
        }
        if access.has_lapsed(now) {
            // Another request's load, begun before the grant ended.
            return self
                .store
                .access(subject, now)
                .await
                .map(Arc::new)
                .map_err(|e| AccessError::Store(Arc::new(e)));
        }
        Ok(access)
    }
}

#[cfg(test)]
mod tests;
