//! Subjects that are unknown: cached separately, and looked up a few at a time.
//!
//! Anybody can present a token that was never enrolled, as often as they like and never the same one twice. Such tokens
//! must not push those who exist out of the cache, nor take the connections that everybody else's access is read over.

use metrics::counter;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use policy::identity::Subject;
use policy::identity::session_key::Keeper;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{AccessError, Kept};

/// Subjects that are remembered as unknown.
const REMEMBERED: u64 = 4_096;
/// How many unknown machine tokens are looked up at a time: a flood of them leaves the database to strict reads.
const TOKEN_LOOKUPS: usize = 1;
/// The same for session keys. After a start all of them are unknown, so a few more; half of the default connections for
/// access stay free for known subjects.
const SESSION_LOOKUPS: usize = 4;
/// How many requests may wait for a lookup. Beyond it the answer is 503: a queue that a stranger can fill must be
/// short.
const WAITING: usize = 256;

/// The subjects found unknown, and the lookup queues of those not known yet.
#[derive(Debug)]
pub(super) struct Strangers {
    seen: Cache<Subject, Kept>,
    tokens: Lane,
    sessions: Lane,
}

/// A lookup queue: the lookups under way and those that wait. Each kind of credential has its own, so that none delays
/// another.
#[derive(Debug)]
struct Lane {
    lookups: Semaphore,
    waiting: Semaphore,
}

impl Lane {
    fn of(lookups: usize) -> Lane {
        Lane { lookups: Semaphore::new(lookups), waiting: Semaphore::new(WAITING) }
    }
}

impl Strangers {
    pub(super) fn new() -> Strangers {
        let seen = Cache::builder().max_capacity(REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Strangers { seen, tokens: Lane::of(TOKEN_LOOKUPS), sessions: Lane::of(SESSION_LOOKUPS) }
    }

    /// What was found about a subject that was unknown then.
    pub(super) async fn get(&self, subject: &Subject) -> Option<Kept> {
        self.seen.get(subject).await
    }

    pub(super) async fn remember(&self, subject: &Subject, kept: Kept) {
        self.seen.insert(subject.without_credential(), kept).await;
    }

    /// Waits for a turn to look up an unknown credential. `None` for a subject that no stranger can name.
    pub(super) async fn turn(&self, subject: &Subject) -> Result<Option<SemaphorePermit<'_>>, AccessError> {
        let (lane, refused) = match subject {
            Subject::Machine(_) => (&self.tokens, "gate_token_lookups_refused_total"),
            // The gate has made its token, so no stranger can name it.
            Subject::Session(key) if key.keeper() == Keeper::Gate => return Ok(None),
            Subject::Session(_) => (&self.sessions, "gate_session_lookups_refused_total"),
            Subject::Admin { .. } | Subject::Enrolled(_) | Subject::Stated(_) => return Ok(None),
        };
        let refused = |_| {
            counter!(refused).increment(1);
            AccessError::Crowded
        };
        let _place = lane.waiting.try_acquire().map_err(refused)?;
        lane.lookups.acquire().await.map(Some).map_err(|_| AccessError::Crowded)
    }
}
