//! Rewrites addresses and cookies in responses that name Console's internal host to the host that the client uses.
//!
//! An application builds absolute addresses from the Host and the scheme that it sees. Where these are not the client's
//! (a fixed `upstream.host`, or TLS that ends at the gate before an application without ProxyFix), a redirect would lead
//! the browser away, for good if it is a 308.
//!
//! Without `upstream.host`, Console gets the host of the client, which `allowed_hosts` bounds: a fixed one broke redirects, and
//! forms that compare the Referer.

use std::borrow::Cow;

use policy::response::ResponseHead;

use super::withheld::Withheld;
use crate::ruling::response::HSTS;
use crate::ruling::troubles::AssertionRefused;

/// In which a response names its request.
pub(super) const ECHO_HEADER: &str = "x-console-gate-request";

/// What of a response's fields the client gets, and in which form: of an interim response as of the last one.
pub(super) struct Passage<'a> {
    pub(super) names: Names<'a>,
    pub(super) withheld: Withheld<'a>,
    /// The gate sets Strict-Transport-Security itself.
    pub(super) sets_hsts: bool,
}

impl Passage<'_> {
    /// The fields of the server that are passed on.
    pub(super) fn fields<'h>(&self, head: &'h ResponseHead) -> Vec<(&'h [u8], Cow<'h, [u8]>)> {
        let mut fields = Vec::with_capacity(head.fields().len());
        for (name, value) in head.fields().iter() {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let is_ours = is("x-request-id")
                || is(AssertionRefused::HEADER)
                || is(ECHO_HEADER)
                || self.sets_hsts && is(HSTS)
                || is("set-cookie") && !self.withheld.may_set(value);
            if is_ours {
                continue;
            }
            let written = if is("location") || is("content-location") {
                self.names.location(value)
            } else if is("set-cookie") {
                self.names.set_cookie(value)
            } else {
                None
            };
            fields.push((name, written.map_or(Cow::Borrowed(value), Cow::Owned)));
        }
        fields
    }
}

/// The names of the two sides.
pub(super) struct Names<'a> {
    /// The Host that Console was sent.
    pub(super) upstream: &'a str,
    /// The Host and the scheme that the client used.
    pub(super) public: &'a str,
    pub(super) scheme: &'a str,
}

impl Names<'_> {
    /// An address with the client's scheme and host, where it has Console's; `None` leaves it as it is.
    pub(super) fn location(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (rest, is_same_scheme) = if let Some(rest) = strip_prefix(value, b"http://") {
            (rest, self.scheme == "http")
        } else if let Some(rest) = strip_prefix(value, b"https://") {
            (rest, self.scheme == "https")
        } else {
            return None;
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !is_same_host(authority, self.upstream)
            || is_same_scheme && self.upstream.eq_ignore_ascii_case(self.public)
        {
            return None;
        }
        Some([self.scheme.as_bytes(), b"://", self.public.as_bytes(), path].concat())
    }

    /// The cookie without its Domain, if that is Console's internal name, which the client would refuse. Without a
    /// Domain a cookie is for the host that the client asked.
    pub(super) fn set_cookie(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (upstream, public) = (without_port(self.upstream), without_port(self.public));
        if upstream.eq_ignore_ascii_case(public) {
            return None;
        }
        let is_own = |attribute: &[u8]| {
            let attribute = attribute.trim_ascii();
            strip_prefix(attribute, b"domain=").is_some_and(|domain| {
                let domain = domain.trim_ascii();
                domain.strip_prefix(b".").unwrap_or(domain).eq_ignore_ascii_case(upstream.as_bytes())
            })
        };
        let mut attributes = value.split(|&byte| byte == b';');
        let pair = attributes.next()?;
        let rest: Vec<_> = attributes.collect();
        if !rest.iter().any(|attribute| is_own(attribute)) {
            return None;
        }
        let kept = rest.into_iter().filter(|attribute| !is_own(attribute));
        Some(std::iter::once(pair).chain(kept).collect::<Vec<_>>().join(&b';'))
    }
}

fn strip_prefix<'v>(value: &'v [u8], prefix: &[u8]) -> Option<&'v [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Whether an authority is this host; the port that its scheme has anyway may be left out.
fn is_same_host(authority: &[u8], host: &str) -> bool {
    let host = host.as_bytes();
    authority.eq_ignore_ascii_case(host)
        || [&b":80"[..], b":443"].iter().any(|port| {
            authority.strip_suffix(*port).is_some_and(|bare| bare.eq_ignore_ascii_case(host))
                || host.strip_suffix(*port).is_some_and(|bare| bare.eq_ignore_ascii_case(authority))
        })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let fixed = Names { upstream: "console.internal", public: "console.example:8443", scheme: "https" };
        let same = Names { upstream: "console.example", public: "console.example", scheme: "https" };
        let table = [
            (&fixed, "http://console.internal/x?y", Some("https://console.example:8443/x?y")),
            (&fixed, "HTTPS://Console.Internal", Some("https://console.example:8443")),
            (&fixed, "http://console.internal:80/x", Some("https://console.example:8443/x")),
            (&fixed, "http://console.internal?y", Some("https://console.example:8443?y")),
            (&fixed, "http://console.internal:8000/x", None),
            (&fixed, "http://console.internal.evil/x", None),
            (&fixed, "http://evil/console.internal", None),
            (&fixed, "//console.internal/x", None),
            (&fixed, "/x", None),
            (&fixed, "", None),
            (&same, "http://console.example/x", Some("https://console.example/x")),
            (&same, "https://console.example/x", None),
            (&same, "https://login.example/", None),
        ];
        for (names, value, expected) in table {
            let written = names.location(value.as_bytes());
            assert_eq!(written.as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn cookies() {
        let names = Names { upstream: "console.internal:8000", public: "console.example", scheme: "https" };
        let table = [
            ("a=1; Domain=console.internal; Path=/", Some("a=1; Path=/")),
            ("a=1;domain=.CONSOLE.internal", Some("a=1")),
            ("a=domain=console.internal; Path=/", None),
            ("a=1; Domain=example", None),
            ("a=1", None),
        ];
        for (value, expected) in table {
            let written = names.set_cookie(value.as_bytes());
            assert_eq!(written.as_deref(), expected.map(str::as_bytes), "{value}");
        }
        let same = Names { upstream: "console.example", public: "console.example:443", scheme: "https" };
        assert_eq!(same.set_cookie(b"a=1; Domain=console.example"), None);
    }
}
