//! A value as a column of some type takes it. What does not fit a column is none: the row is worth more than the value.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Uuid,
    /// A UUID as 32 digits, as SQLAlchemy writes it into SQLite.
    UuidDigits,
    Integer,
    Number,
    Boolean,
    Time,
    /// SQLite has no times; this is how Python writes them there.
    TimeText,
    Json,
    Address,
    /// A type of Console's own.
    Other,
}

impl Kind {
    /// By the name that Postgres gives a type.
    pub(super) fn of_postgres(name: &str) -> Kind {
        let base = name.split('(').next().unwrap_or(name).trim();
        match base {
            "uuid" => Kind::Uuid,
            "smallint" | "integer" | "bigint" => Kind::Integer,
            "numeric" | "real" | "double precision" => Kind::Number,
            "boolean" => Kind::Boolean,
            "json" | "jsonb" => Kind::Json,
            "inet" | "cidr" => Kind::Address,
            "text" | "character varying" | "character" | "citext" | "name" => Kind::Text,
            _ if base.starts_with("timestamp") || base == "date" => Kind::Time,
            _ => Kind::Other,
        }
    }

    /// By what a column of SQLite is declared as.
    pub(super) fn of_sqlite(declared: &str) -> Kind {
        let declared = declared.to_uppercase();
        let has = |word: &str| declared.contains(word);
        if has("BOOL") {
            Kind::Boolean
        } else if declared == "CHAR(32)" {
            Kind::UuidDigits
        } else if has("DATE") || has("TIME") {
            Kind::TimeText
        } else if has("JSON") {
            Kind::Json
        } else if has("INT") {
            Kind::Integer
        } else if has("REAL") || has("FLOA") || has("DOUB") || has("NUMERIC") || has("DECIMAL") {
            Kind::Number
        } else {
            Kind::Text
        }
    }

    /// The value as a text that such a column takes; `None` where it does not.
    pub(super) fn fit(self, value: &Value) -> Option<String> {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self {
            Kind::Text | Kind::Other => Some(text),
            Kind::Uuid => uuid::Uuid::try_parse(&text).ok().map(|id| id.to_string()),
            Kind::UuidDigits => {
                uuid::Uuid::try_parse(&text).map_or(Some(text), |id| Some(id.simple().to_string()))
            }
            Kind::Integer => text.parse::<i64>().ok().map(|number| number.to_string()),
            Kind::Number => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|_| text),
            Kind::Boolean => text.parse::<bool>().ok().map(|is_so| is_so.to_string()),
            Kind::Time => DateTime::parse_from_rfc3339(&text).is_ok().then_some(text),
            Kind::TimeText => {
                let time = DateTime::parse_from_rfc3339(&text).ok()?;
                Some(DateTime::<Utc>::from(time).format("%Y-%m-%d %H:%M:%S%.6f").to_string())
            }
            Kind::Json => Some(value.to_string()),
            Kind::Address => {
                let (address, length) = text.split_once('/').unwrap_or((&text, "0"));
                let is_one = address.parse::<IpAddr>().is_ok() && length.parse::<u8>().is_ok();
                is_one.then_some(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_fits_or_is_none() {
        let id = "019ab9a0-0000-7000-8000-000000000000";
        let table = [
            (Kind::Text, json!({ "a": 1 }), Some("{\"a\":1}")),
            (Kind::Text, json!(null), None),
            (Kind::Uuid, json!(id), Some(id)),
            (Kind::Uuid, json!("anna"), None),
            (Kind::UuidDigits, json!(id), Some("019ab9a0000070008000000000000000")),
            (Kind::Integer, json!("7"), Some("7")),
            (Kind::Integer, json!("anna"), None),
            (Kind::Integer, json!(7), Some("7")),
            (Kind::Number, json!("inf"), None),
            (Kind::Boolean, json!("true"), Some("true")),
            (Kind::Boolean, json!("yes"), None),
            (Kind::Time, json!("2026-11-21T03:00:00+00:00"), Some("2026-11-21T03:00:00+00:00")),
            (Kind::Time, json!("noon"), None),
            (Kind::TimeText, json!("2026-11-21T04:00:00.5+01:00"), Some("2026-11-21 03:00:00.500000")),
            (Kind::Json, json!("a"), Some("\"a\"")),
            (Kind::Address, json!("203.0.113.0"), Some("203.0.113.0")),
            (Kind::Address, json!("2001:db8::/48"), Some("2001:db8::/48")),
            (Kind::Address, json!("here"), None),
        ];
        for (kind, value, expected) in table {
            assert_eq!(kind.fit(&value).as_deref(), expected, "{kind:?} {value}");
        }
    }

    #[test]
    fn types_are_known_by_their_names() {
        let postgres = [
            ("character varying(20)", Kind::Text),
            ("timestamp with time zone", Kind::Time),
            ("timestamp(3) without time zone", Kind::Time),
            ("numeric(10,2)", Kind::Number),
            ("jsonb", Kind::Json),
            ("mood", Kind::Other),
        ];
        for (name, kind) in postgres {
            assert_eq!(Kind::of_postgres(name), kind, "{name}");
        }
        let sqlite = [
            ("INTEGER", Kind::Integer),
            ("VARCHAR(20)", Kind::Text),
            ("DATETIME", Kind::TimeText),
            ("CHAR(32)", Kind::UuidDigits),
            ("", Kind::Text),
            ("JSON", Kind::Json),
        ];
        for (declared, kind) in sqlite {
            assert_eq!(Kind::of_sqlite(declared), kind, "{declared}");
        }
    }
}
