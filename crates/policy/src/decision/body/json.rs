//! JSON as the rules read it: strictly, and with the spelling of its numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{BodyError, Scalar, media_type};
use crate::mapping::{BodyField, BodyRule};

pub(super) fn read(
    rules: &[BodyRule],
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Vec<bool>, BodyError> {
    // Flask's `get_json` accepts `application/json` and `application/*+json`; only the plain form is accepted here.
    if media_type(content_type) != Some("application/json".to_owned()) {
        return Err(BodyError::WrongContentType);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).map_err(|error| {
        if error.to_string().starts_with(DUPLICATE_KEY) {
            BodyError::DuplicateKey
        } else {
            BodyError::Malformed
        }
    })?;
    deserializer.end().map_err(|_| BodyError::Malformed)?;
    rules
        .iter()
        .map(|rule| match &rule.field {
            BodyField::Json(pointer) => {
                scalar(&value, body, pointer)?.is(&rule.equals).ok_or(BodyError::Spelling)
            }
            BodyField::Form(_) => Err(BodyError::WrongContentType),
        })
        .collect()
}

/// The value that a pointer names.
fn scalar(value: &Value, body: &[u8], pointer: &str) -> Result<Scalar, BodyError> {
    match value.pointer(pointer) {
        Some(Value::String(text)) => Ok(Scalar::Text(text.clone())),
        Some(Value::Bool(flag)) => Ok(Scalar::Flag(*flag)),
        Some(Value::Number(_)) => {
            spelling(body, pointer).as_deref().and_then(Scalar::number).ok_or(BodyError::Spelling)
        }
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => Err(BodyError::NoSuchField),
    }
}

/// The spelling of a value in a body that was already read: [`Value`] keeps only the value of a number.
fn spelling(body: &[u8], pointer: &str) -> Option<String> {
    let mut value: &RawValue = serde_json::from_slice(body).ok()?;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        value = if value.get().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            items.get(step.parse::<usize>().ok()?).copied()?
        } else {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
            members.get(&step).copied()?
        };
    }
    Some(value.get().to_owned())
}

const DUPLICATE_KEY: &str = "duplicate key";

/// A JSON value in which no object has a duplicate key and nothing lies deeper than [`BodyField::MAX_DEPTH`].
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Strict, E> {
        if self.depth >= BodyField::MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Strict { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut seen = BTreeSet::new();
        let mut object = serde_json::Map::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom(DUPLICATE_KEY));
            }
            object.insert(key, entries.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read_json, read_json_for};
    use super::super::{BodyError, BodyFacts};

    #[test]
    fn json_bodies() {
        let deep = format!("{{\"target\":\"prod\",\"x\":{}{}}}", "[".repeat(40), "]".repeat(40));
        let table = [
            (r#"{"target":"prod"}"#, BodyFacts::Read(vec![true])),
            (r#"{"target":"staging"}"#, BodyFacts::Read(vec![false])),
            (r#"{"target":"pr\u006fd"}"#, BodyFacts::Read(vec![true])),
            (r#"{"target":"PROD"}"#, BodyFacts::Read(vec![false])),
            (r#"{"target":"staging","target":"prod"}"#, BodyFacts::Unreadable(BodyError::DuplicateKey)),
            (r#"{"target":"prod","x":{"a":1,"a":2}}"#, BodyFacts::Unreadable(BodyError::DuplicateKey)),
            (r#"{"target":"a","t\u0061rget":"prod"}"#, BodyFacts::Unreadable(BodyError::DuplicateKey)),
            (r#"{}"#, BodyFacts::Unreadable(BodyError::NoSuchField)),
            (r#"{"target":null}"#, BodyFacts::Unreadable(BodyError::NoSuchField)),
            (r#"{"target":["prod"]}"#, BodyFacts::Unreadable(BodyError::NoSuchField)),
            (r#"["prod"]"#, BodyFacts::Unreadable(BodyError::NoSuchField)),
            (r#"{"target":"prod"} x"#, BodyFacts::Unreadable(BodyError::Malformed)),
            (r#"{"target":"prod""#, BodyFacts::Unreadable(BodyError::Malformed)),
            (r#"{"target":NaN}"#, BodyFacts::Unreadable(BodyError::Malformed)),
            ("\u{feff}{\"target\":\"prod\"}", BodyFacts::Unreadable(BodyError::Malformed)),
            ("", BodyFacts::Unreadable(BodyError::Malformed)),
            (deep.as_str(), BodyFacts::Unreadable(BodyError::Malformed)),
        ];
        for (body, expected) in table {
            assert_eq!(read_json(body), expected, "{body}");
        }
    }

    /// Python reads `30.0` and `3e1` as what equals 30, so a body must not get past the rule by its spelling.
    #[test]
    fn a_number_is_compared_by_its_only_spelling_or_not_at_all() {
        let spelled = BodyFacts::Unreadable(BodyError::Spelling);
        let table = [
            ("30", BodyFacts::Read(vec![true])),
            (" 30 ", BodyFacts::Read(vec![true])),
            ("31", BodyFacts::Read(vec![false])),
            ("-30", BodyFacts::Read(vec![false])),
            ("30.5", BodyFacts::Read(vec![false])),
            ("18446744073709551616", BodyFacts::Read(vec![false])),
            (r#""30""#, BodyFacts::Read(vec![true])),
            (r#""30.0""#, BodyFacts::Read(vec![false])),
            ("true", BodyFacts::Read(vec![false])),
            ("30.0", spelled.clone()),
            ("3e1", spelled.clone()),
            ("3E+1", spelled.clone()),
            ("300e-1", spelled.clone()),
            ("30.00000000000000000001", spelled.clone()),
            ("31.0", spelled.clone()),
            ("-0", spelled.clone()),
            ("030", BodyFacts::Unreadable(BodyError::Malformed)),
            ("1e400", BodyFacts::Unreadable(BodyError::Malformed)),
        ];
        for (value, expected) in table {
            for (pointer, body) in [
                ("/t", format!(r#"{{"a":1,"t":{value},"u":{{"t":1}}}}"#)),
                ("/a~1b/x/1", format!(r#"{{"x":[7],"a\/b":{{"x":["]",{value}]}}}}"#)),
                ("/~0/", format!(r#"{{"~":{{"":{value}}}}}"#)),
            ] {
                assert_eq!(read_json_for(pointer, "30", &body), expected, "{body}");
            }
        }
        assert_eq!(read_json_for("/t", "1", r#"{"t":true}"#), spelled);
        assert_eq!(read_json_for("/t", "true", r#"{"t":1}"#), spelled);
        assert_eq!(read_json_for("/t", "1.5", r#"{"t":1.5}"#), BodyFacts::Read(vec![true]));
        assert_eq!(read_json_for("/t", "30.0", r#"{"t":30}"#), spelled);
    }
}
