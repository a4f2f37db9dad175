//! Decoding a path of which only one spelling is accepted.

use crate::firewall::Refusal;
use regex::Regex;
use std::sync::LazyLock;

/// Decodes a raw path that begins with `/` and holds only bytes that may stand raw. `None`: it decodes to itself.
///
/// Werkzeug decodes first and splits into segments then, so the checks on segments would have to be made on both
/// spellings; refusing every escape of `/`, `.` and `;` makes the two the same.
pub(super) fn decode(raw: &[u8]) -> Result<Option<String>, Refusal> {
    check_segments(raw)?;
    let Some(first_escape) = raw.iter().position(|&byte| byte == b'%') else {
        return Ok(None);
    };
    let mut decoded = Vec::with_capacity(raw.len());
    decoded.extend_from_slice(&raw[..first_escape]);
    let mut rest = &raw[first_escape..];
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (digits, tail) = tail.split_at_checked(2).ok_or(Refusal::MalformedEscape)?;
            decoded.push(escaped_byte(digits[0], digits[1])?);
            rest = tail;
        } else {
            decoded.push(byte);
            rest = tail;
        }
    }
    // Strict: Werkzeug replaces invalid bytes by U+FFFD, so that `%FF` and `%FE` would name the same thing.
    let decoded = String::from_utf8(decoded).map_err(|_| Refusal::InvalidUtf8)?;
    if !decoded.is_ascii() && FORBIDDEN.is_match(&decoded) {
        return Err(Refusal::ForbiddenCharacter);
    }
    Ok(Some(decoded))
}

/// Refuses empty segments (but for the one after a final `/`) and dot segments.
///
/// Werkzeug serves `//secrets` as `/secrets` and keeps `..` as data, while the next hop may resolve it. A segment is
/// looked at without its `;parameters`, because `/public/..;/secrets` is `/secrets` to servlet containers.
fn check_segments(raw: &[u8]) -> Result<(), Refusal> {
    // Safe to skip the first: the path begins with `/`, so what precedes it is empty.
    let mut segments = raw.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let name = segment.split(|&byte| byte == b';').next().unwrap_or(segment);
        match name {
            b"." | b".." => return Err(Refusal::DotSegment),
            b"" if !(is_last && segment.is_empty()) => return Err(Refusal::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

/// The byte that `%` and two digits stand for, if that escape has a reason to be there.
fn escaped_byte(high: u8, low: u8) -> Result<u8, Refusal> {
    if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
        return Err(Refusal::MalformedEscape);
    }
    // RFC 3986 2.1 says "should" be upper case. One spelling is enough, and browsers write that one.
    let (Some(high), Some(low)) = (upper_hex_digit(high), upper_hex_digit(low)) else {
        return Err(Refusal::LowerCaseEscape);
    };
    let byte = high << 4 | low;
    match byte {
        // `%2Fsecrets` is `/secrets` to Werkzeug; `%25` would be decoded again by a second hop (`%2573` is `s`); `?`,
        // `#` and `;` end the path for whoever decodes before it splits; control characters end a string or a line.
        b'/' | b'\\' | b'%' | b';' | b'?' | b'#' | 0x00..=0x1f | 0x7f => Err(Refusal::ForbiddenEscape),
        // `%73ecrets` is `secrets`: a filter on raw bytes anywhere on the way would miss it.
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Err(Refusal::NeedlessEscape),
        // A space is ordinary data in a segment. The sub-delimiters, `:` and `@` may stand raw, but browsers'
        // `encodeURIComponent` escapes most of them; no parser on the way gives them a meaning in a path.
        _ => Ok(byte),
    }
}

/// The value of `0`-`9` or `A`-`F`.
const fn upper_hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Beyond ASCII: control, format, private and unassigned characters, separators, and decimal digits.
///
/// `DELETE /rbac/grants/%D9%A4` revokes grant 4: Python's `\d` and `int()` take every decimal digit there is. The
/// others cannot be seen in an audit row, and `str.strip()` removes some of them.
static FORBIDDEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}\p{Nd}]--[\x00-\x7F]]")
        .expect("the pattern is constant, and a test of this file compiles it")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_paths_are_refused() {
        let cases: &[(&str, Refusal)] = &[
            ("//", Refusal::EmptySegment),
            ("//secrets", Refusal::EmptySegment),
            ("/a//b", Refusal::EmptySegment),
            ("/a//", Refusal::EmptySegment),
            ("/.", Refusal::DotSegment),
            ("/..", Refusal::DotSegment),
            ("/./a", Refusal::DotSegment),
            ("/a/../b", Refusal::DotSegment),
            ("/a/..", Refusal::DotSegment),
            ("/%2e%2e/a", Refusal::LowerCaseEscape),
            ("/%2E%2E/a", Refusal::NeedlessEscape),
            ("/.%2E/a", Refusal::NeedlessEscape),
            ("/%73ecrets", Refusal::NeedlessEscape),
            ("/a%7Eb", Refusal::NeedlessEscape),
            ("/a%2Fb", Refusal::ForbiddenEscape),
            ("/a%2fb", Refusal::LowerCaseEscape),
            ("/a%5Cb", Refusal::ForbiddenEscape),
            ("/a%252Fb", Refusal::ForbiddenEscape),
            ("/a%3Bb", Refusal::ForbiddenEscape),
            ("/a%3Fb", Refusal::ForbiddenEscape),
            ("/a%23b", Refusal::ForbiddenEscape),
            ("/a%00", Refusal::ForbiddenEscape),
            ("/a%0A", Refusal::ForbiddenEscape),
            ("/a%1F", Refusal::ForbiddenEscape),
            ("/a%7F", Refusal::ForbiddenEscape),
            ("/caf%c3%a9", Refusal::LowerCaseEscape),
            ("/a%", Refusal::MalformedEscape),
            ("/a%2", Refusal::MalformedEscape),
            ("/a%/b", Refusal::MalformedEscape),
            ("/a%zz", Refusal::MalformedEscape),
            ("/a%u0073", Refusal::MalformedEscape),
            ("/a%FF", Refusal::InvalidUtf8),
            ("/a%C0%AE", Refusal::InvalidUtf8),
            ("/a%C0%AF", Refusal::InvalidUtf8),
            ("/a%E0%80%AF", Refusal::InvalidUtf8),
            ("/a%ED%A0%80", Refusal::InvalidUtf8),
            ("/a%C3", Refusal::InvalidUtf8),
        ];
        for &(path, refusal) in cases {
            assert_eq!(decode(path.as_bytes()), Err(refusal), "{path}");
        }
    }

    #[test]
    fn characters_beyond_ascii_by_category() {
        let forbidden = [
            ('\u{85}', "Cc"),
            ('\u{ad}', "Cf"),
            ('\u{200d}', "Cf"),
            ('\u{202e}', "Cf"),
            ('\u{feff}', "Cf"),
            ('\u{e000}', "Co"),
            ('\u{378}', "Cn"),
            ('\u{10ffff}', "Cn"),
            ('\u{2028}', "Zl"),
            ('\u{2029}', "Zp"),
            ('\u{a0}', "Zs"),
            ('\u{3000}', "Zs"),
            ('\u{664}', "Nd"),
            ('\u{ff15}', "Nd"),
            ('\u{1d7d8}', "Nd"),
        ];
        for (character, category) in forbidden {
            let path = escape(&format!("/a{character}b"));
            assert_eq!(decode(path.as_bytes()), Err(Refusal::ForbiddenCharacter), "{path} {category}");
        }
        for character in
            ['\u{e9}', '\u{df}', '\u{3a9}', '\u{4e2d}', '\u{301}', '\u{ff0f}', '\u{1f600}', '\u{b2}']
        {
            let path = escape(&format!("/a{character} 5"));
            assert_eq!(decode(path.as_bytes()), Ok(Some(format!("/a{character} 5"))), "{path}");
        }
    }

    /// Escapes everything but ASCII letters, digits and `/`.
    fn escape(path: &str) -> String {
        path.bytes()
            .map(|byte| match byte {
                b'/' | b'a'..=b'z' | b'0'..=b'9' => (byte as char).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    }
}
