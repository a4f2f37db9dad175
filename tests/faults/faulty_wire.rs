//! A TCP connection to Postgres that can be made to fail: packets dropped both ways, delayed, or the line cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Forwards,
    /// Each packet takes that much longer.
    Delays(Duration),
    /// Nothing comes through, without an error. What was under way then is lost for good: after the hole is closed,
    /// connections from before it stay silent, as when a firewall in between has forgotten them.
    Drops,
    /// Every connection is closed, and so is each new one.
    Cuts,
}

/// The wire. It ends with this value.
pub struct FaultyWire {
    port: u16,
    state: Arc<watch::Sender<Wire>>,
    accepting: JoinHandle<()>,
}

impl FaultyWire {
    /// Listens on a free port of the loopback; what comes goes to `server`.
    pub async fn to(server: String) -> FaultyWire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(watch::Sender::new(Wire::Forwards));
        let of_wire = state.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), of_wire.subscribe());
                connections.spawn(async move {
                    let _ = client.set_nodelay(true);
                    let mut cut = state.clone();
                    let (from_client, to_client) = client.into_split();
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let _ = server.set_nodelay(true);
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = pass(from_client, to_server, state.clone()) => {}
                        () = pass(from_server, to_client, state) => {}
                        () = until(&mut cut, Wire::Cuts) => {}
                    }
                });
            }
        });
        FaultyWire { port, state, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, wire: Wire) {
        self.state.send_replace(wire);
    }
}

impl Drop for FaultyWire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One way. Returns when the connection has ended and the other end may know it.
async fn pass<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    mut to: W,
    mut state: watch::Receiver<Wire>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read,
            // Held open, so that a lost packet does not close the connection.
            () = until(&mut state, Wire::Drops) => std::future::pending().await,
        };
        let Ok(read @ 1..) = read else { return };
        let wire = *state.borrow();
        if let Wire::Delays(time) = wire {
            tokio::time::sleep(time).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn until(state: &mut watch::Receiver<Wire>, wire: Wire) {
    let _ = state.wait_for(|state| *state == wire).await;
}
