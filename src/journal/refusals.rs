//! Answers by which Console refuses requests that the gate let in: 401, 403, and a redirect to its login page, as
//! Console's own `login_required` answers.
//!
//! While Console's own decorators still decide, V2 grants nothing, and nothing else would show that. So each such
//! answer is counted, logged now and then, and kept for `soak`: summed in memory by hour, route and cluster, and
//! written behind the answers. Each process writes its own totals, so that a total that is written twice counts once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use metrics::counter;
use policy::decision::{LetInBy, Permit};
use policy::ids::{InstanceId, RequestId};
use store::decisions::DecisionRecord;
use store::refusals::RefusalTotal;
use store::{SharedStore, StoreError};
use tokio::sync::{mpsc, oneshot};
use workbench::soak::refusals::REMEDY;

use super::finishing::finish;
use super::log_limit::{EVERY, LogLimit};

/// How long answers are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);
/// Totals in memory while the database does not take them: a mapping has some hundreds of routes.
const MOST: usize = 20_000;
/// Totals in one statement.
const BATCH: usize = 500;

/// The key of a total.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    hour: DateTime<Utc>,
    cluster: Arc<str>,
    route: Arc<str>,
    gate: &'static str,
    status: u16,
}

struct Total {
    count: i64,
    last_seen_at: DateTime<Utc>,
    /// The count that is in the database.
    written: i64,
}

struct Shared {
    totals: Mutex<HashMap<Key, Total>>,
    log_limit: LogLimit,
    /// Routes whose views themselves refuse callers.
    own: Vec<String>,
    /// Where Console redirects callers that are not logged in.
    login_path: String,
    clock: SharedClock,
}

/// Records Console's refusals without delaying the requests.
#[derive(Clone)]
pub struct UpstreamRefusals {
    shared: Arc<Shared>,
    finish: mpsc::Sender<oneshot::Sender<bool>>,
}

impl UpstreamRefusals {
    /// Starts the writing task on the current runtime. Nothing is kept about the routes in `own`, because their views
    /// refuse by themselves. A redirect to `login_path` is a refusal too. Counts older than `days` are deleted.
    pub fn start(
        store: SharedStore,
        clock: SharedClock,
        own: Vec<String>,
        login_path: String,
        days: u32,
    ) -> UpstreamRefusals {
        let (totals, log_limit) = (Mutex::default(), LogLimit::default());
        let shared = Arc::new(Shared { totals, log_limit, own, login_path, clock });
        let (finish, finishing) = mpsc::channel(1);
        let instance = InstanceId::new(uuid::Uuid::now_v7().to_string());
        let writer = Writer {
            shared: shared.clone(),
            store,
            instance,
            days,
            forgot_in: None,
            failure_logged_at: None,
        };
        tokio::spawn(writer.run(finishing));
        UpstreamRefusals { shared, finish }
    }

    /// Examines an answer to a request that was let in: its status, and its `Location`. Returns immediately.
    pub fn observe(&self, permit: &Permit, status: u16, location: Option<&str>, id: RequestId) {
        let gate = permit.let_in_by();
        let (status, word) = match status {
            401 => (401, "401"),
            403 => (403, "403"),
            // On a public row, such as logging out, a redirect to the login page is intended.
            300..=399 if matches!(gate, LetInBy::V2 | LetInBy::Legacy | LetInBy::Session) => {
                if !location.is_some_and(|location| leads_to(location, &self.shared.login_path)) {
                    return;
                }
                (302, "302")
            }
            _ => return,
        };
        let route = permit.route().map_or_else(String::new, ToString::to_string);
        counter!("gate_upstream_refusals_total", "route" => route, "status" => word, "gate" => gate.word())
            .increment(1);
        let (Some(route), LetInBy::V2 | LetInBy::Legacy) = (permit.route(), gate) else { return };
        if self.shared.own.iter().any(|own| **own == **route) {
            return;
        }
        if gate == LetInBy::V2
            && let Some(before) = self.shared.log_limit.is_due(route)
        {
            tracing::warn!(
                %route,
                status,
                request_id = %id,
                not_logged_before = before,
                "Console refused a request that V2 allowed: its own decorators still decide; {REMEDY}"
            );
        }
        let now = self.shared.clock.now();
        let key = Key {
            hour: DecisionRecord::hour_of(now),
            cluster: permit.cluster().cloned().unwrap_or_default(),
            route: route.clone(),
            gate: gate.word(),
            status,
        };
        self.shared.add(key, now);
    }

    /// Writes the gathered sums, for a gate that no longer takes requests.
    pub async fn finish(&self, limit: Duration) {
        if finish(&self.finish, limit).await != Some(true) {
            tracing::warn!("Console's last refusals were not written in time");
        }
    }
}

impl Shared {
    fn totals(&self) -> MutexGuard<'_, HashMap<Key, Total>> {
        // The map is whole after every statement, so a panic elsewhere does no harm.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: Key, now: DateTime<Utc>) {
        let mut totals = self.totals();
        if totals.len() >= MOST && !totals.contains_key(&key) {
            return;
        }
        let total = totals.entry(key).or_insert(Total { count: 0, last_seen_at: now, written: 0 });
        total.count += 1;
        total.last_seen_at = total.last_seen_at.max(now);
    }

    /// The totals that are not in the database yet. Drops those that are, if their hour has passed.
    fn unwritten(&self) -> Vec<RefusalTotal> {
        let hour = DecisionRecord::hour_of(self.clock.now());
        let mut totals = self.totals();
        totals.retain(|key, total| total.written < total.count || key.hour >= hour);
        totals
            .iter()
            .filter(|(_, total)| total.written < total.count)
            .map(|(key, total)| RefusalTotal {
                hour: key.hour,
                cluster: key.cluster.clone(),
                route: key.route.clone(),
                gate: key.gate,
                status: key.status,
                count: total.count,
                last_seen_at: total.last_seen_at,
            })
            .collect()
    }

    fn is_written(&self, written: &[RefusalTotal]) {
        let mut totals = self.totals();
        for one in written {
            let key = Key {
                hour: one.hour,
                cluster: one.cluster.clone(),
                route: one.route.clone(),
                gate: one.gate,
                status: one.status,
            };
            if let Some(total) = totals.get_mut(&key) {
                total.written = one.count;
            }
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    store: SharedStore,
    instance: InstanceId,
    days: u32,
    /// The hour in which old rows were last deleted.
    forgot_in: Option<DateTime<Utc>>,
    /// When a failure to write was last logged.
    failure_logged_at: Option<Instant>,
}

impl Writer {
    /// Writes until all reporters are dropped.
    async fn run(mut self, mut finishing: mpsc::Receiver<oneshot::Sender<bool>>) {
        loop {
            let asked = tokio::time::timeout(GATHER, finishing.recv()).await;
            let outcome = self.write().await;
            let is_written = outcome.is_ok();
            self.log_outcome(outcome);
            match asked {
                Err(_) => {}
                Ok(Some(done)) => drop(done.send(is_written)),
                Ok(None) => return,
            }
        }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let unwritten = self.shared.unwritten();
        for totals in unwritten.chunks(BATCH) {
            self.store.write_refusals(&self.instance, totals).await?;
            self.shared.is_written(totals);
        }
        if !unwritten.is_empty() {
            let hour = DecisionRecord::hour_of(self.shared.clock.now());
            if self.forgot_in.replace(hour) != Some(hour) {
                self.store.forget_refusals(hour - TimeDelta::days(self.days.into())).await?;
            }
        }
        Ok(())
    }

    fn log_outcome(&mut self, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.failure_logged_at = None,
            Err(error) if self.failure_logged_at.is_none_or(|at| at.elapsed() >= EVERY) => {
                tracing::warn!(%error, "Console's refusals cannot be written; they are kept in memory and retried");
                self.failure_logged_at = Some(Instant::now());
            }
            Err(_) => {}
        }
    }
}

/// Whether a `Location` leads to this path, on any host.
pub fn leads_to(location: &str, path: &str) -> bool {
    let after_scheme = location.split_once("://").map(|(_, rest)| rest);
    let rest = match after_scheme.or_else(|| location.strip_prefix("//")) {
        // The part after the host.
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    };
    rest.split(['?', '#']).next() == Some(path)
}

#[cfg(test)]
mod tests {
    use super::leads_to;

    #[test]
    fn a_redirect_to_the_login_page_is_known_however_it_is_written() {
        for location in [
            "/auth/login",
            "/auth/login?next=%2Forders",
            "/auth/login#top",
            "http://console.internal/auth/login?next=https://elsewhere/auth",
            "//console.internal:8000/auth/login",
        ] {
            assert!(leads_to(location, "/auth/login"), "{location}");
        }
        for location in [
            "/",
            "/auth/login/",
            "/auth/logout",
            "/orders?next=/auth/login",
            "http://auth/login",
            "auth/login",
            "",
        ] {
            assert!(!leads_to(location, "/auth/login"), "{location}");
        }
    }
}
