//! What holds for every request that passes, tried on random ones.
//!
//! The heads are built from sound pieces with now and then a hostile one or a broken byte, so that nearly half
//! are accepted and the others are refused for one fault.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;

fn policy() -> Policy {
    Policy { allowed_hosts: vec!["h".to_owned(), "console.example:8080".to_owned()], ..Policy::default() }
}

/// Pieces of a path that is accepted, nearly however they are put together.
const SOUND_PATH: &[&str] = &[
    "/a",
    "/secrets",
    "/5",
    "/-~",
    "b",
    "/c%20d",
    "%C3%A9",
    "%40",
    "%3A",
    "@",
    ":",
    "+",
    "%2B",
    "=",
    "&",
    "%22",
    "%F0%9F%98%80",
    "%E4%B8%AD",
    "/...",
    "_",
    "%7B",
    "%c3%a9",
    "%41",
    "%2D",
    "%2Fx",
    "%2fy",
    "%5C",
    "%3F",
    "%23",
    "%3Bx",
    "%25",
    "%252F",
    "\\",
    "[",
    "]",
    ";x",
    "|",
    "%E2%80%8D",
    "%C2%A0",
    "%D9%A4",
];

const HOSTILE_PATH: &[&str] = &[
    "//",
    "/.",
    "/..",
    ".",
    "%2F",
    "/%2e",
    "%2F..",
    "%5C..",
    "\\..",
    "/;",
    "%E2%80%AE",
    "%F0%91%BD%90",
    "%C3",
    "%",
    "%0A",
    "%00",
    "#",
    "\u{e9}",
    " ",
    "\t",
    "\0",
];

const SOUND_FIELDS: &[&str] = &[
    "Accept: */*",
    "X-A: \t b c ",
    "X-A:",
    "X-B: caf\u{e9}",
    "Range: bytes=0-1",
    "X-Forwarded-For: 1.2.3.4, 5.6.7.8",
    "X-Forwarded-Proto: https",
    "X-Forwarded-User: admin",
    "Remote-User: admin",
    "Keep-Alive: 5",
    "TE: trailers",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: Upgrade",
    "Proxy: evil",
    "X_A: b",
    "X.B: c",
    "Cookie: a=b; session=x; c=\"d\"",
    "Cookie: session =\"x\\\"y\"",
    "Cookie: e=\"; session=z",
    "Cookie: caf\u{e9}=1; session=x",
    "Connection: TE, HTTP2-Settings",
];

/// Fields that are refused when they occur twice, or beside another one.
const SINGLE_FIELDS: &[&str] = &[
    "Content-Length: 5",
    "Content-Length: 0",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Authorization: Bearer x",
    "Content-Type: application/json",
    "Sec-WebSocket-Version: 13",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const HOSTILE_FIELDS: &[&str] = &[
    "Host: h",
    "Host: evil",
    "Content_Length: 5",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Transfer-Encoding: gzip",
    "Connection: Cookie",
    "Upgrade: h2c, websocket",
    " folded: x",
    "X-C: a\u{0}b",
    "X-D : e",
    "X-E: f\rX-F: g",
    "X-G: h\nX-I: j",
];

fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![20 => select(SOUND_PATH), 1 => select(HOSTILE_PATH)];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("/x{}", pieces.concat()))
}

fn target() -> impl Strategy<Value = String> {
    let prefix = prop_oneof![20 => Just(""), 2 => Just("http://h"), 1 => select(&["x:", "*", "https://evil", "/"][..])];
    let sound_query =
        select(&["", "", "?", "?a=%2f%25", "?//..%00", "?a=b&c=d?e", "?%", "?c[]={};|^`\\"][..]);
    let query = prop_oneof![20 => sound_query, 1 => select(&["?a#b", "?\u{e9}", "?\0", "?a b"][..])];
    (prefix, path(), query).prop_map(|(prefix, path, query)| format!("{prefix}{path}{query}"))
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let method =
        prop_oneof![20 => select(&["GET", "GET", "POST", "OPTIONS"][..]), 1 => select(&["get", "TRACE"][..])];
    let version = prop_oneof![20 => select(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"][..]), 1 => Just("HTTP/1.2")];
    let host =
        prop_oneof![20 => Just("Host: h"), 3 => Just("hOST:Console.Example:8080 "), 1 => Just("X-No: host")];
    let sound = prop::collection::vec(select(SOUND_FIELDS), 0..4);
    let single = prop::sample::subsequence(SINGLE_FIELDS, 0..3);
    let hostile = prop::option::weighted(0.1, select(HOSTILE_FIELDS));
    let fields = (host, sound, single, hostile).prop_flat_map(|(host, sound, single, hostile)| {
        let rest: Vec<&str> = sound.into_iter().chain(single).chain(hostile).collect();
        let fields: Vec<&str> = std::iter::once(host).chain(rest).collect();
        Just(fields).prop_shuffle()
    });
    // A byte overwritten somewhere in every fifth head.
    let fault = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (method, target(), version, fields, fault).prop_map(|(method, target, version, fields, fault)| {
        let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let mut head = format!("{method} {target} {version}\r\n{lines}\r\n").into_bytes();
        if let Some((index, byte)) = fault {
            let at = index.index(head.len());
            head[at] = byte;
        }
        head
    })
}

/// The one spelling of a decoded path that escapes only what must be escaped.
fn encode(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => (byte as char).to_string(),
            byte if b"-._~/!$&'()*+,=:@".contains(&byte) => (byte as char).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn check_target(target: &RequestTarget) -> Result<(), TestCaseError> {
    if target.is_asterisk() {
        return Ok(());
    }
    let path = target.path();
    prop_assert!(path.starts_with('/') && !path.contains("//"));
    prop_assert!(path.split(['/', '\\']).all(|segment| segment != "." && segment != ".."));
    prop_assert!(!path.chars().any(char::is_control));
    prop_assert!(target.raw().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    // An independent decoder arrives at the same path.
    let independent = percent_encoding::percent_decode_str(target.path_raw()).decode_utf8().unwrap();
    prop_assert_eq!(independent, path);
    // The canonical spelling of the decoded path is accepted and means the same.
    let canonical = encode(path);
    let (again, _) = RequestTarget::parse(crate::method::Method::Get, canonical.as_bytes())
        .map_err(|refusal| TestCaseError::fail(format!("{canonical}: {refusal:?}")))?;
    prop_assert_eq!(again.path(), path);
    Ok(())
}

fn check_head(head: &[u8], written: &[u8], request: &Request) -> Result<(), TestCaseError> {
    let names: Vec<&str> = request.fields().iter().map(|(name, _)| name).collect();
    prop_assert!(names.iter().all(|name| !policy().strip.strips(name)), "{:?}", names);
    prop_assert_eq!(head_state(head, &policy().limits), HeadState::Complete(head.len()));
    prop_assert_eq!(head_state(written, &policy().limits), HeadState::Complete(written.len()));
    // No line of what is written was smuggled in through a value: there are as many as there are fields.
    let lines = written.iter().filter(|&&byte| byte == b'\n').count();
    let own = 3
        + usize::from(request.framing() != Framing::None)
        + usize::from(request.expect_continue())
        + if request.upgrade() { 2 } else { 0 }
        + usize::from(!request.upgrade() && (!request.keep_alive() || request.version() == Version::Http10));
    prop_assert_eq!(lines, request.fields().len() + own);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_is_written_so_that_it_passes_again(head in head()) {
        if let Ok(request) = inspect(&head, &policy()) {
            check_target(request.target())?;
            let mut written = Vec::new();
            request.write_head(&mut written);
            check_head(&head, &written, &request)?;

            let again = inspect(&written, &policy());
            prop_assert!(again.is_ok(), "{:?}", again);
            let again = again.unwrap();
            let mut rewritten = Vec::new();
            again.write_head(&mut rewritten);
            prop_assert_eq!(&rewritten, &written);
            // The client's X-Forwarded fields are not written, nor what was dropped.
            prop_assert!(again.forwarded_for().is_empty() && again.forwarded_proto().is_none());
            prop_assert!(again.dropped_fields().is_empty() && again.unsettled_sessions().is_empty());
            prop_assert_eq!(again.into_written(), request.into_written());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = inspect(&bytes, &policy());
        let _ = head_state(&bytes, &policy().limits);
        let target = [b"GET /", &bytes[..], b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        if let Ok(request) = inspect(&target, &policy()) {
            check_target(request.target())?;
        }
    }
}
