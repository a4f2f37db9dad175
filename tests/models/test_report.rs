//! `test` with the gates' own answers: a test file of what each caller saw must hold.

use std::fmt::Write as _;

use serde_json::Value;

use crate::callers::Caller;
use crate::disagreement::{Disagreement, Report};
use crate::round::{Round, Which};
use crate::scenario::rules_at;
use crate::tally::Tally;

/// Writes what the gate with the new mapping answered as cases, and runs them.
pub fn compare(round: &Round<'_>, tally: &mut Tally) -> Vec<Disagreement> {
    let gate = &round.bench.new.gate;
    let mapping = round.mapping(Which::New);
    let under = if round.scenario.switches.flag { "file" } else { "kill-switch" };
    let mut text = "version = 1\n".to_owned();
    let mut cases = Vec::new();
    for (request, caller, seen) in round.each(Which::New) {
        // What a body is to a row is stated by fields, and not by bytes.
        let reads_body = !rules_at(mapping, request.method, &request.path).is_empty();
        let Some(name) = name(round, caller).filter(|_| !request.upgrade && !request.htmx && !reads_body)
        else {
            continue;
        };
        let expected = match (seen.status, seen.reached) {
            (200, true) => "allow",
            (302, false) if name.starts_with("person:") => "deny",
            (302, false) => "login",
            (400, false) => "400",
            (401, false) => "401",
            (403, false) if name == "anonymous" => "403",
            (403, false) => "deny",
            (404, false) => "404",
            (410, false) => "410",
            _ => continue,
        };
        let line = Value::from(format!("{} {}", request.method, request.path));
        let _ = writeln!(
            text,
            "[[case]]\nas = {}\nunder = \"{under}\"\n{line} = \"{expected}\"",
            Value::from(name)
        );
        cases.push((caller, request));
        tally.count(Report::Test);
    }
    let file = gate.folder().join("routes.test.toml");
    std::fs::write(&file, text).expect("the test file");
    let (code, printed) = gate.attempt(&["test", "--live", "--format", "json", &file.display().to_string()]);
    let Ok(report) = serde_json::from_str::<Value>(&printed) else {
        let message = format!("test ended with {code} and printed `{printed}`");
        return vec![Disagreement::new(Report::Test, "no report", message)];
    };
    let outcomes = report["cases"].as_array().expect("cases");
    assert_eq!(outcomes.len(), cases.len());
    let failed = outcomes.iter().zip(cases).filter(|(outcome, _)| !outcome["failure"].is_null());
    failed
        .map(|(outcome, (caller, request))| {
            let kind = format!("{} instead of {}", outcome["failure"]["answer"], outcome["expected"]);
            Disagreement::new(Report::Test, kind, format!("{outcome:#}")).by(caller).at(request)
        })
        .collect()
}

/// The caller as a test file names it; `None` for one that it cannot name.
fn name(round: &Round<'_>, caller: &Caller) -> Option<String> {
    let world = &round.scenario.world;
    if *caller == Caller::nobody() {
        return Some("anonymous".to_owned());
    }
    if *caller == Caller::unknown_token() {
        return Some("program".to_owned());
    }
    if let Some(id) = caller.is_admin() {
        let is_active = world.admins.iter().any(|admin| admin.id == id && !admin.disabled);
        return is_active.then(|| format!("person:{id}"));
    }
    let id = caller.is_machine()?;
    let is_live = world.tokens.iter().any(|token| token.id == id && token.term.lives());
    is_live.then(|| format!("machine:{id}"))
}
