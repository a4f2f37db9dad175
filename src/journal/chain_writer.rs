//! The gate's chain, and the rows that it writes: one batch at a time, in the order of their sequence.
//!
//! ```text
//! record -> seal -> database            (as a rule)
//!                -> spool -> database   (while the database does not take rows; the 403 may go)
//!                -> 503                 (when the spool does not take them either)
//! ```
//!
//! A row is sealed before it is written, so its destination does not change it: a row that may or may not have been
//! committed when the connection broke is written again under the same id, and is stored once.

use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::SharedClock;
use ledger::chain::{Chain, Head};
use ledger::checkpoint::{Checkpoint, Pace};
use ledger::entry::{Draft, Entry};
use ledger::event::AuditEvent;
use metrics::{counter, gauge};
use store::{AuditStore, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::backlog::Backlog;
use super::checkpoints::Checkpoints;
use super::control_watch;
use super::spool::SpoolError;

/// A record whose caller waits until it is durable.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) done: oneshot::Sender<Result<(), AuditError>>,
}

/// The record could not be made durable; the answer must not treat it as durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// More records wait than the writer will hold.
    #[error("the audit queue is full")]
    Full,
    /// Neither the database nor the spool took it in time.
    #[error("the audit row was not durable within {0:?}")]
    Late(Duration),
    /// The database refused it for its content.
    #[error("the audit row was refused: {0}")]
    Refused(Arc<StoreError>),
    /// Neither the database nor the spool took it.
    #[error("the audit row was not stored: {database}; {spool}")]
    NotTaken { database: Arc<StoreError>, spool: Arc<SpoolError> },
    /// The chain is closed, or the runtime of the task that was writing has ended: the process is stopping.
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
pub(super) struct SharedState {
    state: AtomicU8,
    /// Why the database took no rows at the last attempt: [`StoreError::kind`].
    problem: Mutex<Option<&'static str>>,
}

impl SharedState {
    fn set(&self, state: AuditState) {
        self.state.store(state as u8, Ordering::Relaxed);
        if state == AuditState::Database {
            self.set_problem(None);
        }
    }

    pub(super) fn problem(&self) -> Option<&'static str> {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_problem(&self, problem: Option<&'static str>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(super) fn get(&self) -> AuditState {
        match self.state.load(Ordering::Relaxed) {
            0 => AuditState::Database,
            1 => AuditState::Spool,
            _ => AuditState::Nowhere,
        }
    }
}

/// Writes the chain's rows. A runtime that ends may drop any of its futures halfway: the next call writes the rows
/// again that were under way.
pub(super) struct ChainWriter<S: ?Sized> {
    pub(super) store: Arc<S>,
    pub(super) chain: Chain,
    pub(super) clock: SharedClock,
    pub(super) backlog: Backlog,
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) pace: Pace,
    /// At most this many rows share a transaction.
    pub(super) batch: usize,
    /// For one exchange with the database.
    pub(super) database_time: Duration,
    pub(super) state: Arc<SharedState>,
    pub(super) waiting: mpsc::Receiver<Waiting>,
    /// Sealed, and not yet known to be stored anywhere.
    pub(super) under_way: Vec<Entry>,
}

impl<S: AuditStore + ?Sized + Send + Sync + 'static> ChainWriter<S> {
    /// Writes one batch of the waiting rows; false if none wait.
    pub(super) async fn write_waiting(&mut self) -> bool {
        let (mut drafts, mut callers) = (Vec::new(), Vec::new());
        while drafts.len() < self.batch
            && let Ok(Waiting { draft, done }) = self.waiting.try_recv()
        {
            drafts.push(draft);
            callers.push(done);
        }
        if drafts.is_empty() {
            return false;
        }
        for (caller, outcome) in callers.into_iter().zip(self.write(drafts).await) {
            // A caller that has given up waiting answered 503 already.
            let _ = caller.send(outcome);
        }
        self.checkpoint();
        true
    }

    /// Returns one outcome per draft, in order.
    async fn write(&mut self, drafts: Vec<Draft>) -> Vec<Result<(), AuditError>> {
        let count = drafts.len();
        self.settle_given_up().await;
        if self.backlog.is_overfull() {
            self.state.set(AuditState::Nowhere);
            return vec![Err(AuditError::Full); count];
        }
        let before = self.chain.head();
        self.seal(drafts);
        let error = if !self.backlog.holds_any() {
            match self.append().await {
                Ok(()) => {
                    self.state.set(AuditState::Database);
                    return vec![Ok(()); count];
                }
                Err(error) if error.is_final() => {
                    // None of them was taken. One of them is the cause, and must not cost the others their rows.
                    let drafts = self.unseal(before);
                    return self.write_each(drafts).await;
                }
                Err(error) => error,
            }
        } else {
            // Behind the rows that are already waiting, so that rows reach the database in order.
            StoreError::Unavailable("rows wait in the spool".into())
        };
        vec![self.spool(error).await; count]
    }

    /// Row by row, for a batch with one refused row.
    async fn write_each(&mut self, drafts: Vec<Draft>) -> Vec<Result<(), AuditError>> {
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let (before, id) = (self.chain.head(), draft.record.id);
            self.seal(vec![draft]);
            let outcome = match self.append().await {
                Ok(()) => Ok(()),
                Err(error) if error.is_final() => {
                    self.unseal(before);
                    counter!("gate_audit_refused_total").increment(1);
                    tracing::error!(%error, %id, "the database refuses an audit row");
                    Err(AuditError::Refused(Arc::new(error)))
                }
                Err(error) => self.spool(error).await,
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Seals the drafts: from here on they are rows under way.
    fn seal(&mut self, drafts: Vec<Draft>) {
        self.under_way.extend(drafts.into_iter().map(|draft| draft.seal(&mut self.chain)));
    }

    /// Takes back rows under way that are stored nowhere, and with them their places in the chain.
    fn unseal(&mut self, before: Head) -> Vec<Draft> {
        self.chain.rewind(before);
        self.under_way.drain(..).map(Entry::unseal).collect()
    }

    /// Appends the rows under way to the database.
    async fn append(&mut self) -> Result<(), StoreError> {
        let appending = self.store.append(&self.under_way);
        tokio::time::timeout(self.database_time, appending)
            .await
            .unwrap_or(Err(StoreError::Timeout(self.database_time)))?;
        self.under_way.clear();
        Ok(())
    }

    /// Appends the rows under way to the spool, because of an error of the database.
    async fn spool(&mut self, error: StoreError) -> Result<(), AuditError> {
        let rows = self.under_way.len();
        if self.state.get() == AuditState::Database {
            tracing::error!(%error, "audit rows go to the spool");
            self.state.set_problem(Some(error.kind()));
        }
        match self.backlog.append(mem::take(&mut self.under_way)).await {
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

    /// Sends the rows of a write that was dropped halfway to the spool, because the database may or may not have them.
    /// They are replayed by their ids.
    async fn settle_given_up(&mut self) {
        if !self.under_way.is_empty() {
            // No caller waits for the outcome, which is logged and counted.
            let _ = self.spool(StoreError::Unavailable("a write was given up".into())).await;
        }
    }

    /// Brings the waiting rows to the database, a part at a time, so that new rows need not wait for all of it.
    pub(super) async fn replay(&mut self) {
        self.settle_given_up().await;
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

    /// Writes events about the audit itself. A failure is ignored, because they are already logged and counted.
    pub(super) async fn note(&mut self, event: AuditEvent) {
        let draft = Draft::from(event.into_record(self.clock.now()));
        let _ = self.write(vec![draft]).await;
    }

    /// Offers a checkpoint of the head. Its rows must be in the database: no checkpoint while rows wait.
    pub(super) fn checkpoint(&mut self) {
        let (head, now) = (self.chain.head(), self.clock.now());
        if let Some(checkpoints) = &self.checkpoints
            && !self.holds_any()
            && self.pace.is_due(head, now)
            && checkpoints.offer(&Checkpoint::make(self.chain.keys(), self.chain.id(), head, now))
        {
            self.pace.taken(head, now);
        }
    }

    /// Whether there are rows that are not known to be in the database.
    fn holds_any(&self) -> bool {
        !self.under_way.is_empty() || self.backlog.holds_any()
    }

    /// Takes no more records, writes the waiting ones, and makes a last checkpoint.
    pub(super) async fn close(&mut self) {
        self.waiting.close();
        while self.write_waiting().await {}
        self.replay().await;
        if let Some(checkpoints) = self.checkpoints.clone() {
            let (keys, now) = (self.chain.keys().clone(), self.clock.now());
            if !self.holds_any() {
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
