//! Rows of this gate that wait for the database.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ledger::entry::Entry;
use ledger::event::AuditEvent;
use store::{AuditStore, StoreError};
use tokio::task::spawn_blocking;

use super::bringing::{CHUNK, Damage, bring, damaged, parse};
use super::spool::{Spool, SpoolError};

/// Rows that may be held in memory because neither the database nor the spool took them. Their callers were answered
/// with 503; the rows are held because the database may have taken them nevertheless, and the chain continues from
/// them.
const MOST_UNSETTLED: usize = 4_096;
/// For how long parts are replayed before new rows have their turn.
const TURN: Duration = Duration::from_millis(100);
/// How long the backlog rests after the database did not take a part of it.
const REST: Duration = Duration::from_millis(500);

/// The waiting rows.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Only a job on the disk locks it for longer than a look. A job continues when the task that waits for it is
    /// dropped; the next task waits for its end.
    spool: Option<Arc<Mutex<Spool>>>,
    /// Rows that neither place took, the oldest first.
    unsettled: Vec<Entry>,
    rests_until: Option<Instant>,
}

impl Backlog {
    /// Opens the spool, under the name of the chain.
    pub(super) async fn open(folder: Option<&(PathBuf, u64)>, chain: &str) -> io::Result<Backlog> {
        let spool = match folder.cloned() {
            None => None,
            Some((folder, limit)) => {
                let chain = chain.to_owned();
                let spool = spawn_blocking(move || Spool::create(&folder, &chain, limit)).await??;
                Some(Arc::new(Mutex::new(spool)))
            }
        };
        Ok(Backlog { spool, unsettled: Vec::new(), rests_until: None })
    }

    /// Whether rows wait, so that new rows have to wait behind them.
    pub(super) fn holds_any(&self) -> bool {
        !self.unsettled.is_empty() || self.spool.as_ref().is_some_and(|spool| !locked(spool).is_settled())
    }

    /// Whether no further row may be taken.
    pub(super) fn is_overfull(&self) -> bool {
        self.unsettled.len() >= MOST_UNSETTLED
    }

    pub(super) fn waiting_bytes(&self) -> u64 {
        self.spool.as_ref().map_or(0, |spool| locked(spool).waiting_bytes())
    }

    /// Works on the spool where waiting for a disk is allowed: the other tasks of this thread do not wait for it.
    /// `None`: there is no spool.
    async fn on_disk<T, W>(&self, work: W) -> io::Result<Option<T>>
    where
        T: Send + 'static,
        W: FnOnce(&mut Spool) -> T + Send + 'static,
    {
        let Some(spool) = self.spool.clone() else { return Ok(None) };
        Ok(Some(spawn_blocking(move || work(&mut locked(&spool))).await?))
    }

    /// Appends rows to the spool, behind those that neither place took. When this fails, they are kept in memory.
    pub(super) async fn append(&mut self, entries: Vec<Entry>) -> Result<(), SpoolError> {
        self.unsettled.extend(entries);
        let lines = self.unsettled.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
        let lines = lines.map_err(io::Error::from)?;
        self.on_disk(move |spool| spool.append(&lines)).await?.unwrap_or(Err(SpoolError::None))?;
        self.unsettled.clear();
        Ok(())
    }

    /// Writes a part of the waiting rows to the database. Returns the events that report damaged lines.
    pub(super) async fn replay<S>(&mut self, store: &S, limit: Duration) -> Vec<AuditEvent>
    where
        S: AuditStore + ?Sized + Sync,
    {
        let mut damages = Vec::new();
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return damages;
        }
        let began = Instant::now();
        while self.holds_any() && began.elapsed() < TURN {
            if let Err(error) = self.replay_part(store, limit, &mut damages).await {
                tracing::debug!(%error, "the backlog waits again");
                self.rests_until = Some(Instant::now() + REST);
                break;
            }
        }
        damages
    }

    /// Replays the oldest rows, as many as one transaction takes.
    async fn replay_part<S>(
        &mut self,
        store: &S,
        limit: Duration,
        damages: &mut Vec<AuditEvent>,
    ) -> Result<(), StoreError>
    where
        S: AuditStore + ?Sized + Sync,
    {
        let waiting = self.spool.as_ref().map(|spool| locked(spool)).filter(|spool| !spool.is_settled());
        let Some(path) = waiting.map(|spool| spool.path().to_owned()) else {
            let rows = self.unsettled.len().min(CHUNK);
            bring(store, &self.unsettled[..rows], limit, None).await?;
            self.unsettled.drain(..rows);
            return Ok(());
        };
        let disk = |error: io::Error| StoreError::Unavailable(format!("the spool: {error}"));
        let read = self.on_disk(|spool| spool.oldest(CHUNK)).await.map_err(disk)?;
        let Some((lines, mark)) = read.transpose().map_err(disk)? else { return Ok(()) };
        let mut damage = Damage::default();
        let entries = parse(lines, &mut damage);
        bring(store, &entries, limit, Some(&path)).await?;
        let settled = self.on_disk(move |spool| spool.settle(mark)).await.map_err(disk)?;
        settled.unwrap_or(Ok(())).map_err(disk)?;
        for (offset, bytes) in damage.pieces() {
            tracing::error!(file = %path.display(), offset, bytes, "a part of the spool is not a row; it is lost");
            damages.push(damaged(&path, offset, bytes));
        }
        Ok(())
    }

    /// Leaves only the waiting rows for the next gate.
    pub(super) async fn close(&mut self) {
        let closed = self.on_disk(|spool| spool.close()).await.and_then(|closed| closed.unwrap_or(Ok(())));
        if let Err(error) = closed {
            tracing::warn!(%error, "an empty spool could not be deleted");
        }
        // This also releases the lock on its file.
        self.spool = None;
    }
}

fn locked(spool: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_job_that_nobody_waits_for_any_more_leaves_its_rows_behind() {
        let folder = tempfile::tempdir().unwrap();
        let backlog = Backlog::open(Some(&(folder.path().to_owned(), 1_000)), "chain").await.unwrap();
        let (begin, begun) = oneshot::channel();
        let (go_on, going_on) = mpsc::channel::<()>();
        let job = backlog.on_disk(move |spool| {
            begin.send(()).unwrap();
            going_on.recv().unwrap();
            spool.append(&["a row".to_owned()])
        });
        tokio::select! {
            _ = job => unreachable!("it waits to go on"),
            begun = begun => begun.unwrap(),
        }
        go_on.send(()).unwrap();
        assert!(backlog.holds_any());
    }
}
