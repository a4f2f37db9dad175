//! `verify` against a gate whose answers are known to be right: it must find nothing wrong, ask for every row, and
//! expect what the model does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::bodies::Body;
use crate::callers::Caller;
use crate::decision_model::{Ending, decide};
use crate::disagreement::{Disagreement, Report};
use crate::format::{Kind, Row, Unauthenticated};
use crate::paths::find;
use crate::round::{Round, Which};
use crate::scenario::{METHODS, Request};
use crate::support::http::HOST;
use crate::tally::Tally;

/// Runs the command beside the gate with the new mapping.
pub fn compare(round: &Round<'_>, tally: &mut Tally) -> Vec<Disagreement> {
    let gate = &round.bench.new.gate;
    let socket = format!("unix:{}", gate.socket().display());
    let (code, printed) = gate.attempt(&["verify", "--gate", &socket, "--host", HOST, "--format", "json"]);
    let Ok(report) = serde_json::from_str::<Value>(&printed) else {
        let message = format!("verify ended with {code} and said `{printed}`");
        return vec![Disagreement::new(Report::Verify, "no report", message)];
    };
    let outcomes = report["outcomes"].as_array().expect("outcomes");
    let mut found = Vec::new();
    for outcome in outcomes {
        tally.count(Report::Verify);
        found.extend(compare_outcome(round, outcome));
    }
    if (code, report["failed"].as_u64()) != (0, Some(0)) && found.is_empty() {
        let message = format!("exit code {code}, failed {}", report["failed"]);
        found.push(Disagreement::new(Report::Verify, "failed without an outcome", message));
    }
    found.extend(compare_coverage(round, &report, outcomes));
    found
}

/// The status that an expectation is.
fn status(expected: &str) -> u64 {
    match expected {
        "allow" => 200,
        "login" | "deny_to_login" => 302,
        "unauthorized" => 401,
        "deny" | "unknown" => 403,
        "gone" => 410,
        _ => 0,
    }
}

/// The word of the report, which tells apart what others count as one.
fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Unknown => "unknown",
        Ending::DeniedToLogin => "deny_to_login",
        other => other.word(),
    }
}

fn compare_outcome(round: &Round<'_>, outcome: &Value) -> Option<Disagreement> {
    let text = |key: &str| outcome[key].as_str().unwrap_or_default();
    let mapping = round.mapping(Which::New);
    let method = METHODS.into_iter().find(|method| *method == text("method"))?;
    let row = find(mapping, method, text("path")).row().map(|row| mapping.rows()[row].route());
    let problem = if outcome["status"].as_u64() != Some(status(text("expected"))) {
        format!("{} had {} where {} was expected", text("who"), outcome["status"], text("expected"))
    } else if outcome["audit_rows"].as_u64() != Some(u64::from(text("expected").starts_with("deny"))) {
        format!("{} audit rows for {}", outcome["audit_rows"], text("expected"))
    } else if row.as_deref() != outcome["route"].as_str() {
        format!("asks {row:?} and calls it {}", outcome["route"])
    } else if text("who") == "nobody" {
        let facts = round.facts(Which::New);
        let request = Request::plain(method, text("path"), Body::none());
        let said = decide(&facts, &Caller::nobody(), &request);
        if word(said.ending) == text("expected") {
            return None;
        }
        format!("nobody is expected to have {}, the model says {}", text("expected"), word(said.ending))
    } else {
        return None;
    };
    Some(Disagreement::new(Report::Verify, problem, format!("{outcome:#}")))
}

/// The documents' tests, for each row with a gate: nobody is sent away, somebody passes, somebody is denied (cutover
/// design, section 7).
fn compare_coverage(round: &Round<'_>, report: &Value, outcomes: &[Value]) -> Vec<Disagreement> {
    let mut asked: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for outcome in outcomes {
        let route = outcome["route"].as_str().unwrap_or_default();
        asked.entry(route).or_default().insert(outcome["expected"].as_str().unwrap_or_default());
    }
    let excused = report["out_of_reach"].to_string();
    let mut found = Vec::new();
    for row in round.mapping(Which::New).rows() {
        let route = row.route();
        let expected = asked.get(route.as_str()).cloned().unwrap_or_default();
        let missing: Vec<&str> = wanted(row).into_iter().filter(|word| !expected.contains(word)).collect();
        if !missing.is_empty() && !excused.contains(&route) {
            let message = format!("`{route}` is asked for {expected:?} alone; out of reach: {excused}");
            found.push(Disagreement::new(Report::Verify, format!("no test of {missing:?}"), message));
        }
    }
    found
}

fn wanted(row: &Row) -> Vec<&'static str> {
    let stranger = match row.unauthenticated {
        None => "login",
        Some(Unauthenticated::Status401) => "unauthorized",
        Some(Unauthenticated::Status403) => "unknown",
    };
    let denied = if row.redirects { "deny_to_login" } else { "deny" };
    match &row.kind {
        Kind::Public | Kind::Upstream => vec!["allow"],
        Kind::Session => vec![stranger, "allow"],
        Kind::Machine => vec!["unauthorized", "allow"],
        Kind::Gone => vec!["gone"],
        // A row without a legacy gate lets nobody through where V2 does not decide; one for a ticket, that nobody may have
        // without one, nobody where V2 decides: probes name no ticket.
        Kind::Gated(gated) if gated.legacy.is_some() && !gated.needs_ticket() => {
            vec![stranger, "allow", denied]
        }
        Kind::Gated(_) => vec![stranger, denied],
    }
}
