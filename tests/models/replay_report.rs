//! `replay` with the gates' own answers: what the old gate has logged, asked of the new mapping, against what the new
//! gate answered to the same requests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::callers::Caller;
use crate::decision_model::{Ending, decide};
use crate::disagreement::{Disagreement, Report};
use crate::format::Gated;
use crate::paths::find;
use crate::round::{Round, Sort, Which, ending, sort};
use crate::scenario::{METHODS, Request, rules_at};
use crate::tally::Tally;
use crate::world::MARKER;

/// Who asked for what, and how it ended.
type Asked = (String, String, String, String);

/// What replay reports about a request: its other ends, and whether they depend on what is not in the log.
#[derive(Default)]
struct Claim {
    words: BTreeSet<String>,
    is_uncertain: bool,
}

/// Runs the command on what the old gate has logged. It takes V2 to be in force, so it is asked while it is.
pub fn compare(round: &Round<'_>, tally: &mut Tally) -> Vec<Disagreement> {
    let mut found = Vec::new();
    let report = run(round);
    let mut said: BTreeMap<Asked, Claim> = BTreeMap::new();
    for one in report["changed"].as_array().expect("a list") {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        if text("caller") == MARKER {
            continue;
        }
        // Which ticket a request named, and what was granted for it, the log does not keep (docs/decisions/0110).
        let is_for_ticket = one["certain"] == false && is_for_ticket(round, &text("method"), &text("path"));
        if one["because"] != "mapping" && !is_for_ticket {
            let message = format!("no grants have changed: {one:#}");
            let this = Disagreement::new(Report::Replay, "because of grants", message);
            found.push(located(round, this, &text("caller"), &text("method"), &text("path")));
        }
        let asked = (text("caller"), text("method"), text("path"), text("before"));
        let claim = said.entry(asked).or_default();
        claim.words.insert(text("after"));
        claim.is_uncertain |= one["certain"] == false;
    }
    let real = real(round);
    for (asked, after) in &real {
        tally.count(Report::Replay);
        let Claim { mut words, is_uncertain } = said.remove(asked).unwrap_or_default();
        if words.is_empty() || is_uncertain {
            words.insert(asked.3.clone());
        }
        // Replay names every end that there may be, by what the log has not: who asked, and the body. The round had some
        // bodies and not all. Where none was one that the new row's rules can read, it has no answer to compare with.
        if after.words.is_subset(&words) {
            continue;
        }
        let kind = format!("{} becomes {words:?} instead of {:?}", asked.3, after.words);
        let text = format!("replay says {words:?}, the gate with the new mapping answered {:?}", after.words);
        found.push(Disagreement::new(Report::Replay, kind, text).by(&after.caller).at(&after.request));
    }
    for (asked, claim) in said {
        let message = format!("{asked:?} becomes {:?}, and it was not asked for", claim.words);
        found.push(Disagreement::new(Report::Replay, "an invented request", message));
    }
    found
}

/// Whether the row of a request, before or after, is for a ticket.
fn is_for_ticket(round: &Round<'_>, method: &str, path: &str) -> bool {
    let Some(method) = METHODS.into_iter().find(|known| *known == method) else { return false };
    Which::BOTH.into_iter().any(|which| {
        let mapping = round.mapping(which);
        let row = find(mapping, method, path).row().map(|row| mapping.rows()[row]);
        row.and_then(|row| row.gated()).is_some_and(Gated::is_for_ticket)
    })
}

/// With a request and a caller of these names.
fn located(round: &Round<'_>, one: Disagreement, id: &str, method: &str, path: &str) -> Disagreement {
    let asked = round.each(Which::Old).find(|(request, caller, seen)| {
        let is_named = caller.is_admin() == Some(id) || caller.is_machine() == Some(id);
        is_named && request.method == method && request.path == path && seen.status == 403
    });
    match asked {
        Some((request, caller, _)) => one.by(caller).at(request),
        None => one,
    }
}

fn run(round: &Round<'_>) -> Value {
    let gate = &round.bench.old.gate;
    let new = gate.folder().join("replay-new.toml");
    std::fs::write(&new, round.scenario.new.text()).expect("a file");
    let new = new.display().to_string();
    let (code, printed) =
        gate.attempt(&["replay", "--since", "2026-01-01", "--mapping", &new, "--format", "json"]);
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let changed = report["changed"].as_array().expect("a list");
    let is_neutral = changed.iter().all(|one| one["because"] != "mapping");
    assert_eq!(code, i32::from(!is_neutral), "{printed}");
    report
}

/// How a logged request may end under the new mapping, and one such request.
struct After {
    words: BTreeSet<String>,
    caller: Caller,
    request: Request,
}

/// What the new gate answered to what the old one has logged: requests of people and machines whom it knows, at rows
/// that ask who they are and at paths without a row. The log keeps no body, so where the new row has rules about bodies
/// each readable body is one answer, and a body that cannot be read is no answer to be expected.
fn real(round: &Round<'_>) -> BTreeMap<Asked, After> {
    let mut real: BTreeMap<Asked, After> = BTreeMap::new();
    let before = round.each(Which::Old);
    let after = round.each(Which::New);
    for ((request, caller, seen), (_, _, then)) in before.zip(after) {
        let Some(id) = logged_as(round, request, caller) else { continue };
        let said = |which| decide(&round.facts(which), caller, request).ending;
        let endings = (ending(seen, said(Which::Old)), ending(then, said(Which::New)));
        let (Some(before), Some(after)) = endings else { continue };
        let asked = (id, request.method.to_owned(), request.path.clone(), before.word().to_owned());
        let rules = rules_at(round.mapping(Which::New), request.method, &request.path);
        let sort = sort(request, &[&rules]);
        let entry = real.entry(asked).or_insert_with(|| After {
            words: BTreeSet::new(),
            caller: caller.clone(),
            request: request.clone(),
        });
        let carries_body = !matches!(request.method, "GET" | "HEAD" | "OPTIONS");
        if sort == Sort::Unreadable && carries_body && matches!(after, Ending::Denied | Ending::DeniedToLogin)
        {
            continue;
        }
        entry.words.insert(after.word().to_owned());
    }
    real
}

/// The name under which the old gate logs a request: of whom it knows, and of nobody where no row says who may ask.
fn logged_as(round: &Round<'_>, request: &Request, caller: &Caller) -> Option<String> {
    let facts = round.facts(Which::Old);
    let is_unmapped = find(facts.mapping, request.method, &request.path).row().is_none();
    if *caller == Caller::nobody() {
        return is_unmapped.then(|| "nobody".to_owned());
    }
    caller.is_admin().or(caller.is_machine())?;
    decide(&facts, caller, request).actor.map(|(_, id)| id)
}
