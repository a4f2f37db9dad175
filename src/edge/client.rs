//! The client's side of one exchange, the same over HTTP/1 and HTTP/2: its body, and the response that it gets.

mod http1;
mod http2;

use std::task::{Context, Poll};

use bytes::Bytes;
use policy::firewall::Refusal;

use super::alarm::Alarm;
pub(super) use http1::Http1;
pub(super) use http2::Http2;

/// Why a body ends before its end.
#[derive(Debug)]
pub(super) enum BodyFault {
    /// Its framing is malformed.
    Malformed(Refusal),
    /// The client ended the connection or the stream.
    Gone,
}

/// The client no longer reads.
#[derive(Debug)]
pub(super) struct ClientGone;

/// How the length of a response's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// No body, because of the method or the status; what a body would have been long, where that was declared.
    None(Option<u64>),
    Known(u64),
    Unknown,
    /// The connection becomes a WebSocket.
    Tunnel,
}

/// The head of a response.
pub(super) struct Head<'a> {
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
    /// Without framing and connection.
    pub(super) fields: &'a [(&'a [u8], &'a [u8])],
    pub(super) length: Length,
}

/// A client that has sent the head of a request.
pub(super) enum Client<'a> {
    Http1(&'a mut Http1),
    Http2(&'a mut Http2),
}

impl Client<'_> {
    /// The next bytes of the request's body; `None` at its end.
    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        match self {
            Client::Http1(client) => client.poll_body(context),
            Client::Http2(client) => client.poll_body(context),
        }
    }

    /// The timer of the current wait.
    pub(super) fn alarm(&mut self) -> &mut Alarm {
        match self {
            Client::Http1(client) => client.alarm(),
            Client::Http2(client) => client.alarm(),
        }
    }

    /// Whether the whole body was read.
    pub(super) fn body_has_ended(&self) -> bool {
        match self {
            Client::Http1(client) => client.body_has_ended(),
            Client::Http2(client) => client.body_has_ended(),
        }
    }

    /// Ready when the client no longer waits for the response. One that has only ended its own side still does.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Client::Http1(client) => client.poll_gone(context),
            Client::Http2(client) => client.poll_gone(context),
        }
    }

    /// Whether the client sends nothing more on this connection, so that it may be gone without anybody's knowing.
    pub(super) fn has_ended_its_side(&self) -> bool {
        match self {
            Client::Http1(client) => client.has_ended_its_side(),
            Client::Http2(_) => false,
        }
    }

    /// Queues an interim response.
    pub(super) fn inform(&mut self, status: u16, fields: &[(&[u8], &[u8])]) {
        match self {
            Client::Http1(client) => client.inform(status, fields),
            Client::Http2(client) => client.inform(status, fields),
        }
    }

    /// Queues the head of the response.
    pub(super) fn begin(&mut self, head: &Head<'_>) -> Result<(), ClientGone> {
        match self {
            Client::Http1(client) => {
                client.begin(head);
                Ok(())
            }
            Client::Http2(client) => client.begin(head),
        }
    }

    /// Whether the head was queued.
    pub(super) fn has_begun(&self) -> bool {
        match self {
            Client::Http1(client) => client.has_begun(),
            Client::Http2(client) => client.has_begun(),
        }
    }

    /// Queues a part of the body.
    pub(super) fn push(&mut self, bytes: Bytes) {
        match self {
            Client::Http1(client) => client.push(bytes),
            Client::Http2(client) => client.push(bytes),
        }
    }

    /// Queues the end of the body.
    pub(super) fn end(&mut self) {
        match self {
            Client::Http1(client) => client.end(),
            Client::Http2(client) => client.end(),
        }
    }

    /// How many bytes are queued.
    pub(super) fn queued(&self) -> usize {
        match self {
            Client::Http1(client) => client.queued(),
            Client::Http2(client) => client.queued(),
        }
    }

    /// Sends the queued bytes. Ready when nothing is left, and whether anything was sent on the way there.
    pub(super) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<Result<(), ClientGone>> {
        match self {
            Client::Http1(client) => client.poll_flush(context, moved),
            Client::Http2(client) => client.poll_flush(context, moved),
        }
    }

    /// Ends a response that is incomplete, so that the client knows.
    pub(super) fn cut(&mut self) {
        match self {
            Client::Http1(client) => client.close_after(),
            Client::Http2(client) => client.cut(),
        }
    }

    /// Lets the connection serve no other request. A stream of HTTP/2 serves one anyway.
    pub(super) fn close_after(&mut self) {
        if let Client::Http1(client) = self {
            client.close_after();
        }
    }
}
