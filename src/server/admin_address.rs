//! The admin address, on a socket that can be handed over like the proxy's.
//!
//! pingora takes the socket and accepts, hyper and axum answer. While the gate drains it goes on answering, so that
//! everybody can see that it drains; after a hand-over it is the next gate that answers.
//!
//! Only the operator's own programs should reach it, and a stranger who does cannot lock them out: connections are few
//! ([`slots`]), and each has so much time for what it is doing ([`activity`]).

mod activity;
mod bodies;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use metrics::counter;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::{mpsc, watch};

use self::activity::{Activity, Observed};
use self::bodies::{Answering, Arriving};
use self::slots::ConnectionSlots;
use super::bound_service::BoundService;
use super::listen_address::ListenAddress;
use crate::edge::listener::Listener;
use crate::settings::Admin;

/// Connections that were accepted and wait for their turn.
const WAITING: usize = 128;
/// Time for connections that are accepted after the address has stopped.
pub(super) const LAST: Duration = Duration::from_millis(250);
/// The bytes of a head: a request that forward-auth asks about is in one, with its cookies.
const HEAD_BYTES: usize = 128 * 1024;

/// Answers at `address`, whose socket is in `fds`, until `stop` is signalled.
pub(super) fn serve(
    address: &ListenAddress,
    fds: &ListenFds,
    router: Router,
    listener: &Listener,
    settings: Admin,
    stop: watch::Receiver<bool>,
) {
    let (sender, accepted) = mpsc::channel(WAITING);
    let app = Accept { sender, listener: listener.clone() };
    let mut service = Service::new("console-gate admin".to_owned(), app);
    service.add_listener(address.listener());
    let mut bound_service = BoundService { service, fds: fds.clone(), listener: listener.clone() };
    let stopping = stop.clone();
    tokio::spawn(async move { bound_service.start_service(None, stopping, 1).await });
    tokio::spawn(answer(accepted, router, settings, stop));
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
        // Once the receiver is gone, the stream is closed.
        let _ = self.sender.send(stream).await;
        None
    }
}

/// Answers connections until the address stops.
async fn answer(
    mut accepted: mpsc::Receiver<Stream>,
    router: Router,
    settings: Admin,
    mut stop: watch::Receiver<bool>,
) {
    let slots = ConnectionSlots::new(settings.max_connections.0);
    let (closing, closed) = watch::channel(false);
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
        // Connections that were accepted just before are still answered.
        tokio::time::sleep(LAST).await;
    };
    tokio::pin!(stopped);
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut stopped => break,
            stream = accepted.recv() => match stream {
                Some(stream) => stream,
                None => break,
            },
        };
        let activity = Arc::new(Activity::default());
        let Some(slot) = slots.take(activity.clone()) else {
            counter!("gate_admin_connections_closed_total", "reason" => "full").increment(1);
            continue;
        };
        let exchange = converse(stream, router.clone(), activity, settings.clone(), closed.clone());
        tokio::spawn(async move {
            exchange.await;
            drop(slot);
        });
    }
    let _ = closing.send(true);
    // A receiver goes with each connection, after its last answer.
    drop(closed);
    closing.closed().await;
}

/// Serves one connection to its end.
async fn converse(
    stream: Stream,
    router: Router,
    activity: Arc<Activity>,
    settings: Admin,
    mut closed: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let transfer = settings.transfer_timeout_ms.duration();
    let of_requests = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let asked = of_requests.begin_request();
        let answer = router.call(request.map(|body| Arriving::new(body, transfer)));
        async move { answer.await.map(|answer| answer.map(|body| Answering::new(body, asked))) }
    });
    let io = TokioIo::new(Observed::new(stream, activity.clone()));
    let connection = http1::Builder::new().max_buf_size(HEAD_BYTES).serve_connection(io, service);
    tokio::pin!(connection);
    let closing = async { drop(closed.wait_for(|closed| *closed).await) };
    let reason = tokio::select! {
        _ = &mut connection => return,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = &mut connection => return,
                reason = activity.over(&settings) => reason,
            }
        }
        reason = activity.over(&settings) => reason,
    };
    counter!("gate_admin_connections_closed_total", "reason" => reason.word()).increment(1);
}
