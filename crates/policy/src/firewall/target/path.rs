//! Decoding a path once, as a WSGI server does.

use crate::firewall::Refusal;
use regex::Regex;
use std::sync::LazyLock;

/// Decodes a raw path that begins with `/` and contains only bytes that may be unescaped. `None` if it decodes to
/// itself.
///
/// gunicorn decodes every escape once (`urllib.parse.unquote_to_bytes`); then Werkzeug reads the bytes as UTF-8 and
/// splits them into segments. So the checks are made on the decoded path.
pub(super) fn decode(raw: &[u8]) -> Result<Option<String>, Refusal> {
    let Some(first_escape) = raw.iter().position(|&byte| byte == b'%') else {
        check_segments(raw)?;
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
    check_segments(&decoded)?;
    // Strict: Werkzeug replaces invalid bytes by U+FFFD, so that `%FF` and `%FE` would name the same path.
    let decoded = String::from_utf8(decoded).map_err(|_| Refusal::InvalidUtf8)?;
    if !decoded.is_ascii() && FORBIDDEN.is_match(&decoded) {
        return Err(Refusal::ForbiddenCharacter);
    }
    Ok(Some(decoded))
}

/// Refuses empty segments (except the one after a final `/`) and dot segments of a decoded path.
///
/// Werkzeug serves `//secrets` as `/secrets` and keeps `..` as data, while another hop may resolve it. A segment is
/// checked without its `;parameters`, because `/public/..;/secrets` is `/secrets` to servlet containers. Dots between
/// backslashes are checked too, because some hops treat backslashes as slashes.
fn check_segments(path: &[u8]) -> Result<(), Refusal> {
    let without_parameters =
        |segment: &'_ [u8]| segment.iter().position(|&byte| byte == b';').unwrap_or(segment.len());
    // Safe to skip the first: the path begins with `/`, so the part before it is empty.
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let is_dots = |part: &[u8]| matches!(&part[..without_parameters(part)], b"." | b"..");
        if segment.split(|&byte| byte == b'\\').any(is_dots) {
            return Err(Refusal::DotSegment);
        }
        if without_parameters(segment) == 0 && !(is_last && segment.is_empty()) {
            return Err(Refusal::EmptySegment);
        }
    }
    Ok(())
}

/// The byte that `%` and two digits of either case encode, unless it is a control character.
fn escaped_byte(high: u8, low: u8) -> Result<u8, Refusal> {
    let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low)) else {
        return Err(Refusal::MalformedEscape);
    };
    match high << 4 | low {
        // They end a string or a line.
        0x00..=0x1f | 0x7f => Err(Refusal::ForbiddenEscape),
        byte => Ok(byte),
    }
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Beyond ASCII: control characters, characters that break or reorder the line in which an operator reads a path,
/// unassigned characters (unless reserved for an emoji), and digits that are newer than Unicode 12.1.
///
/// `DELETE /rbac/grants/%D9%A4` revokes grant 4: Python's `\d` and `int()` accept every decimal digit of its Unicode
/// version. The digits of Unicode 12.1 are digits to Python 3.8 and to the matcher; a newer one is a digit to only some
/// Pythons, and a character that is unassigned today may become one.
static FORBIDDEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        [\p{Cc}--[\x00-\x7F]] | [\p{Zl}\p{Zp}\u{202A}-\u{202E}\u{2066}-\u{2069}]
        | [\p{Cn}--\p{Extended_Pictographic}] | [\p{Nd}--\p{Age=12.1}]",
    )
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
            ("/%2e%2e/a", Refusal::DotSegment),
            ("/%2E%2E/a", Refusal::DotSegment),
            ("/.%2E/a", Refusal::DotSegment),
            ("/a%2F%2E%2E%2Fb", Refusal::DotSegment),
            ("/a%2F.", Refusal::DotSegment),
            ("/a/..\\b", Refusal::DotSegment),
            ("/a\\..\\b", Refusal::DotSegment),
            ("/a%5C..%5Cb", Refusal::DotSegment),
            ("/a%5C.", Refusal::DotSegment),
            ("/%2F", Refusal::EmptySegment),
            ("/%2Fsecrets", Refusal::EmptySegment),
            ("/a/%2Fb", Refusal::EmptySegment),
            ("/a%2F/b", Refusal::EmptySegment),
            ("/a%2F%2fb", Refusal::EmptySegment),
            ("/a%2F%2F", Refusal::EmptySegment),
            ("/a%00", Refusal::ForbiddenEscape),
            ("/a%0A", Refusal::ForbiddenEscape),
            ("/a%0d%0a", Refusal::ForbiddenEscape),
            ("/a%1F", Refusal::ForbiddenEscape),
            ("/a%7F", Refusal::ForbiddenEscape),
            ("/a%7f", Refusal::ForbiddenEscape),
            ("/a%", Refusal::MalformedEscape),
            ("/a%2", Refusal::MalformedEscape),
            ("/a%/b", Refusal::MalformedEscape),
            ("/a%zz", Refusal::MalformedEscape),
            ("/a%u0073", Refusal::MalformedEscape),
            ("/a%%41", Refusal::MalformedEscape),
            ("/a%%341", Refusal::MalformedEscape),
            ("/a%+1", Refusal::MalformedEscape),
            ("/a%\u{ff11}1", Refusal::MalformedEscape),
            ("/a%FF", Refusal::InvalidUtf8),
            ("/a%C0%AE", Refusal::InvalidUtf8),
            ("/a%C0%AF", Refusal::InvalidUtf8),
            ("/a%E0%80%AF", Refusal::InvalidUtf8),
            ("/a%ED%A0%80", Refusal::InvalidUtf8),
            ("/a%C3", Refusal::InvalidUtf8),
            ("/a%c3%2F%a9", Refusal::InvalidUtf8),
        ];
        for &(path, refusal) in cases {
            assert_eq!(decode(path.as_bytes()), Err(refusal), "{path}");
        }
    }

    #[test]
    fn characters_beyond_ascii_by_category() {
        let forbidden = [
            ('\u{85}', "Cc"),
            ('\u{202e}', "bidi"),
            ('\u{2066}', "bidi"),
            ('\u{378}', "Cn"),
            ('\u{fffe}', "Cn"),
            ('\u{10ffff}', "Cn"),
            ('\u{2028}', "Zl"),
            ('\u{2029}', "Zp"),
            ('\u{11950}', "Nd of Unicode 13"),
            ('\u{1fbf9}', "Nd of Unicode 13"),
            ('\u{11f50}', "Nd of Unicode 15"),
            ('\u{1e4f0}', "Nd of Unicode 15"),
            ('\u{10d40}', "Nd of Unicode 16"),
        ];
        for (character, category) in forbidden {
            let path = escape(&format!("/a{character}b"));
            assert_eq!(decode(path.as_bytes()), Err(Refusal::ForbiddenCharacter), "{path} {category}");
        }
        let passing = [
            "\u{e9}\u{df}\u{3a9}\u{4e2d}\u{301}\u{ff0f}\u{1f600}\u{b2}",
            // ZWJ and variation selectors in emoji, tags in a flag, one that Unicode has only reserved.
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{2764}\u{fe0f}\u{1f3f4}\u{e0067}\u{e007f}\u{1f8ff}",
            // Joiners of Persian and Hindi, marks of direction, soft hyphen, byte order mark.
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{915}\u{94d}\u{200d}\u{937}\u{200e}\u{200f}\u{ad}\u{feff}",
            // Spaces, as in the names of screenshots.
            "\u{a0}\u{202f}\u{3000}\u{2009}",
            // Digits that every Python knows.
            "\u{664}\u{6f4}\u{967}\u{ff15}\u{1d7d8}\u{1e950}",
            // Apple's logo.
            "\u{f8ff}",
        ];
        for character in passing {
            let path = escape(&format!("/a{character} 5"));
            assert_eq!(decode(path.as_bytes()), Ok(Some(format!("/a{character} 5"))), "{path}");
        }
    }

    #[test]
    fn the_matcher_knows_every_digit_that_passes() {
        let digits = Regex::new(r"\p{Nd}").unwrap();
        let mut passing = 0;
        for character in ('\u{80}'..=char::MAX).filter(|character| digits.is_match(&character.to_string())) {
            let path = escape(&format!("/a{character}"));
            let is_known = crate::mapping::converter::digit_value(character).is_some();
            match decode(path.as_bytes()) {
                Ok(_) => assert!(is_known, "{path}"),
                Err(refusal) => assert_eq!(refusal, Refusal::ForbiddenCharacter, "{path}"),
            }
            passing += usize::from(decode(path.as_bytes()).is_ok());
        }
        // Unicode 12.1 has 63 rows of ten and the ten of ASCII.
        assert_eq!(passing, 620);
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
