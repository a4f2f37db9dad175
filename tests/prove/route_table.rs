//! Answers requests from a table of rules: the gate's side of the differential test against Werkzeug.
//!
//! One JSON document a line on standard input, one answer a line on standard output:
//!
//! ```json
//! {"rules": [["/a/<int:n>", ["GET", "HEAD"], true, true, []]], "requests": [["GET", "/a/1"]]}
//! {"refused": {}, "overlaps": [], "outcomes": [["match", 0, [["n", "1"]]]]}
//! ```
//!
//! A rule is its pattern, its methods as served, `strict_slashes`, `merge_slashes` and its automatic methods. When any pattern is refused,
//! only `refused` (index to message) is answered.

#![allow(clippy::panic, reason = "a proof stops at what it cannot do")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use policy::mapping::matcher::{MatchOutcome, Matcher, Rule};
use policy::mapping::pattern::Pattern;
use policy::method::{Method, MethodSet};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Table {
    rules: Vec<Row>,
    requests: Vec<(String, String)>,
}

/// Pattern, methods as served, `strict_slashes`, `merge_slashes`, automatic methods.
type Row = (String, Vec<String>, bool, bool, Vec<String>);

fn main() -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let table: Table = serde_json::from_str(&line?)?;
        writeln!(output, "{}", answer(&table))?;
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
    json!({ "refused": {}, "overlaps": overlaps, "outcomes": outcomes })
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
