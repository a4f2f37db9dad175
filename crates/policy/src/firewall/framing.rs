//! Where the body of a request ends.

use super::{Refusal, Version};

/// How the length of a body is determined (RFC 9112 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// A body of this many bytes, which may be zero.
    Length(u64),
    /// A chunked body, whose bytes the caller counts.
    Chunked,
}

impl Framing {
    /// Decides the framing of an HTTP/1 request, or refuses one that two parsers could frame differently.
    ///
    /// pingora forwards `Content-Length: 5,5`, `05` and Content-Length together with Transfer-Encoding unchanged, and
    /// gunicorn reads some of them: a server that disagrees on the end of a body takes the rest of it for a new
    /// request, which no gate has seen. So there is one field with one spelling, and never both.
    pub(super) fn decide(
        version: Version,
        content_length: Option<&[u8]>,
        transfer_encoding: Option<&[u8]>,
        body_limit: u64,
    ) -> Result<Framing, Refusal> {
        match (content_length, transfer_encoding) {
            (Some(_), Some(_)) => Err(Refusal::LengthAndCoding),
            (None, None) => Ok(Framing::None),
            // RFC 9112 6.1 requires a server to treat a coding on HTTP/1.0 as faulty framing. RFC 9110 makes codings
            // case-insensitive, but every client writes `chunked`, and `Chunked` is a classic of request smuggling.
            (None, Some(b"chunked")) if version == Version::Http11 => Ok(Framing::Chunked),
            (None, Some(_)) => Err(Refusal::TransferEncoding),
            (Some(value), None) => within(length(value)?, body_limit).map(Framing::Length),
        }
    }

    /// Decides the framing of an HTTP/2 request, which its frames delimit (RFC 9113 8.1.1).
    ///
    /// A declared length must still be true, because it becomes the framing upstream. `ends_stream` means that no body
    /// follows.
    pub(super) fn decide_http2(
        content_length: Option<&[u8]>,
        ends_stream: bool,
        body_limit: u64,
    ) -> Result<Framing, Refusal> {
        match (content_length.map(length).transpose()?, ends_stream) {
            (None, true) => Ok(Framing::None),
            (None, false) => Ok(Framing::Chunked),
            (Some(1..), true) => Err(Refusal::ContentLength),
            (Some(length), _) => within(length, body_limit).map(Framing::Length),
        }
    }
}

fn length(value: &[u8]) -> Result<u64, Refusal> {
    plain_length(value).ok_or(Refusal::ContentLength)
}

/// Parses `0` or `[1-9][0-9]{0,15}`: no sign, no list, no leading zero, nothing that could overflow.
pub(crate) fn plain_length(value: &[u8]) -> Option<u64> {
    const MOST_DIGITS: usize = 16;
    match value {
        b"0" => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < MOST_DIGITS && rest.iter().all(u8::is_ascii_digit) => {
            Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
        }
        _ => None,
    }
}

fn within(length: u64, limit: u64) -> Result<u64, Refusal> {
    if length <= limit { Ok(length) } else { Err(Refusal::BodyTooLarge) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1_000;

    #[test]
    fn lengths() {
        let decide =
            |value: &'static str| Framing::decide(Version::Http11, Some(value.as_bytes()), None, LIMIT);
        assert_eq!(decide("0"), Ok(Framing::Length(0)));
        assert_eq!(decide("1000"), Ok(Framing::Length(1000)));
        for value in ["1001", "9999999999999999"] {
            assert_eq!(decide(value), Err(Refusal::BodyTooLarge), "{value}");
        }
        for value in [
            "",
            "00",
            "05",
            "+5",
            "-5",
            "5,5",
            "5, 5",
            "5;",
            "5.0",
            "1e1",
            "0x5",
            "_5",
            "1_0",
            "5 5",
            "\u{665}",
            "10000000000000000",
            "99999999999999999999",
        ] {
            assert_eq!(decide(value), Err(Refusal::ContentLength), "{value}");
        }
    }

    #[test]
    fn codings() {
        let decide =
            |value: &'static str| Framing::decide(Version::Http11, None, Some(value.as_bytes()), LIMIT);
        assert_eq!(decide("chunked"), Ok(Framing::Chunked));
        for value in [
            "",
            "Chunked",
            "identity",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "chunked,",
            "chunked;q=1",
            "x",
            "xchunked",
            "\"chunked\"",
            "trailers",
            "\u{b}chunked",
        ] {
            assert_eq!(decide(value), Err(Refusal::TransferEncoding), "{value}");
        }
        let on_http10 = Framing::decide(Version::Http10, None, Some(b"chunked"), LIMIT);
        assert_eq!(on_http10, Err(Refusal::TransferEncoding));
        let both = Framing::decide(Version::Http11, Some(b"5"), Some(b"chunked"), LIMIT);
        assert_eq!(both, Err(Refusal::LengthAndCoding));
        assert_eq!(Framing::decide(Version::Http11, None, None, LIMIT), Ok(Framing::None));
    }

    #[test]
    fn http2() {
        assert_eq!(Framing::decide_http2(None, true, LIMIT), Ok(Framing::None));
        assert_eq!(Framing::decide_http2(None, false, LIMIT), Ok(Framing::Chunked));
        assert_eq!(Framing::decide_http2(Some(b"0"), true, LIMIT), Ok(Framing::Length(0)));
        assert_eq!(Framing::decide_http2(Some(b"7"), false, LIMIT), Ok(Framing::Length(7)));
        assert_eq!(Framing::decide_http2(Some(b"7"), true, LIMIT), Err(Refusal::ContentLength));
        assert_eq!(Framing::decide_http2(Some(b"07"), false, LIMIT), Err(Refusal::ContentLength));
        assert_eq!(Framing::decide_http2(Some(b"1001"), false, LIMIT), Err(Refusal::BodyTooLarge));
    }
}
