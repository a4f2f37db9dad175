//! Finds the end of a head in a growing buffer, and gives up early on bytes that cannot become one.

use memchr::memchr;

use super::{Limits, Refusal, request_line};

/// The longest request line without its target: `OPTIONS`, two spaces, `HTTP/1.1`.
const REQUEST_LINE_OVERHEAD: usize = "OPTIONS  HTTP/1.1".len();

/// The state of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadState {
    /// A whole head of this many bytes, including the blank line; the bytes after it are the body or the next request.
    Complete(usize),
    /// Incomplete; read more and try again.
    Partial,
    /// No continuation can make this a request that the gate would accept.
    Refused(Refusal),
}

/// A search for the end of a head that remembers its position.
///
/// Without that memory, a client that sends one byte at a time would have the whole buffer searched again for each
/// byte.
#[derive(Debug, Default)]
pub struct HeadSearch {
    /// Where the line that is being searched begins.
    line_start: usize,
    /// There is no unexamined line feed before this position.
    searched: usize,
    method_known: bool,
}

impl HeadSearch {
    /// Examines the bytes added to `buffer`. Between two calls it may only grow.
    ///
    /// HTTP/2 is refused; a caller that speaks it looks for its preface first. Empty lines before the request line are
    /// refused, although RFC 9112 2.2 asks servers to ignore them: no current client sends them, and each is a chance
    /// for two parsers to disagree on where a request begins.
    pub fn advance(&mut self, buffer: &[u8], limits: &Limits) -> HeadState {
        match self.search(buffer, limits) {
            Ok(Some(length)) => HeadState::Complete(length),
            Ok(None) => HeadState::Partial,
            Err(refusal) => HeadState::Refused(refusal),
        }
    }

    fn search(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        if !self.method_known {
            self.method_known = starts_with_method(buffer)?;
        }
        while let Some(offset) = memchr(b'\n', &buffer[self.searched..]) {
            let line_feed = self.searched + offset;
            let Some(line) = buffer[self.line_start..line_feed].strip_suffix(b"\r") else {
                return Err(Refusal::BareLineFeed);
            };
            let is_request_line = self.line_start == 0;
            if is_request_line && line.len() > limits.target_bytes.saturating_add(REQUEST_LINE_OVERHEAD) {
                return Err(Refusal::TargetTooLong);
            }
            self.searched = line_feed + 1;
            self.line_start = self.searched;
            if self.searched > limits.head_bytes {
                return Err(Refusal::HeadTooLarge);
            }
            if line.is_empty() {
                return if is_request_line { Err(Refusal::MalformedHead) } else { Ok(Some(self.searched)) };
            }
        }
        self.searched = buffer.len();
        let line_limit = limits.target_bytes.saturating_add(REQUEST_LINE_OVERHEAD + 1);
        if self.line_start == 0 && buffer.len() > line_limit {
            return Err(Refusal::TargetTooLong);
        }
        if buffer.len() > limits.head_bytes { Err(Refusal::HeadTooLarge) } else { Ok(None) }
    }
}

/// Examines a whole buffer once: [`HeadSearch::advance`] for a caller that does not read piecemeal.
pub fn head_state(buffer: &[u8], limits: &Limits) -> HeadState {
    HeadSearch::default().advance(buffer, limits)
}

/// Whether the buffer contains a method and the space after it; an error as soon as it cannot.
///
/// A TLS client, a PROXY-protocol preamble or an HTTP/2 preface gets an error at once instead of a timeout.
fn starts_with_method(buffer: &[u8]) -> Result<bool, Refusal> {
    const LONGEST: usize = "OPTIONS ".len();
    const TLS_HANDSHAKE_RECORD: u8 = 0x16;

    let start = &buffer[..buffer.len().min(LONGEST)];
    if start.first() == Some(&TLS_HANDSHAKE_RECORD) {
        return Err(Refusal::TlsHandshake);
    }
    match start.iter().position(|byte| !byte.is_ascii_uppercase()) {
        None if start.len() == LONGEST => Err(Refusal::UnknownMethod),
        None => Ok(false),
        Some(length) if start[length] != b' ' => Err(start_fault(start, length)),
        Some(3) if start.starts_with(b"PRI") => Err(Refusal::Http2Preface),
        Some(length) => request_line::method(&start[..length]).map(|_| true),
    }
}

/// The fault of a buffer whose first bytes are `length` capitals and then something other than a space.
fn start_fault(start: &[u8], length: usize) -> Refusal {
    match start[length] {
        b'\n' if length == 0 => Refusal::BareLineFeed,
        byte if request_line::may_be_in_method(byte) => Refusal::UnknownMethod,
        _ => Refusal::MalformedHead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits =
        Limits { target_bytes: 20, head_bytes: 120, header_count: 10, header_bytes: 60, body_bytes: 100 };

    #[test]
    fn the_first_bytes_show_another_protocol() {
        let cases: &[(&[u8], HeadState)] = &[
            (b"", HeadState::Partial),
            (b"GE", HeadState::Partial),
            (b"GET ", HeadState::Partial),
            (b"OPTIONS", HeadState::Partial),
            (b"OPTIONS ", HeadState::Partial),
            (b"OPTIONSX", HeadState::Refused(Refusal::UnknownMethod)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadState::Refused(Refusal::Http2Preface)),
            (b"\x16\x03\x01", HeadState::Refused(Refusal::TlsHandshake)),
            (b"PROXY TCP4 1.2.3.4", HeadState::Refused(Refusal::UnknownMethod)),
            (b"CONNECT h:1 ", HeadState::Refused(Refusal::UnknownMethod)),
            (b"M-SEARCH *", HeadState::Refused(Refusal::UnknownMethod)),
            (b"AB ", HeadState::Refused(Refusal::MalformedHead)),
            (b"get / HTTP/1.1\r\n", HeadState::Refused(Refusal::MalformedHead)),
            (b" GET / HTTP/1.1\r\n", HeadState::Refused(Refusal::MalformedHead)),
            (b"GET\t/ HTTP/1.1\r\n", HeadState::Refused(Refusal::MalformedHead)),
            (b"\r\nGET / HTTP/1.1\r\n", HeadState::Refused(Refusal::MalformedHead)),
            (b"\nGET / HTTP/1.1\r\n", HeadState::Refused(Refusal::BareLineFeed)),
        ];
        for (buffer, expected) in cases {
            assert_eq!(head_state(buffer, &SMALL), *expected, "{:?}", String::from_utf8_lossy(buffer));
        }
    }

    #[test]
    fn the_end_is_the_first_blank_line() {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\n\r\n";
        assert_eq!(head_state(request, &SMALL), HeadState::Complete(27));
        assert_eq!(head_state(b"GET / HTTP/1.1\r\n\r\n", &SMALL), HeadState::Complete(18));
        assert_eq!(
            head_state(b"GET / HTTP/1.1\nHost: h\n\n", &SMALL),
            HeadState::Refused(Refusal::BareLineFeed)
        );
        let mixed = b"GET / HTTP/1.1\r\nHost: h\r\n\n";
        assert_eq!(head_state(mixed, &SMALL), HeadState::Refused(Refusal::BareLineFeed));
    }

    #[test]
    fn a_split_anywhere_gives_the_same_answer() {
        let request = b"POST /x HTTP/1.1\r\nHost: h\r\nX: \r\n\r\nbody";
        let end = request.len() - b"body".len();
        for split in 0..request.len() {
            let mut search = HeadSearch::default();
            let first = search.advance(&request[..split], &SMALL);
            if split < end {
                assert_eq!(first, HeadState::Partial, "{split}");
                assert_eq!(search.advance(request, &SMALL), HeadState::Complete(end), "{split}");
            } else {
                assert_eq!(first, HeadState::Complete(end), "{split}");
            }
        }
    }

    #[test]
    fn sizes_are_refused_as_soon_as_they_show() {
        let long_target = format!("GET /{}", "a".repeat(40));
        assert_eq!(head_state(long_target.as_bytes(), &SMALL), HeadState::Refused(Refusal::TargetTooLong));
        let long_line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(40));
        assert_eq!(head_state(long_line.as_bytes(), &SMALL), HeadState::Refused(Refusal::TargetTooLong));
        let long_field = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(110));
        assert_eq!(head_state(long_field.as_bytes(), &SMALL), HeadState::Refused(Refusal::HeadTooLarge));
        let long_head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(110));
        assert_eq!(head_state(long_head.as_bytes(), &SMALL), HeadState::Refused(Refusal::HeadTooLarge));
    }
}
