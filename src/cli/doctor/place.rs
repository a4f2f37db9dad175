//! What the gate has on this machine: its addresses, the spool, the checkpoints, the certificate.

use std::path::Path;
use std::sync::Arc;

use chrono::Utc;

use super::report::Report;
use crate::clock::SystemClock;
use crate::edge::tls::CertificateHolder;
use crate::edge::tls::pair::PairFiles;
use crate::server::{checkpoint_places, look_at_addresses};
use crate::settings::Settings;

/// The addresses: free, or a gate's own.
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

/// Where audit rows go while the database is away, and where checkpoints go.
pub(super) async fn audit(settings: &Settings, report: &mut Report) {
    spool(settings, report);
    let mut audit = settings.audit.clone();
    // Opening it would make it, as the user who runs this: the gate could be another, who could not write to it then.
    let unmade = audit.checkpoint_file.take_if(|file| !file.exists());
    let has_file = unmade.is_some();
    if let Some(file) = unmade {
        let found = file.display().to_string();
        match file.parent().is_some_and(is_writable) {
            true => report.good("checkpoints", format!("{found}: the gate makes it at its start")),
            false => report.fail("checkpoints", format!("{found} cannot be made"), "correct it in [audit]"),
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
    let nearest = if folder.exists() { Some(folder.as_path()) } else { folder.parent() };
    match nearest.is_some_and(is_writable) {
        false => report.fail(
            SUBJECT,
            format!("{found}: cannot be written, so each denial is a 503 while the database is away"),
            "give the gate's user a folder of its own: `spool_folder` in [audit]",
        ),
        true => report.good(SUBJECT, format!("{found} can be written")),
    }
}

/// Whether this user can write into a folder; nothing stays there.
fn is_writable(folder: &Path) -> bool {
    // The parent of a file's name alone.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    tempfile::tempfile_in(folder).is_ok()
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
