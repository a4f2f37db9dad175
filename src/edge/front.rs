//! The front: accepts connections and reads each request's head off the socket, before anything else parses it.
//!
//! It reads the head under one deadline, and the firewall judges the raw bytes. What goes on is what was understood: the
//! gate writes every byte that Console gets.
//!
//! Where the gate ends TLS, the front shakes hands first. The connection counts as open during the handshake; after it,
//! the stream is read like any other.

mod http2;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use futures::FutureExt as _;
use futures::future::FusedFuture;
use metrics::counter;
use pingora::apps::ServerApp;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use policy::firewall::{HeadSearch, HeadState, Policy, Refusal, Request, inspect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{Client, Http1};
use super::gateway::{Gateway, Origin};
use super::legs::Legs;
use super::limits::ClientLimits;
use super::socket::PREFACE;
use super::spool::Buffers;
use super::upstream::Servers;
use crate::edge::listener::Listener;
use crate::edge::tls::Acceptor;
use crate::ruling::Gate;
use crate::ruling::message::Form;
use crate::ruling::response::{HSTS, Response};
use crate::settings::Settings;
use crate::spans::HeadTimes;

/// How long, and how much, a refused client may go on sending before its connection is dropped.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// How long a gate that stops waits for one more request on a connection that is idle. A client that is just about to
/// send could not know that the gate has stopped reading: its request would be lost. So it is answered, with
/// `Connection: close`.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How often a gate that stops looks for connections that are still open.
const LOOK: Duration = Duration::from_millis(50);

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    head: Duration,
    idle: Duration,
    total: Option<Duration>,
}

/// Accepts connections and serves their requests.
pub struct Front {
    gateway: Gateway,
    policy: Policy,
    patience: Patience,
    h2c: bool,
    http2_streams: u32,
    tls: Option<Acceptor>,
    hsts: Option<String>,
    connections: Connections,
    listener: Listener,
}

/// The connections that are open.
#[derive(Clone, Debug)]
pub struct Connections {
    free: Arc<Semaphore>,
    most: usize,
}

impl Connections {
    fn at_most(most: usize) -> Connections {
        let most = most.min(Semaphore::MAX_PERMITS);
        Connections { free: Arc::new(Semaphore::new(most)), most }
    }

    /// Returns when the last one is closed. For a gate that takes no new ones any more.
    pub async fn none_left(&self) {
        loop {
            // A pause first: a connection that was accepted a moment ago is not counted yet.
            tokio::time::sleep(LOOK).await;
            if self.free.available_permits() == self.most {
                return;
            }
        }
    }
}

/// That the gate stops, as one connection waits for it.
type StopSignal<'s> = Pin<&'s mut (dyn FusedFuture<Output = ()> + Send)>;

/// Why no head came.
enum NoHead {
    /// The client went away, said nothing for too long, or the gate is stopping.
    Closed,
    /// With what was read of the head.
    Refused(Refusal, BytesMut),
}

impl Front {
    /// A front for `gate`, with Console behind it; over TLS where there is an acceptor.
    pub fn new(
        gate: Arc<Gate>,
        servers: Servers,
        buffers: Buffers,
        settings: &Settings,
        tls: Option<Acceptor>,
        listener: Listener,
    ) -> Front {
        let policy = gate.policy.clone();
        let legs = Legs::new(servers, buffers, settings);
        Front {
            gateway: Gateway::new(gate, legs, ClientLimits::new(settings)),
            policy,
            patience: Patience {
                head: settings.firewall.head_timeout_ms.duration(),
                idle: settings.firewall.idle_timeout_ms.duration(),
                total: settings.upstream.total_timeout_ms.bound(),
            },
            h2c: settings.listen.h2c,
            http2_streams: u32::try_from(settings.firewall.http2_streams.0).unwrap_or(u32::MAX),
            tls,
            hsts: settings.tls.hsts(),
            connections: Connections::at_most(settings.firewall.max_connections.0),
            listener,
        }
    }

    /// The open connections, for tasks that wait until all are closed.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// The stream as it is read from here on: over TLS where the gate ends it. `None`: there was no handshake.
    async fn secure(&self, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Some(tls) = &self.tls else { return Some(stream) };
        let mut stopping = shutdown.clone();
        let handshake = tokio::select! {
            biased;
            handshake = tls.accept(stream) => handshake,
            () = stopped(&mut stopping) => return None,
        };
        match handshake {
            Ok(stream) => Some(stream),
            Err(failed) => {
                // The alert with the reason is written already and waits to be sent.
                if let Some(mut stream) = failed {
                    let _ = timeout(LINGER, linger(&mut stream, b"")).await;
                }
                None
            }
        }
    }

    /// Waits for the first bytes of a request, if none came with the request before.
    async fn await_request(&self, client: &mut Http1, mut stop: StopSignal<'_>) -> Result<(), NoHead> {
        if !client.ahead().is_empty() {
            return Ok(());
        }
        let mut deadline = None;
        let first = poll_fn(|context| {
            if let Poll::Ready(read) = client.poll_fill(context) {
                return Poll::Ready(read.ok());
            }
            let was_stopping = stop.is_terminated();
            let is_stopping = was_stopping || stop.as_mut().poll(context).is_ready();
            let patience = if is_stopping { LAST_REQUEST } else { self.patience.idle };
            let until = match deadline {
                Some(until) if is_stopping == was_stopping => until,
                _ => *deadline.insert(Instant::now() + patience),
            };
            client.alarm().poll_at(context, until).map(|()| None)
        });
        if matches!(first.await, Some(1..)) { Ok(()) } else { Err(NoHead::Closed) }
    }

    /// Whether the connection begins with the preface of HTTP/2. The bytes that were read to find out stay with the
    /// socket.
    async fn begins_http2(&self, client: &mut Http1, stop: StopSignal<'_>) -> Result<bool, NoHead> {
        self.await_request(client, stop).await?;
        let deadline = Instant::now() + self.patience.head;
        loop {
            let length = client.ahead().len().min(PREFACE.len());
            if client.ahead()[..length] != PREFACE[..length] {
                return Ok(false);
            }
            if length == PREFACE.len() {
                return Ok(true);
            }
            if !matches!(timeout_at(deadline, client.fill()).await, Ok(Ok(1..))) {
                return Err(NoHead::Closed);
            }
        }
    }

    /// The time now, where requests are traced.
    fn traced_now(&self) -> Option<std::time::Instant> {
        self.gateway.is_traced().then(std::time::Instant::now)
    }

    /// When a head came that was judged just now, where requests are traced.
    fn times(
        &self,
        first_byte: Option<std::time::Instant>,
        read: Option<std::time::Instant>,
    ) -> Option<HeadTimes> {
        Some(HeadTimes { first_byte: first_byte?, read: read?, judged: self.traced_now()? })
    }

    /// Reads one head.
    async fn read_head(
        &self,
        client: &mut Http1,
        stop: StopSignal<'_>,
    ) -> Result<(Request, Option<HeadTimes>), NoHead> {
        self.await_request(client, stop).await?;
        let first_byte = self.traced_now();
        let mut deadline = None;
        let mut search = HeadSearch::default();
        loop {
            match search.advance(client.ahead(), &self.policy.limits) {
                HeadState::Complete(length) => {
                    let read = self.traced_now();
                    let inspected = inspect(&client.ahead()[..length], &self.policy);
                    let times = self.times(first_byte, read);
                    return match inspected {
                        Ok(request) => {
                            client.ahead().advance(length);
                            Ok((request, times))
                        }
                        Err(refusal) => Err(NoHead::Refused(refusal, client.ahead().split_to(length))),
                    };
                }
                HeadState::Refused(refusal) => return Err(NoHead::Refused(refusal, client.ahead().split())),
                HeadState::Partial => {}
            }
            // One deadline for the whole head: a byte a second must not hold a connection for ever.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.patience.head);
            match timeout_at(deadline, client.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Err(NoHead::Closed),
                Err(_) => return Err(NoHead::Refused(Refusal::HeadTimeout, client.ahead().split())),
            }
        }
    }

    /// Serves one request. Whether the connection can carry another one.
    async fn serve(
        &self,
        client: &mut Http1,
        request: &Request,
        origin: Origin,
        shutdown: &ShutdownWatch,
    ) -> bool {
        let may_go_on = !*shutdown.borrow();
        if let Err(refusal) = client.begin_exchange(request, may_go_on) {
            let accept = request.fields().value("accept").unwrap_or_default();
            let accept = String::from_utf8_lossy(accept);
            let (method, target) = (request.method().as_str(), request.target().raw());
            let head = format!("{method} {target} HTTP/1.1\r\naccept:{accept}\r\n");
            self.refuse(client.stream(), refusal, head.as_bytes()).await;
            return false;
        }
        let has_ended = {
            let mut side = Client::Http1(client);
            self.within_total(pin!(self.gateway.serve(&mut side, request, origin))).await
        };
        if !has_ended {
            return false;
        }
        if client.can_go_on() {
            return true;
        }
        // To linger is to end the connection in order first.
        if client.owes_body() && !client.is_cut() {
            let _ = timeout(LINGER, linger(client.stream(), b"")).await;
        }
        false
    }

    /// One exchange, within the time that is set for all of it. Whether it ended by itself.
    /// It is kilobytes large, and stays where it is.
    async fn within_total(&self, exchange: Pin<&mut impl Future<Output = ()>>) -> bool {
        let Some(total) = self.patience.total else {
            exchange.await;
            return true;
        };
        let ended = timeout(total, exchange).await.is_ok();
        if !ended {
            counter!("gate_upstream_errors_total", "kind" => "total_timeout").increment(1);
            tracing::warn!(?total, "an exchange exceeded `upstream.total_timeout_ms` and was closed");
        }
        ended
    }

    /// Answers a request that the firewall refuses, of which `head` is what was read.
    async fn refuse(&self, stream: &mut Stream, refusal: Refusal, head: &[u8]) {
        let id = crate::random::request_id();
        self.gateway.refused().observe_head(refusal, head, id);
        self.gateway.meters.count("refused");
        let answer = Response::to_refusal(refusal, Form::of_unread(head), id);
        let mut answer = answer.with("date", self.gateway.date());
        if let Some(hsts) = self.hsts.as_ref().filter(|_| stream.get_ssl_digest().is_some()) {
            answer = answer.with(HSTS, hsts.clone());
        }
        let _ = timeout(LINGER, linger(stream, &answer.to_closing_bytes())).await;
    }
}

/// Writes the answer and swallows what the client is still sending: closing at once would reset the connection, and
/// the client would never read why.
async fn linger(stream: &mut Stream, answer: &[u8]) -> std::io::Result<()> {
    stream.write_all(answer).await?;
    stream.flush().await?;
    AsyncWriteExt::shutdown(stream).await?;
    let mut swallowed = 0;
    let mut scrap = [0_u8; 4096];
    while swallowed < LINGER_BYTES {
        match stream.read(&mut scrap).await? {
            0 => return Ok(()),
            read => swallowed += read,
        }
    }
    // A client that has to wait with its sending reads meanwhile. Who lingers has a deadline.
    std::future::pending().await
}

async fn stopped(shutdown: &mut ShutdownWatch) {
    while !*shutdown.borrow_and_update() {
        if shutdown.changed().await.is_err() {
            // The server is gone, and with it the sender of the stop signal.
            return;
        }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        self.listener.accepted();
        let Ok(place) = self.connections.free.clone().try_acquire_owned() else {
            counter!("gate_connections_refused_total").increment(1);
            return None;
        };
        let peer = stream.get_socket_digest().and_then(|digest| {
            digest.peer_addr().and_then(|address| address.as_inet().map(std::net::SocketAddr::ip))
        });
        let Some(_share) = self.gateway.limits().connect(peer) else {
            counter!("gate_connections_refused_total").increment(1);
            return None;
        };
        let _counted = self.gateway.traffic().connection();
        let stream = self.secure(stream, shutdown).await?;
        let agreed_on_http2 = stream.selected_alpn_proto() == Some(ALPN::H2);
        let mut origin = Origin { peer, is_over_tls: stream.get_ssl_digest().is_some(), times: None };
        let mut client = Http1::new(stream);
        let mut signal = shutdown.clone();
        // Listened to from the first request to the last one: beginning and ending that for each has a price.
        let mut stop = pin!(stopped(&mut signal).fuse());
        if agreed_on_http2 || (self.h2c && self.begins_http2(&mut client, stop.as_mut()).await.ok()?) {
            self.serve_http2(client, origin, shutdown, place).await;
            return None;
        }
        loop {
            match self.read_head(&mut client, stop.as_mut()).await {
                Ok((request, times)) => {
                    origin.times = times;
                    if !self.serve(&mut client, &request, origin, shutdown).await {
                        break;
                    }
                }
                Err(NoHead::Closed) => break,
                Err(NoHead::Refused(refusal, head)) => {
                    self.refuse(client.stream(), refusal, &head).await;
                    return None;
                }
            }
        }
        // Over TLS, an end without a closing alert could be caused by anybody.
        client.shutdown().await;
        None
    }
}
