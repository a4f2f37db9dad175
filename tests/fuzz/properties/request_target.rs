//! The target parser: what is accepted has one spelling, and every decoder reads the same path in it.

use policy::firewall::{Policy, Target, inspect};

use super::naive_url::{decode, encode_path};

/// The bytes are the target of a GET and of an OPTIONS.
pub fn request_target(data: &[u8]) -> bool {
    if data.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        // That would be another head, which is the business of the target `head`.
        return false;
    }
    let mut is_accepted = false;
    for allow_semicolon in [false, true] {
        let policy = Policy {
            allow_semicolon,
            allowed_hosts: vec!["console.example".to_owned()],
            ..Policy::default()
        };
        for method in ["GET", "OPTIONS"] {
            if let Some(target) = accepted(method, data, &policy) {
                assert!(data.ends_with(target.raw().as_bytes()), "the target was rewritten");
                check_target(&target, &policy);
                is_accepted = true;
            }
        }
    }
    is_accepted
}

fn accepted(method: &str, target: &[u8], policy: &Policy) -> Option<Target> {
    let fields = b" HTTP/1.1\r\nHost: console.example\r\n\r\n";
    let head = [method.as_bytes(), b" ", target, fields].concat();
    inspect(&head, policy).ok().map(|request| request.target().clone())
}

/// What holds for every target that passes.
pub fn check_target(target: &Target, policy: &Policy) {
    if target.is_asterisk() {
        return;
    }
    let (raw, path) = (target.raw(), target.path());
    assert!(raw.bytes().all(|byte| byte.is_ascii_graphic()), "{raw}");
    let rejoined = match target.query() {
        Some(query) => format!("{}?{query}", target.path_raw()),
        None => target.path_raw().to_owned(),
    };
    assert_eq!(rejoined, raw);

    assert!(path.starts_with('/') && !path.contains("//"), "{path}");
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
    let forbidden = if policy.allow_semicolon { "%\\?#" } else { "%\\?#;" };
    assert!(!path.contains(|character: char| forbidden.contains(character)), "{path}");
    assert!(!path.contains(char::is_control), "{path}");
    // Python's `int` takes every digit of every script.
    let is_foreign_digit = |character: char| !character.is_ascii() && FOREIGN_DIGITS.contains(&character);
    assert!(!path.contains(is_foreign_digit), "{path}");

    // An independent decoder reads the same path; so does one that decodes twice.
    let once = decode(target.path_raw().as_bytes()).expect("an accepted path has well-formed escapes");
    assert_eq!(once, path.as_bytes());
    assert_eq!(decode(&once).as_deref(), Some(path.as_bytes()));
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

/// The zeros and nines of some scripts.
const FOREIGN_DIGITS: [char; 12] = [
    '\u{660}',
    '\u{669}',
    '\u{6f0}',
    '\u{6f9}',
    '\u{966}',
    '\u{96f}',
    '\u{e50}',
    '\u{e59}',
    '\u{ff10}',
    '\u{ff19}',
    '\u{1d7ce}',
    '\u{1d7ff}',
];
