//! The leg to Console: a permitted request goes out, and its response comes back.
//!
//! ```text
//! client -> spool -> connection -> Console          (a row with `stream = true`: client -> connection)
//! client <- spool <- connection <- Console
//! ```
//!
//! pingora connects and keeps the connections; what goes over them is written and read here. A connection goes back to
//! the pool only when both sides are provably at the boundary of a message: see [`connection`].

mod connection;
mod head;
mod pool;
mod tunnel;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use metrics::{Histogram, histogram};
use pingora::ErrorType;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use policy::firewall::{Framing, Request};
use policy::ids::RequestId;
use policy::response::{RequestContext, ResponseHead};
use uuid::fmt::Hyphenated;

use super::body::{BodyMeter, BodyStop, RequestBody};
use super::client::{BodyFault, Client, ClientGone, Http1};
use super::driven::{Pulse, Stalled, driven};
use super::piece::PIECE;
use super::rewrite::{ECHO_HEADER, Passage};
use super::spool::{Buffers, Spool, SpoolError};
use super::upstream::{Endpoint, Upstreams};
use crate::settings::{RequestEcho, Settings, Upstream};
use connection::{ConsoleConnection, ConsoleError};
pub(super) use head::UpstreamHead;
use pool::Pool;

/// How many bytes are queued for one side before more are taken from the other.
const MOST_QUEUED: usize = 64 * 1024;
/// How many kept connections in a row may turn out to be closed before a request is given up.
const MOST_STALE: usize = 4;

/// The way to Console.
pub(super) struct Leg {
    upstreams: Arc<Upstreams>,
    connector: TransportConnector,
    pool: Arc<Pool>,
    pub(super) buffers: Arc<Buffers>,
    /// The time until the head of an answer.
    pub(super) seconds: Histogram,
    patience: Patience,
    echo: RequestEcho,
}

/// How long each side may be idle while the gate waits for it.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For Console to take more of the request, or the client more of the response.
    write: Option<Duration>,
    /// For Console to answer.
    read: Option<Duration>,
    /// For the client to send more of the body.
    body: Option<Duration>,
}

/// Why an exchange is not completed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the client is gone")]
    ClientGone,
    #[error(transparent)]
    Body(#[from] BodyStop),
    #[error("no server is known")]
    NoServer,
    #[error("connecting failed: {0}")]
    Connect(&'static str),
    #[error("Console did not answer in time")]
    Timeout,
    #[error(transparent)]
    Console(#[from] ConsoleError),
    #[error("the response cannot be buffered: {0}")]
    Spool(#[from] SpoolError),
}

impl From<ClientGone> for Failure {
    fn from(_: ClientGone) -> Failure {
        Failure::ClientGone
    }
}

impl Failure {
    /// What the client gets, where it got nothing yet; 0 where it is gone.
    pub(super) fn status(&self) -> u16 {
        match self {
            Failure::ClientGone => 0,
            Failure::Body(stop) => stop.status(),
            Failure::Timeout | Failure::Connect("timeout") => 504,
            Failure::NoServer | Failure::Connect(_) | Failure::Console(_) => 502,
            Failure::Spool(_) => 503,
        }
    }

    /// The label of `gate_upstream_errors_total`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Failure::ClientGone => "client_gone",
            Failure::Body(BodyStop::NoRoom(_)) | Failure::Spool(_) => "buffers",
            Failure::Body(_) => "client",
            Failure::Timeout | Failure::Connect("timeout") => "timeout",
            Failure::Console(ConsoleError::Malformed(_)) => "malformed",
            Failure::Console(ConsoleError::Foreign) => "foreign",
            Failure::NoServer | Failure::Connect(_) | Failure::Console(_) => "broken",
        }
    }

    /// Whether the server has not answered the request, so that it may be asked again over another connection.
    fn is_unanswered(&self) -> bool {
        matches!(self, Failure::Console(ConsoleError::Closed | ConsoleError::Io(_) | ConsoleError::Foreign))
    }
}

/// One request on its way.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    pub(super) id: RequestId,
    /// Whether it may become a WebSocket.
    pub(super) upgrade: bool,
    /// The head as Console gets it, blank line included.
    pub(super) head: Bytes,
    /// What of a response the client gets.
    pub(super) passage: Passage<'a>,
    pub(super) source: Source,
    /// Nothing more comes out of `source`.
    pub(super) is_taken: bool,
}

/// Where the body comes from.
pub(super) enum Source {
    /// All of it is here.
    Spool(Spool),
    /// The client, while it sends; what was read to decide comes first.
    Client { begun: Spool, meter: BodyMeter },
}

impl Source {
    /// The rest of a body that the client sends while Console reads it.
    pub(super) fn streamed(body: RequestBody) -> Source {
        Source::Client { begun: body.spool, meter: body.meter }
    }
}

impl Call<'_> {
    fn context(&self) -> RequestContext {
        RequestContext { method: self.request.method(), upgrade: self.upgrade }
    }

    /// RFC 9110 9.2.1: what may be sent twice. A request that changes something may have done so before its server went.
    fn changes_nothing(&self) -> bool {
        self.request.method().is_safe() && self.request.framing() == Framing::None && !self.upgrade
    }

    fn awaits_client(&self) -> bool {
        !self.is_taken && matches!(self.source, Source::Client { .. })
    }
}

/// Console's response, of which the head has come.
pub(super) struct Answered {
    pub(super) head: ResponseHead,
    connection: ConsoleConnection,
    endpoint: Arc<Endpoint>,
    /// What of the body has come with the head.
    spool: Spool,
}

impl Leg {
    pub(super) fn new(
        upstreams: Arc<Upstreams>,
        buffers: Arc<Buffers>,
        (name, upstream): (&str, &Upstream),
        settings: &Settings,
    ) -> Leg {
        let most_kept = upstream.pool_size.0.saturating_mul(settings.listen.threads.0);
        Leg {
            upstreams,
            seconds: histogram!("gate_upstream_seconds", "upstream" => name.to_owned()),
            // It keeps none: `pool` does.
            connector: TransportConnector::new(Some(ConnectorOptions::new(0))),
            pool: Pool::new(most_kept, upstream.idle_timeout_ms.bound()),
            buffers,
            patience: Patience {
                write: upstream.write_timeout_ms.bound(),
                read: upstream.read_timeout_ms.bound(),
                body: settings.firewall.body_timeout_ms.bound(),
            },
            echo: upstream.echo,
        }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    ///
    /// No server has answered, or none could. Nothing was sent to the client then except interim responses.
    pub(super) async fn ask(
        &self,
        client: &mut Client<'_>,
        call: &mut Call<'_>,
    ) -> Result<Answered, Failure> {
        let (mut refused, mut asked_again) = (0, false);
        let mut tries_left = self.upstreams.most_tries() + MOST_STALE;
        loop {
            let endpoint = self.upstreams.pick().ok_or(Failure::NoServer)?;
            let (stream, was_kept) = match self.connect(&endpoint).await {
                Ok(connected) => connected,
                Err(error) => {
                    self.upstreams.suspect(&endpoint);
                    refused += 1;
                    // Nothing was sent, so another server may be asked; each once.
                    if self.upstreams.may_try_another(refused) {
                        continue;
                    }
                    let is_late = *error.etype() == ErrorType::ConnectTimedout;
                    return Err(Failure::Connect(if is_late { "timeout" } else { "refused" }));
                }
            };
            let mut connection = ConsoleConnection::new(stream, call.context());
            connection.push(call.head.clone());
            let answered = self.until_head(client, &mut connection, call).await;
            match answered.and_then(|head| self.own(head, call.id)) {
                Ok(head) => {
                    let mut spool = Spool::for_response(&self.buffers);
                    // A body whose first bytes are malformed makes the response invalid, and the client can still get a
                    // 502.
                    while spool.len() < MOST_QUEUED as u64
                        && let Some(bytes) = connection.received()?
                    {
                        spool.push(bytes)?;
                    }
                    return Ok(Answered { head, connection, endpoint, spool });
                }
                Err(failure) => {
                    // A kept connection may just have been idle for too long; one that was opened for this request gets
                    // one second chance.
                    tries_left -= 1;
                    let has_chance = (was_kept || !asked_again) && tries_left > 0;
                    if !(failure.is_unanswered() && call.changes_nothing() && has_chance) {
                        return Err(failure);
                    }
                    asked_again |= !was_kept;
                }
            }
        }
    }

    /// The head, unless it is that of another request's response.
    fn own(&self, head: ResponseHead, id: RequestId) -> Result<ResponseHead, Failure> {
        let named = head.fields().value(ECHO_HEADER);
        let is_own = match (self.echo, named) {
            (RequestEcho::Off, _) | (RequestEcho::Compared, None) => true,
            (_, Some(named)) => named == id.text(&mut [0; Hyphenated::LENGTH]).as_bytes(),
            // A server that switches to a WebSocket writes this head itself, and was asked to.
            (RequestEcho::Required, None) => head.switches(),
        };
        if is_own { Ok(head) } else { Err(ConsoleError::Foreign.into()) }
    }

    /// A connection, and whether it was kept from an earlier request.
    async fn connect(&self, endpoint: &Endpoint) -> pingora::Result<(Stream, bool)> {
        match self.pool.take(endpoint.reuse) {
            Some(kept) => Ok((kept, true)),
            // Boxed: it is large, and most requests have no need of it.
            None => Ok((Box::pin(self.connector.new_stream(&endpoint.peer)).await?, false)),
        }
    }

    async fn until_head(
        &self,
        client: &mut Client<'_>,
        connection: &mut ConsoleConnection,
        call: &mut Call<'_>,
    ) -> Result<ResponseHead, Failure> {
        let outcome = driven(client, |client, context, pulse| {
            loop {
                let mut moved = false;
                if let Err(failure) = poll_request(context, client, connection, call, &mut moved) {
                    return Poll::Ready(Err(failure));
                }
                match connection.poll_head(context, &mut moved) {
                    Poll::Ready(Ok(head)) if head.is_interim() => {
                        // The gate itself asks for the body.
                        if head.status() != 100 {
                            let fields = call.passage.fields(&head);
                            let fields: Vec<(&[u8], &[u8])> =
                                fields.iter().map(|(name, value)| (*name, value.as_ref())).collect();
                            client.inform(head.status(), &fields);
                        }
                        moved = true;
                    }
                    Poll::Ready(head) => return Poll::Ready(head.map_err(Failure::from)),
                    Poll::Pending => {}
                }
                if let Poll::Ready(Err(gone)) = client.poll_flush(context, &mut moved) {
                    return Poll::Ready(Err(gone.into()));
                }
                if client.body_has_ended() && client.poll_gone(context).is_ready() {
                    return Poll::Ready(Err(Failure::ClientGone));
                }
                if !moved {
                    self.await_request_or_response(pulse, connection, call);
                    return Poll::Pending;
                }
                pulse.moved = true;
            }
        });
        outcome.await.map_err(stalled)?
    }

    fn await_request_or_response(&self, pulse: &mut Pulse, connection: &ConsoleConnection, call: &Call<'_>) {
        let (awaited, patience) = match (connection.queued() > 0, call.awaits_client()) {
            (true, _) => (Stalled::ConsoleTakes, self.patience.write),
            (false, true) => (Stalled::ClientSends, self.patience.body),
            (false, false) => (Stalled::ConsoleAnswers, self.patience.read),
        };
        pulse.awaits(awaited, patience);
    }

    /// Passes the response's body on, and gives the connection back as soon as Console is done with it, however long
    /// the client takes.
    ///
    /// # Errors
    ///
    /// The body is incomplete. The client has got a part of it.
    pub(super) async fn relay(
        &self,
        client: &mut Client<'_>,
        answered: Answered,
        call: &mut Call<'_>,
    ) -> Result<(), Failure> {
        let Answered { head, connection, endpoint, mut spool } = answered;
        let is_event_stream = head.fields().value("content-type").is_some_and(is_event_stream);
        let mut connection = Some(connection);
        // What the queue had no room for.
        let mut held = None;
        let mut is_ended = false;
        // Why the rest does not come. What has come is passed on first.
        let mut broken = None;
        let outcome = driven(client, |client, context, pulse| {
            loop {
                let mut moved = false;
                if let Some(console) = &mut connection {
                    if let Err(failure) = poll_request(context, client, console, call, &mut moved) {
                        return Poll::Ready(Err(failure));
                    }
                    match poll_response(context, console, &mut spool, &mut held, &mut moved) {
                        Ok(true) => {
                            if let Some(console) = connection.take() {
                                self.give_back(console, &endpoint, call);
                            }
                        }
                        Ok(false) => {}
                        Err(failure) => (connection, broken) = (None, Some(failure)),
                    }
                }
                while client.queued() < MOST_QUEUED {
                    match spool.pop() {
                        Ok(Some(bytes)) => client.push(bytes),
                        Ok(None) => break,
                        Err(error) => return Poll::Ready(Err(SpoolError::File(error).into())),
                    }
                }
                if connection.is_none() && held.is_none() && spool.is_empty() && !is_ended {
                    if broken.is_none() {
                        client.end();
                    }
                    is_ended = true;
                }
                match client.poll_flush(context, &mut moved) {
                    Poll::Ready(Ok(())) if is_ended => return Poll::Ready(broken.take().map_or(Ok(()), Err)),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                    Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone.into())),
                }
                let is_gone = client.body_has_ended() && client.poll_gone(context).is_ready();
                // Event streams do not end; a client that still wants events does not close the connection.
                if is_gone || is_event_stream && client.has_ended_its_side() {
                    return Poll::Ready(Err(Failure::ClientGone));
                }
                if !moved {
                    match (&connection, client.queued() > 0) {
                        (Some(console), false) => self.await_request_or_response(pulse, console, call),
                        _ => pulse.awaits(Stalled::ClientTakes, self.patience.write),
                    }
                    return Poll::Pending;
                }
                pulse.moved = true;
            }
        });
        outcome.await.map_err(stalled)?
    }

    /// Keeps the connection for another request, where it can serve one.
    fn give_back(&self, connection: ConsoleConnection, endpoint: &Endpoint, call: &Call<'_>) {
        if !call.is_taken {
            return;
        }
        if let Some(stream) = connection.into_reusable() {
            self.pool.put(endpoint.reuse, stream);
        }
    }

    /// Passes bytes between the client and Console, after both have agreed on a WebSocket.
    pub(super) async fn tunnel(&self, client: &mut Http1, answered: Answered) {
        let console = answered.connection.into_parts();
        tunnel::join(client.parts(), console, self.patience.read).await;
    }
}

/// Sends as much of the request as there is.
fn poll_request(
    context: &mut Context<'_>,
    client: &mut Client<'_>,
    connection: &mut ConsoleConnection,
    call: &mut Call<'_>,
    moved: &mut bool,
) -> Result<(), Failure> {
    while !call.is_taken && !connection.is_deaf() && connection.queued() < MOST_QUEUED {
        match &mut call.source {
            Source::Spool(spool) => match spool.pop().map_err(SpoolError::File)? {
                Some(bytes) => connection.push(bytes),
                None => call.is_taken = true,
            },
            Source::Client { begun, meter } => {
                let is_chunked = call.request.framing() == Framing::Chunked;
                if let Some(bytes) = begun.pop().map_err(SpoolError::File)? {
                    push(connection, bytes, is_chunked);
                    continue;
                }
                match client.poll_body(context) {
                    Poll::Ready(Ok(Some(bytes))) => {
                        meter.count(bytes.len())?;
                        push(connection, bytes, is_chunked);
                        *moved = true;
                    }
                    Poll::Ready(Ok(None)) => {
                        // Over HTTP/2 frames end a body, whatever length was declared.
                        meter.check_end(call.request.framing())?;
                        if is_chunked {
                            connection.push(Bytes::from_static(b"0\r\n\r\n"));
                        }
                        call.is_taken = true;
                        *moved = true;
                    }
                    Poll::Ready(Err(fault)) => return Err(BodyStop::from(fault).into()),
                    Poll::Pending => break,
                }
            }
        }
    }
    let _ = connection.poll_send(context, moved);
    Ok(())
}

fn push(connection: &mut ConsoleConnection, bytes: Bytes, is_chunked: bool) {
    if is_chunked {
        connection.push(format!("{:x}\r\n", bytes.len()).into());
        connection.push(bytes);
        connection.push(Bytes::from_static(b"\r\n"));
    } else {
        connection.push(bytes);
    }
}

/// Takes as much of the response as there is room for, and returns whether that was all of it.
fn poll_response(
    context: &mut Context<'_>,
    connection: &mut ConsoleConnection,
    spool: &mut Spool,
    held: &mut Option<Bytes>,
    moved: &mut bool,
) -> Result<bool, Failure> {
    loop {
        if let Some(bytes) = held.take() {
            if !spool.has_room(bytes.len()) {
                *held = Some(bytes);
                return Ok(false);
            }
            spool.push(bytes)?;
        }
        if connection.has_ended() {
            // Before more is looked for: what follows is no part of it.
            return Ok(true);
        }
        if !spool.has_room(PIECE) {
            return Ok(false);
        }
        match connection.poll_body(context, moved) {
            Poll::Ready(Ok(Some(bytes))) => {
                *held = Some(bytes);
                *moved = true;
            }
            Poll::Ready(Ok(None)) => {
                *moved = true;
                return Ok(true);
            }
            Poll::Ready(Err(error)) => return Err(error.into()),
            Poll::Pending => return Ok(false),
        }
    }
}

fn stalled(stalled: Stalled) -> Failure {
    match stalled {
        Stalled::ClientSends => BodyStop::Late.into(),
        Stalled::ClientTakes => Failure::ClientGone,
        Stalled::ConsoleTakes | Stalled::ConsoleAnswers => Failure::Timeout,
    }
}

fn is_event_stream(content_type: &[u8]) -> bool {
    content_type
        .split(|&byte| byte == b';')
        .next()
        .is_some_and(|kind| kind.trim_ascii() == b"text/event-stream")
}

impl From<BodyFault> for BodyStop {
    fn from(fault: BodyFault) -> BodyStop {
        match fault {
            BodyFault::Malformed(refusal) => BodyStop::Malformed(refusal),
            BodyFault::Gone => BodyStop::Gone,
        }
    }
}
