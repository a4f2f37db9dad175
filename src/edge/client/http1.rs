//! A connection of HTTP/1: heads and bodies in, responses out.
//!
//! The front reads the heads from it; for the time of one exchange it gives out the body, framed as strictly as the head
//! was, and not one byte more. What follows is kept for the next head.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use pingora::protocols::Stream;
use policy::body::BodyDecoder;
use policy::firewall::{Framing, Refusal, Request, Version};
use tokio::io::AsyncWrite as _;

use super::{BodyFault, ClientGone, Head, Length};
use crate::edge::alarm::Alarm;
use crate::edge::byte_queue::ByteQueue;
use crate::edge::piece::Pieces;

/// How much is read of the requests that a client sends ahead, before it has to wait.
const MOST_AHEAD: usize = 16 * 1024;
/// What a head usually has besides the fields that are given: the status, the framing, the fields on the connection.
const USUAL_EXTRA: usize = 128;

/// How the end of the response that is being written is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// By its length, or because there is no body.
    Plain,
    Chunked,
}

/// One connection.
#[derive(Debug)]
pub(in crate::edge) struct Http1 {
    stream: Stream,
    /// Bytes that were read and have gone nowhere yet.
    ahead: BytesMut,
    pieces: Pieces,
    body: BodyDecoder,
    version: Version,
    coding: Coding,
    keep_alive: bool,
    has_begun: bool,
    /// Only the end of the connection ends the response, and whether the response has come to its end.
    ends_by_close: bool,
    has_ended: bool,
    /// The client has ended its side and may still read.
    has_ended_its_side: bool,
    out: ByteQueue,
    is_flushed: bool,
    alarm: Alarm,
}

impl Http1 {
    pub(in crate::edge) fn new(stream: Stream) -> Http1 {
        Http1 {
            stream,
            ahead: BytesMut::new(),
            pieces: Pieces::default(),
            body: BodyDecoder::Length(0),
            version: Version::Http11,
            coding: Coding::Plain,
            keep_alive: true,
            has_begun: false,
            ends_by_close: false,
            has_ended: false,
            has_ended_its_side: false,
            out: ByteQueue::default(),
            is_flushed: true,
            alarm: Alarm::default(),
        }
    }

    /// The bytes from which the next head is taken.
    pub(in crate::edge) fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    /// Reads more of them. `Ok(0)`: the client sends no more.
    pub(in crate::edge) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// The same, as one step.
    pub(in crate::edge) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.has_ended_its_side { Poll::Ready(Ok(0)) } else { self.poll_read(context) }
    }

    /// The timer of the current wait.
    pub(in crate::edge) fn alarm(&mut self) -> &mut Alarm {
        &mut self.alarm
    }

    /// The connection itself, for use outside an exchange.
    pub(in crate::edge) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The connection and what was read of it, for HTTP/2 or a tunnel.
    pub(in crate::edge) fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.ahead)
    }

    /// The same while another task has the connection.
    pub(in crate::edge) fn parts(&mut self) -> (&mut Stream, &mut BytesMut) {
        (&mut self.stream, &mut self.ahead)
    }

    /// Begins the exchange of a request whose head was read. `may_go_on`: whether another one may follow.
    ///
    /// # Errors
    ///
    /// What of the body has arrived with the head shows already that it is no body.
    pub(in crate::edge) fn begin_exchange(
        &mut self,
        request: &Request,
        may_go_on: bool,
    ) -> Result<(), Refusal> {
        self.body = BodyDecoder::of_request(request.framing());
        if request.framing() == Framing::Chunked {
            let mut look = self.body;
            let mut rest = &self.ahead[..];
            while !rest.is_empty() && !look.has_ended() {
                rest = &rest[look.advance(rest)?.taken..];
            }
        }
        self.version = request.version();
        self.coding = Coding::Plain;
        self.keep_alive = may_go_on && request.keep_alive();
        (self.has_begun, self.ends_by_close, self.has_ended) = (false, false, false);
        Ok(())
    }

    /// Whether the connection can carry another request: the whole exchange went as it should.
    pub(in crate::edge) fn can_go_on(&self) -> bool {
        self.keep_alive && self.has_begun && self.body.has_ended() && self.queued() == 0
    }

    /// Whether the client may still be sending a body that is discarded: closing at once would reset the connection, and
    /// it would never read the response.
    pub(in crate::edge) fn owes_body(&self) -> bool {
        !self.body.has_ended() && self.has_begun
    }

    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        loop {
            if self.body.has_ended() {
                return Poll::Ready(Ok(None));
            }
            if !self.ahead.is_empty() {
                let step = self.body.advance(&self.ahead).map_err(BodyFault::Malformed)?;
                let mut taken = self.ahead.split_to(step.taken);
                taken.truncate(step.data.end);
                taken.advance(step.data.start);
                if !taken.is_empty() {
                    return Poll::Ready(Ok(Some(taken.freeze())));
                }
                continue;
            }
            match ready!(self.poll_read(context)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(BodyFault::Gone)),
            }
        }
    }

    pub(super) fn body_has_ended(&self) -> bool {
        self.body.has_ended()
    }

    /// Reads what the client sends ahead, because that shows that it is there. Only an error ends it: a client that
    /// closes its own side, as `nc -N` does, waits for its response.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.body.has_ended() && !self.has_ended_its_side && self.ahead.len() < MOST_AHEAD {
            match ready!(self.poll_read(context)) {
                Ok(0) => self.has_ended_its_side = true,
                Ok(_) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        // Nothing wakes this read. It is dropped when the response is complete, and the bytes are read then.
        Poll::Pending
    }

    pub(super) fn has_ended_its_side(&self) -> bool {
        self.has_ended_its_side
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.pieces.poll_read(&mut self.stream, context, &mut self.ahead)
    }

    pub(super) fn inform(&mut self, status: u16, fields: &[(&[u8], &[u8])]) {
        // HTTP/1.0 knows no interim responses.
        if self.version == Version::Http10 {
            return;
        }
        self.status_line(status, b"");
        for (name, value) in fields {
            self.field(name, value);
        }
        self.out.tail().extend_from_slice(b"\r\n");
        self.is_flushed = false;
    }

    pub(super) fn begin(&mut self, head: &Head<'_>) {
        self.has_begun = true;
        let fields: usize = head.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        self.out.tail().reserve(fields + USUAL_EXTRA);
        self.status_line(head.status, head.reason);
        for (name, value) in head.fields {
            self.field(name, value);
        }
        self.keep_alive &= self.body.has_ended();
        match head.length {
            Length::None(None) => {}
            Length::None(Some(length)) | Length::Known(length) => {
                self.field(b"content-length", itoa::Buffer::new().format(length).as_bytes());
            }
            Length::Unknown if self.version == Version::Http10 => {
                self.keep_alive = false;
                self.ends_by_close = true;
            }
            Length::Unknown => {
                self.coding = Coding::Chunked;
                self.field(b"transfer-encoding", b"chunked");
            }
            Length::Tunnel => {
                self.keep_alive = false;
                self.field(b"connection", b"upgrade");
                self.field(b"upgrade", b"websocket");
            }
        }
        if head.length != Length::Tunnel {
            if !self.keep_alive {
                self.field(b"connection", b"close");
            } else if self.version == Version::Http10 {
                self.field(b"connection", b"keep-alive");
            }
        }
        self.out.tail().extend_from_slice(b"\r\n");
        self.is_flushed = false;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn status_line(&mut self, status: u16, reason: &[u8]) {
        let reason = match reason {
            [] => http::StatusCode::from_u16(status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or_default()
                .as_bytes(),
            reason => reason,
        };
        self.out.tail().extend_from_slice(b"HTTP/1.1 ");
        self.out.tail().extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        self.out.tail().extend_from_slice(b" ");
        self.out.tail().extend_from_slice(reason);
        self.out.tail().extend_from_slice(b"\r\n");
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.out.tail().extend_from_slice(name);
        self.out.tail().extend_from_slice(b": ");
        self.out.tail().extend_from_slice(value);
        self.out.tail().extend_from_slice(b"\r\n");
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.is_flushed = false;
        if self.coding == Coding::Chunked {
            let _ = write!(Tail(self.out.tail()), "{:x}\r\n", bytes.len());
        }
        self.out.push(bytes);
        if self.coding == Coding::Chunked {
            self.out.tail().extend_from_slice(b"\r\n");
        }
    }

    pub(super) fn end(&mut self) {
        self.has_ended = true;
        if self.coding == Coding::Chunked {
            self.out.tail().extend_from_slice(b"0\r\n\r\n");
            self.is_flushed = false;
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.out.len()
    }

    pub(super) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<Result<(), ClientGone>> {
        let written = ready!(self.out.poll_write(Pin::new(&mut self.stream), context, moved));
        written.map_err(|_| ClientGone)?;
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(|_| ClientGone)?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    pub(in crate::edge) fn close_after(&mut self) {
        self.keep_alive = false;
    }

    /// Whether an orderly end of the connection would make a whole response of one that is not.
    pub(in crate::edge) fn is_cut(&self) -> bool {
        self.ends_by_close && !(self.has_ended && self.queued() == 0 && self.is_flushed)
    }

    /// Ends the connection: over TLS with its closing alert, or with a reset after a response that was cut.
    pub(in crate::edge) async fn shutdown(mut self) {
        if !self.is_cut() {
            self.stream.shutdown().await;
        } else if let Err(error) = sockets::reset_on_close(self.stream.id()) {
            tracing::warn!(%error, "the end of a response that was cut looks like its end to a client of HTTP/1.0");
        }
    }
}

/// Formats into a buffer.
struct Tail<'a>(&'a mut BytesMut);

impl io::Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
