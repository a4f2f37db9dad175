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
use tokio::sync::{mpsc, oneshot};

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
    finish: mpsc::Sender<oneshot::Sender<()>>,
}

impl DriftReporter {
    /// Starts the writing task on the current runtime.
    pub fn start<S: DriftStore + ?Sized + Send + Sync + 'static>(store: Arc<S>) -> Self {
        let (queue, events) = mpsc::channel(QUEUE);
        let (finish, finishing) = mpsc::channel(1);
        tokio::spawn(write(store, events, finishing));
        DriftReporter { queue, finish }
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

impl DriftReporter {
    /// Writes what is gathered. For a gate that takes no requests any more.
    pub async fn finish(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        if self.finish.send(done).await.is_ok() && tokio::time::timeout(limit, finished).await.is_err() {
            tracing::warn!("the last disagreements were not written in time");
        }
    }
}

type Key = (String, &'static str, String, &'static str, String);

async fn write<S: DriftStore + ?Sized>(
    store: Arc<S>,
    mut events: mpsc::Receiver<DriftRecord>,
    mut finishing: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut gathered = Vec::new();
    loop {
        let done = tokio::select! {
            count = events.recv_many(&mut gathered, QUEUE) => {
                if count == 0 {
                    return;
                }
                // Repeats follow each other closely. Who stops the gate does not wait for them.
                tokio::time::timeout(GATHER, finishing.recv()).await.ok().flatten()
            }
            done = finishing.recv() => done,
        };
        while let Ok(event) = events.try_recv() {
            gathered.push(event);
        }
        flush(store.as_ref(), gathered.drain(..)).await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }
}

/// Adds repeats up and writes the sums.
async fn flush<S: DriftStore + ?Sized>(store: &S, events: impl Iterator<Item = DriftRecord>) {
    let mut sums: HashMap<Key, DriftRecord> = HashMap::new();
    for event in events {
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
    if sums.is_empty() {
        return;
    }
    let sums: Vec<DriftRecord> = sums.into_values().collect();
    if let Err(error) = store.record_drift(&sums).await {
        counter!("gate_drift_lost_total").increment(sums.len() as u64);
        tracing::error!(%error, "drift could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::store::StoreError;
    use crate::store::drift::StoredDrift;

    #[derive(Default)]
    struct Store(Mutex<Vec<Vec<DriftRecord>>>);

    #[async_trait]
    impl DriftStore for Store {
        async fn record_drift(&self, events: &[DriftRecord]) -> Result<(), StoreError> {
            self.0.lock().unwrap().push(events.to_vec());
            Ok(())
        }

        async fn drift(&self) -> Result<Vec<StoredDrift>, StoreError> {
            unreachable!("the reporter reads nothing")
        }
    }

    fn drift(route: &str) -> DriftRecord {
        DriftRecord {
            id: uuid::Uuid::now_v7(),
            seen_at: Utc::now(),
            cluster: None,
            route: route.to_owned(),
            method: "GET",
            actor_kind: "admin",
            actor_id: "anna".to_owned(),
            direction: "would_newly_deny",
            legacy_answer: "allow",
            v2_answer: "deny",
            reason: "missing_role",
            mapping_sha256: "m".to_owned(),
            epoch: 1,
            request_id: "r".to_owned(),
            count: 1,
        }
    }

    #[tokio::test]
    async fn repeats_are_added_up_and_the_last_ones_are_written_when_the_gate_stops() {
        let store = Arc::new(Store::default());
        let reporter = DriftReporter::start(store.clone());
        for route in ["a", "b", "a", "a"] {
            reporter.report(drift(route));
        }
        reporter.finish(Duration::from_secs(5)).await;
        let written = store.0.lock().unwrap().concat();
        let count =
            |route: &str| written.iter().filter(|row| row.route == route).map(|row| row.count).sum::<i64>();
        assert_eq!((count("a"), count("b")), (3, 1));
    }
}
