//! The head of a request as Console gets it: written once, into one buffer.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use policy::firewall::{Framing, Request};
use policy::ids::RequestId;
use uuid::fmt::Hyphenated;

use crate::assertion;
use crate::edge::withheld::Withheld;

/// The fields that the gate sets itself, whatever the client sent under these names.
const OF_THE_GATE: [&[u8]; 5] = [
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-request-id",
    assertion::HEADER.as_bytes(),
];
/// What a head usually needs; larger ones grow it.
const USUAL_BYTES: usize = 2 * 1024;

/// What is written.
pub(in crate::edge) struct UpstreamHead<'a> {
    pub(in crate::edge) request: &'a Request,
    pub(in crate::edge) id: RequestId,
    /// The Host that Console sees.
    pub(in crate::edge) host: &'a str,
    /// The length of a body that is here already; without it the request's own framing is kept.
    pub(in crate::edge) length: Option<u64>,
    pub(in crate::edge) upgrade: bool,
    pub(in crate::edge) client: Option<IpAddr>,
    pub(in crate::edge) scheme: &'static str,
    pub(in crate::edge) assertion: &'a str,
    pub(in crate::edge) withheld: Withheld<'a>,
    /// Of a request that is traced, and whether it continues the trace that came with it; without it the client's own fields
    /// are passed on.
    pub(in crate::edge) traceparent: Option<(&'a str, bool)>,
}

impl UpstreamHead<'_> {
    /// The bytes, blank line included. The request was inspected, so nothing in it ends a line; Expect is not among its
    /// fields, because the gate itself sends `100 Continue`.
    pub(in crate::edge) fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(USUAL_BYTES);
        let request = self.request;
        out.put_slice(request.method().as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(request.target().raw().as_bytes());
        out.put_slice(b" HTTP/1.1\r\n");
        field(&mut out, b"host", self.host.as_bytes());
        for (name, value) in request.fields().iter_bytes() {
            // Names are in lower case.
            if name.starts_with(b"x-") && OF_THE_GATE.contains(&name) {
                continue;
            }
            // The state of another trace is none of this one (W3C Trace Context 2.3.3).
            if let Some((_, is_continued)) = self.traceparent
                && (name == b"traceparent" || name == b"tracestate" && !is_continued)
            {
                continue;
            }
            if self.withheld.is_nothing() {
                field(&mut out, name, value);
            } else if let Some(value) = self.withheld.field(name, value) {
                field(&mut out, name, &value);
            }
        }
        match (self.length, request.framing()) {
            (_, Framing::None) => {}
            (Some(length), _) | (None, Framing::Length(length)) => {
                formatted(&mut out, b"content-length", length);
            }
            (None, Framing::Chunked) => field(&mut out, b"transfer-encoding", b"chunked"),
        }
        if self.upgrade {
            field(&mut out, b"connection", b"upgrade");
            field(&mut out, b"upgrade", b"websocket");
        }
        if let Some(client) = &self.client {
            formatted(&mut out, b"x-forwarded-for", client);
        }
        field(&mut out, b"x-forwarded-proto", self.scheme.as_bytes());
        field(&mut out, b"x-forwarded-host", request.host().as_bytes());
        field(&mut out, b"x-request-id", self.id.text(&mut [0; Hyphenated::LENGTH]).as_bytes());
        if let Some((traceparent, _)) = self.traceparent {
            field(&mut out, b"traceparent", traceparent.as_bytes());
        }
        field(&mut out, assertion::HEADER.as_bytes(), self.assertion.as_bytes());
        out.put_slice(b"\r\n");
        out.freeze()
    }
}

fn formatted(out: &mut BytesMut, name: &[u8], value: impl fmt::Display) {
    out.put_slice(name);
    // Writing into memory cannot fail.
    let _ = write!(out, ": {value}\r\n");
}

fn field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}
