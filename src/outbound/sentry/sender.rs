//! Sending reports as envelopes. <https://develop.sentry.dev/sdk/foundations/transport/envelopes/>

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use serde_json::json;

use super::Dsn;
use super::report::Report;
use crate::outbound::{Outbound, Request};

/// The same report is not sent again within this time.
const ONCE_IN: Duration = Duration::from_secs(60);
/// Different reports that are remembered for this.
const REMEMBERED: usize = 1_024;
/// The pause after a 429 that does not specify one.
/// <https://develop.sentry.dev/sdk/foundations/transport/rate-limiting/>
const SILENCE: Duration = Duration::from_secs(60);
const LONGEST_SILENCE: Duration = Duration::from_secs(60 * 60);

/// The outcome of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Sent,
    /// The same report was sent a moment ago.
    Repeated,
    /// The tracker asked for a pause (429).
    Limited,
    Failed,
}

impl Delivery {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Delivery::Sent => "sent",
            Delivery::Repeated => "repeated",
            Delivery::Limited => "limited",
            Delivery::Failed => "failed",
        }
    }
}

/// Sends to the tracker, and respects its pauses.
pub(super) struct Sender {
    outbound: Outbound,
    dsn: Dsn,
    silent_until: Option<Instant>,
    recent: HashMap<Vec<String>, Instant>,
}

impl Sender {
    pub(super) fn new(outbound: Outbound, dsn: Dsn) -> Sender {
        Sender { outbound, dsn, silent_until: None, recent: HashMap::new() }
    }

    /// Sends a report, once. Nothing is logged here, because it would be reported in turn.
    pub(super) async fn deliver(&mut self, report: &Report, now: Instant) -> Delivery {
        if self.silent_until.is_some_and(|end| now < end) {
            return Delivery::Limited;
        }
        self.recent.retain(|_, at| now.saturating_duration_since(*at) < ONCE_IN);
        if self.recent.contains_key(&report.subject) {
            return Delivery::Repeated;
        }
        if self.recent.len() < REMEMBERED {
            self.recent.insert(report.subject.clone(), now);
        }
        let authorization =
            format!("Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key={}", self.dsn.key);
        let headers =
            [("content-type", "application/x-sentry-envelope"), ("x-sentry-auth", authorization.as_str())];
        let body = envelope(report);
        match self.outbound.send(&self.dsn.envelopes, Request::Post { body: body.as_bytes() }, &headers).await
        {
            Ok(answer) if answer.status == 429 => {
                let silence = retry_after(&answer.fields).unwrap_or(SILENCE);
                self.silent_until = Some(now + silence.min(LONGEST_SILENCE));
                Delivery::Limited
            }
            Ok(answer) if (200..300).contains(&answer.status) => Delivery::Sent,
            Ok(_) | Err(_) => Delivery::Failed,
        }
    }
}

/// The pause that the tracker asks for (RFC 9110, section 10.2.3); `None` if it names none, or a date.
fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    fields.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

const CLIENT: &str = concat!("console-gate/", env!("CARGO_PKG_VERSION"));

/// Three lines of JSON: the envelope's head, the item's head, and the report itself.
fn envelope(report: &Report) -> String {
    let payload = report.payload.to_string();
    let sent_at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let head = json!({ "event_id": report.id, "sent_at": sent_at });
    let item = json!({ "type": "event", "content_type": "application/json", "length": payload.len() });
    format!("{head}\n{item}\n{payload}\n")
}
