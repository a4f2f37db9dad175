//! The target parser: every decoder that decodes once reads the same path in what is accepted.

use policy::firewall::{Policy, RequestTarget, inspect};

use super::naive_url::{decode, encode_path};

/// The bytes are the target of a GET and of an OPTIONS.
pub fn request_target(data: &[u8]) -> bool {
    if data.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        // That would be another head, which is the business of the target `head`.
        return false;
    }
    let policy = Policy { allowed_hosts: vec!["console.example".to_owned()], ..Policy::default() };
    let mut is_accepted = false;
    for method in ["GET", "OPTIONS"] {
        if let Some(target) = accepted(method, data, &policy) {
            assert!(data.ends_with(target.raw().as_bytes()), "the target was rewritten");
            check_target(&target, &policy);
            is_accepted = true;
        }
    }
    is_accepted
}

fn accepted(method: &str, target: &[u8], policy: &Policy) -> Option<RequestTarget> {
    let fields = b" HTTP/1.1\r\nHost: console.example\r\n\r\n";
    let head = [method.as_bytes(), b" ", target, fields].concat();
    inspect(&head, policy).ok().map(|request| request.target().clone())
}

/// What holds for every target that passes.
pub fn check_target(target: &RequestTarget, policy: &Policy) {
    if target.is_asterisk() {
        return;
    }
    let (raw, path) = (target.raw(), target.path());
    assert!(raw.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{raw}");
    let rejoined = match target.query() {
        Some(query) => format!("{}?{query}", target.path_raw()),
        None => target.path_raw().to_owned(),
    };
    assert_eq!(rejoined, raw);

    assert!(path.starts_with('/') && !path.contains("//"), "{path}");
    let name = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    assert!(path.split(['/', '\\']).all(|segment| !matches!(name(segment).as_str(), "." | "..")), "{path}");
    assert!(!path.contains("/;"), "{path}");
    assert!(!path.contains(char::is_control), "{path}");
    // Digits that some Pythons know and others do not.
    assert!(!path.contains(|character: char| NEW_DIGITS.contains(&character)), "{path}");

    // An independent decoder reads the same path.
    let once = decode(target.path_raw().as_bytes()).expect("an accepted path has well-formed escapes");
    assert_eq!(once, path.as_bytes());
    // A lenient parser, the one that pingora asks, sees the same path in the bytes that go upstream.
    if let Ok(uri) = raw.parse::<http::Uri>() {
        assert_eq!(uri.path(), target.path_raw());
        assert_eq!(uri.query(), target.query());
        assert!(uri.authority().is_none(), "{raw}");
    }
    // The canonical spelling is accepted and means the same: nothing is only reachable by an odd spelling.
    let canonical = accepted(
        "GET",
        encode_path(path).as_bytes(),
        &Policy { allowed_hosts: Vec::new(), ..policy.clone() },
    );
    // Escapes make a path longer than its limit at times.
    if encode_path(path).len() <= raw.len() {
        assert_eq!(canonical.expect("the canonical spelling is accepted").path(), path);
    }
}

/// The zeros and nines of scripts that are newer than Unicode 12.1.
const NEW_DIGITS: [char; 8] =
    ['\u{11950}', '\u{11959}', '\u{1fbf0}', '\u{1fbf9}', '\u{11f50}', '\u{1e4f9}', '\u{10d40}', '\u{1ccf9}'];
