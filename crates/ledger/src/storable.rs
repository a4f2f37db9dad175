//! A record in the form in which both databases return it.
//!
//! The sealed record must equal the record that is read. So every value that a database would refuse or change is
//! changed here, before sealing:
//!
//! | what | becomes | because |
//! |---|---|---|
//! | U+0000 in a text, a value or a key | U+FFFD | Postgres refuses it in `text` and `jsonb` |
//! | a float in JSON | its text: `0.5` becomes `"0.5"` | `jsonb` keeps a decimal (`1e2` is `100`), SQLite the text |
//! | JSON `null` as a whole column | NULL | they are the same to the reader |
//! | JSON nested more than 32 deep | its text | the reader of JSON has a limit |
//! | a time below the microsecond, a leap second | cut | neither database keeps it |

use std::borrow::Cow;

use chrono::{SubsecRound as _, Timelike as _};
use serde_json::Value;

use super::event::AuditRecord;

const DEEPEST: usize = 32;
const LAST_MICROSECOND: u32 = 999_999_000;

impl AuditRecord {
    /// This record, with every value changed that a database would change or refuse. A second call changes nothing
    /// more.
    #[must_use]
    pub fn into_storable(mut self) -> Self {
        for text in [&mut self.event_type, &mut self.actor_kind]
            .into_iter()
            .chain(&mut self.method)
            .chain(&mut self.reason)
        {
            if text.contains('\0') {
                *text = Cow::Owned(without_nul(text));
            }
        }
        for text in [
            &mut self.actor_id,
            &mut self.subject_id,
            &mut self.note,
            &mut self.session_id,
            &mut self.request_id,
            &mut self.client_address,
            &mut self.path,
            &mut self.route,
            &mut self.mapping_sha256,
        ]
        .into_iter()
        .flatten()
        {
            clean_text(text);
        }
        for column in [&mut self.required, &mut self.held, &mut self.detail] {
            if matches!(column, Some(Value::Null)) {
                *column = None;
            }
            if let Some(value) = column {
                clean_json(value, 0);
            }
        }
        if self.occurred_at.nanosecond() > LAST_MICROSECOND {
            self.occurred_at = self.occurred_at.with_nanosecond(LAST_MICROSECOND).unwrap_or(self.occurred_at);
        }
        self.occurred_at = self.occurred_at.trunc_subsecs(6);
        self
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) fn clean_text(text: &mut String) {
    if text.contains('\0') {
        *text = without_nul(text);
    }
}

pub(super) fn clean_json(value: &mut Value, depth: usize) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            if number.is_f64() {
                *value = Value::String(number.to_string());
            }
        }
        Value::String(text) => clean_text(text),
        Value::Array(_) | Value::Object(_) if depth >= DEEPEST => {
            *value = Value::String(without_nul(&value.to_string()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| clean_json(value, depth + 1)),
        Value::Object(members) => {
            if members.keys().any(|key| key.contains('\0')) {
                *members = std::mem::take(members)
                    .into_iter()
                    .map(|(key, value)| (without_nul(&key), value))
                    .collect();
            }
            members.values_mut().for_each(|value| clean_json(value, depth + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::AuditEvent;

    fn record() -> AuditRecord {
        let now = "2026-11-21T04:41:45.123456789Z".parse().unwrap();
        let (migrations, by) = (Vec::new(), "operator".to_owned());
        AuditEvent::MigrationApplied { migrations, unsealed: None, by }.into_record(now)
    }

    #[test]
    fn what_a_database_would_change_is_changed_before() {
        let mut odd = record();
        odd.actor_id = Some("a\0b".to_owned());
        odd.reason = Some("x\0".into());
        odd.held = Some(Value::Null);
        odd.detail = Some(json!({ "k\0": [0.5, 1e2, -0.0, 7, "t\0", null] }));
        odd.occurred_at = "2026-11-21T04:41:45.123456789Z".parse().unwrap();
        let clean = odd.into_storable();
        assert_eq!(clean.actor_id.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(clean.reason.as_deref(), Some("x\u{fffd}"));
        assert_eq!(clean.held, None);
        assert_eq!(
            clean.detail,
            Some(json!({ "k\u{fffd}": ["0.5", "100.0", "-0.0", 7, "t\u{fffd}", null] }))
        );
        assert_eq!(clean.occurred_at.nanosecond(), 123_456_000);
        assert_eq!(clean.clone().into_storable(), clean);
    }

    #[test]
    fn a_leap_second_and_a_deep_value_are_cut() {
        let mut odd = record();
        odd.occurred_at = "2016-12-31T23:59:60.5Z".parse().unwrap();
        odd.detail = Some((0..200).fold(json!(1), |inner, _| json!([inner])));
        let clean = odd.into_storable();
        assert_eq!(clean.occurred_at.to_rfc3339(), "2016-12-31T23:59:59.999999+00:00");
        let text = serde_json::to_string(&clean.detail).unwrap();
        assert_eq!(serde_json::from_str::<Option<Value>>(&text).unwrap(), clean.detail);
    }
}
