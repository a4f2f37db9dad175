//! A request that has passed the firewall.

use super::collect::{Claimed, Collected};
use super::cookie::{self, Cookies};
use super::{Fields, Framing, Policy, Refusal, RequestTarget, Version, connection};
use crate::ids::RequestId;
use crate::method::Method;
use std::sync::OnceLock;

/// A request that two parsers cannot read differently. Its existence is the proof: only the firewall makes one.
///
/// Which of several session cookies counts is settled later, once, by the code that can verify them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    method: Method,
    target: RequestTarget,
    version: Version,
    host: String,
    fields: Fields,
    framing: Framing,
    /// The session cookies, each once.
    sessions: Vec<String>,
    /// If the Cookie field has to be rewritten: its name for the session, and all other cookies.
    rewriting: Option<Box<Rewriting>>,
    /// The session that counts, once it is settled, and the fields with only that session.
    settled: OnceLock<Settled>,
    dropped_fields: Vec<String>,
    upgrade: bool,
    expect_continue: bool,
    keep_alive: bool,
    forwarded_for: Vec<String>,
    forwarded_proto: Option<String>,
    request_id: Option<RequestId>,
}

/// The parts for rewriting a Cookie field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rewriting {
    name: String,
    rest: Vec<u8>,
}

/// The session that counts, by its index among the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    session: Option<usize>,
    fields: Fields,
}

impl Request {
    pub(super) fn assemble(
        method: Method,
        target: RequestTarget,
        version: Version,
        host: String,
        framing: Framing,
        mut collected: Collected<'_>,
        policy: &Policy,
    ) -> Result<Request, Refusal> {
        let connection = collected.connection;
        let upgrade = connection.websocket(collected.upgrade, method, version, framing, &collected.kept)?;
        let expect_continue = connection::expects_continue(collected.expectation, version, framing)?;
        let Cookies { sessions, rest } = collected.take_cookies(policy);
        let mut fields = collected.kept;
        let rewriting = rest.map(|rest| Box::new(Rewriting { name: policy.session_cookie.clone(), rest }));
        if let Some(rewriting) = &rewriting {
            // If there are several, none goes to Console before one is settled.
            let only = if let [session] = sessions.as_slice() { Some(session.as_str()) } else { None };
            if let Some(field) = cookie::write(&rewriting.name, only, &rewriting.rest) {
                fields.push(b"cookie", &field);
            }
        }
        Ok(Request {
            method,
            target,
            version,
            host,
            framing,
            sessions,
            rewriting,
            settled: OnceLock::new(),
            dropped_fields: collected.dropped,
            upgrade,
            expect_continue,
            keep_alive: connection.keeps_alive(version),
            fields,
            forwarded_for: collected.forwarded_for,
            forwarded_proto: collected.forwarded_proto,
            request_id: match collected.request_id {
                Claimed::One(value) => RequestId::given(value),
                Claimed::Nothing | Claimed::Several => None,
            },
        })
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The target, in origin form or `*`.
    pub fn target(&self) -> &RequestTarget {
        &self.target
    }

    /// The version in which the request arrived.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The host that the client asked for, in lower case, with the port if it named one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The fields that may reach Console; Host, framing, connection and expectation are written separately.
    ///
    /// If there are several session cookies, Cookie contains the one that was settled, and none before that.
    pub fn fields(&self) -> &Fields {
        self.settled.get().map_or(&self.fields, |settled| &settled.fields)
    }

    /// The lower-case names of the fields that were dropped because a server may fold them into other names.
    pub fn dropped_fields(&self) -> &[String] {
        &self.dropped_fields
    }

    /// How the length of the body is determined.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The value of the session cookie as on the wire, including any quotes: the only one, or the one that was settled.
    pub fn session_cookie(&self) -> Option<&str> {
        let index = match (self.settled.get(), self.sessions.as_slice()) {
            (Some(settled), _) => settled.session?,
            (None, [_]) => 0,
            (None, _) => return None,
        };
        self.sessions.get(index).map(String::as_str)
    }

    /// The different session cookies of a request that has several, in order, until one is settled; otherwise empty.
    pub fn unsettled_sessions(&self) -> &[String] {
        if self.sessions.len() > 1 && self.settled.get().is_none() { &self.sessions } else { &[] }
    }

    /// Whether the Cookie field that goes to Console differs from the client's, so that Console reads no other session
    /// than the gate. A caller that cannot rewrite the field must not accept the session.
    pub fn rewrites_cookie(&self) -> bool {
        self.rewriting.is_some()
    }

    /// Settles which of the session cookies counts, by its index among [`Request::unsettled_sessions`], or that none
    /// does. Only the first call has an effect, and only if the Cookie field is rewritten.
    pub fn settle_session(&self, session: Option<usize>) {
        let Some(rewriting) = &self.rewriting else { return };
        let value = session.and_then(|index| self.sessions.get(index));
        self.settled.get_or_init(|| {
            let field = cookie::write(&rewriting.name, value.map(String::as_str), &rewriting.rest);
            let mut fields = self.fields.without("cookie");
            if let Some(field) = field {
                fields.push(b"cookie", &field);
            }
            Settled { session: value.and(session), fields }
        });
    }

    /// The value of the only Authorization field.
    pub fn authorization(&self) -> Option<&[u8]> {
        self.fields().value("authorization")
    }

    /// Whether the client requests a WebSocket, with a complete handshake. Only a route that allows it may continue.
    pub fn upgrade(&self) -> bool {
        self.upgrade
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// Whether the client wants to keep the connection open. Always true for HTTP/2.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The hops of the client's X-Forwarded-For fields, in order, unverified: any text may be among them.
    ///
    /// They are never forwarded unchanged. With a known number of proxies in front, the client's address is found by
    /// counting from the end.
    pub fn forwarded_for(&self) -> &[String] {
        &self.forwarded_for
    }

    /// The last element of the client's X-Forwarded-Proto fields, unverified, for a trusted proxy that ends TLS.
    pub fn forwarded_proto(&self) -> Option<&str> {
        self.forwarded_proto.as_deref()
    }

    /// The client's X-Request-Id, unverified, for a trusted proxy that made it. `None` if there are several, or it is
    /// not a valid id.
    pub fn request_id(&self) -> Option<RequestId> {
        self.request_id
    }

    /// Appends the head as the gate writes it, including the blank line.
    ///
    /// The version is that of the request, so that the server knows what the client understands; a request that came
    /// over HTTP/2 is written as HTTP/1.1. Field names are in lower case. Host comes first, then the fields that pass,
    /// then framing and connection fields. For an HTTP/1 request, [`super::inspect`] reads these bytes as an equal
    /// request, except for the X-Forwarded fields, which are not written, and for fields that were dropped and cookies
    /// that were settled.
    pub fn write_head(&self, out: &mut Vec<u8>) {
        let version: &[u8] = match self.version {
            Version::Http10 => b" HTTP/1.0\r\n",
            Version::Http11 | Version::Http2 => b" HTTP/1.1\r\n",
        };
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.raw().as_bytes());
        out.extend_from_slice(version);
        write_field(out, "host", self.host.as_bytes());
        for (name, value) in self.fields().iter() {
            write_field(out, name, value);
        }
        match self.framing {
            Framing::None => {}
            Framing::Length(length) => write_field(out, "content-length", length.to_string().as_bytes()),
            Framing::Chunked => write_field(out, "transfer-encoding", b"chunked"),
        }
        if self.expect_continue {
            write_field(out, "expect", b"100-continue");
        }
        if self.upgrade {
            write_field(out, "connection", b"upgrade");
            write_field(out, "upgrade", b"websocket");
        } else if !self.keep_alive {
            write_field(out, "connection", b"close");
        } else if self.version == Version::Http10 {
            write_field(out, "connection", b"keep-alive");
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
impl Request {
    /// This request without the things that [`Request::write_head`] does not write: what it is read as again.
    pub(super) fn into_written(mut self) -> Request {
        self.forwarded_for.clear();
        self.forwarded_proto = None;
        self.request_id = None;
        self.dropped_fields.clear();
        self.fields = self.fields().clone();
        self.sessions = self.session_cookie().map(str::to_owned).into_iter().collect();
        self.settled = OnceLock::new();
        // A quote that is not closed is taken apart again, with the same result.
        self.rewriting = None;
        self
    }
}
