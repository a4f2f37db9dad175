//! Subjects that nobody is: remembered apart, and looked up a few at a time.
//!
//! Anybody can present a token that was never enrolled, as often as they like and never the same one twice. Such tokens
//! must not push those who exist out of the cache, nor take the connections that everybody else's access is read over.

use metrics::counter;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use policy::identity::Subject;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{AccessError, Kept};

/// Subjects that are remembered as nobody's.
const REMEMBERED: u64 = 4_096;
/// Tokens that are not known to be anybody's are looked up so many at a time: a flood of them leaves the
/// database to strict reads.
const LOOKUPS: usize = 1;
/// So many wait for that. Beyond it the answer is 503: a queue that a stranger can fill must be short.
const WAITING: usize = 256;

/// Who was found to be nobody, and the way in for tokens that may be.
#[derive(Debug)]
pub(super) struct Strangers {
    seen: Cache<Subject, Kept>,
    lookups: Semaphore,
    waiting: Semaphore,
}

impl Strangers {
    pub(super) fn new() -> Strangers {
        let seen = Cache::builder().max_capacity(REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Strangers { seen, lookups: Semaphore::new(LOOKUPS), waiting: Semaphore::new(WAITING) }
    }

    /// What was found about somebody who was nobody then.
    pub(super) async fn get(&self, subject: &Subject) -> Option<Kept> {
        self.seen.get(subject).await
    }

    pub(super) async fn remember(&self, subject: &Subject, kept: Kept) {
        self.seen.insert(subject.without_credential(), kept).await;
    }

    /// Waits for a turn to look a token up that is not known to be anybody's.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, AccessError> {
        let refused = |_| {
            counter!("gate_token_lookups_refused_total").increment(1);
            AccessError::Crowded
        };
        let _place = self.waiting.try_acquire().map_err(refused)?;
        self.lookups.acquire().await.map_err(|_| AccessError::Crowded)
    }
}
