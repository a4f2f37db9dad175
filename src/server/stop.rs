//! What makes the gate stop: SIGTERM (drain), SIGQUIT (hand over and drain), SIGUSR2 (start the next gate, hand over and
//! drain), SIGINT (at once).

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
use super::manager::Manager;
use super::successor::Successor;
use crate::edge::listener::Listener;
use crate::settings::{Address, Listen};

/// To accept the connections that were made before the name of the socket went.
const ACCEPTING: Duration = Duration::from_millis(250);

/// How this gate makes room for the next.
pub(super) struct Ways {
    pub(super) manager: Manager,
    /// Whether its command line starts a gate that can take over.
    pub(super) replaces_itself: bool,
}

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
    ways: Ways,
}

/// Registered once: a signal that comes while another one is being served is not lost.
struct Signals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    replace: Signal,
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
        ways: Ways,
    ) -> io::Result<Stop> {
        let socket = match &listen.proxy {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) => None,
        };
        let signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
            replace: signal(SignalKind::user_defined2())?,
        };
        let upgrade_socket = listen.upgrade_socket();
        let signals = Mutex::new(signals);
        Ok(Stop { signals, socket, upgrade_socket, fds, proxy, admin, close_admin, ways })
    }

    async fn terminate(&self) {
        self.ways.manager.tell("STOPPING=1\nSTATUS=The gate drains");
        self.proxy.drain();
        let Some(socket) = &self.socket else { return };
        if is_of_another(socket).await {
            return;
        }
        // A connection that waits to be accepted is reset when the listener closes, and a request in it is lost.
        // Without its name no client can connect, and those who have are accepted meanwhile.
        if let Err(error) = std::fs::remove_file(socket) {
            tracing::warn!(%error, socket = %socket.display(), "the socket file could not be removed");
        }
        tokio::time::sleep(ACCEPTING).await;
    }

    /// Whether the next gate has the sockets and listens. If there is none, this one goes on: stopping would leave none.
    async fn hand_over(&self) -> bool {
        match handover::send(&self.fds, &self.upgrade_socket, CONFIRMING).await {
            Ok(next) => {
                tracing::info!(next, "the next gate listens; this one drains");
                if let Some(next) = next {
                    self.ways.manager.tell(&format!("MAINPID={next}"));
                }
            }
            Err(error) => {
                tracing::error!(%error, "no gate took the sockets; this one continues");
                return false;
            }
        }
        // From here on the next gate alone reports its state. What this one has accepted at the admin address it answers
        // before it drains, so that no client learns that the address, which the next gate serves, is not ready.
        self.admin.drain();
        self.close_admin.send_replace(true);
        tokio::time::sleep(admin_address::LAST).await;
        self.proxy.drain();
        true
    }

    /// Starts the next gate and hands over to it; else this one goes on, and the next one is ended.
    async fn replace(&self) -> bool {
        if !self.ways.replaces_itself {
            tracing::warn!("SIGUSR2: only a gate that `console-gate serve` has started starts its successor");
            return false;
        }
        tracing::info!("SIGUSR2: the next gate is started");
        match Successor::start(&self.upgrade_socket).await {
            Err(error) => {
                tracing::error!(%error, "SIGUSR2: there is no next gate; this one continues");
                false
            }
            Ok(next) if self.hand_over().await => {
                next.leave_alone();
                true
            }
            Ok(_) => false,
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = self.signals.lock().await;
        let Signals { terminate, quit, interrupt, replace } = &mut *signals;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {
                    self.ways.manager.tell("STOPPING=1");
                    self.proxy.drain();
                    self.admin.drain();
                    return ShutdownSignal::FastShutdown;
                }
                _ = terminate.recv() => {
                    self.terminate().await;
                    return ShutdownSignal::GracefulTerminate;
                }
                // The sockets are handed over here and not by pingora, which stops also where no gate took them.
                _ = quit.recv() => if self.hand_over().await {
                    return ShutdownSignal::GracefulTerminate;
                },
                // The next gate may take its time, and must not keep this one from being stopped.
                _ = replace.recv() => {
                    let is_replaced = tokio::select! {
                        is_replaced = self.replace() => is_replaced,
                        _ = terminate.recv() => {
                            self.terminate().await;
                            true
                        }
                    };
                    if is_replaced {
                        return ShutdownSignal::GracefulTerminate;
                    }
                }
            }
        }
    }
}

/// Whether another gate has taken the name over, or there is no listener at all. A listener that was handed over bears
/// the id of the process that made it, which has ended.
async fn is_of_another(socket: &Path) -> bool {
    let Ok(connection) = UnixStream::connect(socket).await else { return true };
    let Some(maker) = connection.peer_cred().ok().and_then(|credentials| credentials.pid()) else {
        return true;
    };
    u32::try_from(maker) != Ok(std::process::id()) && Path::new(&format!("/proc/{maker}")).exists()
}
