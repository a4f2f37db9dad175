//! What makes the gate stop: SIGTERM (drain), SIGQUIT (hand over and drain), SIGINT (at once).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownSignal, ShutdownSignalWatch};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};

use super::admin_address;
use super::handover::{self, CONFIRMING};
use crate::edge::listener::Listener;
use crate::settings::{Address, Listen};

/// To accept the connections that were made before the name of the socket went.
const ACCEPTING: Duration = Duration::from_millis(250);

/// Waits for the signal to stop, and prepares it.
pub(super) struct Stop {
    signals: Mutex<Signals>,
    /// The proxy's, where it is one.
    socket: Option<PathBuf>,
    upgrade_socket: PathBuf,
    fds: ListenFds,
    proxy: Listener,
    admin: Listener,
    close_admin: Arc<watch::Sender<bool>>,
}

/// Registered once: a signal that comes while another one is being served is not lost.
struct Signals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Stop {
    /// For a gate that listens at the sockets in `fds`.
    ///
    /// # Errors
    ///
    /// A signal cannot be waited for.
    pub(super) fn new(
        listen: &Listen,
        fds: ListenFds,
        (proxy, admin): (Listener, Listener),
        close_admin: Arc<watch::Sender<bool>>,
    ) -> io::Result<Stop> {
        let socket = match &listen.proxy {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) => None,
        };
        let signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let upgrade_socket = listen.upgrade_socket();
        Ok(Stop { signals: Mutex::new(signals), socket, upgrade_socket, fds, proxy, admin, close_admin })
    }

    async fn terminate(&self) {
        self.proxy.drain();
        let Some(socket) = &self.socket else { return };
        if is_of_another(socket).await {
            return;
        }
        // A connection that waits to be accepted is reset when the listener closes, and a request in it is lost.
        // Without its name nobody connects any more, and those who have are accepted meanwhile.
        if let Err(error) = std::fs::remove_file(socket) {
            tracing::warn!(%error, socket = %socket.display(), "the socket file could not be removed");
        }
        tokio::time::sleep(ACCEPTING).await;
    }

    /// Whether the next gate has the sockets and listens. If there is none, this one goes on: stopping would leave nobody.
    async fn hand_over(&self) -> bool {
        if let Err(error) = handover::send(&self.fds, &self.upgrade_socket, CONFIRMING).await {
            tracing::error!(%error, "SIGQUIT: no gate took the sockets; this one continues");
            return false;
        }
        tracing::info!("the next gate listens; this one drains");
        // From here on the next gate alone says how it is. What this one has accepted at the admin address it answers
        // before it drains, so that no client learns that the address, which the next gate serves, is not ready.
        self.admin.drain();
        self.close_admin.send_replace(true);
        tokio::time::sleep(admin_address::LAST).await;
        self.proxy.drain();
        true
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = self.signals.lock().await;
        let Signals { terminate, quit, interrupt } = &mut *signals;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {
                    self.proxy.drain();
                    self.admin.drain();
                    return ShutdownSignal::FastShutdown;
                }
                _ = terminate.recv() => {
                    self.terminate().await;
                    return ShutdownSignal::GracefulTerminate;
                }
                // The sockets are handed over here and not by pingora, which stops also where nobody took them.
                _ = quit.recv() => if self.hand_over().await {
                    return ShutdownSignal::GracefulTerminate;
                }
            }
        }
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
