//! Noticing that the mapping file changed.
//!
//! The folder is watched, not the file: editors and Kubernetes replace a file by renaming another over it or by
//! swapping a symlink, and a watch on the old inode would see nothing ever after. Every event only causes a look at
//! the file's contents, so a log in the same folder costs a hash and no reload. A slow poll beside it notices what
//! the kernel did not tell, and a rollback's pin.

use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::MappingHolder;

/// Events closer together than this are one: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// How often the file and the pin are looked at whatever the kernel says.
const POLL: Duration = Duration::from_millis(500);

/// Follows the file until the task is dropped. `file_events` is whether a changed file is taken up by itself; a pin
/// always is.
pub async fn follow(holder: Arc<MappingHolder>, file_events: bool) {
    let (changed, mut changes) = mpsc::channel(1);
    // Kept alive by this binding; dropped, it stops watching.
    let _watcher = file_events.then(|| watch(&holder, changed.clone())).flatten();
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

fn watch(holder: &MappingHolder, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let folder = match holder.file().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    };
    let notice = move |event: notify::Result<notify::Event>| {
        // Our own look opens and reads the file, and the kernel tells of that too: taken for news, each look would
        // cause the next. An error means that events were lost, so it is worth a look.
        if event.map_or(true, |event| is_change(event.kind)) {
            // A full channel means that a look is due already.
            let _ = changed.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(notice)
        .and_then(|mut watcher| watcher.watch(&folder, RecursiveMode::NonRecursive).map(|()| watcher));
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "the kernel does not watch the mapping's folder; it is polled instead");
            None
        }
    }
}

/// Whether an event can have changed what a file holds: anything but opening, reading, and closing after reading.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, ModifyKind};

    use super::*;

    #[test]
    fn looking_at_a_file_does_not_change_it() {
        assert!(is_change(EventKind::Create(CreateKind::File)));
        assert!(is_change(EventKind::Modify(ModifyKind::Any)));
        assert!(is_change(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_change(EventKind::Access(AccessKind::Close(AccessMode::Read))));
    }
}
