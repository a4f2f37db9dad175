//! Rows of this gate that wait for the database.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ledger::entry::Entry;
use ledger::event::AuditEvent;
use tokio::task::spawn_blocking;

use super::bringing::{CHUNK, Damage, bring, damaged, parse};
use super::spool::{Spool, SpoolError};
use crate::store::{AuditStore, StoreError};

/// Rows that may be held in memory because neither the database nor the spool took them. Their callers were answered
/// 503; they are held because the database may have taken them all the same, and the chain goes on from them.
const MOST_UNSETTLED: usize = 4_096;
/// For how long parts are replayed before new rows have their turn.
const TURN: Duration = Duration::from_millis(100);
/// How long the backlog rests after the database did not take a part of it.
const REST: Duration = Duration::from_millis(500);

/// What waits.
#[derive(Debug)]
pub(super) struct Backlog {
    spool: Option<Spool>,
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
                Some(spawn_blocking(move || Spool::create(&folder, &chain, limit)).await??)
            }
        };
        Ok(Backlog { spool, unsettled: Vec::new(), rests_until: None })
    }

    /// Whether rows wait, so that new rows have to wait behind them.
    pub(super) fn holds_any(&self) -> bool {
        !self.unsettled.is_empty() || self.spool.as_ref().is_some_and(|spool| !spool.is_settled())
    }

    /// Whether no further row may be taken.
    pub(super) fn is_overfull(&self) -> bool {
        self.unsettled.len() >= MOST_UNSETTLED
    }

    pub(super) fn waiting_bytes(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::waiting_bytes)
    }

    /// Works on the spool where waiting for a disk is allowed: the other tasks of this thread do not wait for it.
    /// `None`: there is no spool.
    async fn on_disk<T, W>(&mut self, work: W) -> io::Result<Option<T>>
    where
        T: Send + 'static,
        W: FnOnce(&mut Spool) -> T + Send + 'static,
    {
        let Some(mut spool) = self.spool.take() else { return Ok(None) };
        let (spool, outcome) = spawn_blocking(move || {
            let outcome = work(&mut spool);
            (spool, outcome)
        })
        .await?;
        self.spool = Some(spool);
        Ok(Some(outcome))
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

    /// Writes a part of what waits to the database. Returns the events that report damaged lines.
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

    /// One transaction's worth of the oldest rows.
    async fn replay_part<S>(
        &mut self,
        store: &S,
        limit: Duration,
        damages: &mut Vec<AuditEvent>,
    ) -> Result<(), StoreError>
    where
        S: AuditStore + ?Sized + Sync,
    {
        let Some(path) =
            self.spool.as_ref().filter(|spool| !spool.is_settled()).map(|spool| spool.path().to_owned())
        else {
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

    /// Leaves what waits to the next gate, and nothing else.
    pub(super) async fn close(&mut self) {
        let Some(spool) = self.spool.take() else { return };
        let closed =
            spawn_blocking(move || spool.close()).await.unwrap_or_else(|stopped| Err(stopped.into()));
        if let Err(error) = closed {
            tracing::warn!(%error, "an empty spool could not be deleted");
        }
    }
}
