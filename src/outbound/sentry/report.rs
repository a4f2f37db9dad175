//! What the tracker gets of one logged event, and what is left out.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use super::NOTABLE;

/// The fields that a report can be searched by.
const TAGS: [&str; 4] = ["cluster", "direction", "reason", "route"];
/// What is beside it. Every other field stays in the log: an actor, a path, an address.
const BESIDE: [&str; 6] = ["diagnostics", "error", "mapping", "request_id", "rows", "running"];
/// The characters of one field.
const FIELD: usize = 500;

/// One event, as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// What is the same again: the message and the tags.
    pub(super) subject: Vec<String>,
    pub(super) id: String,
    pub(super) payload: Value,
}

impl Report {
    /// `None` for what the tracker does not get.
    pub(super) fn of(event: &Event<'_>, environment: &str, now: DateTime<Utc>) -> Option<Report> {
        let metadata = event.metadata();
        if !is_wanted(metadata) {
            return None;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, tags, beside } = fields;
        let subject: Vec<String> = std::iter::once(&message).chain(tags.values()).cloned().collect();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let payload = json!({
            "event_id": id,
            "timestamp": now.to_rfc3339_opts(SecondsFormat::Millis, true),
            "platform": "native",
            "level": if *metadata.level() == Level::ERROR { "error" } else { "warning" },
            "logger": metadata.target(),
            "release": concat!("console-gate@", env!("CARGO_PKG_VERSION")),
            "environment": environment,
            "message": { "formatted": message },
            "tags": tags,
            "extra": beside,
            "fingerprint": subject,
        });
        Some(Report { subject, id, payload })
    }
}

/// Libraries log what they received, so only the gate's own words are passed on.
fn is_wanted(metadata: &Metadata<'_>) -> bool {
    let is_own = metadata.target() == "console_gate" || metadata.target().starts_with("console_gate::");
    metadata.target() == NOTABLE || is_own && *metadata.level() == Level::ERROR
}

#[derive(Default)]
struct Fields {
    message: String,
    tags: BTreeMap<&'static str, String>,
    beside: BTreeMap<&'static str, String>,
}

impl Fields {
    fn keep(&mut self, field: &Field, text: &str) {
        let text = text.chars().take(FIELD).collect();
        let name = field.name();
        if name == "message" {
            self.message = text;
        } else if TAGS.contains(&name) {
            self.tags.insert(name, text);
        } else if BESIDE.contains(&name) {
            self.beside.insert(name, text);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, &format!("{value:?}"));
    }
}
