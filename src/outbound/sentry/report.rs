//! The part of a logged event that the tracker gets.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tracing::{Event, Level};

use super::NOTABLE;
use crate::logged::{Fields, is_own_error};

/// One event, as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// Repeats have the same subject: the message and the tags.
    pub(super) subject: Vec<String>,
    pub(super) id: String,
    pub(super) payload: Value,
}

impl Report {
    /// `None` for an event that the tracker does not get.
    pub(super) fn of(event: &Event<'_>, environment: &str, now: DateTime<Utc>) -> Option<Report> {
        let metadata = event.metadata();
        if metadata.target() != NOTABLE && !is_own_error(metadata) {
            return None;
        }
        let Fields { message, tags, beside } = Fields::of(event);
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
