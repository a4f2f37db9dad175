//! Denials that arrive together share a transaction.
//!
//! One task owns the writing. Each waiting 403 hands it a record and waits; while one transaction is under way the
//! next batch gathers. So a lone denial is written at once, and a flood costs one commit for many rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tokio::sync::{mpsc, oneshot};

use super::event::AuditRecord;
use crate::store::{AuditStore, StoreError};

/// Makes audit records durable.
#[derive(Clone, Debug)]
pub struct AuditWriter {
    queue: mpsc::Sender<Waiting>,
    patience: Duration,
}

#[derive(Debug)]
struct Waiting {
    record: AuditRecord,
    done: oneshot::Sender<Result<(), Arc<StoreError>>>,
}

/// The record could not be made durable; what it records must not be answered as if it were.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// More records wait than the writer will hold.
    #[error("the audit queue is full")]
    Full,
    /// The database did not take it in time.
    #[error("the audit row was not durable within {0:?}")]
    Late(Duration),
    /// The database refused it.
    #[error("the audit row was refused: {0}")]
    Refused(Arc<StoreError>),
    /// The writer's task has ended: the process is stopping.
    #[error("the audit writer has stopped")]
    Stopped,
}

impl AuditWriter {
    /// Starts the writing task on the current runtime. At most `batch` records share a transaction, and a record
    /// that is not durable within `patience` counts as lost.
    pub fn start<S: AuditStore + ?Sized + Send + Sync + 'static>(
        store: Arc<S>,
        batch: usize,
        patience: Duration,
    ) -> Self {
        // A full queue is a database that cannot keep up; waiting longer would only spend memory.
        let (queue, waiting) = mpsc::channel(batch.saturating_mul(64).max(1));
        tokio::spawn(write(store, waiting, batch.max(1)));
        AuditWriter { queue, patience }
    }

    /// Returns when the record is committed.
    ///
    /// # Errors
    ///
    /// It is not known to be durable. It may still be written later: an audit row too many, never one too few.
    pub async fn write(&self, record: AuditRecord) -> Result<(), AuditError> {
        let started = Instant::now();
        let (done, outcome) = oneshot::channel();
        let result = match self.queue.try_send(Waiting { record, done }) {
            Ok(()) => match tokio::time::timeout(self.patience, outcome).await {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(Ok(Err(error))) => Err(AuditError::Refused(error)),
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
}

async fn write<S: AuditStore + ?Sized>(store: Arc<S>, mut waiting: mpsc::Receiver<Waiting>, batch: usize) {
    let mut gathered = Vec::with_capacity(batch);
    while waiting.recv_many(&mut gathered, batch).await > 0 {
        let (records, callers): (Vec<_>, Vec<_>) =
            gathered.drain(..).map(|waiting| (waiting.record, waiting.done)).unzip();
        let outcome = store.append(&records).await.map_err(Arc::new);
        if let Err(error) = &outcome {
            tracing::error!(%error, rows = records.len(), "audit rows could not be written");
        }
        for caller in callers {
            // A caller that has given up waiting answered 503 already.
            let _ = caller.send(outcome.clone());
        }
    }
}
