//! Disagreements between the gates: counted at once, written in the background, and logged now and then.
//!
//! Shadow mode must never block and never slow an answer, and a hot disagreement becomes one row with a counter: see
//! [`tally`](crate::journal::tally).

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clock::SharedClock;
use metrics::counter;
use policy::ids::{MappingSha256, RequestId};
use store::drift::DriftRecord;
use store::evidence::{EvidenceKind, Gap, Mark};
use store::{SharedStore, StoreError};

use super::log_limit::LogLimit;
use crate::journal::tally::{Sum, Tally, TallyProgress, TallySink, TallyTerms};

/// How long repeats are gathered before they are written.
const GATHER: Duration = Duration::from_millis(200);
/// Room for some 20,000 different disagreements, twice, while the database does not take them.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// A disagreement about one request, borrowed from the request.
#[derive(Clone, Copy, Debug)]
pub struct DriftEvent<'r> {
    pub at: DateTime<Utc>,
    pub cluster: Option<&'r Arc<str>>,
    pub route: &'r Arc<str>,
    pub method: &'static str,
    pub actor_kind: &'static str,
    pub actor_id: &'r str,
    pub direction: &'static str,
    pub legacy_answer: &'static str,
    pub v2_answer: &'static str,
    pub reason: &'static str,
    pub mapping: &'r MappingSha256,
    pub epoch: i64,
    pub request_id: RequestId,
}

/// What distinguishes disagreements, except the mapping, which rarely changes.
impl Hash for DriftEvent<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&**self.route, self.actor_kind, self.actor_id, self.direction).hash(state);
    }
}

impl Sum for DriftRecord {
    type Seen<'s> = DriftEvent<'s>;

    fn is_of(&self, seen: &DriftEvent<'_>) -> bool {
        self.route == *seen.route
            && self.actor_id == seen.actor_id
            && (self.actor_kind, self.direction, self.reason)
                == (seen.actor_kind, seen.direction, seen.reason)
            && &*self.mapping_sha256 == seen.mapping.as_str()
    }

    fn begin(seen: &DriftEvent<'_>) -> DriftRecord {
        DriftRecord {
            id: uuid::Uuid::now_v7(),
            first_seen_at: seen.at,
            last_seen_at: seen.at,
            cluster: Self::cluster_of(seen),
            route: seen.route.clone(),
            method: seen.method,
            actor_kind: seen.actor_kind,
            actor_id: seen.actor_id.to_owned(),
            direction: seen.direction,
            legacy_answer: seen.legacy_answer,
            v2_answer: seen.v2_answer,
            reason: seen.reason,
            mapping_sha256: seen.mapping.shared(),
            epoch: seen.epoch,
            request_id: seen.request_id,
            count: 1,
        }
    }

    fn add(&mut self, seen: &DriftEvent<'_>) {
        self.count += 1;
        self.first_seen_at = self.first_seen_at.min(seen.at);
        self.last_seen_at = self.last_seen_at.max(seen.at);
        self.method = seen.method;
        self.epoch = seen.epoch;
        self.request_id = seen.request_id;
    }

    fn cluster_of(seen: &DriftEvent<'_>) -> Arc<str> {
        seen.cluster.cloned().unwrap_or_default()
    }

    fn time_of(seen: &DriftEvent<'_>) -> DateTime<Utc> {
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
        size_of::<Self>() + 64 + self.actor_id.len()
    }
}

/// Records disagreements without delaying the requests.
#[derive(Clone)]
pub struct DriftReporter {
    tally: Tally<DriftRecord>,
    log_limit: Arc<LogLimit>,
}

impl DriftReporter {
    /// Starts the writing task on the current runtime, for the gate with this name. Beyond `most_rows` different
    /// disagreements, new ones are only counted.
    ///
    /// # Errors
    ///
    /// The gate's first mark could not be written.
    pub async fn start(
        store: SharedStore,
        clock: SharedClock,
        most_rows: u32,
        gate: &str,
    ) -> Result<Self, StoreError> {
        let terms = TallyTerms {
            kind: EvidenceKind::Drift,
            gather: GATHER,
            most_bytes: MOST_BYTES,
            gate: gate.into(),
            clock,
        };
        let writer = Writer { most_rows, store };
        let tally = Tally::start(Arc::new(writer), terms).await?;
        Ok(DriftReporter { tally, log_limit: Arc::default() })
    }

    /// Reports one disagreement. Returns at once. The first one in some minutes is logged.
    pub fn report(&self, event: &DriftEvent<'_>) {
        let cluster = event.cluster.map_or_else(String::new, ToString::to_string);
        counter!("gate_drift_total", "cluster" => cluster, "direction" => event.direction).increment(1);
        if let Some(before) = self.log_limit.is_due(event) {
            tracing::warn!(
                route = %event.route,
                actor = %event.actor_id,
                direction = event.direction,
                reason = event.reason,
                request_id = %event.request_id,
                not_logged_before = before,
                "the legacy gate and RBAC V2 disagree"
            );
        }
        self.tally.report(event);
    }

    /// The progress of the writing.
    pub fn progress(&self) -> TallyProgress {
        self.tally.progress()
    }

    /// Writes the gathered sums, for a gate that no longer takes requests.
    pub async fn finish(&self, limit: Duration) {
        if !self.tally.finish(limit).await {
            tracing::warn!(
                "the last disagreements were not written in time; `soak` will report them as missing"
            );
        }
    }
}

struct Writer {
    most_rows: u32,
    store: SharedStore,
}

#[async_trait]
impl TallySink<DriftRecord> for Writer {
    async fn write(&self, sums: &[DriftRecord], mark: &Mark) -> Result<(), StoreError> {
        let new = self.store.record_drift(sums, self.most_rows, mark).await?;
        let new: HashSet<_> = new.into_iter().collect();
        sums.iter().filter(|event| new.contains(&event.id)).for_each(log_new);
        Ok(())
    }

    async fn record_gaps(&self, gaps: &[Gap]) -> Result<(), StoreError> {
        self.store.record_gaps(gaps).await
    }
}

/// Logs a new disagreement, once for each mapping. An operator's error tracker gets it too: see
/// [`sentry`](crate::outbound::sentry).
fn log_new(event: &DriftRecord) {
    tracing::warn!(
        target: crate::outbound::sentry::NOTABLE,
        cluster = &*event.cluster,
        route = %event.route,
        direction = event.direction,
        reason = event.reason,
        mapping = %event.mapping_sha256,
        request_id = %event.request_id,
        "a new disagreement between the legacy gate and RBAC V2"
    );
}
