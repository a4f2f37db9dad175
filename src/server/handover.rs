//! One gate hands its listening sockets to the next, over a socket that both name in their settings.
//!
//! pingora sends the sockets without confirmation: the sender would stop without knowing whether they arrived and
//! whether the next gate listens at them. So the next gate connects back, at a second socket beside the first, and
//! confirms there once it has accepted a connection. Until then the first one keeps serving, and it continues to if the
//! next gate ends without confirming.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pingora::server::{Fds, ListenFds};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long a new gate waits for the sockets of the one that runs. An operator sends the signal by hand.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the one that gave its sockets away waits to hear that the next one listens.
pub(super) const CONFIRMING: Duration = Duration::from_secs(30);

/// The message that confirms it.
const LISTENS: &[u8] = b"listens\n";

/// Why no sockets changed hands.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    #[error(
        "no gate handed over its sockets at {path} within {PATIENCE:?}: send SIGQUIT to the running gate, which \
         must have the same `upgrade_socket` in [listen]; if none is running, start without `--upgrade`"
    )]
    NoGate { path: String },
    #[error(
        "no socket can be created at {path}: set `upgrade_socket` in [listen] to a path of less than 100 bytes, in \
         a folder that the gate's user can write to"
    )]
    NoSocket { path: String },
    #[error(
        "{path} belongs to another user, who would get the gate's sockets: remove it, and set `upgrade_socket` in \
         [listen] to a path in a folder that only the gate can write to"
    )]
    OfAnother { path: String },
    #[error("no gate is waiting at {path} ({error}): start the next gate with `serve --upgrade` first")]
    NobodyWaits { path: String, error: String },
    #[error(
        "the next gate got the sockets at {path}, but did not confirm that it listens: check its log, stop it if it \
         still runs, and hand over again"
    )]
    NotConfirmed { path: String },
}

/// The gate that handed its sockets over, and waits for the confirmation that they are in use.
pub(super) struct Giver(Option<UnixStream>);

impl Giver {
    async fn of(path: &Path) -> Giver {
        Giver(UnixStream::connect(confirmation(path)).await.ok())
    }

    /// Confirms that this gate listens.
    pub(super) async fn confirm(self) {
        let is_sent = match self.0 {
            Some(mut stream) => stream.write_all(LISTENS).await.is_ok(),
            None => false,
        };
        if !is_sent {
            tracing::warn!(
                "the gate that handed over its sockets could not be notified that this one listens: check whether \
                 it still runs, and if so stop it with SIGTERM"
            );
        }
    }
}

/// Waits for the sockets of the gate that runs.
pub(super) async fn receive(path: &Path) -> Result<(Fds, Giver), HandoverError> {
    let shown = path.display().to_string();
    tracing::info!(socket = %shown, patience = ?PATIENCE, "waiting for the running gate's sockets: send it SIGQUIT");
    let received = spawn_blocking({
        let path = shown.clone();
        // pingora panics where it cannot make the socket.
        move || take_from(&path)
    });
    match received.await {
        Ok(Some(fds)) => Ok((fds, Giver::of(path).await)),
        Ok(None) => Err(HandoverError::NoGate { path: shown }),
        Err(_) => Err(HandoverError::NoSocket { path: shown }),
    }
}

fn take_from(path: &str) -> Option<Fds> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut fds = Fds::new();
        // A connection that brings nothing is not from a gate.
        if fds.get_from_sock(path).is_ok() && !fds.is_empty() {
            return Some(fds);
        }
    }
    None
}

/// Hands the sockets to the gate that waits for them, and returns its process when it listens. It may take some seconds to find that
/// there is none.
pub(super) async fn send(
    fds: &ListenFds,
    path: &Path,
    confirming: Duration,
) -> Result<Option<i32>, HandoverError> {
    let shown = path.display().to_string();
    // The process that has the sockets is the gate, to everybody who connects.
    if !is_own(path).unwrap_or(false) {
        return Err(HandoverError::OfAnother { path: shown });
    }
    let confirmation =
        Confirmation::expect(path).map_err(|_| HandoverError::NoSocket { path: shown.clone() })?;
    let sent = spawn_blocking({
        let (fds, path) = (fds.clone(), shown.clone());
        move || fds.lock().send_to_sock(path.as_str()).map(drop).map_err(|error| error.to_string())
    });
    let failed = |error| HandoverError::NobodyWaits { path: shown.clone(), error };
    sent.await.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    match timeout(confirming, confirmation.comes()).await {
        Ok(Some(next)) => Ok(next.pid()),
        Ok(None) | Err(_) => Err(HandoverError::NotConfirmed { path: shown }),
    }
}

/// The socket at which the next gate confirms that it listens; its file goes with this value.
struct Confirmation {
    path: PathBuf,
    listener: UnixListener,
}

impl Confirmation {
    fn expect(path: &Path) -> io::Result<Confirmation> {
        let path = confirmation(path);
        // One that an earlier attempt left.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Confirmation { listener: UnixListener::bind(&path)?, path })
    }

    /// The next gate, a process of this user, once it confirms that it listens; `None` where it has ended without
    /// confirming.
    async fn comes(&self) -> Option<UCred> {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else { continue };
            let Ok(peer) = stream.peer_cred() else { continue };
            if own_uid().ok().flatten() == Some(peer.uid()) {
                let is_confirmed = stream.read_exact(&mut [0; LISTENS.len()]).await.is_ok();
                return is_confirmed.then_some(peer);
            }
        }
    }
}

impl Drop for Confirmation {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn confirmation(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".taken");
    name.into()
}

/// Whether a path is this user's, or nothing yet.
fn is_own(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(file) => Ok(Some(file.uid()) == own_uid()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// The effective user.
fn own_uid() -> io::Result<Option<u32>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(ids.and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use std::sync::Arc;

    use super::*;

    /// A table with one socket in it.
    fn table(listener: &TcpListener) -> ListenFds {
        let mut fds = Fds::new();
        fds.add("proxy".to_owned(), listener.as_raw_fd());
        Arc::new(fds.into())
    }

    async fn until_it_waits(path: &Path) {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn sockets_change_hands_when_the_next_gate_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let next = tokio::spawn({
            let path = path.clone();
            async move {
                let (fds, giver) = receive(&path).await.unwrap();
                giver.confirm().await;
                fds.get("proxy").is_some()
            }
        });
        until_it_waits(&path).await;
        let process = send(&table(&listener), &path, CONFIRMING).await.unwrap();
        assert_eq!(process, i32::try_from(std::process::id()).ok());
        assert!(next.await.unwrap());
        assert!(!confirmation(&path).exists());
        // The same socket, in other hands: this one still accepts.
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_next_gate_that_does_not_listen_has_taken_nothing_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let next = tokio::spawn({
            let path = path.clone();
            async move { receive(&path).await.map(drop) }
        });
        until_it_waits(&path).await;
        // It drops the sockets that it was given.
        let error = send(&table(&listener), &path, CONFIRMING).await.unwrap_err();
        assert!(matches!(error, HandoverError::NotConfirmed { .. }), "{error}");
        next.await.unwrap().unwrap();
        // One that hangs.
        let next = tokio::spawn({
            let path = path.clone();
            async move { receive(&path).await.map(|(_, giver)| giver) }
        });
        until_it_waits(&path).await;
        let error = send(&table(&listener), &path, Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, HandoverError::NotConfirmed { .. }), "{error}");
        drop(next.await.unwrap());
    }

    #[tokio::test]
    async fn an_error_says_that_no_socket_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let error = receive(&folder.path().join("none/upgrade")).await.err().unwrap();
        assert!(matches!(error, HandoverError::NoSocket { .. }), "{error}");
    }

    #[test]
    fn only_ones_own_file_or_none_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_own(folder.path()).unwrap());
        assert!(is_own(&folder.path().join("nothing")).unwrap());
        // Root's, unless the tests are root's too.
        let is_root = own_uid().unwrap() == Some(0);
        assert_eq!(is_own(Path::new("/proc/1")).unwrap(), is_root);
    }
}
