//! Times in the settings: a number in the unit that the key names, or text with a unit of its own.

use std::borrow::Cow;
use std::fmt;

use policy::span::Unit;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// How a time is written, for the JSON Schema.
pub(super) struct Time;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number in the unit that the key names, or text with a unit: `500ms`, `90s`, `30m`, `24h`, `7d`.",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)?$" },
            ],
        })
    }
}

struct Times(Unit);

impl Visitor<'_> for Times {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a whole number of {}, or text with a unit as \"30m\"", self.0.word())
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<u64, E> {
        Ok(count)
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<u64, E> {
        u64::try_from(count).map_err(|_| E::invalid_value(Unexpected::Signed(count), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        self.0.count_in(text).map_err(|mistake| E::custom(format!("{mistake}, not \"{text}\"")))
    }
}

/// A time in milliseconds.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Times(Unit::Milliseconds))
}

/// A time in seconds.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Times(Unit::Seconds))
}

/// A time in seconds that need not be set.
pub(super) fn some_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    seconds(from).map(Some)
}

/// A time in minutes.
pub(super) fn minutes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Times(Unit::Minutes))
}

/// A time in days.
pub(super) fn days<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let count = from.deserialize_any(Times(Unit::Days))?;
    u32::try_from(count).map_err(|_| D::Error::custom(format!("must be at most {}", super::MAX_DAYS)))
}

/// A time in hours.
pub(super) fn hours<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Times(Unit::Hours))
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    fn parsed(source: &str) -> Result<Settings, String> {
        Settings::parse("gate.toml", source).map_err(|mistakes| mistakes.one_line_each())
    }

    #[test]
    fn a_time_is_a_number_or_text() {
        let settings = parsed(
            "[listen]\ndrain_ms = \"2m\"\n[tls]\nhsts_seconds = \"7d\"\n[rbac_api]\nidempotency_hours = \"2d\"\n\
             ends_soon_minutes = 45\n[retention]\ndrift_days = \"48h\"\n[session]\nmax_age_seconds = \"12h\"\n\
             [alerts]\nremind_minutes = \"1h\"\n",
        )
        .unwrap();
        assert_eq!(settings.listen.drain_ms.0, 120_000);
        assert_eq!(settings.tls.hsts_seconds, 604_800);
        assert_eq!((settings.rbac_api.idempotency_hours.0, settings.rbac_api.ends_soon_minutes.0), (48, 45));
        assert_eq!(settings.retention.drift_days, 2);
        assert_eq!(settings.session.max_age_seconds, Some(43_200));
        assert_eq!(settings.alerts.remind_minutes, 60);
    }

    #[test]
    fn what_is_no_time_is_named_with_its_key() {
        for (source, message) in [
            (
                "[listen]\ndrain_ms = \"soon\"",
                "`drain_ms` must be a number of milliseconds, or text with a unit",
            ),
            ("[listen]\ndrain_ms = -1", "`drain_ms` must be a whole number of milliseconds"),
            ("[listen]\ndrain_ms = [1]", "`drain_ms` must be a whole number of milliseconds"),
            (
                "[retention]\ndrift_days = \"36h\"",
                "`drift_days` must be a whole number of days, which 36h is not",
            ),
            ("[rbac_api]\nidempotency_hours = \"0h\"", "`idempotency_hours` must be at least 1"),
            ("[retention]\ndrift_days = 99999999999", "`drift_days` must be at most"),
        ] {
            let mistakes = parsed(source).unwrap_err();
            assert!(mistakes.contains(message), "{source}: {mistakes}");
        }
    }
}
