//! Requests that the firewall refused: counted, logged, and the last of each reason kept in memory for operators.
//!
//! A sample is escaped and cut, and omits anything that may be a secret: the query, a user in an absolute target, and
//! every line of a head that does not begin like a request.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use clock::SharedClock;
use metrics::counter;
use policy::firewall::Refusal;
use policy::ids::RequestId;
use serde::Serialize;

/// Requests to keep for each reason.
const KEPT: usize = 20;
/// Bytes to keep of a method and of a path. Each may become four characters.
const LONGEST_METHOD: usize = 24;
const LONGEST_PATH: usize = 256;

/// The last requests of each reason.
pub struct RefusedSample {
    clock: SharedClock,
    since: DateTime<Utc>,
    /// By reason, in the order of [`Refusal::ALL`].
    reasons: Vec<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    count: u64,
    last: VecDeque<RefusedRequest>,
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRequest {
    pub at_utc: DateTime<Utc>,
    /// Escaped; empty if the request did not begin like one.
    pub method: String,
    /// Escaped, cut after 256 bytes, without the query.
    pub path: String,
    /// Whether a query followed the path.
    pub has_query: bool,
    pub request_id: String,
}

/// The requests refused for one reason since the gate started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedForReason {
    /// As in `gate_refusals_total`.
    pub reason: &'static str,
    pub description: String,
    pub status: u16,
    pub count: u64,
    /// The latest first.
    pub last: Vec<RefusedRequest>,
}

impl RefusedSample {
    /// An empty sample.
    pub fn new(clock: SharedClock) -> RefusedSample {
        let reasons = Refusal::ALL.iter().map(|_| Mutex::default()).collect();
        RefusedSample { since: clock.now(), clock, reasons }
    }

    /// Counts a refusal in `gate_refusals_total`, logs it, and keeps its method and target as they arrived. Both may be
    /// any bytes.
    pub fn observe(&self, refusal: Refusal, method: &[u8], target: &[u8], id: RequestId) {
        counter!("gate_refusals_total", "reason" => refusal.word()).increment(1);
        tracing::info!(reason = refusal.word(), request_id = %id, "a request was refused");
        let Some(seen) = self.reasons.get(refusal as usize) else { return };
        let (path, has_query) = path_of(target);
        let request = RefusedRequest {
            at_utc: self.clock.now(),
            method: escaped(method, LONGEST_METHOD),
            path: escaped(&path, LONGEST_PATH),
            has_query,
            request_id: id.to_string(),
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.count += 1;
        seen.last.truncate(KEPT - 1);
        seen.last.push_front(request);
    }

    /// As [`RefusedSample::observe`], for an HTTP/1 head, or a part of one, that was refused before it was read.
    pub fn observe_head(&self, refusal: Refusal, head: &[u8], id: RequestId) {
        let (method, target) = request_line(head);
        self.observe(refusal, method, target, id);
    }

    /// Since when requests are counted.
    pub fn since(&self) -> DateTime<Utc> {
        self.since
    }

    /// The reasons for which a request was refused, the most frequent first.
    pub fn list(&self) -> Vec<RefusedForReason> {
        let mut list: Vec<RefusedForReason> = Refusal::ALL
            .iter()
            .zip(&self.reasons)
            .filter_map(|(refusal, seen)| {
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                (seen.count > 0).then(|| RefusedForReason {
                    reason: refusal.word(),
                    description: refusal.to_string(),
                    status: refusal.status(),
                    count: seen.count,
                    last: seen.last.iter().cloned().collect(),
                })
            })
            .collect();
        list.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        list
    }
}

/// The method and the target that a head begins with. A line that begins differently may be anything, such as a field
/// with a credential, and yields neither.
fn request_line(head: &[u8]) -> (&[u8], &[u8]) {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let Some(space) = line.iter().position(|byte| *byte == b' ') else { return (b"", b"") };
    let (method, rest) = (&line[..space], &line[space + 1..]);
    if method.is_empty() || !method.iter().all(u8::is_ascii_alphabetic) {
        return (b"", b"");
    }
    let version = rest.windows(b" HTTP/".len()).rposition(|part| part == b" HTTP/");
    match version {
        Some(end) => (method, &rest[..end]),
        // Truncated, or without a version.
        None if rest.starts_with(b"/") => (method, rest),
        None => (method, b""),
    }
}

/// The path of a target, and whether a query follows it. A user before the host is omitted.
fn path_of(target: &[u8]) -> (Vec<u8>, bool) {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let path = &target[..end.unwrap_or(target.len())];
    let host = path.windows(3).position(|part| part == b"://").map(|scheme| scheme + 3);
    let user_end = host.and_then(|host| {
        let authority = path[host..].split(|byte| *byte == b'/').next().unwrap_or_default();
        authority.iter().rposition(|byte| *byte == b'@').map(|at| host + at)
    });
    let path = match (host, user_end) {
        (Some(host), Some(at)) => [&path[..host], &path[at + 1..]].concat(),
        _ => path.to_owned(),
    };
    (path, end.is_some_and(|end| target[end] == b'?'))
}

/// Bytes as text without control characters, line breaks or anything outside ASCII, at most `most` of them.
fn escaped(bytes: &[u8], most: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(most) + 3);
    for byte in &bytes[..bytes.len().min(most)] {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if bytes.len() > most {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::random::request_id;
    use clock::ManualClock;

    fn sample() -> RefusedSample {
        RefusedSample::new(Arc::new(ManualClock::starting_at(DateTime::<Utc>::UNIX_EPOCH)))
    }

    #[test]
    fn a_head_gives_its_method_and_path_and_no_secret() {
        let long = [b"GET /".as_slice(), &b"a".repeat(1_000)].concat();
        let cut = format!("/{}...", "a".repeat(LONGEST_PATH - 1));
        let table: [(&[u8], &str, &str, bool); 15] = [
            (b"GET /a/%2e HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/a/%2e", false),
            (b"GET /a?token=secret HTTP/1.1\r\n", "GET", "/a", true),
            (b"GET /a#?x HTTP/1.1\r\n", "GET", "/a", false),
            (b"GET /a b HTTP/1.1\r\n", "GET", "/a b", false),
            (b"GET /\xff\x1b[31m\\ HTTP/1.1\nHost: x\n\n", "GET", "/\\xff\\x1b[31m\\\\", false),
            (b"GET http://anna:pw@host/a HTTP/1.1\r\n", "GET", "http://host/a", false),
            (b"GET http://host/a@b HTTP/1.1\r\n", "GET", "http://host/a@b", false),
            (&long, "GET", &cut, false),
            (b"GET /half", "GET", "/half", false),
            (b"GET", "", "", false),
            (b"PUT secret", "PUT", "", false),
            (b"Cookie: session=secret HTTP/1.1\r\n", "", "", false),
            (b"password=secret /x HTTP/1.1\r\n", "", "", false),
            (b"\x16\x03\x01 /x\r\n", "", "", false),
            (b"", "", "", false),
        ];
        for (head, method, path, has_query) in table {
            let sample = sample();
            sample.observe_head(Refusal::MalformedHead, head, request_id());
            let seen = &sample.list()[0].last[0];
            let kept = (seen.method.as_str(), seen.path.as_str(), seen.has_query);
            assert_eq!(kept, (method, path, has_query), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn the_last_of_each_reason_are_kept() {
        let sample = sample();
        assert!(sample.list().is_empty());
        sample.observe(Refusal::DotSegment, b"GET", b"/one/../two", request_id());
        for number in 0..1_000 {
            let target = format!("/{number}//");
            sample.observe(Refusal::EmptySegment, b"POST", target.as_bytes(), request_id());
        }
        let list = sample.list();
        let kept: Vec<_> =
            list.iter().map(|reason| (reason.reason, reason.count, reason.last.len())).collect();
        assert_eq!(kept, [("empty_segment", 1_000, KEPT), ("dot_segment", 1, 1)]);
        assert_eq!((&*list[0].last[0].path, &*list[0].last[KEPT - 1].path), ("/999//", "/980//"));
        assert_eq!(list[0].status, 400);
    }

    /// An endless method and an endless target take no more room than the kept part of them.
    #[test]
    fn what_is_kept_is_bounded() {
        let sample = sample();
        let endless = vec![0xff; 1 << 20];
        sample.observe(Refusal::UnknownMethod, &endless, &endless, request_id());
        let seen = &sample.list()[0].last[0];
        assert_eq!(seen.method.len(), 4 * LONGEST_METHOD + 3);
        assert_eq!(seen.path.len(), 4 * LONGEST_PATH + 3);
    }
}
