//! The running mapping: read, checked against the database, swapped in at once, recorded, reported.
//!
//! A mapping takes effect whole or not at all. Requests in flight finish under the one that they began with, because
//! each holds its own reference. Every activation is an audit row, and so is every refusal.
//!
//! One task, the [`Refresher`], looks at the file and at the rollback in force, and it alone replaces the mapping.
//! So the watcher, a SIGHUP and a rollback cannot overtake each other, and the history is one sequence of steps. A
//! file's content counts only once it has [settled](settling): a copy in progress is not a mapping. Every gate reports
//! its mapping to the database and, if that is not the one that should run, the reason ([`presence`]); `rollback` waits
//! for these reports ([`agreement`]).

pub mod agreement;
mod file;
mod presence;
mod record;
mod refresher;
mod settling;
mod start;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use clock::SharedClock;
use ledger::Notary;
use metrics::gauge;
use policy::diagnostic::Diagnostics;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use store::{SharedStore, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::settings::OnBroken;
pub use refresher::Refresher;

/// A gate that stops waits for a look in progress, but not for one that hangs.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Why a mapping was not activated. The running one stays.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    #[error("cannot read {path}: {why}")]
    Unreadable { path: String, why: String },
    /// The file changes continuously, so it never settles.
    #[error("{path} keeps changing: replace the file in one step, with `mv`, and start again")]
    Unsettled { path: String },
    #[error(transparent)]
    Unsound(#[from] Diagnostics),
    /// The database is unavailable or refused the record. Without a record, nothing is activated.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the text of the mapping {0}, which a rollback activated, is not in the database")]
    UnknownPin(MappingSha256),
}

/// The source of a gate's mapping, and of its records.
pub struct Sources {
    /// `routes.toml`.
    pub file: PathBuf,
    /// How long the file must stay the same before it counts.
    pub settle: Duration,
    /// The action if the file cannot be used.
    pub on_broken: OnBroken,
    pub store: SharedStore,
    pub clock: SharedClock,
    /// The gate's name in the history and among the gates: host and process id.
    pub name: String,
    pub notary: Notary,
    /// The names of the servers beside Console that rows may name.
    pub upstreams: BTreeSet<String>,
}

/// Why the mapping that should run does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingProblem {
    pub kind: MappingProblemKind,
    /// The first mistakes.
    pub why: String,
}

/// Why the mapping that should run does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingProblemKind {
    /// The file could not be used when the gate started.
    Fallback,
    /// The file has mistakes.
    Refused,
    /// The file cannot be read.
    Missing,
    /// The file keeps changing.
    Changing,
    /// A rollback activated a mapping that this gate cannot use.
    RollbackRefused,
}

impl MappingProblemKind {
    /// A word for readiness.
    pub const fn word(self) -> &'static str {
        match self {
            MappingProblemKind::Fallback => "fallback",
            MappingProblemKind::Refused => "refused",
            MappingProblemKind::Missing => "missing",
            MappingProblemKind::Changing => "changing",
            MappingProblemKind::RollbackRefused => "rollback_refused",
        }
    }
}

/// The requests to the refresher.
enum Ask {
    /// SIGHUP: look at the file, whether it is watched or not.
    Reload,
    /// The gate stops.
    Leave(oneshot::Sender<()>),
}

/// A file that this gate has written for an operator, who turned a cluster.
#[derive(Clone, Debug)]
pub struct Turned {
    pub sha256: MappingSha256,
    pub by: String,
    /// The cluster, its mode and the reason, for the history.
    pub what: String,
}

/// Holds the running mapping.
pub struct MappingHolder {
    running: ArcSwap<Mapping>,
    /// Whether the mapping runs only because the file could not be used when the gate started.
    is_fallback: AtomicBool,
    /// The problem found by the last look.
    problem: ArcSwapOption<MappingProblem>,
    /// The file that was written last for an operator.
    turned: ArcSwapOption<Turned>,
    asks: mpsc::Sender<Ask>,
}

impl MappingHolder {
    /// Activates the first mapping of a process: the pinned one or else the file, once it has settled. If the file
    /// cannot be used, it is the mapping that was activated last, unless [`OnBroken::Refuse`]. The refresher replaces
    /// it later, and has to be [run](Refresher::run).
    ///
    /// # Errors
    ///
    /// There is no mapping to activate; a gate without one does not start.
    pub async fn start(sources: Sources) -> Result<(Arc<MappingHolder>, Refresher), ActivationError> {
        start::start(sources).await
    }

    fn holding(mapping: Mapping) -> (Arc<MappingHolder>, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(4);
        (
            Arc::new(MappingHolder {
                running: ArcSwap::from_pointee(mapping),
                is_fallback: AtomicBool::new(false),
                problem: ArcSwapOption::empty(),
                turned: ArcSwapOption::empty(),
                asks,
            }),
            asked,
        )
    }

    /// The mapping for a request that begins now.
    pub fn running(&self) -> Arc<Mapping> {
        self.running.load_full()
    }

    /// Whether the gate started with a file that it could not use, and runs the mapping that was activated last.
    fn is_fallback(&self) -> bool {
        self.is_fallback.load(Ordering::Relaxed)
    }

    /// Why the mapping that should run does not, if so.
    pub fn problem(&self) -> Option<Arc<MappingProblem>> {
        self.problem.load_full()
    }

    /// Notes whether the running mapping is a fallback.
    fn set_fallback(&self, is_fallback: bool) {
        self.is_fallback.store(is_fallback, Ordering::Relaxed);
        gauge!("gate_mapping_fallback").set(f64::from(u8::from(is_fallback)));
    }

    /// Names who is about to write which file, so that its activation is recorded as theirs.
    pub fn note_turn(&self, turned: Turned) {
        self.turned.store(Some(Arc::new(turned)));
    }

    /// Requests a look at the file. It is activated once it has settled; the outcome is logged, counted and recorded.
    pub fn reload(&self) {
        // If the channel is full, a look is already due.
        let _ = self.asks.try_send(Ask::Reload);
    }

    /// Ends the refresher and removes this gate's report, so that no command waits for it.
    pub async fn leave(&self) {
        let leaving = async {
            let (left, done) = oneshot::channel();
            if self.asks.send(Ask::Leave(left)).await.is_ok() {
                // A refresher that has already ended drops its end.
                let _ = done.await;
            }
        };
        if tokio::time::timeout(LEAVE_TIME, leaving).await.is_err() {
            tracing::warn!("the gate's report was not withdrawn in time; it will expire");
        }
    }
}

#[cfg(test)]
mod tests;
