//! A stream of HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::{BodyFault, ClientGone, Head, Length};
use crate::edge::alarm::Alarm;
use crate::edge::byte_queue::ByteQueue;

/// One stream, whose request's head was read.
pub(in crate::edge) struct Http2 {
    body: RecvStream,
    body_has_ended: bool,
    /// What begins the response; kept for resets.
    respond: SendResponse<Bytes>,
    /// The response's body, once it has begun and has one.
    stream: Option<SendStream<Bytes>>,
    has_begun: bool,
    out: ByteQueue,
    /// Whether the end was queued, and whether it was sent.
    ends: bool,
    has_ended: bool,
    alarm: Alarm,
}

impl Http2 {
    pub(in crate::edge) fn new(body: RecvStream, respond: SendResponse<Bytes>) -> Http2 {
        let body_has_ended = body.is_end_stream();
        Http2 {
            body,
            body_has_ended,
            respond,
            stream: None,
            has_begun: false,
            out: ByteQueue::default(),
            ends: false,
            has_ended: false,
            alarm: Alarm::default(),
        }
    }

    pub(super) fn alarm(&mut self) -> &mut Alarm {
        &mut self.alarm
    }

    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        loop {
            if self.body_has_ended {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.body.poll_data(context)) {
                Some(Ok(bytes)) => {
                    // The client may send as much again. What was read is bounded by who reads it.
                    let released = self.body.flow_control().release_capacity(bytes.len());
                    released.map_err(|_| BodyFault::Gone)?;
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(BodyFault::Gone)),
                // Trailers mean nothing to Console.
                None => self.body_has_ended = true,
            }
        }
    }

    pub(super) fn body_has_ended(&self) -> bool {
        self.body_has_ended
    }

    /// Whether the client is still sending a body that is discarded, after the whole response.
    pub(in crate::edge) fn owes_body(&self) -> bool {
        self.has_ended && !self.body_has_ended && !self.body.is_end_stream()
    }

    /// Reads that, until it ends or the client gives up; from so many bytes on, the client has to wait. Who calls it has a
    /// deadline.
    pub(in crate::edge) async fn swallow(&mut self, most: usize) {
        let mut swallowed = 0;
        while swallowed < most {
            let Some(Ok(bytes)) = self.body.data().await else { return };
            swallowed += bytes.len();
            if self.body.flow_control().release_capacity(bytes.len()).is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Some(stream) => stream.poll_reset(context).map(|_| ()),
            None if !self.has_begun => self.respond.poll_reset(context).map(|_| ()),
            None => Poll::Pending,
        }
    }

    pub(super) fn inform(&mut self, status: u16, fields: &[(&[u8], &[u8])]) {
        let Some(response) = response(status, fields) else { return };
        // A client that is gone is noticed where its response is sent.
        let _ = self.respond.send_informational(response);
    }

    pub(super) fn begin(&mut self, head: &Head<'_>) -> Result<(), ClientGone> {
        let mut response = response(head.status, head.fields).ok_or(ClientGone)?;
        let (declared, ends) = match head.length {
            Length::None(declared) => (declared, true),
            Length::Known(length) => (Some(length), length == 0),
            Length::Unknown => (None, false),
            // Over HTTP/2 the gate offers no WebSocket.
            Length::Tunnel => return Err(ClientGone),
        };
        if let Some(length) = declared {
            response.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        }
        let stream = self.respond.send_response(response, ends).map_err(|_| ClientGone)?;
        self.has_begun = true;
        if ends {
            self.has_ended = true;
        } else {
            self.stream = Some(stream);
        }
        Ok(())
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.out.push(bytes);
    }

    pub(super) fn end(&mut self) {
        self.ends = true;
    }

    pub(super) fn queued(&self) -> usize {
        self.out.len()
    }

    pub(super) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<Result<(), ClientGone>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        while !self.out.is_empty() {
            stream.reserve_capacity(self.out.next_len());
            // It reports only new capacity; capacity granted before and not used is queried separately.
            while stream.capacity() == 0 {
                let Some(Ok(_)) = ready!(stream.poll_capacity(context)) else {
                    return Poll::Ready(Err(ClientGone));
                };
            }
            let Some(part) = self.out.pop(stream.capacity()) else { break };
            let ends = self.ends && self.out.is_empty();
            stream.send_data(part, ends).map_err(|_| ClientGone)?;
            self.has_ended |= ends;
            *moved = true;
        }
        if self.ends && !self.has_ended {
            stream.send_data(Bytes::new(), true).map_err(|_| ClientGone)?;
            self.has_ended = true;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn cut(&mut self) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

/// `None` where a status or a field cannot be said over HTTP/2.
fn response(status: u16, fields: &[(&[u8], &[u8])]) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let headers = response.headers_mut();
    headers.reserve(fields.len() + 1);
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(response)
}
