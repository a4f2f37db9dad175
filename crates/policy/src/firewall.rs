//! The request firewall: ambiguous requests are refused before any lookup.
//!
//! The most dangerous fault of an authorization proxy is to match one route while the upstream serves another. It
//! happens when two parsers read the same bytes differently: `GET x:/secrets?:// HTTP/1.1` is `/` to one and `/secrets`
//! to the other. So there is only one parser here. The gate reads the head of a request off the socket itself
//! ([`HeadSearch`] finds its end), [`inspect`] reads those raw bytes by the strictest grammar, and
//! [`Request::write_head`] serialises a new head from the result. A parser behind the gate never sees a byte that the
//! gate did not write.
//!
//! Ambiguity is refused, not normalised, so that the matched bytes are the forwarded bytes. Input that is merely
//! unusual passes if Console reads it in only one way. Fields by which a client could claim an identity, another path
//! or another method to Console are dropped ([`StripList`]).
//!
//! ```text
//! bytes -> HeadSearch::advance -> inspect -> Request -> write_head -> the proxy
//!                \-> Refusal <------/
//! ```
//!
//! Everything is pure: no clock, no socket. The caller keeps the deadline for the head and counts a chunked body.
//!
//! In reading order: [`head`](HeadSearch), `request_line`, [`target`](RequestTarget), `collect`, [`fields`](Fields),
//! `host`, [`framing`](Framing), `cookie`, `connection`, [`strip`](StripList).

mod chunks;
mod collect;
mod connection;
mod cookie;
mod fields;
mod framing;
mod head;
mod host;
mod limits;
mod refusal;
mod request;
mod request_line;
mod strip;
mod target;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use chunks::{ChunkBounds, ChunkDecoder, ChunkPiece};
pub use fields::Fields;
pub(crate) use fields::{has_control, is_token_byte, trim_white_space};
pub use framing::Framing;
pub(crate) use framing::plain_length;
pub use head::{HeadSearch, HeadState, head_state};
pub use limits::Limits;
pub use refusal::Refusal;
pub use request::Request;
pub use request_line::Version;
pub use strip::StripList;
pub use target::RequestTarget;

use collect::Collected;
use memchr::memchr2;

/// The policy of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The sizes above which a request is refused.
    pub limits: Limits,
    /// Exact `host[:port]` values, in any letter case. If empty, any well-formed host passes, but no absolute-form
    /// target.
    pub allowed_hosts: Vec<String>,
    /// The name of Console's session cookie (Flask's `SESSION_COOKIE_NAME`).
    pub session_cookie: String,
    /// The fields that Console never sees.
    pub strip: StripList,
}

impl Default for Policy {
    /// The default limits and strip list, any well-formed host, and Flask's default cookie name.
    fn default() -> Policy {
        Policy {
            limits: Limits::default(),
            allowed_hosts: Vec::new(),
            session_cookie: "session".to_owned(),
            strip: StripList::default(),
        }
    }
}

/// The pseudo-header fields of a request that arrived over HTTP/2 (RFC 9113 8.3.1), and whether a body follows.
#[derive(Clone, Copy, Debug)]
pub struct Http2Start<'h> {
    /// `:method`.
    pub method: &'h [u8],
    /// `:path`.
    pub path: &'h [u8],
    /// `:authority`.
    pub authority: Option<&'h [u8]>,
    /// Whether the HEADERS frame ended the stream: no body.
    pub ends_stream: bool,
}

/// Reads the head of an HTTP/1 request: its raw bytes up to and including the blank line, and nothing after it.
///
/// # Errors
///
/// Anything that RFC 9112 forbids, and much that it lets a recipient tolerate: see [`Refusal`].
pub fn inspect(head: &[u8], policy: &Policy) -> Result<Request, Refusal> {
    let limits = &policy.limits;
    let mut rest = head;
    let request_line = request_line::parse(next_line(&mut rest)?)?;
    if request_line.target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    if head.len() > limits.head_bytes {
        return Err(Refusal::HeadTooLarge);
    }
    let mut collected = Collected::new(request_line.version, head.len());
    loop {
        let line = next_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = fields::split_line(line)?;
        collected.add(name, value, policy)?;
    }
    // The caller cut the head at its first blank line; any bytes after it would be a body or a smuggled request.
    if !rest.is_empty() {
        return Err(Refusal::MalformedHead);
    }
    let method = request_line.method;
    let (target, authority) = RequestTarget::parse(method, request_line.target)?;
    // RFC 9112 3.2 requires Host on HTTP/1.1 only, but without it HTTP/1.0 would reach whichever site comes first.
    let field = collected.host.ok_or(Refusal::HostMissing)?;
    let host = host::parse(field, &policy.allowed_hosts)?;
    if let Some(authority) = authority {
        check_absolute_form(authority, field, policy)?;
    }
    let framing = Framing::decide(
        request_line.version,
        collected.content_length,
        collected.transfer_encoding,
        limits.body_bytes,
    )?;
    Request::assemble(method, target, request_line.version, host, framing, collected, policy)
}

/// Checks a request that arrived as HTTP/2 fields by the same rules.
///
/// `fields` are those after the pseudo-header fields, in order. Cookie may be split (RFC 9113 8.2.3) and is joined.
/// Pass the raw bytes of a method and path that the HTTP/2 layer has already parsed, not a normalised form.
///
/// # Errors
///
/// Like [`inspect`], and also [`Refusal::ConnectionFieldOnHttp2`].
pub fn inspect_fields<'h>(
    start: &Http2Start<'h>,
    fields: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    policy: &Policy,
) -> Result<Request, Refusal> {
    let limits = &policy.limits;
    let method = request_line::method(start.method)?;
    if start.path.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    let mut head_bytes = start.path.len();
    let mut collected = Collected::new(Version::Http2, 0);
    for (name, value) in fields {
        // RFC 9113 8.2 makes upper-case names malformed; no space is trimmed from values in HTTP/2.
        if name.iter().any(u8::is_ascii_uppercase) {
            return Err(Refusal::FieldName);
        }
        if has_outer_space(value) {
            return Err(Refusal::FieldValue);
        }
        // The size that it would have in HTTP/1: colon, space, line end.
        head_bytes = head_bytes.saturating_add(name.len() + value.len() + 4);
        if head_bytes > limits.head_bytes {
            return Err(Refusal::HeadTooLarge);
        }
        collected.add(name, value, policy)?;
    }
    let (target, None) = RequestTarget::parse(method, start.path)? else {
        return Err(Refusal::TargetForm);
    };
    let authority = start.authority.or(collected.host).ok_or(Refusal::HostMissing)?;
    if collected.host.is_some_and(|field| !host::is_same(field, authority)) {
        return Err(Refusal::HostMismatch);
    }
    let host = host::parse(authority, &policy.allowed_hosts)?;
    let framing = Framing::decide_http2(collected.content_length, start.ends_stream, limits.body_bytes)?;
    Request::assemble(method, target, Version::Http2, host, framing, collected, policy)
}

/// Takes one line from `rest`: the bytes before CR LF.
fn next_line<'h>(rest: &mut &'h [u8]) -> Result<&'h [u8], Refusal> {
    let (line, following) = split_at_line_end(rest).map_err(|bare| match bare {
        None => Refusal::MalformedHead,
        Some(Bare::CarriageReturn) => Refusal::BareCarriageReturn,
        Some(Bare::LineFeed) => Refusal::BareLineFeed,
    })?;
    *rest = following;
    Ok(line)
}

/// Half a line end, which one parser accepts as a line end and another does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    CarriageReturn,
    LineFeed,
}

/// The bytes before the first CR LF and those after it. An error if a bare CR or LF comes first, or if there is no line
/// end.
pub(crate) fn split_at_line_end(bytes: &[u8]) -> Result<(&[u8], &[u8]), Option<Bare>> {
    let end = memchr2(b'\r', b'\n', bytes).ok_or(None)?;
    match &bytes[end..] {
        [b'\r', b'\n', following @ ..] => Ok((&bytes[..end], following)),
        [b'\n', ..] => Err(Some(Bare::LineFeed)),
        _ => Err(Some(Bare::CarriageReturn)),
    }
}

/// Accepts an absolute form only for a configured host, and only if the Host field agrees.
///
/// In RFC 9112 3.2.2, the target overrides the field. A server that lets the field win would answer for another host
/// than the one that was checked, so the two must be equal.
fn check_absolute_form(authority: &[u8], field: &[u8], policy: &Policy) -> Result<(), Refusal> {
    if policy.allowed_hosts.is_empty() {
        return Err(Refusal::TargetForm);
    }
    if host::is_same(authority, field) { Ok(()) } else { Err(Refusal::HostMismatch) }
}

fn has_outer_space(value: &[u8]) -> bool {
    [value.first(), value.last()].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
}
