//! The admin address, on a socket that can be handed over like the proxy's.
//!
//! pingora takes the socket and accepts, axum answers. While the gate drains it goes on answering, so that everybody can
//! see that it drains; after a hand-over it is the next gate that answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::{mpsc, watch};

use super::bound_service::BoundService;
use super::listen_address::ListenAddress;
use crate::edge::listener::Listener;
use crate::settings::Address;

/// Connections that were accepted and wait for axum.
const WAITING: usize = 128;
/// For connections that were accepted when nobody shall be any more.
pub(super) const LAST: Duration = Duration::from_millis(250);

/// Answers at `address`, whose socket is in `fds`, until `stop` says so.
pub(super) fn serve(
    address: &ListenAddress,
    fds: &ListenFds,
    router: Router,
    listener: &Listener,
    stop: watch::Receiver<bool>,
) {
    let (sender, accepted) = mpsc::channel(WAITING);
    let app = Accept { sender, listener: listener.clone() };
    let mut service = Service::new("console-gate admin".to_owned(), app);
    let mut config = address.listener();
    if let Address::Unix(path) = address.target()
        && let Ok(file) = std::fs::metadata(path)
    {
        // As the gate's umask has it: pingora would open it to everybody.
        config = config.permissions(file.permissions());
    }
    service.add_listener(config);
    let mut bound_service = BoundService { service, fds: fds.clone(), listener: listener.clone() };
    let stopping = stop.clone();
    tokio::spawn(async move { bound_service.start_service(None, stopping, 1).await });
    let mut stop = stop;
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
        // What was accepted just now is answered yet.
        tokio::time::sleep(LAST).await;
    };
    tokio::spawn(
        async move { axum::serve(Accepted(accepted), router).with_graceful_shutdown(stopped).await },
    );
}

/// Passes connections on.
struct Accept {
    sender: mpsc::Sender<Stream>,
    listener: Listener,
}

#[async_trait]
impl ServerApp for Accept {
    async fn process_new(self: &Arc<Self>, stream: Stream, _shutdown: &ShutdownWatch) -> Option<Stream> {
        self.listener.accepted();
        // When nobody takes it any more it is closed.
        let _ = self.sender.send(stream).await;
        None
    }
}

/// The connections, as axum takes them.
struct Accepted(mpsc::Receiver<Stream>);

impl axum::serve::Listener for Accepted {
    type Io = Stream;
    type Addr = ();

    async fn accept(&mut self) -> (Stream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
