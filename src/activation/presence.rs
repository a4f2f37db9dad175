//! Reports to the database what this gate runs, and removes gates that no longer report.
//!
//! A report is written when something in it changed, after the change is in force, and every two seconds besides. A
//! gate that stops deletes its report. A gate that was killed leaves its report behind; another gate, or `rollback`,
//! deletes it after seeing it unchanged for as long as its lease. Each observer uses its own clock, so no two clocks
//! are compared.

use std::collections::HashMap;
use std::time::Duration;

use clock::SharedClock;
use policy::ids::InstanceId;
use store::running::{RunningGate, RunningReport, Runs};
use store::{SharedStore, StoreError};
use tokio::time::Instant;

/// Interval between two reports of the same state.
const BEAT: Duration = Duration::from_secs(2);
/// Five intervals: a database that stalls for a moment makes no gate look dead.
const LEASE: Duration = Duration::from_secs(10);

/// This gate among the running gates.
pub(super) struct Presence {
    store: SharedStore,
    clock: SharedClock,
    name: String,
    instance: InstanceId,
    /// The last report, and its time.
    reported: Option<(Runs, Instant)>,
    others: Others,
    /// Whether the last report failed: this is logged once.
    is_failing: bool,
}

impl Presence {
    pub(super) fn new(store: SharedStore, clock: SharedClock, name: String) -> Presence {
        let instance = InstanceId::new(uuid::Uuid::now_v7().to_string());
        Presence {
            store,
            clock,
            name,
            instance,
            reported: None,
            others: Others::default(),
            is_failing: false,
        }
    }

    /// Reports `runs` if it has changed or a report is due.
    pub(super) async fn report_if_due(&mut self, runs: Runs) {
        let is_news = |(last, at): &(Runs, Instant)| *last != runs || at.elapsed() >= BEAT;
        if !self.reported.as_ref().is_none_or(is_news) {
            return;
        }
        match self.report(runs.clone()).await {
            Ok(()) => {
                self.reported = Some((runs, Instant::now()));
                self.is_failing = false;
            }
            Err(error) => {
                if !self.is_failing {
                    tracing::warn!(
                        %error,
                        "the gate could not report its running mapping: `rollback` cannot see this gate"
                    );
                }
                self.is_failing = true;
            }
        }
    }

    async fn report(&mut self, runs: Runs) -> Result<(), StoreError> {
        let report = RunningReport {
            instance: self.instance.clone(),
            name: self.name.clone(),
            now: self.clock.now(),
            lease: LEASE,
            runs,
        };
        self.store.report_running(&report).await?;
        let silent = self.others.silent(self.store.running_gates().await?, Instant::now());
        if silent.is_empty() {
            return Ok(());
        }
        for gate in &silent {
            tracing::info!(gate = gate.name, "a gate has not reported for longer than its lease");
        }
        self.store.forget_silent(&silent).await
    }

    /// Deletes the report.
    pub(super) async fn leave(&self) {
        if let Err(error) = self.store.stop_running(&self.instance).await {
            tracing::warn!(%error, "the gate's report was not withdrawn; it will expire");
        }
    }
}

/// Gates whose reports are watched, and since when each is unchanged.
#[derive(Debug, Default)]
pub(super) struct Others {
    seen: HashMap<InstanceId, (i64, Instant)>,
}

impl Others {
    /// Those of `gates` that have not reported for as long as their lease, up to `now`.
    pub(super) fn silent(&mut self, gates: Vec<RunningGate>, now: Instant) -> Vec<RunningGate> {
        let mut seen = HashMap::with_capacity(gates.len());
        let mut silent = Vec::new();
        for gate in gates {
            let since = match self.seen.get(&gate.instance) {
                Some((reports, since)) if *reports == gate.reports => *since,
                _ => now,
            };
            seen.insert(gate.instance.clone(), (gate.reports, since));
            if now.saturating_duration_since(since) >= gate.lease {
                silent.push(gate);
            }
        }
        self.seen = seen;
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::ids::{MappingSha256, PinId};

    fn gate(name: &str, reports: i64) -> RunningGate {
        let runs = Runs {
            mapping: MappingSha256::new("a"),
            file: None,
            pin: PinId::new(""),
            is_held: false,
            problem: None,
        };
        RunningGate { instance: InstanceId::new(name), name: name.to_owned(), reports, lease: LEASE, runs }
    }

    #[test]
    fn a_gate_is_silent_once_it_has_been_the_same_for_its_lease() {
        let beginning = Instant::now();
        let mut others = Others::default();
        let mut silent = |seconds: u64, gates: &[(&str, i64)]| -> Vec<String> {
            let gates = gates.iter().map(|(name, reports)| gate(name, *reports)).collect();
            let silent = others.silent(gates, beginning + Duration::from_secs(seconds));
            silent.into_iter().map(|gate| gate.name).collect()
        };
        let none: [String; 0] = [];
        // Whenever it reported last: who looks for the first time knows nothing of it.
        assert_eq!(silent(0, &[("live", 1), ("dead", 7)]), none);
        assert_eq!(silent(9, &[("live", 5), ("dead", 7)]), none);
        assert_eq!(silent(10, &[("live", 5), ("dead", 7)]), ["dead"]);
        assert_eq!(silent(18, &[("live", 5)]), none);
        assert_eq!(silent(19, &[("live", 5)]), ["live"]);
        assert_eq!(silent(20, &[("live", 6), ("dead", 7)]), none, "one that is back starts again");
    }
}
