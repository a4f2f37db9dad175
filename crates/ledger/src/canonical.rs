//! The canonical form of a record: the bytes that are hashed.
//!
//! JSON in the manner of RFC 8785: no white space, keys in the order of their UTF-16 code units, the shortest escapes.
//! It differs in one point: numbers are integers only, and written in full. Two databases have to return the value that
//! was stored: Postgres keeps `jsonb` numbers as decimals, SQLite keeps the text, and a float could come back with a
//! different spelling. [`super::storable`] turns floats into text before a record is sealed; a float that occurs here
//! nevertheless (because the row was changed by hand) is written as it is spelled, which never matches a sealed row.
//!
//! ```text
//! {"actor_kind":"admin","event_type":"access_denied","id":"0198...","occurred_at":"2026-11-21T04:41:45.000000Z",
//!  "personal_digest":"5f0c...","v":1}
//! ```
//!
//! A column that is NULL is absent. `v` is the version of the form: a different form has a different number. (An added
//! column is absent from older rows, and so does not change their form.) The personal values have a form of their own,
//! and the record's form contains only its salted digest:
//!
//! ```text
//! SHA-256(salt | {"actor_id":...,"client_address":...,"note":...,"path":...,"session_id":...,"subject_id":...})
//! ```

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde_json::Value;

use super::event::AuditRecord;

/// The version of the form.
pub const VERSION: i64 = 1;

/// Everything except the personal values, which `personal_digest` represents.
pub fn record(record: &AuditRecord, personal_digest: &str, out: &mut String) {
    let mut object = Object::begin(out);
    object.text("actor_kind", Some(&record.actor_kind));
    object.json("detail", record.detail.as_ref());
    object.integer("epoch", record.epoch);
    object.text("event_type", Some(&record.event_type));
    object.json("held", record.held.as_ref());
    object.text("id", Some(record.id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())));
    object.text("mapping_sha256", record.mapping_sha256.as_deref());
    object.text("method", record.method.as_deref());
    object.time("occurred_at", record.occurred_at);
    object.text("personal_digest", Some(personal_digest));
    object.text("reason", record.reason.as_deref());
    object.text("request_id", record.request_id.as_deref());
    object.json("required", record.required.as_ref());
    object.text("route", record.route.as_deref());
    object.integer("v", Some(VERSION));
    object.end();
}

/// The personal values, which an erasure blanks.
pub fn personal(record: &AuditRecord, out: &mut String) {
    let mut object = Object::begin(out);
    object.text("actor_id", record.actor_id.as_deref());
    object.text("client_address", record.client_address.as_deref());
    object.text("note", record.note.as_deref());
    object.text("path", record.path.as_deref());
    object.text("session_id", record.session_id.as_deref());
    object.text("subject_id", record.subject_id.as_deref());
    object.end();
}

/// An object whose keys are written in order.
pub(super) struct Object<'a> {
    out: &'a mut String,
    last: Option<&'static str>,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Object { out, last: None }
    }

    fn key(&mut self, key: &'static str) {
        debug_assert!(self.last.is_none_or(|last| last < key), "`{key}` is out of order");
        if self.last.replace(key).is_some() {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    pub(super) fn text(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.key(key);
            write_text(text, self.out);
        }
    }

    pub(super) fn integer(&mut self, key: &'static str, integer: Option<i64>) {
        if let Some(integer) = integer {
            self.key(key);
            self.out.push_str(&integer.to_string());
        }
    }

    pub(super) fn time(&mut self, key: &'static str, time: DateTime<Utc>) {
        self.key(key);
        self.out.push('"');
        write_time(time, self.out);
        self.out.push('"');
    }

    pub(super) fn json(&mut self, key: &'static str, value: Option<&Value>) {
        if let Some(value) = value {
            self.key(key);
            write_json(value, self.out);
        }
    }

    pub(super) fn end(self) {
        self.out.push('}');
    }
}

/// RFC 3339 in UTC with exactly six digits after the second.
pub fn write_time(time: DateTime<Utc>, out: &mut String) {
    // By hand, because chrono's formatter costs more than the hash.
    let parts = [
        (time.month(), '-'),
        (time.day(), '-'),
        (time.hour(), 'T'),
        (time.minute(), ':'),
        (time.second(), ':'),
    ];
    out.push_str(&format!("{:04}", time.year()));
    for (part, separator) in parts {
        out.push(separator);
        push_digits(part, 2, out);
    }
    out.push('.');
    // A number above 999,999 would be a leap second, which `storable` does not allow.
    push_digits(time.timestamp_subsec_micros(), 6, out);
    out.push('Z');
}

fn push_digits(number: u32, width: u32, out: &mut String) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        out.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

/// Any JSON value.
pub fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_text(text, out),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(value, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
    }
}

/// Writes a string with the escapes of RFC 8785 section 3.2.2.2: the only ones that JSON needs.
pub fn write_text(text: &str, out: &mut String) {
    let is_plain = |byte: u8| (byte >= 0x20) & (byte != b'"') & (byte != b'\\');
    out.push('"');
    // Usually all of it is plain. There is no branch per byte, so that many bytes are processed together.
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        if is_plain(byte) {
            continue;
        }
        // Every escaped byte is ASCII, so both ends are at the edge of a character.
        out.push_str(&text[plain..index]);
        plain = index + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0x0c => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            control => {
                out.push_str("\\u00");
                out.push_str(&super::hexadecimal::encode(&[control]));
            }
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(value: &Value) -> String {
        let mut out = String::new();
        write_json(value, &mut out);
        out
    }

    #[test]
    fn strings_have_the_shortest_escapes() {
        let text = "\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{80}é\u{2028}😂";
        let expected = "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7f}\u{80}é\u{2028}😂\"";
        assert_eq!(written(&json!(text)), expected);
    }

    /// RFC 8785 section 3.2.3, its own example.
    #[test]
    fn keys_are_in_the_order_of_utf_16() {
        let value = json!({ "€": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "😀": 5, "\u{80}": 6, "ö": 7 });
        assert_eq!(
            written(&value),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn integers_are_written_whole() {
        let value = json!([0, -1, i64::MIN, u64::MAX, 9_007_199_254_740_993_i64, null, true, {}]);
        let expected = "[0,-1,-9223372036854775808,18446744073709551615,9007199254740993,null,true,{}]";
        assert_eq!(written(&value), expected);
    }

    #[test]
    fn times_have_six_digits() {
        for (text, expected) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
            ("2026-12-31T23:59:59.000001+01:00", "2026-12-31T22:59:59.000001Z"),
            ("0007-01-01T00:00:00.999999999Z", "0007-01-01T00:00:00.999999Z"),
        ] {
            let mut out = String::new();
            write_time(text.parse().unwrap(), &mut out);
            assert_eq!(out, expected);
        }
    }
}
