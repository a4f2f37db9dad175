//! Disagreements between the gates: counted and logged at once, written in the background.
//!
//! Shadow mode must never block and never slow an answer. So a request only puts its disagreement into a bounded
//! queue; when the queue is full, it is counted as lost and dropped. Repeats are added up before they are written,
//! so that a hot disagreement becomes one row with a counter.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::counter;
use tokio::sync::mpsc;

use crate::store::DriftStore;

const QUEUE: usize = 8_192;
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

/// Takes disagreements off the hands of requests.
#[derive(Clone, Debug)]
pub struct DriftReporter {
    queue: mpsc::Sender<DriftRecord>,
}

impl DriftReporter {
    /// Starts the writing task on the current runtime.
    pub fn start<S: DriftStore + ?Sized + Send + Sync + 'static>(store: Arc<S>) -> Self {
        let (queue, events) = mpsc::channel(QUEUE);
        tokio::spawn(write(store, events));
        DriftReporter { queue }
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
        if self.queue.try_send(event).is_err() {
            counter!("gate_drift_lost_total").increment(1);
        }
    }
}

type Key = (String, &'static str, String, &'static str, String);

async fn write<S: DriftStore + ?Sized>(store: Arc<S>, mut events: mpsc::Receiver<DriftRecord>) {
    let mut gathered = Vec::new();
    while events.recv_many(&mut gathered, QUEUE).await > 0 {
        tokio::time::sleep(GATHER).await;
        while let Ok(event) = events.try_recv() {
            gathered.push(event);
        }
        let mut sums: HashMap<Key, DriftRecord> = HashMap::new();
        for event in gathered.drain(..) {
            let key = (
                event.route.clone(),
                event.actor_kind,
                event.actor_id.clone(),
                event.direction,
                event.mapping_sha256.clone(),
            );
            match sums.entry(key) {
                std::collections::hash_map::Entry::Occupied(mut sum) => {
                    let count = sum.get().count + event.count;
                    sum.insert(DriftRecord { count, ..event });
                }
                std::collections::hash_map::Entry::Vacant(place) => drop(place.insert(event)),
            }
        }
        let sums: Vec<DriftRecord> = sums.into_values().collect();
        if let Err(error) = store.record_drift(&sums).await {
            counter!("gate_drift_lost_total").increment(sums.len() as u64);
            tracing::error!(%error, "drift could not be written");
        }
    }
}
