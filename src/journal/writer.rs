//! Denials that arrive together share a transaction.
//!
//! Each denial puts its record into a queue and waits. If no task is writing, it starts one on its own runtime, which
//! writes batches until the queue is empty. So a lone denial is written at once by the thread that serves it, a flood
//! costs one commit for many rows, and while the database writes one batch the next one gathers.
//!
//! A second task, which lives as long as the writer, replays the spool, makes checkpoints, and closes the chain.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clock::SharedClock;
use ledger::chain::Chain;
use ledger::checkpoint::Pace;
use ledger::entry::Draft;
use ledger::event::{AuditEvent, AuditRecord};
use metrics::{Histogram, counter, histogram};
use store::AuditStore;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use super::backlog::Backlog;
pub use super::chain_writer::{AuditError, AuditState};
use super::chain_writer::{ChainWriter, SharedState, Waiting};
use super::checkpoints::Checkpoints;
use super::orphans::{Orphans, Unreadable};

/// Batches that may wait. A full queue is a database that cannot keep up; waiting longer would only spend memory.
const WAITING_BATCHES: usize = 16;
/// How often waiting rows are tried again, and how often a checkpoint may be due.
const TICK: Duration = Duration::from_millis(250);

/// Makes audit records durable.
#[derive(Clone, Debug)]
pub struct AuditWriter {
    queue: mpsc::Sender<Waiting>,
    writing: Arc<dyn StartsWriting>,
    finish: mpsc::Sender<oneshot::Sender<()>>,
    patience: Duration,
    state: Arc<SharedState>,
    unreadable: Unreadable,
    seconds: Histogram,
}

/// How the writer works.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// At most this many records share a transaction.
    pub batch: usize,
    /// A record that is not durable by then counts as lost. The database gets half of this time, the spool the rest.
    pub patience: Duration,
    /// The folder of the spool, and how many bytes its file may hold.
    pub spool: Option<(PathBuf, u64)>,
}

impl AuditWriter {
    /// Begins `chain`, and starts the task for spool and checkpoints on the current runtime.
    ///
    /// # Errors
    ///
    /// The spool's folder cannot be used. It is better to fail at the start than when it is needed.
    pub async fn start<S: AuditStore + ?Sized + Send + Sync + 'static>(
        store: Arc<S>,
        chain: Chain,
        clock: SharedClock,
        checkpoints: Option<Checkpoints>,
        options: &WriterOptions,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(options.batch.saturating_mul(WAITING_BATCHES).max(1));
        let (finish, finishing) = mpsc::channel(1);
        let state = Arc::new(SharedState::default());
        let backlog = Backlog::open(options.spool.as_ref(), chain.id()).await?;
        let (events, reported) = mpsc::channel(1);
        let unreadable = Unreadable::default();
        let database_time = options.patience / 2;
        let mut beside = JoinSet::new();
        if let Some((folder, limit)) = options.spool.clone() {
            let (store, keys, clock) = (store.clone(), chain.keys().clone(), clock.clone());
            let (unreadable, checkpoints) = (unreadable.clone(), checkpoints.clone());
            let orphans =
                Orphans { store, folder, limit, database_time, events, checkpoints, keys, clock, unreadable };
            beside.spawn(orphans.follow());
        }
        let writer = ChainWriter {
            store,
            pace: Pace::new(chain.head(), clock.now()),
            chain,
            clock,
            backlog,
            checkpoints,
            batch: options.batch.max(1),
            database_time,
            state: state.clone(),
            waiting,
            under_way: Vec::new(),
        };
        let writing = Arc::new(Writing { is_started: AtomicBool::new(false), writer: Mutex::new(writer) });
        tokio::spawn(keep(writing.clone(), reported, finishing, beside));
        let seconds = histogram!("gate_audit_write_seconds");
        Ok(AuditWriter { queue, writing, finish, patience: options.patience, state, unreadable, seconds })
    }

    /// Returns when the record is durable.
    ///
    /// # Errors
    ///
    /// It is not known to be durable. It may still be written later: there may be an audit row too many, never one too
    /// few.
    pub async fn write(&self, record: AuditRecord) -> Result<(), AuditError> {
        self.write_draft(Draft::from(record)).await
    }

    /// As [`AuditWriter::write`], with the parts that belong to the record.
    ///
    /// # Errors
    ///
    /// As [`AuditWriter::write`].
    pub async fn write_draft(&self, draft: Draft) -> Result<(), AuditError> {
        let started = Instant::now();
        let (done, outcome) = oneshot::channel();
        let result = match self.queue.try_send(Waiting { draft, done }) {
            Ok(()) => {
                self.writing.clone().start();
                match tokio::time::timeout(self.patience, outcome).await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(_)) => Err(AuditError::Stopped),
                    Err(_) => Err(AuditError::Late(self.patience)),
                }
            }
            Err(mpsc::error::TrySendError::Full(_)) => Err(AuditError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AuditError::Stopped),
        };
        self.seconds.record(started.elapsed());
        if result.is_err() {
            counter!("gate_audit_failures_total").increment(1);
        }
        result
    }

    /// Where rows go at present.
    pub fn state(&self) -> AuditState {
        self.state.get()
    }

    /// Why rows do not go to the database at present: [`StoreError::kind`].
    pub fn problem(&self) -> Option<&'static str> {
        self.state.problem()
    }

    /// Files in the spool's folder whose rows wait because they cannot be read.
    pub fn unreadable_spools(&self) -> Vec<PathBuf> {
        self.unreadable.files()
    }

    /// Writes the waiting rows and makes a last checkpoint, for a gate that no longer takes requests.
    pub async fn finish(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        if self.finish.send(done).await.is_ok() && tokio::time::timeout(limit, finished).await.is_err() {
            tracing::warn!("the audit log was not closed in time; its rows are in the database or the spool");
        }
    }
}

/// Starts a task that empties the queue, unless one is running.
trait StartsWriting: std::fmt::Debug + Send + Sync {
    fn start(self: Arc<Self>);
}

/// The chain's writer, and whether a task is emptying the queue.
struct Writing<S: ?Sized> {
    is_started: AtomicBool,
    writer: Mutex<ChainWriter<S>>,
}

impl<S: ?Sized> std::fmt::Debug for Writing<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing").field("is_started", &self.is_started).finish_non_exhaustive()
    }
}

impl<S: AuditStore + ?Sized + Send + Sync + 'static> StartsWriting for Writing<S> {
    fn start(self: Arc<Self>) {
        // Only ever swapped, so that the task that resets the flag sees every record whose sender found it set.
        if !self.is_started.swap(true, Ordering::AcqRel) {
            // Boxed, because a task is moved as it is made, and this one is kilobytes large.
            tokio::spawn(Box::pin(self.write_all()));
        }
    }
}

impl<S: AuditStore + ?Sized + Send + Sync + 'static> Writing<S> {
    /// Writes batches until the queue is empty.
    async fn write_all(self: Arc<Self>) {
        let _started = Started(&self.is_started);
        // Requests that are ready run first, so that their rows join the batch.
        tokio::task::yield_now().await;
        loop {
            // Locked anew for each batch, so that the other task gets the lock in between.
            let mut writer = self.writer.lock().await;
            if writer.write_waiting().await {
                continue;
            }
            self.is_started.swap(false, Ordering::AcqRel);
            // The sender of a record that came in between found the flag set, and started nothing.
            if writer.waiting.is_empty() || self.is_started.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

/// Resets the flag when the task ends, also when its runtime drops it: the next record then starts another task.
struct Started<'w>(&'w AtomicBool);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        // A second task may have started meanwhile. A third one may start then too, and finds the queue empty.
        self.0.swap(false, Ordering::AcqRel);
    }
}

/// Replays the spool, makes checkpoints, and closes the chain once every [`AuditWriter`] is dropped or one finishes.
async fn keep<S: AuditStore + ?Sized + Send + Sync + 'static>(
    writing: Arc<Writing<S>>,
    mut reported: mpsc::Receiver<AuditEvent>,
    mut finishing: mpsc::Receiver<oneshot::Sender<()>>,
    mut beside: JoinSet<()>,
) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let mut writer = writing.writer.lock().await;
                writer.replay().await;
                writer.checkpoint();
            }
            Some(event) = reported.recv() => {
                let mut writer = writing.writer.lock().await;
                writer.note(event).await;
                writer.checkpoint();
            }
            done = finishing.recv() => {
                beside.shutdown().await;
                writing.writer.lock().await.close().await;
                if let Some(done) = done {
                    let _ = done.send(());
                }
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
