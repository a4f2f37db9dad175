//! Rows that dead gates left in the spool's folder, brought to the database in the background: neither the start of a
//! gate nor its own rows wait for the files of others.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::SharedClock;
use ledger::checkpoint::Checkpoint;
use ledger::entry::Entry;
use ledger::event::{AuditEvent, ChainHead};
use ledger::keys::KeyRing;
use metrics::gauge;
use store::AuditStore;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::bringing::{CHUNK, Damage, bring, damaged, parse};
use super::checkpoints::Checkpoints;
use super::spool::{Scan, Spool};

/// How often the folder is scanned for files of gates that died while this one runs, and how often an unreadable file
/// is retried.
const LOOK: Duration = Duration::from_secs(10);
/// The pause after the database did not take rows.
const REST: Duration = Duration::from_millis(500);

/// The files that cannot be taken over, as readiness reports them.
#[derive(Clone, Debug, Default)]
pub struct Unreadable(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl Unreadable {
    /// The paths of the files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn replace(&self, files: BTreeMap<PathBuf, String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (file, problem) in files.iter().filter(|(file, problem)| known.get(*file) != Some(*problem)) {
            tracing::warn!(
                file = %file.display(),
                problem,
                "a spool of another gate cannot be read; its rows wait: make this gate's user the owner of the file \
                 (`chown`), or move it away if it is not a spool; the gate retries"
            );
        }
        gauge!("gate_audit_spool_unreadable_files").set(files.len() as f64);
        *known = files;
    }
}

/// The task that takes over the files of dead gates.
pub(super) struct Orphans<S: ?Sized> {
    pub(super) store: Arc<S>,
    pub(super) folder: PathBuf,
    pub(super) limit: u64,
    /// For one exchange with the database.
    pub(super) database_time: Duration,
    /// The queue to the writer of this gate's chain.
    pub(super) events: mpsc::Sender<AuditEvent>,
    /// The destination for the ends of their chains.
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) keys: KeyRing,
    pub(super) clock: SharedClock,
    pub(super) unreadable: Unreadable,
}

impl<S: AuditStore + ?Sized + Send + Sync + 'static> Orphans<S> {
    /// Scans the folder, and brings the rows that it finds, for as long as the task runs.
    pub(super) async fn follow(self) {
        loop {
            match self.scan().await {
                Ok(Scan { orphans, unreadable }) => self.take_over(orphans, unreadable).await,
                Err(error) => tracing::warn!(%error, "the folder of the spool cannot be listed"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn scan(&self) -> io::Result<Scan> {
        let (folder, limit) = (self.folder.clone(), self.limit);
        spawn_blocking(move || Spool::orphans(&folder, limit)).await?
    }

    async fn take_over(&self, orphans: Vec<Spool>, unreadable: Vec<(PathBuf, io::Error)>) {
        let as_text = |(file, error): (PathBuf, io::Error)| (file, error.to_string());
        let mut unreadable: BTreeMap<PathBuf, String> = unreadable.into_iter().map(as_text).collect();
        self.unreadable.replace(unreadable.clone());
        let mut waiting: u64 = orphans.iter().map(Spool::waiting_bytes).sum();
        gauge!("gate_audit_spool_orphan_bytes").set(waiting as f64);
        for orphan in orphans {
            let (file, bytes) = (orphan.path().to_owned(), orphan.waiting_bytes());
            tracing::warn!(
                file = %file.display(), bytes,
                "another gate left audit rows in its spool; this gate stores them"
            );
            if let Err(error) = self.bring_all(orphan).await {
                unreadable.insert(file, error.to_string());
            }
            waiting -= bytes;
            gauge!("gate_audit_spool_orphan_bytes").set(waiting as f64);
        }
        self.unreadable.replace(unreadable);
    }

    /// Brings every row of one file. If the file cannot be read to its end, all of it is found again at the next look:
    /// rows are identified by their ids.
    async fn bring_all(&self, mut orphan: Spool) -> io::Result<()> {
        let mut damage = Damage::default();
        let mut end: Option<ChainHead> = None;
        while !orphan.is_settled() {
            let (back, read) = spawn_blocking(move || {
                let read = orphan.oldest(CHUNK);
                (orphan, read)
            })
            .await?;
            orphan = back;
            let (lines, mark) = read?;
            let entries = parse(lines, &mut damage);
            self.bring_part(&entries, orphan.path()).await;
            end = entries.last().map(|entry| entry.link.head()).or(end);
            orphan.pass(mark);
        }
        self.close(orphan, damage).await?;
        self.checkpoint(end.as_ref());
        Ok(())
    }

    /// Brings the rows of one transaction, and retries until the database has them: without it, no other file can be
    /// brought either.
    async fn bring_part(&self, entries: &[Entry], from: &Path) {
        let mut is_first = true;
        while let Err(error) = bring(self.store.as_ref(), entries, self.database_time, Some(from)).await {
            if std::mem::take(&mut is_first) {
                tracing::warn!(%error, "the spool that another gate left waits for the database");
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Closes a file whose rows are in the database: removes it, or keeps a damaged one for inspection.
    async fn close(&self, orphan: Spool, damage: Damage) -> io::Result<()> {
        let pieces = damage.pieces();
        let file = orphan.path().to_owned();
        if pieces.is_empty() {
            return spawn_blocking(move || orphan.close()).await?;
        }
        let aside = spawn_blocking(move || orphan.put_aside()).await??;
        for (offset, bytes) in pieces {
            let event = damaged(&file, offset, bytes);
            tracing::error!(
                kept = %aside.display(), offset, bytes,
                "a part of a spool is not a row; the file is kept"
            );
            // The writer is gone when the gate stops.
            let _ = self.events.send(event).await;
        }
        Ok(())
    }

    /// Offers a checkpoint of the dead gate's chain, as all of it is in the database.
    fn checkpoint(&self, end: Option<&ChainHead>) {
        let Some((checkpoints, end)) = self.checkpoints.as_ref().zip(end) else { return };
        if let Some(checkpoint) = Checkpoint::of(&self.keys, end, self.clock.now()) {
            checkpoints.offer(&checkpoint);
        }
    }
}
