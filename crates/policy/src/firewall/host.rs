//! The host of a request.

use super::Refusal;
use std::borrow::Cow;

/// The longest name that DNS allows, in bytes (RFC 1035 2.3.4, written without the final dot).
const LONGEST_NAME: usize = 253;

/// Reads a Host field or an `:authority`, lower-cased (RFC 9110 7.2, RFC 3986 3.2.2).
///
/// `allowed` contains exact `host[:port]` values, without the dot of a fully qualified name; if it is empty, any
/// well-formed host passes. Flask puts the host into the `Location` of its redirects, so `evil.test/login` or `a@b`
/// would send a browser elsewhere.
pub(super) fn parse(value: &[u8], allowed: &[String]) -> Result<String, Refusal> {
    if value.is_empty() {
        return Err(Refusal::HostMissing);
    }
    let host = std::str::from_utf8(value).map_err(|_| Refusal::HostMalformed)?.to_ascii_lowercase();
    if !allowed.is_empty() {
        let is_allowed = allowed.iter().any(|name| {
            name.eq_ignore_ascii_case(&host)
                || without_final_dot(name).eq_ignore_ascii_case(&without_final_dot(&host))
        });
        return if is_allowed { Ok(host) } else { Err(Refusal::HostNotAllowed) };
    }
    if is_well_formed(&host) { Ok(host) } else { Err(Refusal::HostMalformed) }
}

/// `console.example.:8080` is the same name as `console.example:8080` (RFC 3986 3.2.2).
fn without_final_dot(host: &str) -> Cow<'_, str> {
    match host.rsplit_once(':') {
        None => host.strip_suffix('.').unwrap_or(host).into(),
        Some((name, port)) => match name.strip_suffix('.') {
            Some(name) => format!("{name}:{port}").into(),
            None => host.into(),
        },
    }
}

/// Whether two spellings name the same host and port.
pub(super) fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// `name[:port]`, `address[:port]` or `[IPv6 address][:port]`, already in lower case.
fn is_well_formed(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        return literal.split_once(']').is_some_and(|(address, rest)| {
            address.parse::<std::net::Ipv6Addr>().is_ok() && (rest.is_empty() || is_port_suffix(rest))
        });
    }
    match host.find(':') {
        Some(colon) => is_name(&host[..colon]) && is_port_suffix(&host[colon..]),
        None => is_name(host),
    }
}

/// Dot-separated labels of letters, digits and inner hyphens (RFC 1123 2.1). IPv4 addresses are names of this form.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}

/// `:` and a port from 1 to 65535 without leading zeros.
fn is_port_suffix(suffix: &str) -> bool {
    suffix.strip_prefix(':').is_some_and(|port| {
        matches!(port.as_bytes(), [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit))
            && port.parse::<u16>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_well_formed_host_passes_where_none_is_configured() {
        let cases = [
            ("console.example", "console.example"),
            ("Console.EXAMPLE:8443", "console.example:8443"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("a-b.c", "a-b.c"),
        ];
        for (value, host) in cases {
            assert_eq!(parse(value.as_bytes(), &[]), Ok(host.to_owned()), "{value}");
        }
        let malformed: &[&[u8]] = &[
            b"-",
            b"-a",
            b"a-.b",
            b"a..b",
            b"a.",
            b".a",
            b"a_b",
            b"a b",
            b"x\ty",
            b"a,b",
            b"a@b",
            b"u:p@h",
            b"evil.test/login",
            b"h#",
            b"h?",
            b"h:",
            b"h:0",
            b"h:080",
            b"h:65536",
            b"h:80:80",
            b"h:+1",
            b"::1",
            b"[::1",
            b"[::1]80",
            b"[::1]:",
            b"[v1.x]",
            b"[127.0.0.1]",
            b"[fe80::1%25eth0]",
            b"\xc3\xa9",
            b"\xff",
            b"h\\",
        ];
        for value in malformed {
            let shown = String::from_utf8_lossy(value);
            assert_eq!(parse(value, &[]), Err(Refusal::HostMalformed), "{shown}");
        }
        assert_eq!(parse(b"", &[]), Err(Refusal::HostMissing));
        assert_eq!(
            parse("a.".repeat(127).trim_end_matches('.').as_bytes(), &[]).map(|host| host.len()),
            Ok(253)
        );
        assert_eq!(parse(format!("{}aa", "a.".repeat(126)).as_bytes(), &[]), Err(Refusal::HostMalformed));
    }

    #[test]
    fn only_configured_hosts_pass_where_some_are() {
        let allowed = ["console.example".to_owned(), "Console_2:8443".to_owned()];
        assert_eq!(parse(b"CONSOLE.example", &allowed), Ok("console.example".to_owned()));
        assert_eq!(parse(b"console_2:8443", &allowed), Ok("console_2:8443".to_owned()));
        assert_eq!(parse(b"Console.Example.", &allowed), Ok("console.example.".to_owned()));
        assert_eq!(parse(b"console_2.:8443", &allowed), Ok("console_2.:8443".to_owned()));
        let dotted = ["console.example.".to_owned()];
        assert_eq!(parse(b"console.example", &dotted), Ok("console.example".to_owned()));
        for value in [
            &b"console.example:80"[..],
            b"console_2",
            b"evil.test",
            b"console.example..",
            b".",
            b"console.example.:80",
            b"console_2:8443.",
            b"xconsole.example",
        ] {
            assert_eq!(parse(value, &allowed), Err(Refusal::HostNotAllowed));
        }
    }
}
