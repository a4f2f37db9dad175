//! Traces of requests for a collector of OpenTelemetry, where `[otlp]` names one.
//!
//! ```text
//! front, firewall, match, identity, access, decide, audit, upstream   (spans of one request, below one for all of it)
//!    -> queue (bounded) -> batch -> OTLP over HTTP -> collector
//! ```
//!
//! An untraced request carries no trace and reads no clock for it. A traced request adds to its own list, and hands the
//! list to a queue when it has ended; if the queue is full, the list is dropped and counted, so that a slow or missing
//! collector costs no request anything. Spans contain neither queries nor paths nor callers: only routes, outcomes and
//! the request id, under which the log and the audit have the rest.

mod exporter;
mod wire;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use metrics::{Counter, counter};
use policy::hex;
use tokio::sync::{mpsc, oneshot};

pub use exporter::{Collector, Exporting};

/// Requests whose spans wait for the collector.
const QUEUE: usize = 2_048;

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Value {
    Word(&'static str),
    Text(String),
    Shared(Arc<str>),
    Number(u32),
}

/// An attribute of a span.
pub type Attribute = (&'static str, Value);

/// Traces requests.
pub struct Tracer {
    /// A request is traced if the lower half of its trace's id is below this.
    below: u128,
    /// Whether the proxies in front are the operator's own, so that their decision counts.
    follows: bool,
    queue: mpsc::Sender<Message>,
    dropped: Counter,
}

/// The messages to the exporting task.
enum Message {
    Done(Box<Done>),
    /// Send everything so far.
    Finish(oneshot::Sender<()>),
}

/// The trace of one request.
pub struct Trace {
    id: [u8; 16],
    root: [u8; 8],
    parent: Option<[u8; 8]>,
    begun: Instant,
    begun_at: SystemTime,
    parts: Mutex<Vec<Part>>,
}

/// A part of a request.
#[derive(Debug)]
struct Part {
    id: [u8; 8],
    name: &'static str,
    begun: Instant,
    ended: Instant,
    attributes: Vec<Attribute>,
    failed: bool,
    /// Whether it is a call of another server.
    is_call: bool,
}

/// A request that has ended.
struct Done {
    id: [u8; 16],
    root: [u8; 8],
    parent: Option<[u8; 8]>,
    name: String,
    begun: Instant,
    begun_at: SystemTime,
    ended: Instant,
    attributes: Vec<Attribute>,
    failed: bool,
    parts: Vec<Part>,
}

/// When the head of a request arrived and was judged.
#[derive(Clone, Copy, Debug)]
pub struct HeadTimes {
    pub first_byte: Instant,
    pub read: Instant,
    pub judged: Instant,
}

/// A part of a request that ends when this value is dropped.
pub struct Span<'t> {
    of: Option<(&'t Trace, Instant)>,
    name: &'static str,
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        if let Some((trace, begun)) = self.of {
            trace.add(self.name, begun, Instant::now());
        }
    }
}

/// Begins a part of a request, where it is traced.
pub fn span<'t>(trace: Option<&'t Trace>, name: &'static str) -> Span<'t> {
    Span { of: trace.map(|trace| (trace, Instant::now())), name }
}

/// A call to a server, which continues the trace.
pub struct Call<'t> {
    trace: &'t Trace,
    id: [u8; 8],
    begun: Instant,
}

impl Tracer {
    /// A tracer that hands its traces to `exporting`, which has to be run. If `follows`, a `traceparent` determines
    /// whether a request is traced and by what id; otherwise it is ignored, as from any caller.
    pub fn new(sample_ratio: f64, follows: bool) -> (Tracer, Exporting) {
        let (queue, queued) = mpsc::channel(QUEUE);
        let dropped = counter!("gate_traces_dropped_total", "reason" => "queue");
        dropped.absolute(0);
        let tracer = Tracer { below: share(sample_ratio), follows, queue, dropped };
        (tracer, Exporting::new(queued))
    }

    /// The trace of a request that begins; `None` where it is not traced.
    pub fn begin(&self, traceparent: Option<&[u8]>, begun: Instant) -> Option<Trace> {
        let parent = traceparent.filter(|_| self.follows).and_then(Parent::parse);
        let id = match &parent {
            Some(parent) if !parent.is_sampled => return None,
            Some(parent) => parent.trace,
            None => {
                let (high, low): (u64, u64) = (rand::random(), rand::random());
                if u128::from(low) >= self.below {
                    return None;
                }
                // All zeros are not a valid id, and one for zero makes no difference.
                (u128::from(high) << 64 | u128::from(low)).max(1).to_be_bytes()
            }
        };
        let begun_at = wire::time_of(begun);
        let parent = parent.map(|parent| parent.span);
        Some(Trace {
            id,
            root: span_id(),
            parent,
            begun,
            begun_at,
            parts: Mutex::new(Vec::with_capacity(12)),
        })
    }

    /// Takes the trace of a request that has ended.
    pub fn end(&self, trace: Trace, name: String, attributes: Vec<Attribute>, failed: bool) {
        let Trace { id, root, parent, begun, begun_at, parts } = trace;
        let parts = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ended = Instant::now();
        let done = Done { id, root, parent, name, begun, begun_at, ended, attributes, failed, parts };
        if self.queue.try_send(Message::Done(Box::new(done))).is_err() {
            self.dropped.increment(1);
        }
    }

    /// Sends what waits, within `limit`.
    pub async fn finish(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        let finish = async {
            if self.queue.send(Message::Finish(done)).await.is_ok() {
                let _ = finished.await;
            }
        };
        if tokio::time::timeout(limit, finish).await.is_err() {
            tracing::warn!("the last traces were not sent in time");
        }
    }
}

impl Trace {
    /// Adds a part that has ended.
    pub fn add(&self, name: &'static str, begun: Instant, ended: Instant) {
        self.push(Part {
            id: span_id(),
            name,
            begun,
            ended,
            attributes: Vec::new(),
            failed: false,
            is_call: false,
        });
    }

    /// Adds the times of the head.
    pub fn head(&self, times: &HeadTimes) {
        self.add("front", times.first_byte, times.read);
        self.add("firewall", times.read, times.judged);
    }

    /// Whether it began before the gate.
    pub fn is_continued(&self) -> bool {
        self.parent.is_some()
    }

    /// Begins the call of a server.
    pub fn call(&self) -> Call<'_> {
        Call { trace: self, id: span_id(), begun: Instant::now() }
    }

    fn push(&self, part: Part) {
        // The list is whole after every statement, so a panic elsewhere does no harm.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }
}

impl Call<'_> {
    /// The server's `traceparent` (W3C Trace Context).
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", hex::lower(self.trace.id), hex::lower(self.id))
    }

    /// Ends the call.
    pub fn end(self, attributes: Vec<Attribute>, failed: bool) {
        let Call { trace, id, begun } = self;
        let ended = Instant::now();
        trace.push(Part { id, name: "upstream", begun, ended, attributes, failed, is_call: true });
    }
}

/// The caller's span, if a request continues a trace.
struct Parent {
    trace: [u8; 16],
    span: [u8; 8],
    is_sampled: bool,
}

impl Parent {
    /// Reads `00-<trace id>-<span id>-<flags>`; of a later version, the fields of version 00.
    fn parse(value: &[u8]) -> Option<Parent> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.splitn(5, '-');
        let [version] = bytes(parts.next()?)?;
        let (trace, span, [flags]) = (bytes(parts.next()?)?, bytes(parts.next()?)?, bytes(parts.next()?)?);
        let is_sound = version != 0xff && (version > 0 || parts.next().is_none());
        let is_named = trace != [0; 16] && span != [0; 8];
        (is_sound && is_named).then_some(Parent { trace, span, is_sampled: flags & 1 == 1 })
    }
}

/// This many bytes in lowercase hexadecimal.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_small = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_small) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The share of all numbers of 64 bits for a ratio.
fn share(ratio: f64) -> u128 {
    const ALL: f64 = 18_446_744_073_709_551_616.0;
    // From 0 to 2^64, both included.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is between 0 and 1"
    )]
    let share = (ratio.clamp(0.0, 1.0) * ALL) as u128;
    share
}

fn span_id() -> [u8; 8] {
    rand::random::<u64>().max(1).to_be_bytes()
}

/// The template of a row's path, without its methods.
pub fn route_template(route: &str) -> Cow<'_, str> {
    Cow::Borrowed(route.split_once(' ').map_or(route, |(_, path)| path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let span = "00f067aa0ba902b7";
        for (text, sampled) in [
            (format!("00-{TRACE}-{span}-01"), Some(true)),
            (format!("00-{TRACE}-{span}-00"), Some(false)),
            (format!("00-{TRACE}-{span}-ff"), Some(true)),
            (format!("01-{TRACE}-{span}-01-later"), Some(true)),
            (format!("00-{TRACE}-{span}-01-later"), None),
            (format!("ff-{TRACE}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", TRACE.to_uppercase()), None),
            (format!("00-{TRACE}-{span}"), None),
            (format!("00-{TRACE}-{span}-1"), None),
            ("\u{e4}".repeat(28), None),
            (String::new(), None),
        ] {
            assert_eq!(Parent::parse(text.as_bytes()).map(|parent| parent.is_sampled), sampled, "{text}");
        }
    }

    #[test]
    fn a_share_of_the_requests_is_traced_and_a_proxys_word_counts_where_it_is_ones_own() {
        let (all, none) = (Tracer::new(1.0, false).0, Tracer::new(0.0, false).0);
        let some = Tracer::new(0.25, false).0;
        let now = Instant::now();
        let count = |tracer: &Tracer| (0..10_000).filter(|_| tracer.begin(None, now).is_some()).count();
        assert_eq!((count(&all), count(&none)), (10_000, 0));
        assert!((2_200..2_800).contains(&count(&some)), "about a quarter");

        let [yes, no] = ["01", "00"].map(|flags| format!("00-{TRACE}-00f067aa0ba902b7-{flags}"));
        let behind = Tracer::new(0.0, true).0;
        let trace = behind.begin(Some(yes.as_bytes()), now).unwrap();
        assert!(trace.call().traceparent().starts_with(&format!("00-{TRACE}-")));
        assert!(Tracer::new(1.0, true).0.begin(Some(no.as_bytes()), now).is_none());
        let own = all.begin(Some(yes.as_bytes()), now).unwrap();
        assert!(!own.call().traceparent().contains(TRACE), "anybody's word");
        assert!(none.begin(Some(yes.as_bytes()), now).is_none());
    }

    #[test]
    fn what_finds_no_room_is_dropped() {
        let (tracer, _kept) = Tracer::new(1.0, false);
        for _ in 0..QUEUE + 5 {
            let trace = tracer.begin(None, Instant::now()).unwrap();
            tracer.end(trace, "GET".to_owned(), Vec::new(), false);
        }
        assert_eq!(tracer.queue.capacity(), 0);
    }
}
