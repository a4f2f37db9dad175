//! The decision log: which requests callers made and how they ended, added up by the hour.
//!
//! `soak` counts in it whether a cluster was used enough to be judged, `replay` asks a candidate mapping about the same
//! requests, `coverage` lists the paths that no row covers. It is no evidence (denials are in the audit), so it is
//! written behind the answer, may lose, and is let go of after some days.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::clock::SharedClock;
use crate::decision::GateInForce;
use crate::store::DecisionLogStore;
use crate::tally::{Repeatable, Tally, TallySink};

/// How long repeats are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);

/// Some occurrences of one request and its end, within one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    pub hour: DateTime<Utc>,
    pub method: &'static str,
    /// Without its query; empty where the hour had too many.
    pub path: String,
    /// The row; empty where none covers the path.
    pub route: String,
    pub cluster: String,
    /// `legacy`, `shadow`, `v2` or `none`.
    pub gate: &'static str,
    pub actor_kind: &'static str,
    pub actor_id: String,
    /// `allow`, `deny`, `login`, `unauthorized`, `gone`.
    pub answer: &'static str,
    pub reason: &'static str,
    pub mapping_sha256: String,
    pub count: i64,
    pub last_seen_at: DateTime<Utc>,
}

impl DecisionRecord {
    /// The hour that a moment is in.
    pub fn hour_of(moment: DateTime<Utc>) -> DateTime<Utc> {
        moment.duration_trunc(TimeDelta::hours(1)).unwrap_or(moment)
    }
}

/// The word for the gate that decided; `none` where no role was asked for.
pub fn gate_word(gate: Option<GateInForce>) -> &'static str {
    match gate {
        Some(GateInForce::Legacy(_)) => "legacy",
        Some(GateInForce::Shadow) => "shadow",
        Some(GateInForce::V2) => "v2",
        None => "none",
    }
}

impl Repeatable for DecisionRecord {
    type Key = (DateTime<Utc>, &'static str, String, String, &'static str, String, String, &'static str);

    fn key(&self) -> Self::Key {
        (
            self.hour,
            self.method,
            self.path.clone(),
            self.route.clone(),
            self.gate,
            format!("{} {}", self.actor_kind, self.actor_id),
            self.mapping_sha256.clone(),
            self.answer,
        )
    }

    fn absorb(&mut self, later: Self) {
        self.count += later.count;
        self.last_seen_at = self.last_seen_at.max(later.last_seen_at);
        self.reason = later.reason;
    }
}

/// What the log keeps.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    pub days: u32,
    /// Different paths an hour and gate process. Beyond them a request counts for its row, without its path.
    pub paths_an_hour: usize,
}

/// Takes decisions off the hands of requests.
#[derive(Clone)]
pub struct DecisionLog {
    tally: Tally<DecisionRecord>,
}

impl DecisionLog {
    /// Starts the writing task on the current runtime.
    pub fn start<S>(store: Arc<S>, clock: SharedClock, keeping: Keeping) -> Self
    where
        S: DecisionLogStore + ?Sized + Send + Sync + 'static,
    {
        let sink = Writer { store, clock, keeping, seen: Mutex::default() };
        DecisionLog { tally: Tally::start(Arc::new(sink), GATHER, "gate_decisions_lost_total") }
    }

    /// Reports one decision. Returns at once.
    pub fn report(&self, record: DecisionRecord) {
        self.tally.report(record);
    }

    /// Writes what is gathered. For a gate that takes no requests any more.
    pub async fn finish(&self, limit: Duration) {
        if !self.tally.finish(limit).await {
            tracing::warn!("the last decisions were not logged in time");
        }
    }
}

struct Writer<S: ?Sized> {
    clock: SharedClock,
    keeping: Keeping,
    seen: Mutex<Seen>,
    store: Arc<S>,
}

/// The paths of the present hour.
#[derive(Default)]
struct Seen {
    hour: Option<DateTime<Utc>>,
    paths: HashSet<(&'static str, String)>,
}

impl<S: ?Sized> Writer<S> {
    /// Takes the path off what is beyond the bound, and says whether an hour has begun.
    fn bound(&self, sums: &mut [DecisionRecord]) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let hour = DecisionRecord::hour_of(self.clock.now());
        let is_new = seen.hour != Some(hour);
        if is_new {
            *seen = Seen { hour: Some(hour), paths: HashSet::new() };
        }
        for record in sums {
            let path = (record.method, record.path.clone());
            if seen.paths.len() < self.keeping.paths_an_hour {
                seen.paths.insert(path);
            } else if !seen.paths.contains(&path) {
                record.path = String::new();
            }
        }
        is_new
    }
}

#[async_trait]
impl<S: DecisionLogStore + ?Sized + Send + Sync + 'static> TallySink<DecisionRecord> for Writer<S> {
    async fn write(&self, mut sums: Vec<DecisionRecord>) -> usize {
        if self.bound(&mut sums) {
            let end =
                DecisionRecord::hour_of(self.clock.now()) - TimeDelta::days(i64::from(self.keeping.days));
            if let Err(error) = self.store.forget_decisions(end).await {
                tracing::warn!(%error, "old decisions could not be let go of; the next hour tries again");
            }
        }
        match self.store.log_decisions(&sums).await {
            Ok(()) => 0,
            Err(error) => {
                tracing::warn!(%error, "decisions could not be logged");
                sums.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn record(path: &str) -> DecisionRecord {
        DecisionRecord {
            hour: DecisionRecord::hour_of(Utc::now()),
            method: "GET",
            path: path.to_owned(),
            route: "GET /x/<id>".to_owned(),
            cluster: "S1".to_owned(),
            gate: "shadow",
            actor_kind: "admin",
            actor_id: "anna".to_owned(),
            answer: "allow",
            reason: "",
            mapping_sha256: "m".to_owned(),
            count: 1,
            last_seen_at: Utc::now(),
        }
    }

    #[test]
    fn beyond_the_bound_a_request_counts_without_its_path() {
        let keeping = Keeping { days: 30, paths_an_hour: 2 };
        let writer =
            Writer { clock: Arc::new(SystemClock), keeping, seen: Mutex::default(), store: Arc::new(()) };
        let mut sums = ["/x/1", "/x/2", "/x/3", "/x/1"].map(record);
        writer.bound(&mut sums);
        assert_eq!(sums.map(|record| record.path), ["/x/1", "/x/2", "", "/x/1"]);
    }
}
