//! Noticing that the certificate or its key changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::CertificateHolder;
use crate::folder_watch::watch_folder_of;

/// How long both files must stay as they are before they are taken for a pair: a renewal writes two files, one after
/// the other, and in between they do not match. There is no hurry: the old pair is still valid.
const QUIET: Duration = Duration::from_secs(1);
/// How often the files are looked at, even if the kernel reports no change.
const POLL: Duration = Duration::from_millis(500);

/// Follows the files until the task is dropped.
pub async fn follow(holder: Arc<CertificateHolder>) {
    let (changed, mut changes) = mpsc::channel(1);
    // Kept alive by this binding; dropped, they stop watching.
    let files = holder.files();
    let _watchers = [&files.certificate, &files.key].map(|file| watch_folder_of(file, changed.clone()));
    loop {
        let _ = tokio::time::timeout(POLL, changes.recv()).await;
        let mut seen = holder.look();
        while !holder.runs(seen) {
            tokio::time::sleep(QUIET).await;
            let now = holder.look();
            if now == seen {
                break;
            }
            seen = now;
        }
        holder.refresh_settled(seen);
    }
}
