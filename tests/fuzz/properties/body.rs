//! Body rules: what the gate reads in a body is what a plain reading of it finds, or it reads nothing.

use std::sync::Arc;

use policy::decision::body::{BodyError, BodyFacts, ContentHeaders, read};
use policy::mapping::{BodyField, BodyRule};
use policy::rbac::Requirement;
use serde_json::Value;

use super::input::Input;
use super::{naive_json, naive_url};

const DEEPEST: usize = 32;
const VALUES: [&str; 8] = ["prod", "1", "true", "", "30", "1.0", "False", "0.5"];
/// A JSON pointer and the keys that it names.
const FIELDS: [(&str, &[&str]); 5] = [
    ("/target", &["target"]),
    ("/a/b", &["a", "b"]),
    ("/list/0", &["list", "0"]),
    ("/x~1y", &["x/y"]),
    ("/~01", &["~1"]),
];

/// The first bytes choose a rule and a content type, the others are the body.
pub fn body(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let is_form = input.below(2) == 1;
    let (field, equals) = (input.choose(&FIELDS), input.choose(&VALUES));
    let headers = ContentHeaders {
        content_type: input.choose(if is_form { &FORM_TYPES } else { &JSON_TYPES }),
        content_encoding: if input.below(16) == 1 { Some("identity") } else { None },
    };
    let body = input.rest();
    let is_readable = headers.content_encoding.is_none()
        && headers.content_type.is_some_and(|name| name.starts_with("application/"));
    let facts = if is_form {
        let name = field.1[0];
        let facts = read(&[rule(BodyField::Form(name.to_owned()), equals)], headers, body);
        if is_readable {
            check_form(&facts, name, equals, body);
        }
        facts
    } else {
        let facts = read(&[rule(BodyField::Json(field.0.to_owned()), equals)], headers, body);
        if is_readable {
            check_json(&facts, field.1, equals, body);
        }
        facts
    };
    if !is_readable {
        assert!(matches!(facts, BodyFacts::Unreadable(_)), "{headers:?}");
    }
    matches!(facts, BodyFacts::Read(_))
}

/// Those that begin with `application/` are to be read, the others not.
const JSON_TYPES: [Option<&str>; 6] = [
    Some("application/json"),
    Some("application/json; charset=utf-8"),
    Some("application/json;charset=\"UTF-8\""),
    Some("text/json"),
    Some("multipart/form-data; boundary=x"),
    None,
];
const FORM_TYPES: [Option<&str>; 3] =
    [Some("application/x-www-form-urlencoded"), Some("multipart/form-data; boundary=x"), None];

fn rule(field: BodyField, equals: &str) -> BodyRule {
    BodyRule { field, equals: equals.to_owned(), requires: Requirement::Role(Arc::from("r")) }
}

fn check_json(facts: &BodyFacts, path: &[&str], equals: &str, body: &[u8]) {
    let context = || format!("{facts:?} for {path:?} = {equals} in {}", String::from_utf8_lossy(body));
    let plain = match serde_json::from_slice::<Value>(body) {
        Ok(plain) => plain,
        Err(_) => {
            assert!(matches!(facts, BodyFacts::Unreadable(_)), "{}", context());
            return;
        }
    };
    let expected = if naive_json::has_twins(body, &plain) || naive_json::depth(&plain) > DEEPEST {
        // Which of the two faults is met first is of no consequence.
        assert!(
            matches!(facts, BodyFacts::Unreadable(BodyError::DuplicateKey | BodyError::Malformed)),
            "{}",
            context()
        );
        return;
    } else {
        match naive_json::at(&plain, path) {
            Some(Value::String(text)) => BodyFacts::Read(vec![text == equals]),
            Some(Value::Bool(flag)) => compared(if *flag { "true" } else { "false" }, equals),
            Some(Value::Number(_)) => {
                let text = std::str::from_utf8(body).expect("JSON is UTF-8");
                compared(naive_json::text_at(text, path).expect("the value is there"), equals)
            }
            _ => BodyFacts::Unreadable(BodyError::NoSuchField),
        }
    };
    assert_eq!(*facts, expected, "{}", context());
}

/// A number or truth value, as it is written, and the text of a rule: equal, different, or not for texts to say.
fn compared(written: &str, equals: &str) -> BodyFacts {
    let (one, other) = (python(written), python(equals));
    let is_plain = |text: &str| matches!(text, "true" | "false") || is_usual(text);
    if !is_plain(written) || (written != equals && one == other && !(is_usual(written) && is_usual(equals))) {
        return BodyFacts::Unreadable(BodyError::Spelling);
    }
    BodyFacts::Read(vec![written == equals])
}

/// What the text is to Python as a number, if it is one; NaN, which equals nothing, if not.
fn python(text: &str) -> f64 {
    match text.to_lowercase().as_str() {
        "true" => 1.0,
        "false" => 0.0,
        number => number.parse().unwrap_or(f64::NAN),
    }
}

/// A number as everybody would write it: digits without a zero in front, and behind a dot none at the end.
fn is_usual(text: &str) -> bool {
    let digits = text.trim_start_matches('-');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let is_number = |digits: &str| !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    // Python may round a long fraction, so that it has another spelling.
    let is_exact = !text.contains('.') || format!("{}", python(text)) == text;
    is_number(whole)
        && is_number(fraction)
        && !fraction.ends_with('0')
        && (whole == "0" || !whole.starts_with('0'))
        && text != "-0"
        && is_exact
}

/// A form is pairs between `&`, with `+` for a space and escapes.
fn check_form(facts: &BodyFacts, name: &str, equals: &str, body: &[u8]) {
    let mut pairs = Vec::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || {
            let spaced =
                halves.next().unwrap_or_default().iter().map(|byte| if *byte == b'+' { b' ' } else { *byte });
            String::from_utf8(naive_url::decode(&spaced.collect::<Vec<u8>>())?).ok()
        };
        pairs.push(half().zip(half()));
    }
    let Some(pairs) = pairs.into_iter().collect::<Option<Vec<_>>>() else {
        assert!(matches!(facts, BodyFacts::Unreadable(_)), "{facts:?}");
        return;
    };
    let names: std::collections::HashSet<&String> = pairs.iter().map(|(name, _)| name).collect();
    let expected = match pairs.iter().find(|(known, _)| known == name) {
        _ if names.len() < pairs.len() => BodyFacts::Unreadable(BodyError::DuplicateKey),
        Some((_, value)) => BodyFacts::Read(vec![value == equals]),
        None => BodyFacts::Unreadable(BodyError::NoSuchField),
    };
    assert_eq!(*facts, expected, "{name} = {equals} in {}", String::from_utf8_lossy(body));
}
