//! JSON as `serde_json::Value` sees it, and the things that it does not see: depth, keys given twice, spellings.

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

/// Outside of strings, a colon follows every key and is nowhere else.
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

/// The text of the value at a path of keys and indices, in a text that is JSON.
pub fn text_at<'t>(text: &'t str, path: &[&str]) -> Option<&'t str> {
    let text = text.trim_start();
    let Some((step, rest)) = path.split_first() else { return Some(&text[..length(text)]) };
    let is_object = text.starts_with('{');
    let mut left = text[1..].trim_start();
    for index in 0.. {
        if left.starts_with(['}', ']']) {
            return None;
        }
        let mut is_it = !is_object && *step == index.to_string();
        if is_object {
            let (key, after) = left.split_at(length(left));
            is_it = serde_json::from_str::<String>(key).ok()? == *step;
            left = after.trim_start().strip_prefix(':')?.trim_start();
        }
        if is_it {
            return text_at(left, rest);
        }
        left = left[length(left)..].trim_start();
        left = left.strip_prefix(',').unwrap_or(left).trim_start();
    }
    None
}

/// How long the value is with which a text begins.
fn length(text: &str) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => continue,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return index,
            _ => continue,
        }
        if depth == 0 && !in_string && matches!(byte, b'"' | b'}' | b']') {
            return index + 1;
        }
    }
    text.len()
}
