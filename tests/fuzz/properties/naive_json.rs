//! JSON as `serde_json::Value` sees it, and the two things that it does not see.

use serde_json::Value;

/// How deep arrays and objects nest.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether some object in this text has a key twice: the text then has more keys than the value that was read from it.
pub fn has_twins(text: &[u8], value: &Value) -> bool {
    keys_in_text(text) > keys_in_value(value)
}

fn keys_in_value(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(keys_in_value).sum(),
        Value::Object(members) => members.len() + members.values().map(keys_in_value).sum::<usize>(),
        _ => 0,
    }
}

/// Outside of strings, a colon stands behind every key and nowhere else.
fn keys_in_text(text: &[u8]) -> usize {
    let (mut keys, mut in_string, mut escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => keys += 1,
            _ => {}
        }
    }
    keys
}

/// The value at a path of keys and indices.
pub fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(members) => members.get(*step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}
