//! The session cookies of a request, and the Cookie field without the session cookies that were not verified.
//!
//! A browser sends every cookie that a site or a sibling on the parent domain has set, so two cookies with the
//! session's name are not necessarily an attack. Werkzeug takes the first of them, other parsers the last, and parsers
//! differ on where a quoted value ends. So the gate finds every piece that some parser could take for the session, has
//! one of them verified, and forwards only that one, at the front, where every parser reads it.

use memchr::memchr;

/// The session cookies in a Cookie field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cookies {
    /// Each value once, including quotes, in order. Whether one is a session is known only after verification.
    pub(super) sessions: Vec<String>,
    /// The field without the session cookies, if it has to be rewritten.
    pub(super) rest: Option<Vec<u8>>,
}

/// No browser sends this many in good faith; each of them costs a verification.
const MOST_SESSIONS: usize = 8;

/// Reads a Cookie field. `is_joined`: the client sent several fields, so that the field is rewritten in any case.
pub(super) fn read(header: &[u8], name: &str, is_joined: bool) -> Cookies {
    let mut cookies = Cookies::default();
    let (mut is_plain, mut count) = (!is_joined, 0);
    for piece in pieces(header) {
        let (key, value) = key_and_value(piece);
        // `a="; session=theirs; b="` is one cookie to Werkzeug and three to a splitter.
        let is_readable =
            memchr(b'"', key).is_none() && (memchr(b'"', value).is_none() || is_quoted_string(value));
        if !is_named(key, name) {
            is_plain &= is_readable;
            continue;
        }
        count += 1;
        let value = std::str::from_utf8(value).ok();
        let value = value.filter(|value| is_readable && value.bytes().all(|byte| byte.is_ascii_graphic()));
        is_plain &= count == 1 && key == name.as_bytes() && value.is_some();
        if let Some(value) = value.filter(|value| !cookies.sessions.iter().any(|other| other == value)) {
            cookies.sessions.push(value.to_owned());
        }
    }
    if cookies.sessions.len() > MOST_SESSIONS {
        cookies.sessions.clear();
    }
    cookies.rest = (!is_plain).then(|| without(header, name));
    cookies
}

fn pieces(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|&byte| byte == b';').map(<[u8]>::trim_ascii)
}

/// To Werkzeug, a piece without `=` is a cookie with that name and no value.
fn key_and_value(piece: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'=', piece) {
        Some(equals) => (piece[..equals].trim_ascii(), piece[equals + 1..].trim_ascii()),
        None => (piece, b""),
    }
}

/// The field without the cookies with this name.
fn without(header: &[u8], name: &str) -> Vec<u8> {
    let others = pieces(header).filter(|piece| !piece.is_empty() && !is_named(key_and_value(piece).0, name));
    let mut rest = Vec::new();
    for piece in others {
        if !rest.is_empty() {
            rest.extend_from_slice(b"; ");
        }
        rest.extend_from_slice(piece);
    }
    rest
}

/// Writes a Cookie field from the verified session and the other cookies. `None` if nothing is left.
pub(super) fn write(name: &str, session: Option<&str>, rest: &[u8]) -> Option<Vec<u8>> {
    let mut field = session.map(|session| format!("{name}={session}").into_bytes()).unwrap_or_default();
    if !field.is_empty() && !rest.is_empty() {
        field.extend_from_slice(b"; ");
    }
    field.extend_from_slice(rest);
    (!field.is_empty()).then_some(field)
}

/// Whether some parser reads the key as `name`. Python's `str.strip()` removes U+00A0 and similar spaces, which makes
/// `\u{a0}session` a session cookie; bytes that are not UTF-8 may be such a space in Latin-1.
fn is_named(key: &[u8], name: &str) -> bool {
    if key.is_ascii() {
        return key == name.as_bytes();
    }
    let is_trimmed = |character: char| character.is_whitespace() || character == char::REPLACEMENT_CHARACTER;
    String::from_utf8_lossy(key).trim_matches(is_trimmed) == name
}

/// Whether all of `value` is one quoted string, in which `\` escapes the next byte.
fn is_quoted_string(value: &[u8]) -> bool {
    if value.first() != Some(&b'"') {
        return false;
    }
    let mut bytes = value.iter().skip(1);
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return bytes.next().is_none(),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: Option<&[u8]>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn a_plain_field_passes_as_it_is() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"", None),
            (b"a=b", None),
            (b"session=x.y-z_1", Some("x.y-z_1")),
            (b"a=b; session=x; c=d", Some("x")),
            (b"a=b;session=x;", Some("x")),
            (b"session =x", Some("x")),
            (b"session= x ", Some("x")),
            (b"session=", Some("")),
            (b"session", Some("")),
            (b"session=a=b==", Some("a=b==")),
            (b"session=\"x\"", Some("\"x\"")),
            (b"session=\"x\\056y\"", Some("\"x\\056y\"")),
            (b"$Version=1; session=x", Some("x")),
            (b"Session=x", None),
            (b"__Host-session=x", None),
            (b"x=1,session=x", None),
            (b"=session=x", None),
            (b"session x=y", None),
            (b"a=caf\xc3\xa9; session=x", Some("x")),
            (b"caf\xc3\xa9=1; session=x", Some("x")),
            (b"\xff=\xff; session=x", Some("x")),
            (b"a=\"q\"; session=x", Some("x")),
            (b"foo[bar]=1; session=x", Some("x")),
        ];
        for &(header, expected) in cases {
            let sessions = expected.map(str::to_owned).into_iter().collect();
            assert_eq!(
                read(header, "session", false),
                Cookies { sessions, rest: None },
                "{}",
                header.escape_ascii()
            );
        }
    }

    #[test]
    fn what_parsers_read_differently_is_taken_apart() {
        /// The field, the sessions that may be judged, the rest.
        type Case = (&'static [u8], &'static [&'static str], &'static str);
        let cases: &[Case] = &[
            (b"session=x; session=y", &["x", "y"], ""),
            (b"session=x; session=x", &["x"], ""),
            (b"a=b; session=x; c=d; session=y; e", &["x", "y"], "a=b; c=d; e"),
            (b"session=; session=x", &["", "x"], ""),
            (b"session; session=x", &["", "x"], ""),
            (b"a=\"; session=x; b=\"", &["x"], "a=\"; b=\""),
            (b"a=\"x; session=y; \"", &["y"], "a=\"x; \""),
            (b"a=\"x\\\"; session=y; b=\"", &["y"], "a=\"x\\\"; b=\""),
            (b"a=\"unclosed; session=x; b=c", &["x"], "a=\"unclosed; b=c"),
            (b"a={\"b\":1}; session=x", &["x"], "a={\"b\":1}"),
            (b"\"a; session=x", &["x"], "\"a"),
            (b"session=\"x; a=b", &[], "a=b"),
            (b"session=\"", &[], ""),
            (b"session=\"x\"y", &[], ""),
            (b"session=x\"", &[], ""),
            (b"session=x\xff", &[], ""),
            (b"session=x y; a=b", &[], "a=b"),
            (b"session=x\ty", &[], ""),
            (b"session=\"x; session=y", &["y"], ""),
            (b"\xc2\xa0session=x", &["x"], ""),
            (b"\xa0session\x85=x; a=b", &["x"], "a=b"),
            (b"session\xc2\xa0=x; session=y", &["x", "y"], ""),
            (b"session\xe3\x80\x80=x", &["x"], ""),
            (
                b"session=1; session=2; session=3; session=4; session=5; session=6; session=7; session=8; session=9",
                &[],
                "",
            ),
        ];
        for &(header, sessions, rest) in cases {
            let cookies = read(header, "session", false);
            assert_eq!(cookies.sessions, sessions, "{}", header.escape_ascii());
            assert_eq!(text(cookies.rest.as_deref()).as_deref(), Some(rest), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn the_judged_session_comes_first() {
        let written = |session, rest: &str| text(write("s", session, rest.as_bytes()).as_deref());
        assert_eq!(written(Some("x"), "a=\"; b").as_deref(), Some("s=x; a=\"; b"));
        assert_eq!(written(Some("x"), "").as_deref(), Some("s=x"));
        assert_eq!(written(None, "a=b").as_deref(), Some("a=b"));
        assert_eq!(written(None, ""), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is written has the judged session and no other, to every parser, and is not taken apart again.
        #[test]
        fn what_is_written_has_one_session(header in "(session|a|\u{a0}|[;=\" \\\\xy\u{e9}]){0,16}") {
            let cookies = read(header.as_bytes(), "session", false);
            let Some(rest) = &cookies.rest else { return Ok(()) };
            prop_assert_eq!(read(rest, "session", false).sessions, Vec::<String>::new());
            for session in &cookies.sessions {
                let field = write("session", Some(session), rest).unwrap();
                prop_assert_eq!(&read(&field, "session", false).sessions, std::slice::from_ref(session));
            }
        }
    }
}
