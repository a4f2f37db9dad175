//! The demo's folder, named after its port, and free ports.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Locked while the demo runs, so that the folder of a killed demo can be recognised.
const LOCK: &str = "lock";
/// Ports to try if the usual one is taken.
const TRIES: u16 = 100;

/// A folder that is removed when the demo ends.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// The folder of a demo, with its port: `asked`, or from `usual` on the first port that is free and without a demo.
    pub(super) fn claim(asked: Option<u16>, usual: u16) -> anyhow::Result<(Folder, u16)> {
        if let Some(port) = asked {
            let folder = Folder::create(port)?;
            let folder = folder.with_context(|| format!("a demo on port {port} is running already"))?;
            return Ok((folder, port));
        }
        for port in (usual..usual + TRIES).filter(|port| is_free(*port)) {
            if let Some(folder) = Folder::create(port)? {
                return Ok((folder, port));
            }
        }
        anyhow::bail!("no port from {usual} to {} is free; choose one with `--port`", usual + TRIES - 1)
    }

    /// `None` if another demo uses the folder. A folder that a killed demo of the same user left is removed.
    fn create(port: u16) -> anyhow::Result<Option<Folder>> {
        let path = std::env::temp_dir().join(format!("console-gate-demo-{port}"));
        // For the owner alone: it holds the demo's keys, and the sockets of its gate and its Console.
        let create = || DirBuilder::new().mode(0o700).create(&path);
        match create() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !is_left_over(&path)? {
                    return Ok(None);
                }
                std::fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
                create().with_context(|| path.display().to_string())?;
            }
            created => created.with_context(|| path.display().to_string())?,
        }
        let lock = File::create(path.join(LOCK)).with_context(|| path.display().to_string())?;
        lock.lock()?;
        Ok(Some(Folder { path, _lock: lock }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("console-gate: {} was not removed: {error}", self.path.display());
        }
    }
}

/// Whether a demo of this user made the folder and is no longer running.
fn is_left_over(path: &Path) -> anyhow::Result<bool> {
    let found = std::fs::symlink_metadata(path)?;
    // A file of this process has this user's id.
    let own = tempfile::tempfile()?.metadata()?.uid();
    if !found.is_dir() || found.uid() != own {
        return Ok(false);
    }
    match File::open(path.join(LOCK)).map(|lock| lock.try_lock()) {
        Ok(Ok(())) => Ok(true),
        Ok(Err(TryLockError::WouldBlock)) => Ok(false),
        Ok(Err(TryLockError::Error(error))) => Err(error.into()),
        // It was killed, or is just starting.
        Err(_) => Ok(false),
    }
}

/// `usual`, or the next free port; `usual` if all are taken, so that the start reports which process has it.
pub(super) fn free_port(usual: u16) -> u16 {
    (usual..usual + TRIES).find(|port| is_free(*port)).unwrap_or(usual)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
