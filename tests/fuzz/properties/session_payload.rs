//! The payload of a cookie whose signature is good, as it is when Console has signed what a caller could choose.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use policy::identity::flask_cookie::{CookieError, CookieLimits};
use serde_json::Value;

use super::cookie::{self, NOW, check_cookie, sign};
use super::input::Input;
use super::naive_json;

/// The first byte says how the others, the payload, are wrapped.
pub fn session_payload(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let kind = input.below(4);
    let payload = input.rest();
    match kind {
        0 => check_read(&wrap("", payload), payload),
        1 => {
            let compressed = compress(payload);
            check_read(&wrap(".", &compressed), payload)
        }
        // Not what zlib has written, but what it may be given to read.
        2 => check_cookie(&wrap(".", payload)),
        // A small cookie that inflates: 4 KiB of it can hold some 4 MiB.
        _ => {
            let limit = CookieLimits::default().max_payload_bytes;
            let copies = limit / payload.len().max(1) + 1;
            let bomb = wrap(".", &compress(&payload.repeat(copies)));
            let fits = bomb.len() <= CookieLimits::default().max_cookie_bytes;
            if fits && !payload.is_empty() {
                assert_eq!(cookie::verify(&bomb).map(drop), Err(CookieError::PayloadTooLarge { limit }));
            }
            false
        }
    }
}

/// Payload, timestamp and a good signature.
fn wrap(prefix: &str, payload: &[u8]) -> String {
    let issued = u32::try_from(NOW - 60).expect("a moment before 2106").to_be_bytes();
    let signed = format!("{prefix}{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(issued));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn compress(payload: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(payload).and_then(|()| encoder.finish()).expect("compressing into memory cannot fail")
}

/// Where a strict reader of JSON can read the payload, the gate reads the same ids in it; `true` if the gate reads it.
fn check_read(cookie: &str, payload: &[u8]) -> bool {
    check_cookie(cookie);
    let limits = CookieLimits::default();
    let verdict = cookie::verify(cookie);
    let is_read = verdict.is_ok();
    let Ok(strict) = serde_json::from_slice::<Value>(payload) else { return is_read };
    let fits = cookie.len() <= limits.max_cookie_bytes && payload.len() <= limits.max_payload_bytes;
    if !fits || naive_json::depth(&strict) > limits.max_depth || has_tag(&strict) {
        return is_read;
    }
    let session = match verdict {
        Ok(session) => session,
        Err(error) => panic!("{error} for {}", String::from_utf8_lossy(payload)),
    };
    let Value::Object(members) = &strict else { return is_read };
    for (key, value) in members {
        let expected = match value {
            Value::String(text) => (!text.is_empty()).then(|| text.clone()),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            // A float to one reader is a large integer, or minus zero, to another.
            Value::Number(_) => continue,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        assert_eq!(session.field_as_id(key), expected, "{key} in {}", String::from_utf8_lossy(payload));
    }
    assert_eq!(session.field_as_id("no such key in any input of this target"), None);
    is_read
}

/// Whether some object could be one of Flask's tagged values.
fn has_tag(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_tag),
        Value::Object(members) => {
            members.len() == 1 && members.keys().all(|key| key.starts_with(' '))
                || members.values().any(has_tag)
        }
        _ => false,
    }
}
