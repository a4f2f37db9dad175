//! Rows that wait for the database: this gate's spool, and what dead gates left behind.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metrics::counter;

use super::entry::Entry;
use super::event::AuditEvent;
use super::spool::{Line, Spool, SpoolError};
use crate::store::{AuditStore, StoreError};

/// Lines that are replayed in one transaction.
const CHUNK: usize = 256;
/// Rows that may be held in memory because neither the database nor the spool took them. Their callers were answered
/// 503; they are held because the database may have taken them all the same, and the chain goes on from them.
const MOST_UNSETTLED: usize = 4_096;
/// For how long parts are replayed before new rows have their turn.
const TURN: Duration = Duration::from_millis(100);
/// How long the backlog rests after the database did not take a part of it.
const REST: Duration = Duration::from_millis(500);
/// How often the folder is looked through for what gates leave behind that die while this one runs.
const LOOK: Duration = Duration::from_secs(10);

/// What waits.
#[derive(Debug)]
pub(super) struct Backlog {
    folder: Option<(PathBuf, u64)>,
    spool: Option<Spool>,
    orphans: Vec<Spool>,
    /// Rows that neither place took, the oldest first.
    unsettled: Vec<Entry>,
    rests_until: Option<Instant>,
    looked: Instant,
}

impl Backlog {
    /// Opens the spool, under the name of the chain, and takes over what dead gates left.
    pub(super) fn open(folder: Option<&(PathBuf, u64)>, chain: &str) -> std::io::Result<Backlog> {
        let mut backlog = Backlog {
            folder: folder.cloned(),
            spool: folder.map(|(folder, limit)| Spool::create(folder, chain, *limit)).transpose()?,
            orphans: Vec::new(),
            unsettled: Vec::new(),
            rests_until: None,
            looked: Instant::now(),
        };
        backlog.adopt()?;
        Ok(backlog)
    }

    fn adopt(&mut self) -> std::io::Result<()> {
        let Some((folder, limit)) = &self.folder else { return Ok(()) };
        for orphan in Spool::orphans(folder, *limit)? {
            let (file, bytes) = (orphan.path().display(), orphan.waiting_bytes());
            tracing::warn!(%file, bytes, "a gate left audit rows behind; they are taken over");
            self.orphans.push(orphan);
        }
        self.looked = Instant::now();
        Ok(())
    }

    /// Whether every row is in the database.
    pub(super) fn is_empty(&self) -> bool {
        self.orphans.is_empty() && !self.holds_own()
    }

    /// Whether rows of this gate wait, behind which new ones have to wait too.
    pub(super) fn holds_own(&self) -> bool {
        !self.unsettled.is_empty() || self.spool.as_ref().is_some_and(|spool| !spool.is_settled())
    }

    /// Whether no further row may be taken.
    pub(super) fn is_overfull(&self) -> bool {
        self.unsettled.len() >= MOST_UNSETTLED
    }

    pub(super) fn waiting_bytes(&self) -> u64 {
        self.orphans.iter().chain(&self.spool).map(Spool::waiting_bytes).sum()
    }

    /// Appends rows to the spool, behind those that neither place took. When this fails, they are kept in memory.
    pub(super) async fn append(&mut self, entries: Vec<Entry>) -> Result<(), SpoolError> {
        self.unsettled.extend(entries);
        let lines = self.unsettled.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
        let lines = lines.map_err(std::io::Error::from)?;
        let Some(mut spool) = self.spool.take() else { return Err(SpoolError::None) };
        // An fsync may take as long as a disk likes; the other tasks of this thread do not wait for it.
        let written = tokio::task::spawn_blocking(move || {
            let outcome = spool.append(&lines);
            (spool, outcome)
        });
        let (spool, outcome) = written.await.map_err(std::io::Error::other)?;
        self.spool = Some(spool);
        if outcome.is_ok() {
            self.unsettled.clear();
        }
        outcome
    }

    /// Brings a part of what waits to the database. Returns the events that tell of lines which were damaged.
    pub(super) async fn replay<S>(&mut self, store: &S, limit: Duration) -> Vec<AuditEvent>
    where
        S: AuditStore + ?Sized + Sync,
    {
        let mut damages = Vec::new();
        if self.looked.elapsed() > LOOK
            && let Err(error) = self.adopt()
        {
            tracing::warn!(%error, "the spool's folder cannot be looked through");
        }
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return damages;
        }
        let began = Instant::now();
        while !self.is_empty() && began.elapsed() < TURN {
            if let Err(error) = self.replay_part(store, limit, &mut damages).await {
                tracing::debug!(%error, "the backlog waits on");
                self.rests_until = Some(Instant::now() + REST);
                break;
            }
        }
        damages
    }

    /// One transaction's worth of the oldest rows. Each gate's rows stay in order; those of several need none.
    async fn replay_part<S>(
        &mut self,
        store: &S,
        limit: Duration,
        damages: &mut Vec<AuditEvent>,
    ) -> Result<(), StoreError>
    where
        S: AuditStore + ?Sized + Sync,
    {
        // This gate's own first: a file of a dead one that cannot be read must not keep its rows waiting.
        let own = self.spool.as_mut().filter(|spool| !spool.is_settled());
        let orphan = self.orphans.first_mut().filter(|_| self.unsettled.is_empty());
        let Some(spool) = own.or(orphan) else {
            let rows = self.unsettled.len().min(CHUNK);
            bring(store, &self.unsettled[..rows], limit, None).await?;
            self.unsettled.drain(..rows);
            return Ok(());
        };
        let disk = |error: std::io::Error| StoreError::Unavailable(format!("the spool: {error}"));
        let (lines, mark) = spool.oldest(CHUNK).map_err(disk)?;
        let (entries, damaged) = parse(lines, spool.path());
        bring(store, &entries, limit, Some(spool.path())).await?;
        spool.settle(mark).map_err(disk)?;
        damages.extend(damaged);
        if self.orphans.first().is_some_and(Spool::is_settled) {
            self.orphans.remove(0).close().map_err(disk)?;
        }
        Ok(())
    }

    /// Leaves what waits to the next gate, and nothing else.
    pub(super) fn close(&mut self) {
        for spool in self.orphans.drain(..).chain(self.spool.take()) {
            if let Err(error) = spool.close() {
                tracing::warn!(%error, "an empty spool could not be removed");
            }
        }
    }
}

/// The entries of lines, and an event for each line that is none.
fn parse(lines: Vec<Line>, file: &Path) -> (Vec<Entry>, Vec<AuditEvent>) {
    let (mut entries, mut damages) = (Vec::with_capacity(lines.len()), Vec::new());
    for line in lines {
        let (offset, bytes) = match line {
            Line::Whole(text) => match serde_json::from_str(&text) {
                Ok(entry) => {
                    entries.push(entry);
                    continue;
                }
                // Written by a gate of another version, or not by a gate.
                Err(_) => (None, text.len() as u64),
            },
            Line::Damaged { offset, bytes } => (Some(offset), bytes),
        };
        counter!("gate_audit_spool_damaged_total").increment(1);
        tracing::error!(file = %file.display(), offset, bytes, "a line of the spool is damaged; its row is lost");
        let file = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        damages.push(AuditEvent::SpoolDamaged { file, offset, bytes });
    }
    (entries, damages)
}

/// Appends those rows that are not in the database yet. A row that the database refuses for what it says would be in
/// the way of all others for ever: it is set aside, beside the spool that it came from.
async fn bring<S>(
    store: &S,
    entries: &[Entry],
    limit: Duration,
    from: Option<&Path>,
) -> Result<(), StoreError>
where
    S: AuditStore + ?Sized + Sync,
{
    match append_missing(store, entries, limit).await {
        Err(error) if error.is_final() => {}
        other => return other,
    }
    for entry in entries {
        match append_missing(store, std::slice::from_ref(entry), limit).await {
            Err(error) if error.is_final() => {
                counter!("gate_audit_refused_total").increment(1);
                tracing::error!(%error, id = %entry.record.id, "the database refuses an audit row; it is set aside");
                set_aside(entry, from).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            }
            other => other?,
        }
    }
    Ok(())
}

async fn append_missing<S>(store: &S, entries: &[Entry], limit: Duration) -> Result<(), StoreError>
where
    S: AuditStore + ?Sized + Sync,
{
    let outcome = tokio::time::timeout(limit, store.append_missing(entries)).await;
    let rows = outcome.unwrap_or(Err(StoreError::Timeout(limit)))?;
    counter!("gate_audit_replayed_total").increment(rows);
    Ok(())
}

fn set_aside(entry: &Entry, from: Option<&Path>) -> std::io::Result<()> {
    // A row that never reached a spool was answered 503: nothing rests on it.
    let Some(from) = from else { return Ok(()) };
    let mut file = OpenOptions::new().append(true).create(true).open(from.with_extension("refused"))?;
    writeln!(file, "{}", serde_json::to_string(entry)?)?;
    file.sync_all()
}
