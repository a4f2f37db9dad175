//! The head of a request as Console gets it: written once, into one buffer.

use std::io::Write as _;
use std::net::IpAddr;

use bytes::Bytes;
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

/// The head of a request to a server, to be written.
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
        let mut out = Vec::with_capacity(USUAL_BYTES);
        let request = self.request;
        out.extend_from_slice(request.method().as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(request.target().raw().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
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
                field(&mut out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
            }
            (None, Framing::Chunked) => field(&mut out, b"transfer-encoding", b"chunked"),
        }
        if self.upgrade {
            field(&mut out, b"connection", b"upgrade");
            field(&mut out, b"upgrade", b"websocket");
        }
        if let Some(client) = self.client {
            out.extend_from_slice(b"x-forwarded-for: ");
            write_address(&mut out, client);
            out.extend_from_slice(b"\r\n");
        }
        field(&mut out, b"x-forwarded-proto", self.scheme.as_bytes());
        field(&mut out, b"x-forwarded-host", request.host().as_bytes());
        field(&mut out, b"x-request-id", self.id.text(&mut [0; Hyphenated::LENGTH]).as_bytes());
        if let Some((traceparent, _)) = self.traceparent {
            field(&mut out, b"traceparent", traceparent.as_bytes());
        }
        field(&mut out, assertion::HEADER.as_bytes(), self.assertion.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.into()
    }
}

/// The address as its `Display` has it, of which the formatter takes a thousand instructions for IPv4.
fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing into memory cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_it_is_shown(address: IpAddr) {
            let mut out = Vec::new();
            write_address(&mut out, address);
            prop_assert_eq!(String::from_utf8(out), Ok(address.to_string()));
        }
    }
}
