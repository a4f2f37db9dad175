//! Rows of a SQLite file, read to be verified: byte for byte as stored, without any conversion.
//!
//! Postgres has types of its own for times and JSON, and gives each value back in one spelling. In a SQLite file both are
//! text, and one value has many spellings. A time that is written as of another zone is the same time and sorts elsewhere,
//! so that it is not in the export of its day; of a key that is there twice, SQLite takes the first value and serde the
//! last. So a value that is not spelled as the gate writes it reads as one that the gate never sealed.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Error, FromRow, Row as _};

use super::{StoredCustomerEvent, StoredEvent};

/// A row that is read by its spelling.
pub(super) struct Exact<T>(pub(super) T);

impl<'r, T: FromRow<'r, PgRow>> FromRow<'r, PgRow> for Exact<T> {
    fn from_row(row: &'r PgRow) -> Result<Self, Error> {
        T::from_row(row).map(Exact)
    }
}

impl FromRow<'_, SqliteRow> for Exact<StoredEvent> {
    fn from_row(row: &SqliteRow) -> Result<Self, Error> {
        Ok(Exact(StoredEvent {
            id: row.try_get("id")?,
            event_type: row.try_get("event_type")?,
            occurred_at_utc: time(row.try_get("occurred_at_utc")?),
            actor_kind: row.try_get("actor_kind")?,
            actor_id: row.try_get("actor_id")?,
            session_id: row.try_get("session_id")?,
            request_id: row.try_get("request_id")?,
            client_address: row.try_get("client_address")?,
            method: row.try_get("method")?,
            path: row.try_get("path")?,
            route: row.try_get("route")?,
            reason: row.try_get("reason")?,
            required: json(row.try_get("required")?),
            held: json(row.try_get("held")?),
            mapping_sha256: row.try_get("mapping_sha256")?,
            epoch: row.try_get("epoch")?,
            detail: json(row.try_get("detail")?),
            chain_id: row.try_get("chain_id")?,
            sequence: row.try_get("sequence")?,
            key_id: row.try_get("key_id")?,
            personal_salt: row.try_get("personal_salt")?,
            personal_digest: row.try_get("personal_digest")?,
            content_hash: row.try_get("content_hash")?,
            mac: row.try_get("mac")?,
            erased_by: row.try_get("erased_by")?,
            subject_id: row.try_get("subject_id")?,
            note: row.try_get("note")?,
        }))
    }
}

impl FromRow<'_, SqliteRow> for Exact<StoredCustomerEvent> {
    fn from_row(row: &SqliteRow) -> Result<Self, Error> {
        let occurred_at: Option<&str> = row.try_get("occurred_at_utc")?;
        Ok(Exact(StoredCustomerEvent {
            id: row.try_get("id")?,
            tenant_id: row.try_get("tenant_id")?,
            dimension: row.try_get("dimension")?,
            action: row.try_get("action")?,
            occurred_at_utc: occurred_at.map(time),
            source: row.try_get("source")?,
            actor_kind: row.try_get("actor_kind")?,
            actor_id: row.try_get("actor_id")?,
            subject_id: row.try_get("subject_id")?,
            request_id: row.try_get("request_id")?,
            detail: json(row.try_get("detail")?),
            salt: row.try_get("salt")?,
            erased_by: row.try_get("erased_by")?,
            twin: json(row.try_get("twin")?),
        }))
    }
}

/// The time, if it is spelled as sqlx writes it; else one that no row of a gate has.
fn time(text: &str) -> DateTime<Utc> {
    let time = DateTime::parse_from_rfc3339(text).map(DateTime::<Utc>::from);
    time.ok()
        .filter(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, false) == text)
        .unwrap_or(DateTime::UNIX_EPOCH)
}

/// The value, if it is spelled as serde writes it; else its text, which as a value would be spelled otherwise.
fn json(text: Option<&str>) -> Option<Json<Value>> {
    let text = text?;
    let is_spelled_so = |value: &Value| {
        let spelled = value.to_string();
        spelled == text
    };
    let value = serde_json::from_str::<Value>(text).ok().filter(is_spelled_so);
    Some(Json(value.unwrap_or_else(|| Value::String(text.to_owned()))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        for (text, expected) in [
            ("2026-11-21T03:00:00+00:00", "2026-11-21T03:00:00Z"),
            ("2026-11-21T03:00:00.123456+00:00", "2026-11-21T03:00:00.123456Z"),
            ("2026-11-20T04:00:00-23:00", "1970-01-01T00:00:00Z"),
            ("2026-11-21T03:00:00Z", "1970-01-01T00:00:00Z"),
            ("2026-11-21 03:00:00+00:00", "1970-01-01T00:00:00Z"),
            ("soon", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(time(text), expected.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
        let read = |text: &str| json(Some(text)).unwrap().0;
        assert_eq!(read(r#"{"a":[1,"x",null]}"#), json!({ "a": [1, "x", null] }));
        for text in [r#"{"a":1,"a":2}"#, r#"{ "a":1}"#, r#""\u0061""#, "1.0e1", "{", ""] {
            assert_eq!(read(text), json!(text));
        }
    }
}
