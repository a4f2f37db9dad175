//! The proxy's service as pingora runs it, on the socket that the gate has taken itself; and the proof that it accepts.

use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use crate::edge::listener::{Listener, Phase};
use crate::settings::Address;

/// How long a listener that was opened may take until it has accepted a connection.
const OPENING: Duration = Duration::from_secs(20);
/// How often a connection is tried until then.
const RETRY: Duration = Duration::from_millis(50);

/// A service whose sockets are in the gate's own table, instead of in pingora's.
pub(super) struct BoundService<S> {
    pub(super) service: S,
    pub(super) fds: ListenFds,
    pub(super) listener: Listener,
}

#[async_trait]
impl<S: Service + 'static> Service for BoundService<S> {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        let _accepting = self.listener.guard();
        self.service.start_service(Some(self.fds.clone()), shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}

/// Connects until a connection was accepted here: while sockets are handed over, the other process may accept it.
///
/// # Errors
///
/// It never was.
pub(super) async fn until_accepting(address: &Address, listener: &Listener) -> anyhow::Result<()> {
    let connecting = async {
        loop {
            // The listener knows whether it was accepted; the connection itself does not matter.
            match address {
                Address::Tcp(address) => drop(TcpStream::connect(address).await),
                Address::Unix(path) => drop(UnixStream::connect(path).await),
            }
            sleep(RETRY).await;
        }
    };
    let phase = tokio::select! {
        phase = listener.decided() => Some(phase),
        outcome = timeout(OPENING, connecting) => { let Err(_) = outcome; None }
    };
    anyhow::ensure!(
        matches!(phase, Some(Phase::Open | Phase::Draining)),
        "`{address}` does not accept connections: the listener did not start. Check that this machine can connect \
         to its own address, and the limit of open files (`ulimit -n`)"
    );
    Ok(())
}
