//! Noticing that the mapping file changed.
//!
//! Every event in the file's folder only causes a look at the file's contents, so a log in the same folder costs a
//! hash and no reload. A slow poll beside it notices what the kernel did not tell, and a rollback's pin.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::MappingHolder;
use crate::folder_watch::watch_folder_of;

/// Events closer together than this are one: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// How often the file and the pin are looked at whatever the kernel says.
const POLL: Duration = Duration::from_millis(500);

/// Follows the file until the task is dropped. `file_events` is whether a changed file is taken up by itself; a pin
/// always is.
pub async fn follow(holder: Arc<MappingHolder>, file_events: bool) {
    let (changed, mut changes) = mpsc::channel(1);
    // Kept alive by this binding; dropped, it stops watching.
    let _watcher = file_events.then(|| watch_folder_of(holder.file(), changed.clone())).flatten();
    let mut seen_pin = None;
    loop {
        let told = tokio::time::timeout(POLL, changes.recv()).await.is_ok();
        if told {
            tokio::time::sleep(QUIET).await;
            while changes.try_recv().is_ok() {}
        }
        let pin = holder.store.pin().await.unwrap_or_else(|_| seen_pin.clone());
        if file_events || pin != seen_pin {
            // The outcome is logged, counted and recorded where it happens.
            let _ = holder.refresh("file").await;
            seen_pin = pin;
        }
    }
}
