//! HTTP/2: pingora's streams under the gate's own time limits.
//!
//! pingora and the h2 crate frame it; the gateway applies the firewall to each request's fields. pingora's own loop
//! waits without limit for a client's greeting, for the rest of a head and for a body, and never bounds an exchange; so
//! the loop is here. A connection is ended by GOAWAY, a stream by a reset: there is no 408.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::counter;
use pingora::apps::HttpServerApp as _;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use pingora::protocols::{Digest, GetProxyDigest as _, GetSocketDigest as _, GetTimingDigest as _, Ssl as _};
use pingora::server::ShutdownWatch;
use policy::firewall::Refusal;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{sleep, timeout};

use super::{Front, LAST_REQUEST, LINGER, stopped};
use crate::edge::body_watch::BodyWatch;
use crate::edge::overdue::overdue;
use crate::edge::socket::ClientSocket;

/// Requests that no client in good faith sends, on one connection (as many as pingora's own loop takes).
const MOST_MALFORMED: usize = 32;
/// Why a connection is ended (RFC 9113 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// What happened on a connection.
enum Event {
    Stream(Box<HttpSession>),
    /// A request that is none.
    Malformed,
    /// A greeting or a head did not come in time.
    Late,
    /// Nothing was asked for too long, or the gate stops.
    Leave,
    /// The client went, or broke the protocol.
    Gone,
}

/// The streams of a connection that are being served.
#[derive(Default)]
struct Streams {
    count: AtomicUsize,
    fewer: Notify,
}

impl Streams {
    fn begin(self: &Arc<Self>) -> Served {
        self.count.fetch_add(1, Ordering::Relaxed);
        Served(self.clone())
    }

    /// Returns when there was none for `time`.
    async fn idle_for(&self, time: Duration) {
        while self.count.load(Ordering::Relaxed) > 0 {
            self.fewer.notified().await;
        }
        sleep(time).await;
    }
}

/// One of them.
struct Served(Arc<Streams>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.fewer.notify_one();
    }
}

impl Front {
    /// Serves a connection to its end. `place` is the one that it has among those that may be open; requests that
    /// outlive the connection keep it.
    pub(super) async fn serve_http2(
        self: &Arc<Self>,
        mut client: Box<ClientSocket>,
        shutdown: &ShutdownWatch,
        place: OwnedSemaphorePermit,
    ) {
        let place = Arc::new(place);
        let digest = Arc::new(digest(&client));
        let mut owed = client.begin_http2();
        let shaken = tokio::select! {
            shaken = handshake(client, None) => shaken,
            // Not one whole greeting: there is nobody yet to tell why.
            () = overdue(&mut owed, self.patience.head) => return,
        };
        let Ok(mut connection) = shaken else { return };
        let streams = Arc::new(Streams::default());
        let (mut malformed, mut is_leaving) = (0, false);
        let mut stopping = shutdown.clone();
        loop {
            let idle = if is_leaving { LAST_REQUEST } else { self.patience.idle };
            let event = tokio::select! {
                biased;
                () = stopped(&mut stopping), if !is_leaving => Event::Leave,
                accepted = HttpSession::from_h2_conn(&mut connection, digest.clone()) => match accepted {
                    Ok(Some(H2Accept::Session(session))) => Event::Stream(Box::new(session)),
                    Ok(Some(H2Accept::Rejected)) => Event::Malformed,
                    Ok(None) | Err(_) => Event::Gone,
                },
                () = overdue(&mut owed, self.patience.head) => Event::Late,
                () = streams.idle_for(idle) => if is_leaving { Event::Gone } else { Event::Leave },
            };
            match event {
                Event::Stream(session) => {
                    let kept = (streams.begin(), place.clone());
                    tokio::spawn(self.clone().serve_stream(*session, shutdown.clone(), kept));
                }
                Event::Malformed if malformed + 1 < MOST_MALFORMED => malformed += 1,
                Event::Malformed => break,
                // A client that is about to ask learns by GOAWAY that it has to go elsewhere; what it has asked for
                // already is served.
                Event::Leave => {
                    connection.graceful_shutdown();
                    is_leaving = true;
                }
                Event::Late => {
                    Front::count_refusal(Refusal::HeadTimeout, crate::random::request_id());
                    break;
                }
                Event::Gone => return,
            }
        }
        connection.abrupt_shutdown(ENHANCE_YOUR_CALM.into());
        // For the last frame to leave.
        let _ = timeout(LINGER, HttpSession::from_h2_conn(&mut connection, digest)).await;
    }

    /// Serves one request, and keeps what counts it until then.
    async fn serve_stream(
        self: Arc<Self>,
        mut stream: HttpSession,
        shutdown: ShutdownWatch,
        _kept: (Served, Arc<OwnedSemaphorePermit>),
    ) {
        let body = BodyWatch::new();
        stream.req_header_mut().extensions_mut().insert(body.clone());
        let mut session = ServerSession::new_http2(stream);
        session.set_write_timeout(self.patience.write);
        session.set_total_drain_timeout(self.patience.body);
        let exchange = self.within_total(self.proxy.process_new_http(session, &shutdown));
        let Some(patience) = self.patience.body else {
            exchange.await;
            return;
        };
        tokio::select! {
            _ = exchange => {}
            () = body.silent_for(patience) => {
                counter!("gate_upstream_errors_total", "kind" => "client").increment(1);
                tracing::info!(?patience, "an HTTP/2 body stalled; its stream was reset");
            }
        }
    }
}

/// What pingora knows of a connection.
fn digest(client: &ClientSocket) -> Digest {
    Digest {
        ssl_digest: client.get_ssl_digest(),
        timing_digest: client.get_timing_digest(),
        proxy_digest: client.get_proxy_digest(),
        socket_digest: client.get_socket_digest(),
    }
}
