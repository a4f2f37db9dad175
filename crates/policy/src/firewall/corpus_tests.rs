//! The firewall compared with what real servers did.
//!
//! `tests/data/werkzeug` holds raw requests and what gunicorn and Werkzeug made of each (its README says how). Every one
//! of them must be refused, or be forwarded as it was matched. So: the path that Werkzeug saw must be the path that the
//! firewall decoded, and every mutated request that passes must be on a list here that says why it may.

use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const CORPUS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/werkzeug/corpus.jsonl"));

/// The mutations of a gated target (group B) that pass, and why each is no danger.
const HARMLESS_TARGETS: &[(&str, &str)] = &[
    ("%20 before slash", "a space is part of the segment, for both"),
    ("%20 suffix", "a space is part of the segment, for both"),
    ("%2B", "a sub-delimiter, which Werkzeug decodes to the same `+`"),
    (".json suffix (Spring/Rails)", "no suffix is cut off"),
    ("/:80/path", "a colon is part of the segment"),
    ("/x.css (cache deception)", "one more segment, for both"),
    ("UPPERCASE", "paths are case-sensitive"),
    ("case of first letter", "paths are case-sensitive"),
    ("empty query", "the path ends at the first `?`"),
    ("last / -> U+2215", "a letter like any other, never folded into `/`"),
    ("last / -> fullwidth solidus", "a letter like any other, never folded into `/`"),
    ("no trailing /", "Werkzeug redirects, and the table knows it"),
    ("query", "the path ends at the first `?`"),
    ("query with traversal", "the path ends at the first `?`"),
    ("trailing +", "part of the segment"),
    ("trailing /", "another path, for both"),
    ("trailing dot", "part of the segment"),
    ("weak route ? gated path", "the path ends at the first `?`, so the weak route is what both serve"),
    ("~", "part of the segment"),
    ("%23", "the text `#` within the segment, for both"),
    ("%3B", "a semicolon within the segment, for both"),
    ("%3Ba=b", "a semicolon within the segment, for both"),
    ("%3F", "the text `?` within the segment, for both"),
    ("%3Fx=1 (encoded ?)", "the text `?` within the segment, for both"),
    ("/\\path", "a backslash is part of the segment, for both"),
    (";.css (cache deception)", "no parameters are cut off"),
    (";/ before last seg", "no parameters are cut off"),
    (";a=b/ before last seg", "no parameters are cut off"),
    (";params", "no parameters are cut off"),
    ("BOM suffix", "part of the segment, for both"),
    ("all inner / -> %2F", "decoded before it is matched, by both"),
    ("all letters %XX", "decoded before it is matched, by both"),
    ("all letters %xx", "decoded before it is matched, by both"),
    ("double-encoded dotdot", "decoded once, by both: `%2e%2e` is a segment like any other"),
    ("first letter %XX upper", "decoded before it is matched, by both"),
    ("first letter double-encoded (Traefik GHSA-vrch)", "decoded once, by both: another path"),
    ("last / -> %252F", "decoded once, by both: the text `%2F` within the segment"),
    ("last / -> %2F", "decoded before it is matched, by both"),
    ("last / -> %2f", "decoded before it is matched, by both"),
    ("last / -> %5C", "a backslash is part of the segment, for both"),
    ("last / -> backslash", "a backslash is part of the segment, for both"),
    ("last / -> triple enc", "decoded once, by both"),
    ("last letter %XX", "decoded before it is matched, by both"),
    ("nbsp suffix", "part of the segment, for both"),
    ("raw \"", "part of the segment, for both"),
    ("raw <>", "part of the segment, for both"),
    ("raw [", "part of the segment, for both"),
    ("raw |^`{}", "part of the segment, for both"),
    ("trailing %2F", "another path, for both: decoded before it is matched"),
    ("trailing ;", "no parameters are cut off"),
    ("weak %23", "the text `#` within the weak route's segment, for both"),
    ("weak %3F gated", "the text `?` within the weak route's segment, for both"),
    ("weak ; gated", "no parameters are cut off"),
];

/// The framing cases (group G) whose head is sound. The chunks are checked by the reader of the body.
const SOUND_FRAMING: &[&str] = &[
    "CL on GET",
    "CL value '5 '",
    "CL value '5'",
    "Connection: keep-alive, close",
    "HEAD then pipelined",
    "HTTP/1.0 keep-alive pipeline",
    "TE value ' chunked'",
    "chunk: 00 last",
    "chunk: 05",
    "chunk: 0x5",
    "chunk: 5+space",
    "chunk: 5_0",
    "chunk: CR CRLF",
    "chunk: bare LF after size",
    "chunk: ext",
    "chunk: huge",
    "chunk: space+5",
    "chunk: trailer Host",
    "chunk: trailer underscore",
];

/// The names in group E that reach Console.
const PASSING_FIELDS: &[&str] =
    &["x-a", "range", "if-none-match", "sec-websocket-key", "sec-websocket-version"];

struct Case {
    record: Value,
    outcome: Result<Request, Refusal>,
}

impl Case {
    fn text(&self, key: &str) -> &str {
        self.record[key].as_str().unwrap_or_default()
    }

    fn is_in(&self, group: char) -> bool {
        self.text("group").starts_with(group)
    }
}

fn cases() -> Vec<Case> {
    CORPUS
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let outcome = inspect_buffer(&request_bytes(&record));
            Case { record, outcome }
        })
        .collect()
}

fn inspect_buffer(buffer: &[u8]) -> Result<Request, Refusal> {
    let policy = Policy::default();
    match head_state(buffer, &policy.limits) {
        HeadState::Complete(length) => inspect(&buffer[..length], &policy),
        HeadState::Partial => Err(Refusal::HeadTimeout),
        HeadState::Refused(refusal) => Err(refusal),
    }
}

/// The bytes that were sent: `parts` where it was split, `raw` where it was written by hand, else from the fields.
fn request_bytes(record: &Value) -> Vec<u8> {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    if let Some(parts) = record["parts"].as_array() {
        return parts.iter().flat_map(|part| latin1(part.as_str().unwrap())).collect();
    }
    if let Some(raw) = record["raw"].as_str() {
        return latin1(raw);
    }
    let version = record["version"].as_str().unwrap_or("HTTP/1.1");
    let mut head = format!("{} {} {version}\r\n", text("method"), text("target"));
    match record.get("host") {
        None => head += "Host: 127.0.0.1\r\n",
        Some(Value::String(host)) => head += &format!("Host: {host}\r\n"),
        Some(_) => {}
    }
    for field in record["headers"].as_array().into_iter().flatten() {
        head += &format!("{}: {}\r\n", field[0].as_str().unwrap(), field[1].as_str().unwrap());
    }
    latin1(&(head + "\r\n"))
}

/// The corpus writes byte n as character n.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

/// Python's `unicode_escape`, in which the corpus writes paths; a final space was lost in a response header.
fn python_escape(path: &str) -> String {
    let escaped: String = path
        .chars()
        .map(|character| match u32::from(character) {
            0x5c => "\\\\".to_owned(),
            0x20..=0x7e => character.to_string(),
            code @ ..=0xff => format!("\\x{code:02x}"),
            code @ ..=0xffff => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        })
        .collect();
    escaped.trim_end().to_owned()
}

#[test]
fn every_canonical_request_passes() {
    for case in cases().iter().filter(|case| case.is_in('A')) {
        let request = case.outcome.as_ref().unwrap_or_else(|refusal| panic!("{}: {refusal:?}", case.record));
        assert_eq!(request.target().path(), case.text("path"));
        assert_eq!(request.target().raw(), case.text("target"));
    }
}

#[test]
fn whatever_passes_has_the_path_that_werkzeug_saw() {
    let mut compared = 0;
    for case in &cases() {
        let Ok(request) = &case.outcome else { continue };
        // What was recorded is what the dropped fields did to a server; it never gets them.
        if !request.dropped_fields().is_empty() {
            continue;
        }
        let path = python_escape(request.target().path());
        let alternatives = case.record["alt"].as_object().into_iter().flat_map(|servers| servers.values());
        for server in std::iter::once(&case.record).chain(alternatives) {
            if let Some(seen) = server["path"].as_str() {
                assert_eq!(seen.trim_end(), path, "{}", case.record);
                compared += 1;
            }
        }
        if !case.is_in('G') {
            assert_eq!(request.target().raw(), case.text("target"), "forwarded as it was matched");
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn every_mutated_target_that_passes_is_accounted_for() {
    let passed: BTreeSet<String> = passed_notes('B');
    let expected: BTreeSet<String> = HARMLESS_TARGETS.iter().map(|(note, _)| (*note).to_owned()).collect();
    assert_eq!(passed, expected);
}

#[test]
fn every_framing_that_passes_is_accounted_for() {
    let expected: BTreeSet<String> = SOUND_FRAMING.iter().map(|note| (*note).to_owned()).collect();
    let mut passed = passed_notes('G');
    assert!(passed.remove("split in 2 packets"));
    assert_eq!(passed, expected);
}

fn passed_notes(group: char) -> BTreeSet<String> {
    let cases = cases();
    let passed = cases.iter().filter(|case| case.is_in(group) && case.outcome.is_ok());
    passed.map(|case| case.text("note").to_owned()).collect()
}

#[test]
fn no_field_that_anyone_trusts_passes() {
    for case in cases().iter().filter(|case| case.is_in('E')) {
        let Ok(request) = &case.outcome else { continue };
        for (name, _) in request.fields().iter() {
            let is_numbered = name.strip_prefix("x-").is_some_and(|number| number.parse::<u8>().is_ok());
            assert!(is_numbered || PASSING_FIELDS.contains(&name), "{name}: {}", case.record);
        }
    }
}

#[test]
fn the_session_cookie_that_flask_takes_is_among_those_that_are_judged() {
    const ALICE: &str = "eyJ1IjoiYWxpY2UifQ.awDVzA.SE2Zlj58vVAk_Une2Ot4_MQkfsw";
    let mut found = 0;
    for case in cases().iter().filter(|case| case.is_in('F')) {
        let Ok(request) = &case.outcome else { continue };
        let plain = |value: &str| value.trim_matches('"').replace("\\056", ".");
        let several = request.unsettled_sessions().iter().map(String::as_str);
        let mut judged = several.chain(request.session_cookie()).map(plain);
        let has_alice = judged.any(|session| session == ALICE);
        match case.record["user"].as_str() {
            // A value that no browser sends is nobody's, and then Console does not see it either.
            Some("alice") if !has_alice => {
                let forwarded = request.fields().value("cookie").unwrap_or_default();
                let has_session = forwarded.windows(8).any(|bytes| bytes == b"session=");
                assert!(request.rewrites_cookie() && !has_session, "{}", case.record);
            }
            Some("alice") => {}
            Some(user) => panic!("{user} was nobody's session: {}", case.record),
            // Flask found no valid session: nor does the gate, but where it writes the Cookie field anew.
            None => assert!(!has_alice || is_written_anew(case, request), "{}", case.record),
        }
        found += usize::from(has_alice);
    }
    assert!(found > 10, "{found}");
}

/// Whether Console gets another Cookie field than the client sent: taken apart, or joined of two.
fn is_written_anew(case: &Case, request: &Request) -> bool {
    let fields = case.record["headers"].as_array().into_iter().flatten();
    let cookies =
        fields.filter(|field| field[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("cookie")));
    request.rewrites_cookie() || cookies.count() > 1
}

/// Run with `--nocapture` for the table.
#[test]
fn summary() {
    let mut table: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for case in cases() {
        let word = case.outcome.as_ref().map_or_else(|refusal| refusal.word(), |_| "accepted");
        *table.entry((case.text("group").to_owned(), word)).or_default() += 1;
    }
    for ((group, word), count) in &table {
        println!("{group:12} {word:24} {count:4}");
    }
    assert_eq!(table.values().sum::<usize>(), 1142);
    assert_eq!(table[&("A-canonical".to_owned(), "accepted")], 55);
}
