//! Bodies as the rules of a row read them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use policy::decision::body::BodyKind;
use policy::mapping::{BodyField, BodyRule};
use serde_json::{Map, Value};

/// The type and text of a body of this kind; `None` for no body, which no rule can read.
pub(super) fn of_kind(rules: &[BodyRule], kind: BodyKind<'_>) -> Option<(&'static str, String)> {
    if kind == BodyKind::Unreadable {
        return None;
    }
    // A rule needs each field that the row reads, even if the field is not its own.
    let value = |rule: &BodyRule| match kind {
        BodyKind::Rule(field, equals) if *field == rule.field => equals.to_owned(),
        _ => neutral(rules),
    };
    match &rules.first()?.field {
        BodyField::Json(_) => {
            let mut body = Value::Object(Map::new());
            rules.iter().for_each(|rule| put(&mut body, rule.field.name(), value(rule)));
            Some(("application/json", body.to_string()))
        }
        BodyField::Form(_) => {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let mut pairs: Vec<String> = rules
                .iter()
                .map(|rule| format!("{}={}", encode(rule.field.name()), encode(&value(rule))))
                .collect();
            pairs.sort_unstable();
            pairs.dedup();
            Some(("application/x-www-form-urlencoded", pairs.join("&")))
        }
    }
}

/// A value that no rule names.
fn neutral(rules: &[BodyRule]) -> String {
    let mut value = "gate-verify".to_owned();
    while rules.iter().any(|rule| rule.equals == value) {
        value.push('-');
    }
    value
}

/// Puts a value at the place of a JSON pointer, creating objects on the way.
fn put(body: &mut Value, pointer: &str, value: String) {
    let mut place = body;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(members) = place else { return };
        place = members.entry(step).or_insert(Value::Null);
    }
    *place = Value::String(value);
}
