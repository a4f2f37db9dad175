//! The request line (RFC 9112 3): three parts, single spaces, nothing else.

use super::Refusal;
use crate::method::Method;

/// The version of the protocol in which a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945): no chunked coding, and no further request on the connection unless requested.
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
    /// HTTP/2 (RFC 9113).
    Http2,
}

/// A request line whose target has not been checked yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'h> {
    pub(super) method: Method,
    pub(super) target: &'h [u8],
    pub(super) version: Version,
}

/// Splits a request line, without its line end, at its first and its last space.
///
/// A space inside the target is found when the target is parsed. RFC 9112 3 lets a recipient split at any white space;
/// such a parser sees another target in `GET /public HTTP/1.1 /secrets HTTP/1.1`.
pub(super) fn parse(line: &[u8]) -> Result<RequestLine<'_>, Refusal> {
    let first = line.iter().position(|&byte| byte == b' ').ok_or(Refusal::MalformedHead)?;
    let method = method(&line[..first])?;
    let rest = &line[first + 1..];
    // Without a second space it is an HTTP/0.9 request, which has no fields and so no principal to authorize.
    let last = rest.iter().rposition(|&byte| byte == b' ').ok_or(Refusal::MalformedHead)?;
    Ok(RequestLine { method, target: &rest[..last], version: version(&rest[last + 1..])? })
}

/// The method of an exact upper-case token.
///
/// CONNECT makes a tunnel past the gate, TRACE echoes credentials, and the effect of a method that Console does not
/// know depends on its server.
pub(super) fn method(token: &[u8]) -> Result<Method, Refusal> {
    let known = std::str::from_utf8(token).ok().and_then(Method::parse);
    known.ok_or(if is_method(token) { Refusal::UnknownMethod } else { Refusal::MalformedHead })
}

/// Whether gunicorn would pass a request with this method to the application, which answers 405.
fn is_method(token: &[u8]) -> bool {
    (3..=20).contains(&token.len()) && token.iter().all(|&byte| may_be_in_method(byte))
}

/// A character of a token (RFC 9110 5.6.2) that gunicorn accepts in a method: no lower-case letter, no `#`.
pub(super) const fn may_be_in_method(byte: u8) -> bool {
    byte.is_ascii_uppercase()
        || byte.is_ascii_digit()
        || matches!(
            byte,
            b'!' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// RFC 9112 2.3: `HTTP/` in capitals, a digit, a dot, a digit.
fn version(token: &[u8]) -> Result<Version, Refusal> {
    match token.strip_prefix(b"HTTP/") {
        Some(b"1.1") => Ok(Version::Http11),
        Some(b"1.0") => Ok(Version::Http10),
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) => Err(Refusal::UnsupportedVersion),
        _ => Err(Refusal::MalformedHead),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_parts() {
        let line = parse(b"GET /a HTTP/1.1").unwrap();
        assert_eq!(line, RequestLine { method: Method::Get, target: b"/a", version: Version::Http11 });
        assert_eq!(parse(b"POST /a b HTTP/1.0").unwrap().target, b"/a b");
        assert_eq!(parse(b"GET  HTTP/1.1").unwrap().target, b"");
    }

    #[test]
    fn anything_else_is_refused() {
        let cases: &[(&[u8], Refusal)] = &[
            (b"", Refusal::MalformedHead),
            (b"GET", Refusal::MalformedHead),
            (b"GET /", Refusal::MalformedHead),
            (b"GET / ", Refusal::MalformedHead),
            (b"GET\t/\tHTTP/1.1", Refusal::MalformedHead),
            (b"GET / http/1.1", Refusal::MalformedHead),
            (b"GET / HTTP/1.1 ", Refusal::MalformedHead),
            (b"GET / HTTP/ 1.1", Refusal::MalformedHead),
            (b"GET / HTTP/+1.1", Refusal::MalformedHead),
            (b"GET / HTTP/1.\xb2", Refusal::MalformedHead),
            (b"GET / HTTP/11.1", Refusal::MalformedHead),
            (b"GET / FOO/1.1", Refusal::MalformedHead),
            (b"GET / HTTP/1.2", Refusal::UnsupportedVersion),
            (b"GET / HTTP/2.0", Refusal::UnsupportedVersion),
            (b"GET / HTTP/0.9", Refusal::UnsupportedVersion),
            (b" GET / HTTP/1.1", Refusal::MalformedHead),
            (b"get / HTTP/1.1", Refusal::MalformedHead),
            (b"GET\0 / HTTP/1.1", Refusal::MalformedHead),
            (b"GE / HTTP/1.1", Refusal::MalformedHead),
            (b"ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1", Refusal::MalformedHead),
            (b"GE#T / HTTP/1.1", Refusal::MalformedHead),
            (b"\xff / HTTP/1.1", Refusal::MalformedHead),
            (b"GETX / HTTP/1.1", Refusal::UnknownMethod),
            (b"M-SEARCH * HTTP/1.1", Refusal::UnknownMethod),
            (b"PROPFIND / HTTP/1.1", Refusal::UnknownMethod),
            (b"CONNECT h:1 HTTP/1.1", Refusal::UnknownMethod),
            (b"TRACE / HTTP/1.1", Refusal::UnknownMethod),
            (b"PRI * HTTP/2.0", Refusal::UnknownMethod),
        ];
        for &(line, refusal) in cases {
            assert_eq!(parse(line), Err(refusal), "{:?}", String::from_utf8_lossy(line));
        }
    }
}
