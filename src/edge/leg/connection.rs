//! A connection to Console, for one exchange.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use pingora::protocols::Stream;
use policy::body::BodyDecoder;
use policy::response::{RequestContext, ResponseFault, ResponseHead, ResponseSearch};
use tokio::io::AsyncWrite as _;

use crate::edge::byte_queue::ByteQueue;
use crate::edge::piece::Pieces;

/// How many interim responses one request may have.
const MOST_INTERIM: usize = 16;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ConsoleError {
    #[error("the response is malformed: {0}")]
    Malformed(#[from] ResponseFault),
    #[error("the response is to another request, or names none")]
    Foreign,
    #[error("the connection was closed before the response was complete")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

/// A connection to Console: the bytes sent, and those that come back.
pub(super) struct ConsoleConnection {
    stream: Stream,
    out: ByteQueue,
    is_flushed: bool,
    /// Console has stopped reading; it may have answered all the same.
    is_deaf: bool,
    read: BytesMut,
    pieces: Pieces,
    search: ResponseSearch,
    interim: usize,
    context: RequestContext,
    body: BodyDecoder,
    is_reusable: bool,
    has_ended: bool,
}

impl ConsoleConnection {
    pub(super) fn new(stream: Stream, context: RequestContext) -> ConsoleConnection {
        ConsoleConnection {
            stream,
            out: ByteQueue::default(),
            is_flushed: true,
            is_deaf: false,
            read: BytesMut::new(),
            pieces: Pieces::default(),
            search: ResponseSearch::default(),
            interim: 0,
            context,
            body: BodyDecoder::Length(0),
            is_reusable: false,
            has_ended: false,
        }
    }

    /// Queues bytes of the request.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() && !self.is_deaf {
            self.out.push(bytes);
            self.is_flushed = false;
        }
    }

    /// How many bytes are queued.
    pub(super) fn queued(&self) -> usize {
        self.out.len()
    }

    /// Whether Console has stopped to read.
    pub(super) fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    /// Sends the queued bytes. Ready when nothing is left. A server that closes its side while it is sent to may have
    /// answered before, so that is no error here.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>, moved: &mut bool) -> Poll<()> {
        if ready!(self.out.poll_write(Pin::new(&mut self.stream), context, moved)).is_err() {
            return self.deafen(moved);
        }
        if !self.is_flushed {
            if ready!(Pin::new(&mut self.stream).poll_flush(context)).is_err() {
                return self.deafen(moved);
            }
            self.is_flushed = true;
        }
        Poll::Ready(())
    }

    fn deafen(&mut self, moved: &mut bool) -> Poll<()> {
        (self.is_deaf, *moved) = (true, true);
        self.out.clear();
        self.is_flushed = true;
        Poll::Ready(())
    }

    /// The head of the next response, which may be an interim one; `moved` where any of it has come.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<Result<ResponseHead, ConsoleError>> {
        loop {
            let end = if self.read.is_empty() { None } else { self.search.advance(&self.read)? };
            if let Some(length) = end {
                let head = ResponseHead::parse(&self.read[..length], self.context)?;
                self.read.advance(length);
                self.search = ResponseSearch::default();
                if head.is_interim() {
                    self.interim += 1;
                    if self.interim > MOST_INTERIM {
                        return Poll::Ready(Err(ResponseFault::Interim.into()));
                    }
                } else {
                    self.body = BodyDecoder::of_response(head.framing());
                    self.is_reusable = head.is_reusable();
                    self.has_ended = self.body.has_ended();
                }
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_read(context, moved))? == 0 {
                return Poll::Ready(Err(ConsoleError::Closed));
            }
        }
    }

    /// The next bytes of the body; `None` at its end; `moved` where anything has come.
    pub(super) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<Result<Option<Bytes>, ConsoleError>> {
        loop {
            if let Some(bytes) = self.received()? {
                return Poll::Ready(Ok(Some(bytes)));
            }
            if self.has_ended {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_read(context, moved))? == 0 {
                if self.body == BodyDecoder::UntilClose {
                    self.has_ended = true;
                } else {
                    return Poll::Ready(Err(ConsoleError::Closed));
                }
            }
        }
    }

    /// What of the body has been read already.
    pub(super) fn received(&mut self) -> Result<Option<Bytes>, ConsoleError> {
        while !self.has_ended && !self.read.is_empty() {
            let step = self.body.advance(&self.read).map_err(|_| ResponseFault::Chunk)?;
            let mut taken = self.read.split_to(step.taken);
            taken.truncate(step.data.end);
            taken.advance(step.data.start);
            self.has_ended = self.body.has_ended();
            if !taken.is_empty() {
                return Ok(Some(taken.freeze()));
            }
        }
        Ok(None)
    }

    /// Whether the whole response has been read.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<Result<usize, ConsoleError>> {
        let read = self.pieces.poll_read(&mut self.stream, context, &mut self.read);
        // Also where it is only a part of a head or of a chunk's size: Console is not silent.
        *moved |= read.is_ready();
        read.map_err(ConsoleError::Io)
    }

    /// The connection, where it can serve another request: the server said so, everything was sent, the whole response
    /// was read, and not one byte more has come.
    pub(super) fn into_reusable(self) -> Option<Stream> {
        let is_at_boundary = self.has_ended
            && self.body != BodyDecoder::UntilClose
            && self.read.is_empty()
            && !self.is_deaf
            && self.out.is_empty();
        (self.is_reusable && is_at_boundary).then_some(self.stream)
    }

    /// The connection and what was read of it, for a tunnel.
    pub(super) fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.read)
    }
}
