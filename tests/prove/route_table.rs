//! Answers requests from a table of rules, and reads Cookie fields: the gate's side of the differential test against
//! gunicorn and Werkzeug.
//!
//! One JSON document a line on standard input, one answer a line on standard output:
//!
//! ```json
//! {"rules": [["/a/<int:n>", ["GET", "HEAD"], true, true, []]], "requests": [["GET", "/a/1"]]}
//! {"refused": {}, "overlaps": [], "outcomes": [["match", 0, [["n", "1"]]]]}
//! ```
//!
//! `targets` are requests whose paths are as on the wire; each is answered by `["refused", reason]`, or by the decoded
//! path, the query and the outcome. A line with `cookies`, each a Cookie field whose characters are its bytes, is answered
//! by the sessions of each, and by what goes to Console once each of them or none is settled.
//!
//! A rule is its pattern, its methods as served, `strict_slashes`, `merge_slashes` and its automatic methods. When any pattern is refused,
//! only `refused` (index to message) is answered.

#![allow(clippy::panic, reason = "a proof stops at what it cannot do")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use policy::firewall::{Policy, Request, inspect};
use policy::mapping::matcher::{MatchOutcome, Matcher, Rule};
use policy::mapping::pattern::Pattern;
use policy::method::{Method, MethodSet};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Table {
    rules: Vec<Row>,
    requests: Vec<(String, String)>,
    /// Methods and raw targets.
    #[serde(default)]
    targets: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Question {
    Table(Table),
    Cookies { cookies: Vec<String> },
}

/// Pattern, methods as served, `strict_slashes`, `merge_slashes`, automatic methods.
type Row = (String, Vec<String>, bool, bool, Vec<String>);

fn main() -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Question::Table(table) => answer(&table),
            Question::Cookies { cookies } => cookies.iter().map(|field| sessions(field)).collect::<Value>(),
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(table: &Table) -> Value {
    let mut refused = BTreeMap::new();
    let mut rules = Vec::new();
    for (index, (text, methods, strict_slashes, merge_slashes, automatic)) in table.rules.iter().enumerate() {
        match Pattern::parse(text) {
            Ok(pattern) => rules.push(Rule {
                pattern,
                methods: method_set(methods),
                automatic: method_set(automatic),
                strict_slashes: *strict_slashes,
                merge_slashes: *merge_slashes,
            }),
            Err(error) => {
                let span = error.span();
                refused.insert(index.to_string(), format!("{error} at {}..{}", span.start, span.end));
            }
        }
    }
    if !refused.is_empty() {
        return json!({ "refused": refused });
    }
    let matcher = Matcher::build(rules);
    let overlaps: Vec<Value> = matcher
        .overlaps()
        .iter()
        .map(|overlap| {
            let methods: Vec<&str> = overlap.methods.iter().map(Method::as_str).collect();
            json!([overlap.first, overlap.second, methods, overlap.example])
        })
        .collect();
    let outcomes: Vec<Value> =
        table.requests.iter().map(|(name, path)| outcome(&matcher.find(path, method(name)))).collect();
    let policy = Policy::default();
    let targets: Vec<Value> = table
        .targets
        .iter()
        .map(|(name, target)| {
            match inspect(format!("{name} {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(), &policy) {
                Err(refusal) => json!(["refused", refusal.word()]),
                Ok(request) => {
                    let (path, query) = (request.target().path(), request.target().query());
                    json!([path, query, outcome(&matcher.find(path, method(name)))])
                }
            }
        })
        .collect();
    json!({ "refused": {}, "overlaps": overlaps, "outcomes": outcomes, "targets": targets })
}

/// The sessions in a Cookie field, what goes to Console with each of them settled, and with none.
fn sessions(field: &str) -> Value {
    let bytes: Vec<u8> =
        field.chars().filter_map(|character| u8::try_from(u32::from(character)).ok()).collect();
    let head = [b"GET / HTTP/1.1\r\nHost: h\r\nCookie: ", &bytes[..], b"\r\n\r\n"].concat();
    let Ok(request) = inspect(&head, &Policy::default()) else { return json!("refused") };
    let several = request.unsettled_sessions().to_vec();
    let sessions = if several.is_empty() {
        request.session_cookie().map(str::to_owned).into_iter().collect()
    } else {
        several
    };
    let fields: Vec<Value> =
        (0..sessions.len()).map(|index| cookie(&settled(&request, Some(index)))).collect();
    json!({
        "sessions": sessions,
        "rewritten": request.rewrites_cookie(),
        "unsettled": cookie(&request),
        "settled": fields,
        "none": cookie(&settled(&request, None)),
    })
}

fn settled(request: &Request, session: Option<usize>) -> Request {
    let request = request.clone();
    request.settle_session(session);
    request
}

/// The Cookie field, each byte a character.
fn cookie(request: &Request) -> Value {
    request
        .fields()
        .value("cookie")
        .map_or(Value::Null, |bytes| bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into())
}

fn method_set(names: &[String]) -> MethodSet {
    names.iter().map(|name| method(name)).collect()
}

fn method(name: &str) -> Method {
    Method::parse(name).unwrap_or_else(|| panic!("`{name}` is no method of the gate"))
}

fn outcome(outcome: &MatchOutcome<'_>) -> Value {
    match outcome {
        MatchOutcome::Match { rule, values } => json!(["match", rule, values.iter().collect::<Vec<_>>()]),
        MatchOutcome::SlashRedirect { rule } => json!(["slash", rule]),
        MatchOutcome::MergeRedirect { rule, adds_slash } => json!(["merge", rule, adds_slash]),
        MatchOutcome::MethodMismatch { allowed } => {
            json!(["method", allowed.iter().map(Method::as_str).collect::<Vec<_>>()])
        }
        MatchOutcome::NotFound => json!(["none"]),
    }
}
