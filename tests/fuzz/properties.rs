//! What holds for every input, however it was made: one function a fuzz target.
//!
//! The functions are called by the libFuzzer targets (`targets/`, `make fuzz`) and by `tests/fuzz_smoke.rs`, which runs
//! them over the kept corpus and over mutations of it in `make test`.
//!
//! Each answer of the gate is compared with a second, naive reading of the same bytes that shares no code with it.

// A libFuzzer target is one of these functions; the others are dead code in its binary, and no binary has an interface.
#![allow(dead_code, unreachable_pub)]

#[path = "properties/assertion.rs"]
mod assertion;
#[path = "properties/body.rs"]
mod body;
#[path = "properties/chunks.rs"]
mod chunks;
#[path = "properties/cookie.rs"]
mod cookie;
#[path = "properties/head.rs"]
mod head;
#[path = "properties/input.rs"]
mod input;
#[path = "properties/mapping.rs"]
mod mapping;
#[path = "properties/matcher.rs"]
mod matcher;
#[path = "properties/naive_head.rs"]
mod naive_head;
#[path = "properties/naive_json.rs"]
mod naive_json;
#[path = "properties/naive_pattern.rs"]
mod naive_pattern;
#[path = "properties/naive_response.rs"]
mod naive_response;
#[path = "properties/naive_url.rs"]
mod naive_url;
#[path = "properties/request_target.rs"]
mod request_target;
#[path = "properties/response.rs"]
mod response;
#[path = "properties/session_payload.rs"]
mod session_payload;
#[path = "properties/settings.rs"]
mod settings;

pub use assertion::assertion;
pub use body::body;
pub use chunks::chunks;
pub use cookie::cookie;
pub use head::head;
pub use mapping::mapping;
pub use matcher::matcher;
pub use request_target::request_target;
pub use response::response;
pub use session_payload::session_payload;
pub use settings::settings;

/// A property: `true` for an input that the gate took, so that what holds of accepted input was looked at too. A
/// property that does not hold panics.
pub type Property = fn(&[u8]) -> bool;

/// A fuzz target: its name, which is also that of its corpus, and its property.
pub type Target = (&'static str, Property);

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("assertion", assertion),
    ("body", body),
    ("chunks", chunks),
    ("cookie", cookie),
    ("head", head),
    ("mapping", mapping),
    ("matcher", matcher),
    ("request_target", request_target),
    ("response", response),
    ("session_payload", session_payload),
    ("settings", settings),
];
