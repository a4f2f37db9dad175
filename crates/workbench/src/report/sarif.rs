//! Findings for a code host: SARIF 2.1.0 (OASIS), a log with one run.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Finding, Location, rules};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The characters that a URI path must not contain unescaped (RFC 3986, 3.3). The colon is among them: in the first
/// segment it would end a scheme.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The log, indented.
///
/// # Errors
///
/// None that is known: the type comes from the JSON writer.
pub fn log(findings: &[Finding]) -> serde_json::Result<String> {
    let ids: BTreeSet<&str> = findings.iter().map(|finding| finding.id).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &ids)).collect();
    serde_json::to_string_pretty(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "console-gate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": ids.iter().map(|id| descriptor(id)).collect::<Vec<Value>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

/// The kind of a finding (`reportingDescriptor`).
fn descriptor(id: &str) -> Value {
    let Some(rule) = rules::rule(id) else { return json!({ "id": id }) };
    json!({
        "id": id,
        "shortDescription": { "text": sentence(rule.summary) },
        "help": { "text": sentence(rule.help) },
        "defaultConfiguration": { "level": rule.level.word() },
    })
}

fn result(finding: &Finding, ids: &[&str]) -> Value {
    let mut text = sentence(&finding.message);
    if let Some(suggestion) = &finding.suggestion {
        text = format!("{text} {}", sentence(suggestion));
    }
    let locations: Vec<Value> = finding.place.iter().map(location).collect();
    json!({
        "ruleId": finding.id,
        "ruleIndex": ids.iter().position(|id| *id == finding.id),
        "level": finding.level.word(),
        "message": { "text": text },
        "locations": locations,
    })
}

fn location(place: &Location) -> Value {
    let path = utf8_percent_encode(&place.file, PATH).to_string();
    let uri = if place.file.starts_with('/') { format!("file://{path}") } else { path };
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri },
        "region": { "startLine": place.line, "startColumn": place.column },
    }})
}

/// With a capital and a full stop, as SARIF requires of its messages (3.11.3).
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}
