//! Connection, Upgrade and Expect: the client's requests about the connection itself.

use super::fields::Fields;
use super::{Framing, Refusal, Version};
use crate::method::Method;

/// The options that Connection fields named (RFC 9110 7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// Fields that clients name beside their offers: Java and `curl --http2` name that of h2c, Perl's LWP that of a coding.
const HOP_BY_HOP: [&[u8]; 4] = [b"te", b"trailer", b"http2-settings", b"proxy-connection"];

impl ConnectionOptions {
    /// Adds the options of one field value; options are case-insensitive.
    ///
    /// `Connection: Cookie` makes the next hop drop the cookie on which the gate has decided. So an option that names a
    /// field is refused, not obeyed, except for fields that concern only this connection and never pass anyway.
    pub(super) fn add(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !option.is_empty() && !HOP_BY_HOP.iter().any(|name| option.eq_ignore_ascii_case(name)) {
                return Err(Refusal::ConnectionOption);
            }
        }
        Ok(())
    }

    /// Whether the connection stays open after the exchange (RFC 9112 9.3): `close` takes precedence over `keep-alive`.
    pub(super) fn keeps_alive(self, version: Version) -> bool {
        !self.close && (self.keep_alive || version != Version::Http10)
    }

    /// Whether a WebSocket is requested. A bare `Connection: upgrade`, which some proxies always send, is not a request
    /// for one, and a server may ignore an offer of another protocol, such as `h2c` (RFC 9110 7.8).
    ///
    /// Everything that RFC 6455 4.1 requires must be present: a next hop that needs less than the gate does would turn
    /// the connection into a tunnel past the gate.
    pub(super) fn websocket(
        self,
        upgrade: Option<&[u8]>,
        method: Method,
        version: Version,
        framing: Framing,
        fields: &Fields,
    ) -> Result<bool, Refusal> {
        let Some(protocol) = upgrade.filter(|value| offers_websocket(value)) else {
            return Ok(false);
        };
        let is_handshake = protocol.eq_ignore_ascii_case(b"websocket")
            && self.upgrade
            && !self.close
            && method == Method::Get
            && version == Version::Http11
            && framing == Framing::None
            && fields.value("sec-websocket-version") == Some(b"13")
            && fields.value("sec-websocket-key").is_some_and(is_websocket_key);
        if is_handshake { Ok(true) } else { Err(Refusal::Upgrade) }
    }
}

/// Whether a list of protocols contains WebSocket, in any version.
fn offers_websocket(protocols: &[u8]) -> bool {
    protocols.split(|&byte| byte == b',').any(|protocol| {
        let name = protocol.split(|&byte| byte == b'/').next().unwrap_or(protocol);
        name.trim_ascii().eq_ignore_ascii_case(b"websocket")
    })
}

/// Whether this is 16 bytes in base64: 22 characters and the padding.
fn is_websocket_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22
            && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    })
}

/// Whether the client waits for `100 Continue` (RFC 9110 10.1.1), which has no effect with HTTP/1.0 or an empty body.
pub(super) fn expects_continue(
    expectation: Option<&[u8]>,
    version: Version,
    framing: Framing,
) -> Result<bool, Refusal> {
    match expectation {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => {
            let has_body = !matches!(framing, Framing::None | Framing::Length(0));
            Ok(has_body && version != Version::Http10)
        }
        Some(_) => Err(Refusal::Expectation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        // value, kept alive on 1.1, kept alive on 1.0
        let cases = [
            ("", true, false),
            ("keep-alive", true, true),
            ("Keep-Alive", true, true),
            ("close", false, false),
            ("keep-alive, close", false, false),
            ("close ,\tkeep-alive", false, false),
            ("keep-alive, Upgrade", true, true),
            (",,", true, false),
            ("Upgrade, HTTP2-Settings", true, false),
            ("TE, close", false, false),
            ("keep-alive, TE, Trailer, Proxy-Connection", true, true),
        ];
        for (value, on_http11, on_http10) in cases {
            let mut options = ConnectionOptions::default();
            options.add(value.as_bytes()).unwrap();
            assert_eq!(options.keeps_alive(Version::Http11), on_http11, "{value}");
            assert_eq!(options.keeps_alive(Version::Http10), on_http10, "{value}");
        }
        for value in
            ["Cookie", "close, X-User", "Upgrade, HTTP2-Setting", "TE, Host", "close keep-alive", "\"close\""]
        {
            let refusal = ConnectionOptions::default().add(value.as_bytes());
            assert_eq!(refusal, Err(Refusal::ConnectionOption), "{value}");
        }
    }

    #[test]
    fn offers() {
        for value in ["websocket", "WebSocket", "h2c, websocket", "websocket/13", "h2c,\twebsocket /13"] {
            assert!(offers_websocket(value.as_bytes()), "{value}");
        }
        for value in ["", "h2c", "h2, h2c", "TLS/1.0", "xwebsocket", "websocketx"] {
            assert!(!offers_websocket(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn websocket_keys() {
        assert!(is_websocket_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for key in [
            &b""[..],
            b"==",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25j!Q==",
        ] {
            assert!(!is_websocket_key(key));
        }
    }

    #[test]
    fn expectations() {
        let expects =
            |value: &'static [u8], version, framing| expects_continue(Some(value), version, framing);
        assert_eq!(expects(b"100-Continue", Version::Http11, Framing::Length(5)), Ok(true));
        assert_eq!(expects(b"100-continue", Version::Http11, Framing::Chunked), Ok(true));
        assert_eq!(expects(b"100-continue", Version::Http11, Framing::None), Ok(false));
        assert_eq!(expects(b"100-continue", Version::Http10, Framing::Length(5)), Ok(false));
        for value in [&b""[..], b"100", b"100-continue, x", b"200-ok"] {
            assert_eq!(expects(value, Version::Http11, Framing::Chunked), Err(Refusal::Expectation));
        }
    }
}
