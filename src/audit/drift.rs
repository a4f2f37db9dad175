//! Disagreements between the gates: counted and logged at once, written in the background.
//!
//! Shadow mode must never block and never slow an answer, and a hot disagreement becomes one row with a counter: see
//! [`tally`](crate::tally).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metrics::counter;

use crate::store::DriftStore;
use crate::tally::{Repeatable, Tally, TallySink};

/// How long repeats are gathered before they are written.
const GATHER: Duration = Duration::from_millis(200);

/// Some occurrences of one disagreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftRecord {
    pub id: uuid::Uuid,
    pub seen_at: DateTime<Utc>,
    pub cluster: Option<String>,
    pub route: String,
    pub method: &'static str,
    pub actor_kind: &'static str,
    pub actor_id: String,
    /// `would_newly_deny` or `would_newly_allow`.
    pub direction: &'static str,
    pub legacy_answer: &'static str,
    pub v2_answer: &'static str,
    pub reason: &'static str,
    pub mapping_sha256: String,
    pub epoch: i64,
    pub request_id: String,
    pub count: i64,
}

impl Repeatable for DriftRecord {
    type Key = (String, &'static str, String, &'static str, String);

    fn key(&self) -> Self::Key {
        (
            self.route.clone(),
            self.actor_kind,
            self.actor_id.clone(),
            self.direction,
            self.mapping_sha256.clone(),
        )
    }

    fn absorb(&mut self, later: Self) {
        *self = DriftRecord { count: self.count + later.count, ..later };
    }
}

/// Takes disagreements off the hands of requests.
#[derive(Clone)]
pub struct DriftReporter {
    tally: Tally<DriftRecord>,
}

impl DriftReporter {
    /// Starts the writing task on the current runtime. Beyond `most_rows` of different disagreements, new ones are only
    /// counted.
    pub fn start<S: DriftStore + ?Sized + Send + Sync + 'static>(store: Arc<S>, most_rows: u32) -> Self {
        let writer = Writer { most_rows, store };
        DriftReporter { tally: Tally::start(Arc::new(writer), GATHER, "gate_drift_lost_total") }
    }

    /// Reports one disagreement. Returns at once.
    pub fn report(&self, event: DriftRecord) {
        let cluster = event.cluster.clone().unwrap_or_default();
        counter!("gate_drift_total", "cluster" => cluster, "direction" => event.direction).increment(1);
        tracing::warn!(
            route = %event.route,
            actor = %event.actor_id,
            direction = event.direction,
            reason = event.reason,
            request_id = %event.request_id,
            "the legacy gate and RBAC V2 disagree"
        );
        self.tally.report(event);
    }

    /// Writes what is gathered. For a gate that takes no requests any more.
    pub async fn finish(&self, limit: Duration) {
        if !self.tally.finish(limit).await {
            tracing::warn!("the last disagreements were not written in time");
        }
    }
}

struct Writer<S: ?Sized> {
    most_rows: u32,
    store: Arc<S>,
}

#[async_trait]
impl<S: DriftStore + ?Sized + Send + Sync + 'static> TallySink<DriftRecord> for Writer<S> {
    async fn write(&self, sums: Vec<DriftRecord>) -> usize {
        match self.store.record_drift(&sums, self.most_rows).await {
            Ok(new) => {
                let new: HashSet<_> = new.into_iter().collect();
                sums.iter().filter(|event| new.contains(&event.id)).for_each(tell_of_new);
                0
            }
            Err(error) => {
                tracing::error!(%error, "drift could not be written");
                sums.len()
            }
        }
    }
}

/// Told once for each disagreement and mapping, and to an operator's error tracker too: see [`sentry`](crate::sentry).
fn tell_of_new(event: &DriftRecord) {
    tracing::warn!(
        target: crate::sentry::NOTABLE,
        cluster = event.cluster.as_deref().unwrap_or_default(),
        route = %event.route,
        direction = event.direction,
        reason = event.reason,
        mapping = %event.mapping_sha256,
        request_id = %event.request_id,
        "a new disagreement of the legacy gate and RBAC V2"
    );
}
