//! Denials that arrive together share a transaction.
//!
//! One task owns the writing, and with it the gate's chain. Each waiting 403 hands it a record and waits; while one
//! transaction is under way the next batch gathers. So a lone denial is written at once, and a flood costs one commit
//! for many rows.
//!
//! ```text
//! record -> seal -> database            (as a rule)
//!                -> spool -> database   (while the database does not take rows; the 403 may go)
//!                -> 503                 (when the spool does not take them either)
//! ```
//!
//! A row is sealed before it is written, so where it ends up changes nothing about it: a row that may or may not have
//! been committed when the connection broke is written again under the same id, and is there once.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ledger::chain::{Chain, Head};
use ledger::checkpoint::{Checkpoint, Pace};
use ledger::entry::{Draft, Entry};
use ledger::event::{AuditEvent, AuditRecord};
use metrics::{counter, gauge, histogram};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::backlog::Backlog;
use super::checkpoints::Checkpoints;
use super::control_watch;
use super::orphans::{Orphans, Unreadable};
use super::spool::SpoolError;
use crate::clock::SharedClock;
use crate::store::{AuditStore, StoreError};

/// Makes audit records durable.
#[derive(Clone, Debug)]
pub struct AuditWriter {
    queue: mpsc::Sender<Waiting>,
    finish: mpsc::Sender<oneshot::Sender<()>>,
    patience: Duration,
    state: Arc<SharedState>,
    unreadable: Unreadable,
}

#[derive(Debug)]
struct Waiting {
    draft: Draft,
    done: oneshot::Sender<Result<(), AuditError>>,
}

/// The record could not be made durable; what it records must not be answered as if it were.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// More records wait than the writer will hold.
    #[error("the audit queue is full")]
    Full,
    /// Neither the database nor the spool took it in time.
    #[error("the audit row was not durable within {0:?}")]
    Late(Duration),
    /// The database refused it for what it says.
    #[error("the audit row was refused: {0}")]
    Refused(Arc<StoreError>),
    /// Neither the database nor the spool took it.
    #[error("the audit row was not stored: {database}; {spool}")]
    NotTaken { database: Arc<StoreError>, spool: Arc<SpoolError> },
    /// The writer's task has ended: the process is stopping.
    #[error("the audit writer has stopped")]
    Stopped,
}

/// Where rows go at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AuditState {
    /// To the database.
    Database,
    /// To the spool; denials go out.
    Spool,
    /// Nowhere; denials are answered 503.
    Nowhere,
}

impl AuditState {
    /// A word for readiness.
    pub fn word(self) -> &'static str {
        match self {
            AuditState::Database => "database",
            AuditState::Spool => "spool",
            AuditState::Nowhere => "nowhere",
        }
    }
}

#[derive(Debug, Default)]
struct SharedState {
    state: AtomicU8,
    /// Why the database took no rows when it was asked last.
    problem: Mutex<Option<&'static str>>,
}

impl SharedState {
    fn set(&self, state: AuditState) {
        self.state.store(state as u8, Ordering::Relaxed);
        if state == AuditState::Database {
            self.set_problem(None);
        }
    }

    fn set_problem(&self, problem: Option<&'static str>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    fn get(&self) -> AuditState {
        match self.state.load(Ordering::Relaxed) {
            0 => AuditState::Database,
            1 => AuditState::Spool,
            _ => AuditState::Nowhere,
        }
    }
}

/// How the writer works.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// At most so many records share a transaction.
    pub batch: usize,
    /// A record that is not durable by then counts as lost. The database has half of it, the spool the rest.
    pub patience: Duration,
    /// The folder of the spool, and how many bytes its file may hold.
    pub spool: Option<(PathBuf, u64)>,
}

impl AuditWriter {
    /// Begins `chain` and starts the writing task on the current runtime.
    ///
    /// # Errors
    ///
    /// The spool's folder cannot be used. Better at start than when it is needed.
    pub async fn start<S: AuditStore + ?Sized + Send + Sync + 'static>(
        store: Arc<S>,
        chain: Chain,
        clock: SharedClock,
        checkpoints: Option<Checkpoints>,
        options: &WriterOptions,
    ) -> std::io::Result<Self> {
        // A full queue is a database that cannot keep up; waiting longer would only spend memory.
        let (queue, waiting) = mpsc::channel(options.batch.saturating_mul(64).max(1));
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
        let task = WriterTask {
            store,
            pace: Pace::new(chain.head(), clock.now()),
            chain,
            clock,
            backlog,
            checkpoints,
            batch: options.batch.max(1),
            database_time,
            state: state.clone(),
            reported,
            beside,
        };
        tokio::spawn(task.run(waiting, finishing));
        Ok(AuditWriter { queue, finish, patience: options.patience, state, unreadable })
    }

    /// Returns when the record is durable.
    ///
    /// # Errors
    ///
    /// It is not known to be durable. It may still be written later: an audit row too many, never one too few.
    pub async fn write(&self, record: AuditRecord) -> Result<(), AuditError> {
        self.write_draft(Draft::from(record)).await
    }

    /// As [`AuditWriter::write`], with what belongs to the record.
    ///
    /// # Errors
    ///
    /// As [`AuditWriter::write`].
    pub async fn write_draft(&self, draft: Draft) -> Result<(), AuditError> {
        let started = Instant::now();
        let (done, outcome) = oneshot::channel();
        let result = match self.queue.try_send(Waiting { draft, done }) {
            Ok(()) => match tokio::time::timeout(self.patience, outcome).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(AuditError::Stopped),
                Err(_) => Err(AuditError::Late(self.patience)),
            },
            Err(mpsc::error::TrySendError::Full(_)) => Err(AuditError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AuditError::Stopped),
        };
        histogram!("gate_audit_write_seconds").record(started.elapsed());
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
        *self.state.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files in the spool's folder whose rows wait because they cannot be read.
    pub fn unreadable_spools(&self) -> Vec<PathBuf> {
        self.unreadable.files()
    }

    /// Writes what waits and makes a last checkpoint. For a gate that takes no requests any more.
    pub async fn finish(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        if self.finish.send(done).await.is_ok() && tokio::time::timeout(limit, finished).await.is_err() {
            tracing::warn!("the audit log was not closed in time; its rows are in the database or the spool");
        }
    }
}

/// How often what waits is tried again, and how often a checkpoint may be due.
const TICK: Duration = Duration::from_millis(250);

struct WriterTask<S: ?Sized> {
    store: Arc<S>,
    chain: Chain,
    clock: SharedClock,
    backlog: Backlog,
    checkpoints: Option<Checkpoints>,
    pace: Pace,
    batch: usize,
    database_time: Duration,
    state: Arc<SharedState>,
    /// What the other tasks of the audit have to record.
    reported: mpsc::Receiver<AuditEvent>,
    /// They end with this one.
    beside: JoinSet<()>,
}

impl<S: AuditStore + ?Sized + Send + Sync + 'static> WriterTask<S> {
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Waiting>,
        mut finishing: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        let mut gathered = Vec::with_capacity(self.batch);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                count = waiting.recv_many(&mut gathered, self.batch) => match count {
                    0 => return self.close().await,
                    _ => self.take(&mut gathered).await,
                },
                _ = tick.tick() => {
                    self.replay().await;
                    self.checkpoint();
                }
                Some(event) = self.reported.recv() => {
                    self.note(event).await;
                    self.checkpoint();
                }
                Some(done) = finishing.recv() => {
                    while waiting.try_recv().map(|late| gathered.push(late)).is_ok() {}
                    self.take(&mut gathered).await;
                    self.close().await;
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// Writes a batch and reports the outcome to its callers.
    async fn take(&mut self, gathered: &mut Vec<Waiting>) {
        if gathered.is_empty() {
            return;
        }
        let (drafts, callers): (Vec<_>, Vec<_>) =
            gathered.drain(..).map(|waiting| (waiting.draft, waiting.done)).unzip();
        let outcomes = self.write(drafts).await;
        for (caller, outcome) in callers.into_iter().zip(outcomes) {
            // A caller that has given up waiting answered 503 already.
            let _ = caller.send(outcome);
        }
        self.checkpoint();
    }

    /// One outcome a draft, in order.
    async fn write(&mut self, drafts: Vec<Draft>) -> Vec<Result<(), AuditError>> {
        let count = drafts.len();
        if self.backlog.is_overfull() {
            self.state.set(AuditState::Nowhere);
            return vec![Err(AuditError::Full); count];
        }
        let before = self.chain.head();
        let entries = self.seal(drafts);
        let error = if !self.backlog.holds_any() {
            match self.append(&entries).await {
                Ok(()) => {
                    self.state.set(AuditState::Database);
                    return vec![Ok(()); count];
                }
                Err(error) if error.is_final() => {
                    // None of them was taken. One of them is to blame, and must not cost the others their rows.
                    self.rewind(before);
                    return self.write_each(entries.into_iter().map(Entry::unseal).collect()).await;
                }
                Err(error) => error,
            }
        } else {
            // Behind what waits already, so that rows reach the database in order.
            StoreError::Unavailable("rows wait in the spool".into())
        };
        vec![self.spool(entries, error).await; count]
    }

    /// Row by row, for a batch of which one row was refused.
    async fn write_each(&mut self, drafts: Vec<Draft>) -> Vec<Result<(), AuditError>> {
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let (before, id) = (self.chain.head(), draft.record.id);
            let entries = self.seal(vec![draft]);
            let outcome = match self.append(&entries).await {
                Ok(()) => Ok(()),
                Err(error) if error.is_final() => {
                    self.rewind(before);
                    counter!("gate_audit_refused_total").increment(1);
                    tracing::error!(%error, %id, "the database refuses an audit row");
                    Err(AuditError::Refused(Arc::new(error)))
                }
                Err(error) => self.spool(entries, error).await,
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    fn seal(&mut self, drafts: Vec<Draft>) -> Vec<Entry> {
        drafts.into_iter().map(|draft| draft.seal(&mut self.chain)).collect()
    }

    fn rewind(&mut self, head: Head) {
        self.chain.rewind(head);
    }

    async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        match tokio::time::timeout(self.database_time, self.store.append(entries)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Timeout(self.database_time)),
        }
    }

    async fn spool(&mut self, entries: Vec<Entry>, error: StoreError) -> Result<(), AuditError> {
        let rows = entries.len();
        if self.state.get() == AuditState::Database {
            tracing::error!(%error, "audit rows go to the spool");
            self.state.set_problem(Some(error.kind()));
        }
        match self.backlog.append(entries).await {
            Ok(()) => {
                self.state.set(AuditState::Spool);
                counter!("gate_audit_spooled_total").increment(rows as u64);
                gauge!("gate_audit_spool_bytes").set(self.backlog.waiting_bytes() as f64);
                Ok(())
            }
            Err(spool) => {
                self.state.set(AuditState::Nowhere);
                tracing::error!(%error, %spool, rows, "audit rows could not be made durable");
                Err(AuditError::NotTaken { database: Arc::new(error), spool: Arc::new(spool) })
            }
        }
    }

    /// Brings what waits to the database, a part at a time, so that new rows need not wait for all of it.
    async fn replay(&mut self) {
        let was_behind = self.backlog.holds_any();
        for event in self.backlog.replay(self.store.as_ref(), self.database_time / 2).await {
            self.note(event).await;
        }
        gauge!("gate_audit_spool_bytes").set(self.backlog.waiting_bytes() as f64);
        if was_behind && !self.backlog.holds_any() {
            self.state.set(AuditState::Database);
            tracing::info!("all waiting audit rows are in the database");
        }
    }

    /// Writes events about the audit itself. A failure is ignored, because they are logged and counted already.
    async fn note(&mut self, event: AuditEvent) {
        let draft = Draft::from(event.into_record(self.clock.now()));
        let _ = self.write(vec![draft]).await;
    }

    /// What a checkpoint says is in the database must be there: none while rows wait.
    fn checkpoint(&mut self) {
        let (head, now) = (self.chain.head(), self.clock.now());
        if let Some(checkpoints) = &self.checkpoints
            && !self.backlog.holds_any()
            && self.pace.is_due(head, now)
            && checkpoints.offer(&Checkpoint::make(self.chain.keys(), self.chain.id(), head, now))
        {
            self.pace.taken(head, now);
        }
    }

    async fn close(&mut self) {
        self.replay().await;
        self.beside.shutdown().await;
        if let Some(checkpoints) = self.checkpoints.clone() {
            let (keys, now) = (self.chain.keys().clone(), self.clock.now());
            if !self.backlog.holds_any() {
                checkpoints.offer(&Checkpoint::make(&keys, self.chain.id(), self.chain.head(), now));
            }
            let looking = control_watch::checkpoint(self.store.as_ref(), &keys, now);
            if let Ok(Ok(Some(checkpoint))) = tokio::time::timeout(self.database_time, looking).await {
                checkpoints.offer(&checkpoint);
            }
            checkpoints.finish().await;
        }
        self.backlog.close().await;
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
