//! What makes the gate stop: SIGTERM (drain), SIGQUIT (hand over and drain), SIGINT (at once).

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, UnixShutdownSignalWatch};
use tokio::net::UnixStream;

use crate::settings::Address;

/// To accept the connections that were made before the name of the socket went.
const ACCEPTING: Duration = Duration::from_millis(250);

/// Waits for the signal to stop.
pub(super) struct Stop {
    socket: Option<PathBuf>,
}

impl Stop {
    /// For a gate that listens at `address`.
    pub(super) fn at(address: &Address) -> Stop {
        let socket = match address {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) => None,
        };
        Stop { socket }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let signal = UnixShutdownSignalWatch.recv().await;
        if let (ShutdownSignal::GracefulTerminate, Some(socket)) = (&signal, &self.socket)
            && !is_of_another(socket).await
        {
            // A connection that waits to be accepted is reset when the listener closes, and a request in it is lost.
            // Without its name nobody connects any more, and those who have are accepted meanwhile.
            if let Err(error) = std::fs::remove_file(socket) {
                tracing::warn!(%error, socket = %socket.display(), "the socket's name could not be removed");
            }
            tokio::time::sleep(ACCEPTING).await;
        }
        signal
    }
}

/// Whether another gate has taken the name over, or nobody listens there at all. A listener that was handed over bears
/// the id of the process that made it, which has ended.
async fn is_of_another(socket: &Path) -> bool {
    let Ok(connection) = UnixStream::connect(socket).await else { return true };
    let Some(maker) = connection.peer_cred().ok().and_then(|credentials| credentials.pid()) else {
        return true;
    };
    u32::try_from(maker) != Ok(std::process::id()) && Path::new(&format!("/proc/{maker}")).exists()
}
