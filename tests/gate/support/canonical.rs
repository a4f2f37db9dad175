//! What a request must look like that the gate has written.

use super::chunks::unchunk;
use super::http::HOST;
use super::recorder::Recorded;

/// Fields with which somebody says who or what a request is; only the gate may (`design`: strip, then set).
const STRIPPED: [&str; 10] = [
    "x-forwarded-",
    "forwarded",
    "x-real-ip",
    "x-original-",
    "x-rewrite-",
    "x-http-method",
    "remote-user",
    "keep-alive",
    "te",
    "upgrade",
];

/// What is not as the gate must write it, in words; nothing when all is.
pub fn uncanonical(request: &Recorded, method: &str, target: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut lines = request.head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    if start != format!("{method} {target} HTTP/1.1") {
        wrong.push(format!("the request line is `{start}`, not `{method} {target} HTTP/1.1`"));
    }
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((line, "\0"));
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name || value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
            wrong.push(format!("the field line `{line}`"));
        }
        let lower = name.to_ascii_lowercase();
        let is_the_gates_own =
            matches!((lower.as_str(), value), ("x-forwarded-proto", "http") | ("x-forwarded-host", HOST));
        let is_stripped = |stripped: &&str| {
            if stripped.ends_with('-') { lower.starts_with(*stripped) } else { lower == **stripped }
        };
        if !is_the_gates_own && STRIPPED.iter().any(is_stripped) {
            wrong.push(format!("`{line}` is the client's"));
        }
    }
    let field = |name| request.header(name);
    if field("host").as_deref() != Some("console.test") {
        wrong.push(format!("the host is {:?}", field("host")));
    }
    let is_well_framed = match (field("content-length"), field("transfer-encoding").as_deref()) {
        (None, None) => request.body.is_empty(),
        (Some(length), None) => length == request.body.len().to_string(),
        (None, Some("chunked")) => unchunk(&request.body).is_some(),
        _ => false,
    };
    if !is_well_framed {
        wrong.push(format!("the framing: {:?} {:?}", request.head, String::from_utf8_lossy(&request.body)));
    }
    wrong
}
