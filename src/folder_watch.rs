//! Notices that something in a folder changed.
//!
//! It watches the folder rather than a file in it: editors and Kubernetes replace a file by renaming another over it or
//! by swapping a symlink, and a watch on the old inode would then see nothing more.

use std::path::Path;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Watches the folder of `file`, for as long as the returned value lives. Every change puts a notice into `changed`.
/// `None`, with a warning: the kernel does not watch the folder, and the caller has to look at intervals.
pub fn watch_folder_of(file: &Path, changed: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let notice = move |event: notify::Result<notify::Event>| {
        // An event of an unknown kind causes a look. A full channel means that a look is due already.
        if event.map_or(true, |event| is_change(event.kind)) {
            let _ = changed.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(notice)
        .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "a folder cannot be watched; it is polled instead");
            None
        }
    }
}

/// Opening and reading are not changes. Without this, every look at the file would cause the next one.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, ModifyKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn reading_a_file_is_no_change_to_it() {
        let table = [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
            (EventKind::Access(AccessKind::Read), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Read)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), true),
            (EventKind::Create(CreateKind::Any), true),
            (EventKind::Modify(ModifyKind::Any), true),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), true),
            (EventKind::Remove(RemoveKind::Any), true),
            (EventKind::Any, true),
        ];
        for (kind, expected) in table {
            assert_eq!(is_change(kind), expected, "{kind:?}");
        }
    }
}
