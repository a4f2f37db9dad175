//! The gate's resources on this machine: its addresses, the spool, the checkpoints, the certificate.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use clock::SystemClock;

use super::report::Report;
use crate::edge::tls::CertificateHolder;
use crate::edge::tls::pair::PairFiles;
use crate::journal::spool;
use crate::server::{checkpoint_places, look_at_addresses};
use crate::settings::Settings;

/// The addresses: free, or in use by a gate.
pub(super) fn examine(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "addresses";
    for (address, looked) in look_at_addresses(&settings.listen) {
        match looked {
            Ok(()) => report.good(SUBJECT, format!("{address} is free")),
            Err(error) if error.by_gate() => report.good(SUBJECT, format!("{address}: a gate is running")),
            Err(error) => {
                report.fail(
                    SUBJECT,
                    error.to_string(),
                    "stop that process, or choose another address in [listen]",
                );
            }
        }
    }
}

/// Where audit rows go while the database is unavailable, and where checkpoints go.
pub(super) async fn audit(settings: &Settings, report: &mut Report) {
    spool(settings, report);
    let mut audit = settings.audit.clone();
    // Opening it would create it for the user who runs this command. A gate under another user could then not write to
    // it.
    let unmade = audit.checkpoint_file.take_if(|file| !file.exists());
    let has_file = unmade.is_some();
    if let Some(file) = unmade {
        let found = file.display().to_string();
        match file.parent().map_or(Ok(()), try_writing) {
            Ok(()) => report.good("checkpoints", format!("{found}: the gate makes it at its start")),
            Err(error) => {
                report.fail(
                    "checkpoints",
                    format!("{found} cannot be made: {error}"),
                    "correct it in [audit]",
                );
            }
        }
    }
    let places = checkpoint_places(&audit).await;
    if places.is_empty() && !has_file {
        report.warn(
            "checkpoints",
            "there is no second place: rows cut off the end of the audit would go unnoticed",
            "set `checkpoint_file` or `checkpoint_url` in [audit]: docs/audit.md",
        );
    }
    for (name, place) in places {
        match place {
            Ok(_) => report.good("checkpoints", name),
            Err(error) => report.fail("checkpoints", format!("{name}: {error:#}"), "correct it in [audit]"),
        }
    }
}

fn spool(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "spool";
    if settings.audit.spool_bytes == 0 {
        let off = "off by `spool_bytes`: each denial is a 503 while the database is away";
        return report.skip(SUBJECT, off);
    }
    let folder = &settings.audit.spool_folder;
    let found = folder.display().to_string();
    let nearest = if folder.exists() { folder.as_path() } else { folder.parent().unwrap_or(folder) };
    if let Err(error) = try_writing(nearest) {
        return report.fail(
            SUBJECT,
            format!("{found} cannot be written, so each denial is a 503 while the database is away: {error}"),
            "free its disk, or give the gate's user a folder of its own: `spool_folder` in [audit]",
        );
    }
    let limit = settings.audit.spool_bytes;
    match largest_spool(folder) {
        Some((file, bytes)) if bytes.saturating_mul(10) >= limit.saturating_mul(9) => report.fail(
            SUBJECT,
            format!("{file} has {bytes} of {limit} bytes: beyond them, each denial is a 503"),
            "let its rows into the database: see `database` and `gate`; or raise `spool_bytes` in [audit]",
        ),
        Some((file, bytes)) if bytes > 0 => report.warn(
            SUBJECT,
            format!("{file} has {bytes} of {limit} bytes: rows that wait for the database"),
            "see `database`; a running gate delivers them when the database takes them",
        ),
        _ => report.good(SUBJECT, format!("{found} can be written")),
    }
}

/// The spool file with the most bytes.
fn largest_spool(folder: &Path) -> Option<(String, u64)> {
    let spools = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == spool::EXTENSION));
    spools
        .filter_map(|entry| Some((entry.path().display().to_string(), entry.metadata().ok()?.len())))
        .max_by_key(|(_, bytes)| *bytes)
}

/// Where bodies go that do not fit in memory.
pub(super) fn buffers(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "buffers";
    let folder = settings.buffers.folder.display();
    match try_writing(&settings.buffers.folder) {
        Ok(()) => report.good(SUBJECT, format!("{folder} can be written")),
        Err(error) => report.fail(
            SUBJECT,
            format!("{folder} cannot be written, so long bodies are a 503: {error}"),
            "free its disk, or name another `folder` in [buffers]",
        ),
    }
}

/// Bytes to write as a test of a disk: a file can be created on a full one.
const PROBE_BYTES: usize = 256 * 1024;

/// Writes bytes into a folder as this user, down to the disk. The file has no name, so nothing remains.
pub(super) fn try_writing(folder: &Path) -> std::io::Result<()> {
    // A file name without a folder has an empty parent.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut file = tempfile::tempfile_in(folder)?;
    // Not zeros: a file system may store those without using space.
    file.write_all(&[0xa5; PROBE_BYTES])?;
    file.sync_all()
}

pub(super) fn certificate(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "certificate";
    let Some(files) = PairFiles::from_settings(&settings.tls) else {
        return report.good(SUBJECT, "none: whatever is in front of the gate ends TLS");
    };
    match CertificateHolder::start(files, Arc::new(SystemClock)) {
        Err(error) => report.fail(SUBJECT, error.to_string(), "correct [tls], or renew the certificate"),
        Ok(holder) => {
            let left = holder.not_after() - Utc::now();
            let found = format!("valid until {}", holder.not_after().format("%Y-%m-%d %H:%M UTC"));
            match left.num_days() {
                0..14 => report.warn(SUBJECT, found, "renew it; the gate takes the new files by itself"),
                _ => report.good(SUBJECT, found),
            }
        }
    }
}
