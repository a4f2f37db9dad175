//! The one session cookie of a request.

use super::Refusal;

/// The value of the cookie `name`, quotes and all, or `None` if there is no such cookie.
///
/// Werkzeug (`werkzeug.http.parse_cookie`) takes the first of two cookies of one name, other parsers the last, so two
/// are refused. Nothing is unquoted here: whether a value is a session is for whoever verifies its signature to say.
///
/// # Errors
///
/// [`Refusal::SessionCookieRepeated`], and [`Refusal::CookieMalformed`] where a parser that knows quoted strings would
/// find other cookies than one that only splits at `;`.
pub(super) fn session(header: &[u8], name: &str) -> Result<Option<String>, Refusal> {
    let mut found = None;
    for pair in header.split(|&byte| byte == b';') {
        // A pair without `=` is, to Werkzeug, a cookie of that name without a value.
        let (key, value) = match pair.iter().position(|&byte| byte == b'=') {
            Some(equals) => (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()),
            None => (pair.trim_ascii(), &b""[..]),
        };
        // Werkzeug's `strip()` removes U+00A0 and the like, which makes `\u{a0}session` a session cookie.
        if !key.iter().all(|byte| (0x20..=0x7e).contains(byte)) {
            return Err(Refusal::CookieMalformed);
        }
        // `a="; session=theirs; b="` is one cookie to Werkzeug and three to a splitter.
        if value.starts_with(b"\"") && !is_quoted_string(value) {
            return Err(Refusal::CookieMalformed);
        }
        if key != name.as_bytes() {
            continue;
        }
        if !value.iter().all(u8::is_ascii_graphic) {
            return Err(Refusal::CookieMalformed);
        }
        let value = std::str::from_utf8(value).map_err(|_| Refusal::CookieMalformed)?;
        if found.replace(value.to_owned()).is_some() {
            return Err(Refusal::SessionCookieRepeated);
        }
    }
    Ok(found)
}

/// Whether all of `value` is one quoted string, in which `\` takes the next byte along.
fn is_quoted_string(value: &[u8]) -> bool {
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

    #[test]
    fn one_session_cookie_or_none() {
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
            (b"a=caf\xc3\xa9; session=x", Some("x")),
            (b"a={\"b\":1}; session=x", Some("x")),
            (b"a=\"q\"; session=x", Some("x")),
            (b"foo[bar]=1; session=x", Some("x")),
        ];
        for &(header, expected) in cases {
            let shown = String::from_utf8_lossy(header);
            assert_eq!(session(header, "session"), Ok(expected.map(str::to_owned)), "{shown}");
        }
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused() {
        for header in
            ["session=x; session=y", "session=x; session=x", "session=; session=x", "session; session=x"]
        {
            assert_eq!(
                session(header.as_bytes(), "session"),
                Err(Refusal::SessionCookieRepeated),
                "{header}"
            );
        }
        let malformed: &[&[u8]] = &[
            b"a=\"; session=x; b=\"",
            b"a=\"x; session=y; \"",
            b"a=\"x\\\"; session=y; b=\"",
            b"a=\"x\\\"; session=y; b=\\\"z\"",
            b"session=\"x",
            b"session=\"",
            b"session=\"x\"y",
            b"\xc2\xa0session=x",
            b"session\xc2\xa0=x; session=y",
            b"session=x\xff",
            b"session=x y",
            b"session=x\ty",
        ];
        for header in malformed {
            let shown = String::from_utf8_lossy(header);
            assert_eq!(session(header, "session"), Err(Refusal::CookieMalformed), "{shown}");
        }
    }
}
