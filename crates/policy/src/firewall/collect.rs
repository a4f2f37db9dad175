//! Sorts the fields of a head: fields that the gate acts on, fields that pass, fields that are dropped.

use super::connection::ConnectionOptions;
use super::cookie::{self, Cookies};
use super::fields::{Fields, Name, check_value, lower_name};
use super::{Policy, Refusal, Version};

/// What the gate has read from the fields so far.
pub(super) struct Collected<'h> {
    pub(super) host: Option<&'h [u8]>,
    pub(super) content_length: Option<&'h [u8]>,
    pub(super) transfer_encoding: Option<&'h [u8]>,
    pub(super) expectation: Option<&'h [u8]>,
    pub(super) upgrade: Option<&'h [u8]>,
    pub(super) connection: ConnectionOptions,
    pub(super) forwarded_for: Vec<String>,
    pub(super) forwarded_proto: Option<String>,
    /// The value of X-Request-Id, if there is one such field.
    pub(super) request_id: Claimed<'h>,
    pub(super) kept: Fields,
    /// The names of fields that Console could read under another name.
    pub(super) dropped: Vec<String>,
    /// The pieces of a cookie that HTTP/2 may split (RFC 9113 8.2.3), joined again.
    cookie: Option<Vec<u8>>,
    /// Whether the client sent several Cookie fields over HTTP/1.
    is_joined: bool,
    version: Version,
    count: usize,
    /// The current name in lower case; the buffer is reused.
    lower: Vec<u8>,
}

/// A field that a proxy in front may have set.
#[derive(Clone, Copy)]
pub(super) enum Claimed<'h> {
    Nothing,
    One(&'h [u8]),
    Several,
}

impl<'h> Collected<'h> {
    pub(super) fn new(version: Version, head_bytes: usize) -> Collected<'h> {
        Collected {
            host: None,
            content_length: None,
            transfer_encoding: None,
            expectation: None,
            upgrade: None,
            connection: ConnectionOptions::default(),
            forwarded_for: Vec::new(),
            forwarded_proto: None,
            request_id: Claimed::Nothing,
            kept: Fields::with_capacity(head_bytes),
            dropped: Vec::new(),
            cookie: None,
            is_joined: false,
            version,
            count: 0,
            lower: Vec::new(),
        }
    }

    /// Adds one field, or refuses the request because of it.
    pub(super) fn add(&mut self, name: &[u8], value: &'h [u8], policy: &Policy) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > policy.limits.header_count {
            return Err(Refusal::TooManyFields);
        }
        if name.len() + 1 + value.len() > policy.limits.header_bytes {
            return Err(Refusal::FieldTooLarge);
        }
        check_value(value)?;
        let name = match lower_name(name, &mut self.lower)? {
            Name::Plain(name) => name,
            Name::Folding(name) => {
                self.dropped.push(String::from_utf8_lossy(name).into_owned());
                return Ok(());
            }
        };
        if self.version == Version::Http2 {
            check_http2(name, value)?;
        }
        match name {
            b"host" => once(&mut self.host, value),
            b"content-length" => once(&mut self.content_length, value),
            b"transfer-encoding" => once(&mut self.transfer_encoding, value),
            b"expect" => once(&mut self.expectation, value),
            b"upgrade" => once(&mut self.upgrade, value),
            b"connection" => self.connection.add(value),
            b"cookie" => {
                self.is_joined |= self.cookie.is_some() && self.version != Version::Http2;
                join_cookie(&mut self.cookie, value);
                Ok(())
            }
            // Each of these is read by the gate or decides how Console reads the body; WSGI would join two of them by a
            // comma.
            b"authorization"
            | b"content-type"
            | b"origin"
            | b"sec-websocket-key"
            | b"sec-websocket-version"
                if self.kept.has(name) =>
            {
                Err(Refusal::RepeatedField)
            }
            b"x-forwarded-for" => {
                self.forwarded_for.extend(list_elements(value));
                Ok(())
            }
            b"x-forwarded-proto" => {
                self.forwarded_proto = list_elements(value).last().or(self.forwarded_proto.take());
                Ok(())
            }
            b"x-request-id" => {
                self.request_id = match self.request_id {
                    Claimed::Nothing => Claimed::One(value),
                    Claimed::One(_) | Claimed::Several => Claimed::Several,
                };
                Ok(())
            }
            _ => {
                if !policy.strip.strips(name) {
                    self.kept.push(name, value);
                }
                Ok(())
            }
        }
    }

    /// The session cookies. A Cookie field that needs no rewriting is added to the fields that pass.
    pub(super) fn take_cookies(&mut self, policy: &Policy) -> Cookies {
        let Some(header) = self.cookie.take() else {
            return Cookies::default();
        };
        let mut cookies = cookie::read(&header, &policy.session_cookie, self.is_joined);
        if policy.strip.strips(b"cookie") {
            cookies.rest = None;
            // Which of several Console would see makes no difference: it sees none.
            cookies.sessions.truncate(1);
        } else if cookies.rest.is_none() {
            self.kept.push(b"cookie", &header);
        }
        cookies
    }
}

/// Refuses a duplicate of a field that may occur only once: a parser that takes the first and one that takes the last
/// see different requests.
fn once<'h>(slot: &mut Option<&'h [u8]>, value: &'h [u8]) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::RepeatedField),
    }
}

/// RFC 9113 8.2.3 requires HTTP/2 Cookie fields to be joined by `; ` before they go to HTTP/1. In HTTP/1, RFC 6265 5.4
/// forbids a second Cookie field, and WSGI joins two by a comma, which loses the session. So Console gets one field.
fn join_cookie(cookie: &mut Option<Vec<u8>>, value: &[u8]) {
    match cookie {
        None => *cookie = Some(value.to_vec()),
        Some(joined) => {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(value);
        }
    }
}

/// Connection-specific fields are malformed in HTTP/2 (RFC 9113 8.2.2); converted to HTTP/1 they smuggle requests.
fn check_http2(name: &[u8], value: &[u8]) -> Result<(), Refusal> {
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade"
        | b"http2-settings" => Err(Refusal::ConnectionFieldOnHttp2),
        b"te" if value != b"trailers" => Err(Refusal::ConnectionFieldOnHttp2),
        _ => Ok(()),
    }
}

/// The elements of a comma-separated list (RFC 9110 5.6.1), without empty ones.
fn list_elements(value: &[u8]) -> impl Iterator<Item = String> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(|element| String::from_utf8_lossy(element).into_owned())
}
