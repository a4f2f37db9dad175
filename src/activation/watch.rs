//! Notices a changed mapping file or a new rollback.
//!
//! Every event in the file's folder only causes a look at the file's contents, so a log in the same folder costs a hash
//! and no reload. A slow poll also notices rollbacks, and changes that the kernel did not report.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Ask;
use super::record::Trigger;
use super::refresher::{POLL, Refresher};
use crate::folder_watch::watch_folder_of;

/// Closer events count as one: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(50);

impl Refresher {
    /// Follows the file and the rollbacks until the gate leaves. `watches_file` is whether a changed file is taken up
    /// automatically; a rollback always is.
    pub async fn run(mut self, watches_file: bool) {
        let (changed, mut changes) = mpsc::channel(1);
        // Kept alive by this binding; dropped, it stops watching.
        let _watcher = watches_file.then(|| watch_folder_of(self.file.path(), changed.clone())).flatten();
        let mut again = Duration::ZERO;
        loop {
            tokio::select! {
                asked = self.asked.recv() => match asked {
                    Some(Ask::Reload) => self.wanted = Some(Trigger::Signal),
                    Some(Ask::Leave(left)) => {
                        self.presence.leave().await;
                        // The caller no longer waits: there is nothing to do.
                        let _ = left.send(());
                        return;
                    }
                    None => return,
                },
                _ = changes.recv() => {
                    tokio::time::sleep(QUIET.min(again)).await;
                    while changes.try_recv().is_ok() {}
                }
                () = tokio::time::sleep(again) => {}
            }
            if watches_file && self.wanted.is_none() {
                self.wanted = Some(Trigger::File);
            }
            again = self.look().await.min(POLL);
        }
    }
}
