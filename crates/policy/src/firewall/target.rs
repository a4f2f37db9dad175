//! The request target: matched by the path that Console will see, forwarded as the client wrote it.
//!
//! The gate matches a route on the decoded path, and Console (gunicorn, then Werkzeug) decodes the forwarded bytes.
//! Both must arrive at the same path. A WSGI server decodes each escape once, whatever its case, before anything looks
//! at segments: `/a%2Fb` is `/a/b`, and `%252F` is the text `%2F`. So the gate decodes in the same way, and makes all
//! its checks on the decoded path: an escape hides nothing. Anything that could still be read in two ways is refused:
//! empty and dot segments, malformed escapes, control characters, bytes that are not UTF-8.
//!
//! The query is not matched on. Everything that a request line can contain passes there, even a `%` without digits.

mod path;

use super::Refusal;
use crate::method::Method;
use std::ops::Range;

/// A target in origin form (RFC 9112 3.2.1), or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTarget {
    raw: String,
    path_length: usize,
    /// The decoded path, if it differs from the raw one.
    decoded: Option<String>,
}

impl RequestTarget {
    /// The bytes that go upstream: path and query as the client wrote them, all in 0x21-0x7E, no `#`.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The path as in [`RequestTarget::raw`], including escapes.
    pub fn path_raw(&self) -> &str {
        &self.raw[..self.path_length]
    }

    /// The decoded path, on which routes are matched: `PATH_INFO`, as text. It contains no control character and no
    /// empty or dot segment. It may contain `%`, `?` and `#` that the client escaped: it must not be decoded again.
    pub fn path(&self) -> &str {
        self.decoded.as_deref().unwrap_or_else(|| self.path_raw())
    }

    /// The part after the first `?`, not decoded; `Some("")` for a `?` at the end.
    pub fn query(&self) -> Option<&str> {
        self.raw[self.path_length..].strip_prefix('?')
    }

    /// Whether this is the `*` of `OPTIONS *` (RFC 9112 3.2.4), which names the server and not a route.
    pub fn is_asterisk(&self) -> bool {
        self.raw == "*"
    }

    /// Parses a target, and returns the authority if the target is in absolute form.
    ///
    /// The caller must compare that authority with the configured hosts and the Host field.
    pub(super) fn parse(method: Method, target: &[u8]) -> Result<(RequestTarget, Option<&[u8]>), Refusal> {
        if target == b"*" && method == Method::Options {
            return Ok((RequestTarget { raw: "*".to_owned(), path_length: 1, decoded: None }, None));
        }
        let (authority, origin_form) = split_origin_form(target)?;
        let bytes = &target[origin_form];
        if !bytes.iter().all(|&byte| may_stand_raw(byte)) {
            return Err(Refusal::TargetCharacter);
        }
        let path_length = bytes.iter().position(|&byte| byte == b'?').unwrap_or(bytes.len());
        let decoded = path::decode(&bytes[..path_length])?;
        let raw = std::str::from_utf8(bytes).map_err(|_| Refusal::TargetCharacter)?.to_owned();
        Ok((RequestTarget { raw, path_length, decoded }, authority.map(|range| &target[range])))
    }
}

/// The places of the authority, if any, and the origin form in a target.
///
/// `x:/secrets?://` is the attack: a lenient parser sees a scheme and the path `/`, another one serves `/secrets`. So
/// an absolute form is `http://` or `https://`, an authority, and a path that begins with `/`; `http://host?query`,
/// which RFC 3986 allows, is refused because no client writes it and parsers differ on it.
fn split_origin_form(target: &[u8]) -> Result<(Option<Range<usize>>, Range<usize>), Refusal> {
    if target.starts_with(b"/") {
        return Ok((None, 0..target.len()));
    }
    let has_scheme =
        |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let start = if has_scheme(b"http://") {
        "http://".len()
    } else if has_scheme(b"https://") {
        "https://".len()
    } else {
        return Err(Refusal::TargetForm);
    };
    let end = target[start..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'));
    match end.map(|length| start + length) {
        Some(end) if end > start && target[end] == b'/' => Ok((Some(start..end), end..target.len())),
        _ => Err(Refusal::TargetForm),
    }
}

/// Whether a byte may be unescaped in a target: every visible ASCII character except `#`.
///
/// More than RFC 3986 3.3 allows: browsers leave `[`, `]` and `|` as they are, and WSGI servers keep them. `#` and the
/// text after it never go over the wire, yet gunicorn cuts them off where another parser keeps them. From a byte beyond
/// ASCII, one gunicorn makes two characters and another refuses the request.
const fn may_stand_raw(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'#'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &[u8]) -> Result<(RequestTarget, Option<&[u8]>), Refusal> {
        RequestTarget::parse(Method::Get, target)
    }

    #[test]
    fn an_accepted_target_is_kept_byte_for_byte() {
        // target, decoded path, query
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("/", "/", None),
            ("/a/b", "/a/b", None),
            ("/a/", "/a/", None),
            ("/a?", "/a", Some("")),
            ("/a?b=c?d", "/a", Some("b=c?d")),
            ("/a?//..%2F%25%2f%c3%a9%00%0D%0A%7e%ff", "/a", Some("//..%2F%25%2f%c3%a9%00%0D%0A%7e%ff")),
            ("/a?x=http://h/../y", "/a", Some("x=http://h/../y")),
            ("/a%20b", "/a b", None),
            ("/a%2Bb+c", "/a+b+c", None),
            ("/%40x:y@z", "/@x:y@z", None),
            ("/%21%24%26%27%28%29%2A%2B%2C%3D%3A", "/!$&'()*+,=:", None),
            ("/%22%3C%3E%5B%5D%5E%60%7B%7C%7D", "/\"<>[]^`{|}", None),
            ("/caf%C3%A9", "/caf\u{e9}", None),
            ("/%F0%9F%98%80", "/\u{1f600}", None),
            ("/a...b/...", "/a...b/...", None),
            ("/a[b]{c}|^`\"<>\\;d=e", "/a[b]{c}|^`\"<>\\;d=e", None),
            ("/a?[]{}|^`\\;\"<>", "/a", Some("[]{}|^`\\;\"<>")),
            ("/a?%&%2&%zz&%u0041&100%", "/a", Some("%&%2&%zz&%u0041&100%")),
            ("/caf%c3%a9/%7Ea%2Db%5Fc%41", "/caf\u{e9}/~a-b_cA", None),
            ("/a%2Fb%2fc", "/a/b/c", None),
            ("/a%2F", "/a/", None),
            ("/a%252Fb%2525", "/a%2Fb%25", None),
            ("/a%3Fb%23c%3Bd%5Ce?f", "/a?b#c;d\\e", Some("f")),
            ("/a%25", "/a%", None),
            ("/a;b=c/d?e;f", "/a;b=c/d", Some("e;f")),
        ];
        for &(raw, path, query) in cases {
            let (target, authority) =
                parse(raw.as_bytes()).unwrap_or_else(|refusal| panic!("{raw}: {refusal:?}"));
            assert_eq!((target.raw(), target.path(), target.query(), authority), (raw, path, query, None));
            assert_eq!(target.path_raw(), raw.split('?').next().unwrap());
        }
    }

    #[test]
    fn forms_and_raw_bytes() {
        let cases: &[(&[u8], Refusal)] = &[
            (b"", Refusal::TargetForm),
            (b"*", Refusal::TargetForm),
            (b"*/users", Refusal::TargetForm),
            (b"secrets", Refusal::TargetForm),
            (b"secrets?://", Refusal::TargetForm),
            (b"x:/secrets?://", Refusal::TargetForm),
            (b"x://y/secrets", Refusal::TargetForm),
            (b"ftp://h/secrets", Refusal::TargetForm),
            (b"http:/secrets", Refusal::TargetForm),
            (b"http:///secrets", Refusal::TargetForm),
            (b"http://h", Refusal::TargetForm),
            (b"http://h?/secrets", Refusal::TargetForm),
            (b"http://h#/secrets", Refusal::TargetForm),
            (b"http://evil\\@h/secrets", Refusal::TargetForm),
            (b"?/secrets", Refusal::TargetForm),
            (b"%2Fsecrets", Refusal::TargetForm),
            (b"\t/secrets", Refusal::TargetForm),
            (b"/a b", Refusal::TargetCharacter),
            (b"/a\tb", Refusal::TargetCharacter),
            (b"/a\0b", Refusal::TargetCharacter),
            (b"/a\x7f", Refusal::TargetCharacter),
            (b"/caf\xc3\xa9", Refusal::TargetCharacter),
            (b"/a?caf\xc3\xa9", Refusal::TargetCharacter),
            (b"/a?b c", Refusal::TargetCharacter),
            (b"/a#b", Refusal::TargetCharacter),
            (b"/a?b#c", Refusal::TargetCharacter),
            (b"/a?\x7f", Refusal::TargetCharacter),
            (b"/a?\0", Refusal::TargetCharacter),
            (b"/a?\xff", Refusal::TargetCharacter),
        ];
        for &(target, refusal) in cases {
            assert_eq!(parse(target), Err(refusal), "{:?}", String::from_utf8_lossy(target));
        }
    }

    #[test]
    fn the_absolute_form_becomes_the_origin_form() {
        let (target, authority) = parse(b"HTTP://h:1/a?b").unwrap();
        assert_eq!((target.raw(), authority), ("/a?b", Some(&b"h:1"[..])));
        let (target, authority) = parse(b"https://u:p@h/").unwrap();
        assert_eq!((target.raw(), authority), ("/", Some(&b"u:p@h"[..])));
    }

    #[test]
    fn the_asterisk_is_for_options() {
        let (target, _) = RequestTarget::parse(Method::Options, b"*").unwrap();
        assert!(target.is_asterisk());
        assert_eq!((target.path(), target.query()), ("*", None));
    }

    #[test]
    fn a_semicolon_never_hides_a_dot_segment() {
        for target in [&b"/a/..;/b"[..], b"/.;x", b"/a/..;x=y", b"/a/..%3Bx", b"/a/%2E%2e;x"] {
            assert_eq!(parse(target), Err(Refusal::DotSegment), "{:?}", String::from_utf8_lossy(target));
        }
        for target in [&b"/;x"[..], b"/a/;x", b"/a/;x/b", b"/a/%3Bx"] {
            assert_eq!(parse(target), Err(Refusal::EmptySegment), "{:?}", String::from_utf8_lossy(target));
        }
    }
}
