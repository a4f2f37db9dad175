//! The head of a response.

use memchr::memchr;

use super::{ResponseFault, ResponseFields};
use crate::firewall::{Bare, has_control, is_token_byte, plain_length, split_at_line_end, trim_white_space};
use crate::method::Method;

/// The most fields that a head may have.
const MOST_FIELDS: usize = 256;

/// Fields that are about one connection (RFC 9110 7.6.1): each hop has its own.
const OF_THE_CONNECTION: [&[u8]; 8] = [
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"content-length",
];

/// The parts of a request that decide how its response is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestContext {
    pub method: Method,
    /// Whether the request asked for a WebSocket and is permitted to have it.
    pub upgrade: bool,
}

/// Where the body of a response ends (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is no body, whatever the fields state.
    None,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the server closes the connection.
    UntilClose,
}

/// A head that two parsers cannot read differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    status: u16,
    reason: Vec<u8>,
    fields: ResponseFields,
    framing: ResponseFraming,
    content_length: Option<u64>,
    is_reusable: bool,
}

impl ResponseHead {
    /// Reads a head: its raw bytes up to and including the blank line, and nothing after it.
    ///
    /// # Errors
    ///
    /// Anything that RFC 9112 forbids, and much that it lets a recipient tolerate.
    pub fn parse(head: &[u8], context: RequestContext) -> Result<ResponseHead, ResponseFault> {
        let mut rest = head;
        let (is_http11, status, reason) = status_line(next_line(&mut rest)?)?;
        let mut fields = ResponseFields::with_capacity(head.len());
        let mut connection = Connection::default();
        let (mut length, mut coding) = (None, None);
        let mut upgrades = Vec::new();
        loop {
            let line = next_line(&mut rest)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = field(line)?;
            if name.eq_ignore_ascii_case(b"content-length") {
                once(&mut length, value, ResponseFault::ContentLength)?;
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                once(&mut coding, value, ResponseFault::TransferEncoding)?;
            } else if name.eq_ignore_ascii_case(b"connection") {
                connection.add(value);
            } else if name.eq_ignore_ascii_case(b"upgrade") {
                upgrades.push(value);
            }
            if !OF_THE_CONNECTION.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                fields.push(name, value);
            }
            if fields.len() > MOST_FIELDS {
                return Err(ResponseFault::HeadTooLarge);
            }
        }
        if !rest.is_empty() {
            return Err(ResponseFault::StatusLine);
        }
        if !connection.nominated.is_empty() {
            fields.remove(|name| connection.nominated.iter().any(|other| name.eq_ignore_ascii_case(other)));
        }
        let length =
            length.map(|value| plain_length(value).ok_or(ResponseFault::ContentLength)).transpose()?;
        let is_chunked = match coding {
            None => false,
            // HTTP/1.0 has no transfer codings; a server that sends one has made a mistake.
            Some(value) if is_http11 && value.eq_ignore_ascii_case(b"chunked") => true,
            Some(_) => return Err(ResponseFault::TransferEncoding),
        };
        if length.is_some() && is_chunked {
            return Err(ResponseFault::LengthAndCoding);
        }
        let switches = status == 101;
        if switches {
            let to_websocket = matches!(upgrades[..], [only] if only.eq_ignore_ascii_case(b"websocket"));
            if !(context.upgrade && to_websocket && connection.upgrade && is_http11) {
                return Err(ResponseFault::Upgrade);
            }
        }
        let has_no_body = context.method == Method::Head || status < 200 || matches!(status, 204 | 304);
        let framing = match (has_no_body, is_chunked, length) {
            (true, _, _) => ResponseFraming::None,
            (false, true, _) => ResponseFraming::Chunked,
            (false, false, Some(length)) => ResponseFraming::Length(length),
            (false, false, None) => ResponseFraming::UntilClose,
        };
        // A server that correctly leaves out the body of a HEAD response, and one that relies on an application that
        // does not leave it out, send the same head. In the second case the body arrives a moment later, as the
        // beginning of the next response. The same applies where another response that has no body declares one.
        let declares_body = is_chunked || length.unwrap_or_default() > 0;
        let may_have_a_body_yet = has_no_body && (context.method == Method::Head || declares_body);
        let keeps_alive = !connection.close && (is_http11 || connection.keep_alive);
        let is_reusable =
            keeps_alive && !may_have_a_body_yet && !switches && framing != ResponseFraming::UntilClose;
        let content_length = length.filter(|_| status >= 200 && status != 204);
        Ok(ResponseHead { status, reason: reason.to_vec(), fields, framing, content_length, is_reusable })
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, which may be empty.
    pub fn reason(&self) -> &[u8] {
        &self.reason
    }

    /// The fields for the client. Framing and connection fields are written separately.
    pub fn fields(&self) -> &ResponseFields {
        &self.fields
    }

    /// Where the body ends.
    pub fn framing(&self) -> ResponseFraming {
        self.framing
    }

    /// The declared length: of the body, or, if the body is left out, of the body that a GET would have returned.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether this is an interim response (1xx), which is followed by another response. 101 is not one.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether the server switched to a WebSocket, as requested.
    pub fn switches(&self) -> bool {
        self.status == 101
    }

    /// Whether the connection can serve another request once the body has ended.
    pub fn is_reusable(&self) -> bool {
        self.is_reusable
    }
}

/// The contents of the Connection fields.
#[derive(Default)]
struct Connection<'h> {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// The fields that end at this hop.
    nominated: Vec<&'h [u8]>,
}

impl<'h> Connection<'h> {
    fn add(&mut self, value: &'h [u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !option.is_empty() {
                self.nominated.push(option);
            }
        }
    }
}

/// `HTTP/1.1 200 OK`: version, three digits, and a phrase. The phrase and its space may be missing, as many servers
/// leave them out.
fn status_line(line: &[u8]) -> Result<(bool, u16, &[u8]), ResponseFault> {
    let is_http11 = match line.get(..8) {
        Some(b"HTTP/1.1") => true,
        Some(b"HTTP/1.0") => false,
        _ => return Err(ResponseFault::Version),
    };
    let [b' ', hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = &line[8..] else {
        return Err(ResponseFault::StatusLine);
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(ResponseFault::StatusLine),
    };
    if has_control(reason) { Err(ResponseFault::StatusLine) } else { Ok((is_http11, status, reason)) }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), ResponseFault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(ResponseFault::FoldedField);
    }
    let colon = memchr(b':', line).ok_or(ResponseFault::FieldName)?;
    let (name, value) = (&line[..colon], trim_white_space(&line[colon + 1..]));
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return Err(ResponseFault::FieldName);
    }
    if has_control(value) { Err(ResponseFault::FieldValue) } else { Ok((name, value)) }
}

fn next_line<'h>(rest: &mut &'h [u8]) -> Result<&'h [u8], ResponseFault> {
    let (line, following) = split_at_line_end(rest).map_err(|bare| match bare {
        None => ResponseFault::StatusLine,
        Some(Bare::CarriageReturn) => ResponseFault::BareCarriageReturn,
        Some(Bare::LineFeed) => ResponseFault::BareLineFeed,
    })?;
    *rest = following;
    Ok(line)
}

fn once<'h>(slot: &mut Option<&'h [u8]>, value: &'h [u8], fault: ResponseFault) -> Result<(), ResponseFault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(fault),
    }
}
