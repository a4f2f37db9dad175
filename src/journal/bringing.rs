//! Rows on their way from a spool to the database.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger::entry::Entry;
use ledger::event::AuditEvent;
use metrics::counter;
use store::{AuditStore, StoreError};

use super::spool::Line;

/// Lines in one transaction.
pub(super) const CHUNK: usize = 256;
/// A file may contain nothing but noise: beyond this number, pieces of damage are reported as one.
const MOST_PIECES: usize = 100;

/// The parts of a spool that are not rows.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// The start of each, if it is known, and its bytes.
    pieces: Vec<(Option<u64>, u64)>,
}

impl Damage {
    fn add(&mut self, offset: Option<u64>, bytes: u64) {
        counter!("gate_audit_spool_damaged_total").increment(1);
        let is_full = self.pieces.len() == MOST_PIECES;
        if let Some((last, length)) = self.pieces.last_mut()
            && (is_full || last.zip(offset).is_some_and(|(last, offset)| last + *length == offset))
        {
            *length += bytes;
            return;
        }
        self.pieces.push((offset, bytes));
    }

    pub(super) fn pieces(self) -> Vec<(Option<u64>, u64)> {
        self.pieces
    }
}

/// The audit event for a part of a spool that is not a row.
pub(super) fn damaged(file: &Path, offset: Option<u64>, bytes: u64) -> AuditEvent {
    let file = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    AuditEvent::SpoolDamaged { file, offset, bytes }
}

/// The entries of lines.
pub(super) fn parse(lines: Vec<Line>, damage: &mut Damage) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(lines.len());
    for line in lines {
        match line {
            Line::Whole(text) => match serde_json::from_str(&text) {
                Ok(entry) => entries.push(entry),
                // Written by a gate of a different version, or not by a gate.
                Err(_) => damage.add(None, text.len() as u64),
            },
            Line::Damaged { offset, bytes } => damage.add(Some(offset), bytes),
        }
    }
    entries
}

/// Appends the rows that are not in the database yet. A row that the database refuses for its content would block all
/// others forever: it is set aside, beside the spool that it came from.
pub(super) async fn bring<S>(
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
                // A row that never reached a spool was answered with 503: nothing depends on it.
                if let Some(from) = from {
                    set_aside(entry.clone(), from.with_extension("refused")).await?;
                }
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

async fn set_aside(entry: Entry, path: PathBuf) -> Result<(), StoreError> {
    let written = tokio::task::spawn_blocking(move || {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        writeln!(file, "{}", serde_json::to_string(&entry)?)?;
        file.sync_all()
    });
    let written = written.await.unwrap_or_else(|stopped| Err(stopped.into()));
    written.map_err(|error| StoreError::Unavailable(format!("the spool: {error}")))
}
