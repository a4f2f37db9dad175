//! HTTP/2: the h2 crate's streams under the gate's own time limits.
//!
//! The h2 crate frames it; the firewall takes each request's fields. Nothing in it bounds how long a client may take for
//! its greeting or for the rest of a head; so the loop is here. A connection is ended by GOAWAY, a stream by a reset:
//! there is no 408.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, SendResponse};
use http::Version;
use pingora::server::ShutdownWatch;
use policy::firewall::{Http2Start, Refusal, Request, inspect_fields};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{sleep, timeout};

use super::{Front, LAST_REQUEST, LINGER, LINGER_BYTES, stopped};
use crate::edge::client::{Client, Http1, Http2};
use crate::edge::gateway::Origin;
use crate::edge::overdue::overdue;
use crate::edge::socket::FramedSocket;
use crate::ruling::message::Form;

/// What a client may send of all its bodies, and of one, before the gate has read it; and what of one response waits
/// inside the h2 crate. The rest waits in the gate's own buffers, which are bounded for all connections together.
const CONNECTION_WINDOW: u32 = 256 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;
const SEND_BUFFER: usize = 16 * 1024;

/// What happened on a connection.
enum Event {
    Stream(Box<(http::Request<h2::RecvStream>, SendResponse<Bytes>)>),
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
        client: Http1,
        origin: Origin,
        shutdown: &ShutdownWatch,
        place: OwnedSemaphorePermit,
    ) {
        let place = Arc::new(place);
        let (stream, ahead) = client.into_parts();
        let (socket, mut owed) = FramedSocket::new(stream, ahead);
        let head_bytes = u32::try_from(self.policy.limits.head_bytes).unwrap_or(u32::MAX);
        let shaking = Builder::new()
            // Each field counts 32 bytes more than it has (RFC 9113 6.5.2), and a head too large for the h2 crate is
            // refused without a page or a reason. So the firewall sees heads that are a little too large.
            .max_header_list_size(head_bytes.saturating_mul(2))
            .max_concurrent_streams(self.http2_streams)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_window_size(STREAM_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake::<_, Bytes>(socket);
        let shaken = tokio::select! {
            shaken = shaking => shaken,
            // No complete greeting, so there is no client to answer yet.
            () = overdue(&mut owed, self.patience.head) => return,
        };
        let Ok(mut connection) = shaken else { return };
        let streams = Arc::new(Streams::default());
        let mut is_leaving = false;
        let mut stopping = shutdown.clone();
        loop {
            let idle = if is_leaving { LAST_REQUEST } else { self.patience.idle };
            let event = tokio::select! {
                biased;
                () = stopped(&mut stopping), if !is_leaving => Event::Leave,
                accepted = connection.accept() => match accepted {
                    Some(Ok(stream)) => Event::Stream(Box::new(stream)),
                    None | Some(Err(_)) => Event::Gone,
                },
                () = overdue(&mut owed, self.patience.head) => Event::Late,
                () = streams.idle_for(idle) => if is_leaving { Event::Gone } else { Event::Leave },
            };
            match event {
                Event::Stream(stream) => {
                    let kept = (streams.begin(), place.clone());
                    tokio::spawn(self.clone().serve_stream(*stream, origin, kept));
                }
                // A client that is about to ask learns by GOAWAY that it has to go elsewhere; what it has asked for
                // already is served.
                Event::Leave => {
                    connection.graceful_shutdown();
                    is_leaving = true;
                }
                Event::Late => {
                    let id = crate::random::request_id();
                    self.gateway.refused().observe(Refusal::HeadTimeout, b"", b"", id);
                    self.gateway.meters.count("refused");
                    break;
                }
                Event::Gone => return,
            }
        }
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        // For the last frame to leave.
        let _ = timeout(LINGER, connection.accept()).await;
    }

    /// Serves one request, and keeps what counts it until then.
    async fn serve_stream(
        self: Arc<Self>,
        (request, respond): (http::Request<h2::RecvStream>, SendResponse<Bytes>),
        origin: Origin,
        _kept: (Served, Arc<OwnedSemaphorePermit>),
    ) {
        let (head, body) = request.into_parts();
        let start = Http2Start {
            method: head.method.as_str().as_bytes(),
            path: head.uri.path_and_query().map_or(&b""[..], |path| path.as_str().as_bytes()),
            authority: head.uri.authority().map(|authority| authority.as_str().as_bytes()),
            ends_stream: body.is_end_stream(),
        };
        let begun = self.traced_now();
        let inspected = self.inspect_stream(&head, &start);
        let origin = Origin { times: self.times(begun, begun), ..origin };
        let mut stream = Http2::new(body, respond);
        let mut client = Client::Http2(&mut stream);
        let ended = match inspected {
            Ok(request) => self.within_total(pin!(self.gateway.serve(&mut client, &request, origin))).await,
            Err(refusal) => {
                let what = (start.method, start.path);
                let accept =
                    head.headers.get(http::header::ACCEPT).map_or(&b""[..], |value| value.as_bytes());
                let form = Form::of_unread(&[b"accept:", accept].concat());
                self.within_total(pin!(self.gateway.refuse(&mut client, refusal, what, form, origin))).await
            }
        };
        if !ended {
            client.cut();
        } else if stream.owes_body() {
            // The stream is reset when it is dropped (RFC 9113 8.1), and some clients that are reset while they send never
            // read the response.
            let _ = timeout(LINGER, stream.swallow(LINGER_BYTES)).await;
        }
    }

    fn inspect_stream(
        &self,
        head: &http::request::Parts,
        start: &Http2Start<'_>,
    ) -> Result<Request, Refusal> {
        if head.version != Version::HTTP_2 {
            return Err(Refusal::MalformedHead);
        }
        let fields = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        inspect_fields(start, fields, &self.policy)
    }
}
