//! The decision log: which requests callers made and how they ended, added up by the hour.
//!
//! `soak` counts in it whether a cluster was used enough to be judged, `replay` asks a candidate mapping about the same
//! requests, `coverage` lists the paths that no row covers. It is written behind the answers
//! ([`tally`](crate::journal::tally)), its losses are recorded, and it is deleted after some days.
//!
//! The paths of an hour are limited, separately for identified and for unauthenticated callers, so that a scanner does
//! not take the room of the people. Beyond the limit a request counts without its path.

mod paths;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use policy::ids::MappingSha256;
use store::decisions::DecisionRecord;
use store::evidence::{EvidenceKind, Gap, Mark};
use store::{SharedStore, StoreError};

use self::paths::Paths;
use crate::journal::tally::{Sum, Tally, TallyProgress, TallySink, TallyTerms};

/// How long repeats are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);
/// Room for some 90,000 different rows, twice, while the database does not take them.
const MOST_BYTES: usize = 32 * 1024 * 1024;

static NOTHING: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

/// A decision about one request, borrowed from the request.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'r> {
    pub at: DateTime<Utc>,
    pub method: &'static str,
    pub path: &'r str,
    pub route: Option<&'r Arc<str>>,
    pub cluster: Option<&'r Arc<str>>,
    pub gate: &'static str,
    /// The kind and the id; `None` for an unauthenticated caller.
    pub actor: Option<(&'static str, &'r str)>,
    pub answer: &'static str,
    pub reason: &'static str,
    pub mapping: &'r MappingSha256,
}

impl<'r> Decision<'r> {
    fn actor(&self) -> (&'static str, &'r str) {
        self.actor.unwrap_or(("anonymous", ""))
    }

    fn route(&self) -> &str {
        self.route.map_or("", |route| route)
    }
}

/// Enough to distinguish most decisions; equality compares the rest.
impl Hash for Decision<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.path, self.actor().1, self.method, self.answer).hash(state);
    }
}

impl Sum for DecisionRecord {
    type Seen<'s> = Decision<'s>;

    fn is_of(&self, seen: &Decision<'_>) -> bool {
        self.path == seen.path
            && (self.actor_kind, self.actor_id.as_str()) == seen.actor()
            && (self.method, self.answer, self.gate) == (seen.method, seen.answer, seen.gate)
            && &*self.route == seen.route()
            && &*self.mapping_sha256 == seen.mapping.as_str()
            && self.hour == DecisionRecord::hour_of(seen.at)
    }

    fn begin(seen: &Decision<'_>) -> DecisionRecord {
        let (actor_kind, actor_id) = seen.actor();
        DecisionRecord {
            hour: DecisionRecord::hour_of(seen.at),
            method: seen.method,
            path: seen.path.to_owned(),
            route: seen.route.unwrap_or(&NOTHING).clone(),
            cluster: seen.cluster.unwrap_or(&NOTHING).clone(),
            gate: seen.gate,
            actor_kind,
            actor_id: actor_id.to_owned(),
            answer: seen.answer,
            reason: seen.reason,
            mapping_sha256: seen.mapping.shared(),
            count: 1,
            last_seen_at: seen.at,
        }
    }

    fn add(&mut self, seen: &Decision<'_>) {
        self.count += 1;
        self.last_seen_at = self.last_seen_at.max(seen.at);
        self.reason = seen.reason;
    }

    fn cluster_of(seen: &Decision<'_>) -> Arc<str> {
        seen.cluster.unwrap_or(&NOTHING).clone()
    }

    fn time_of(seen: &Decision<'_>) -> DateTime<Utc> {
        seen.at
    }

    fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    fn count(&self) -> i64 {
        self.count
    }

    fn last_seen_at(&self) -> DateTime<Utc> {
        self.last_seen_at
    }

    fn bytes(&self) -> usize {
        // Including its place in the tally's map.
        size_of::<Self>() + 64 + self.path.len() + self.actor_id.len()
    }
}

/// The limits of the log.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    pub days: u32,
    /// Different paths of identified callers, by hour and gate process.
    pub paths_an_hour: usize,
    /// The same for unauthenticated callers.
    pub anonymous_paths_an_hour: usize,
}

/// Records decisions without delaying the requests.
#[derive(Clone)]
pub struct DecisionLog {
    tally: Tally<DecisionRecord>,
    paths: Arc<Paths>,
}

impl DecisionLog {
    /// Starts the writing task on the current runtime, for the gate with this name.
    ///
    /// # Errors
    ///
    /// The gate's first mark could not be written.
    pub async fn start(
        store: SharedStore,
        clock: SharedClock,
        keeping: Keeping,
        gate: &str,
    ) -> Result<Self, StoreError> {
        let terms = TallyTerms {
            kind: EvidenceKind::Decisions,
            gather: GATHER,
            most_bytes: MOST_BYTES,
            gate: gate.into(),
            clock: clock.clone(),
        };
        let writer = Writer { store, clock, days: keeping.days, hour: Mutex::default() };
        let tally = Tally::start(Arc::new(writer), terms).await?;
        Ok(DecisionLog { tally, paths: Arc::new(Paths::new(keeping)) })
    }

    /// Reports one decision. Returns at once; a repeat allocates nothing.
    pub fn report(&self, decision: &Decision<'_>) {
        if self.tally.repeat(decision) {
            return;
        }
        let keeps_path = !self.tally.is_half_full() && self.paths.admit(decision);
        if keeps_path {
            self.tally.report(decision);
        } else {
            self.tally.report(&Decision { path: "", ..*decision });
        }
    }

    /// The progress of the writing.
    pub fn progress(&self) -> TallyProgress {
        self.tally.progress()
    }

    /// Writes the gathered sums, for a gate that no longer takes requests.
    pub async fn finish(&self, limit: Duration) {
        if !self.tally.finish(limit).await {
            tracing::warn!("the last decisions were not logged in time; `soak` will report them as missing");
        }
    }
}

struct Writer {
    clock: SharedClock,
    days: u32,
    /// The hour in which old decisions were last deleted.
    hour: Mutex<Option<DateTime<Utc>>>,
    store: SharedStore,
}

impl Writer {
    async fn forget(&self) {
        let hour = DecisionRecord::hour_of(self.clock.now());
        let is_new = self.hour.lock().unwrap_or_else(PoisonError::into_inner).replace(hour) != Some(hour);
        if is_new
            && let Err(error) = self.store.forget_decisions(hour - TimeDelta::days(self.days.into())).await
        {
            tracing::warn!(%error, "old decisions could not be deleted; the gate retries in an hour");
        }
    }
}

#[async_trait]
impl TallySink<DecisionRecord> for Writer {
    async fn write(&self, sums: &[DecisionRecord], mark: &Mark) -> Result<(), StoreError> {
        self.store.log_decisions(sums, mark).await?;
        self.forget().await;
        Ok(())
    }

    async fn record_gaps(&self, gaps: &[Gap]) -> Result<(), StoreError> {
        self.store.record_gaps(gaps).await
    }
}
