//! OTLP's messages as protocol buffers (opentelemetry-proto 1.x, `collector/trace/v1`): the few fields that the gate has.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Attribute, Done, Value};

/// The kinds of spans (`Span.SpanKind`), and the status of one that failed (`Status.StatusCode`).
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const ERROR: u64 = 2;

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            // The lower seven bits, and that more follow.
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    fn tag(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    fn fixed64(&mut self, field: u64, value: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn attribute(&mut self, field: u64, (key, value): &Attribute) {
        self.message(field, |pair| {
            pair.bytes(1, key.as_bytes());
            pair.message(2, |any| match value {
                Value::Word(text) => any.bytes(1, text.as_bytes()),
                Value::Text(text) => any.bytes(1, text.as_bytes()),
                Value::Shared(text) => any.bytes(1, text.as_bytes()),
                Value::Number(number) => any.number(3, u64::from(*number)),
            });
        });
    }
}

/// An `ExportTraceServiceRequest` with the spans of some requests.
pub(super) fn export(resource: &[Attribute], traces: &[Done]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |spans_of_resource| {
        spans_of_resource.message(1, |message| {
            for attribute in resource {
                message.attribute(1, attribute);
            }
        });
        spans_of_resource.message(2, |spans_of_scope| {
            spans_of_scope.message(1, |scope| {
                scope.bytes(1, b"console-gate");
                scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for trace in traces {
                write_trace(spans_of_scope, trace);
            }
        });
    });
    request.0
}

fn write_trace(to: &mut Message, trace: &Done) {
    let times = |span: &mut Message, begun: Instant, ended: Instant| {
        span.fixed64(7, nanoseconds(trace, begun));
        span.fixed64(8, nanoseconds(trace, ended));
    };
    to.message(2, |span| {
        span.bytes(1, &trace.id);
        span.bytes(2, &trace.root);
        if let Some(parent) = &trace.parent {
            span.bytes(4, parent);
        }
        span.bytes(5, trace.name.as_bytes());
        span.number(6, SERVER);
        times(span, trace.begun, trace.ended);
        trace.attributes.iter().for_each(|attribute| span.attribute(9, attribute));
        if trace.failed {
            span.message(15, |status| status.number(3, ERROR));
        }
    });
    for part in &trace.parts {
        to.message(2, |span| {
            span.bytes(1, &trace.id);
            span.bytes(2, &part.id);
            span.bytes(4, &trace.root);
            span.bytes(5, part.name.as_bytes());
            span.number(6, if part.is_call { CLIENT } else { INTERNAL });
            times(span, part.begun, part.ended);
            part.attributes.iter().for_each(|attribute| span.attribute(9, attribute));
            if part.failed {
                span.message(15, |status| status.number(3, ERROR));
            }
        });
    }
}

/// A moment as nanoseconds of Unix time, by the clock as it was when the trace began.
fn nanoseconds(trace: &Done, at: Instant) -> u64 {
    let since_begun = at.saturating_duration_since(trace.begun);
    let begun = trace.begun_at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from((begun + since_begun).as_nanos()).unwrap_or(u64::MAX)
}

/// The time of day that belongs to a moment shortly ago.
pub(super) fn time_of(moment: Instant) -> SystemTime {
    SystemTime::now() - moment.elapsed()
}
