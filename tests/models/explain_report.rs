//! `explain` with the gates' own answers: for each admin, method and path, and for each sort of body.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::access_model::{of_group, of_legacy_role};
use crate::decision_model::{Drift, Ending, Principal, decide};
use crate::diff_brute_force::imagined_passes;
use crate::disagreement::{Disagreement, Report};
use crate::format::Rollout;
use crate::paths::find;
use crate::round::{Round, Sort, Which, ending, sort};
use crate::scenario::{Request, rules_at};
use crate::tally::Tally;
use crate::world::{GROUPS, LEGACY, group_name};

/// Asks the gate's API about at most `limit` admins and routes, and compares with what the admins saw.
pub async fn compare(round: &Round<'_>, which: Which, limit: usize, tally: &mut Tally) -> Vec<Disagreement> {
    let mut asked: BTreeMap<(&str, &str, &str), Value> = BTreeMap::new();
    let mut found = Vec::new();
    for (request, caller, seen) in round.each(which) {
        let Some(admin) = caller.is_admin().filter(|_| !request.upgrade) else { continue };
        let key = (admin, request.method, request.path.as_str());
        if !asked.contains_key(&key) {
            if asked.len() == limit {
                continue;
            }
            let target =
                format!("/api/gate/explain?method={}&path={}&as={admin}", request.method, request.path);
            let (status, explanation) = round.side(which).api(&target).await;
            assert_eq!(status, 200, "{target}: {explanation}");
            if asked.is_empty() {
                found.extend(compare_command(round, which, request, admin, &explanation));
            }
            asked.insert(key, explanation);
        }
        tally.count(Report::Explain);
        let rules = rules_at(round.mapping(which), request.method, &request.path);
        let sort = sort(request, &[&rules]);
        let explanation = &asked[&key];
        let said = word(explanation, &sort);
        let drift = drift_word(explanation, &sort);
        // By the model of shadow, which the drift rows have confirmed.
        let model = decide(&round.facts(which), caller, request);
        let real = ending(seen, model.ending).map(Ending::word);
        let direction = model.drift.map(Drift::word);
        if said != real || drift != direction {
            let kind = format!("{} for a {} body", contrast(said, real, drift, direction), in_words(&sort));
            let message = format!(
                "explain says {said:?}, in shadow {drift:?}\nthe gate with the {} mapping answered {}, \
                 in shadow {direction:?}\n{}",
                which.word(),
                seen.status,
                explanation["caller"]["answers"],
            );
            found.push(Disagreement::new(Report::Explain, kind, message).by(caller).at(request));
        }
    }
    found
}

/// The command says what the API says.
fn compare_command(
    round: &Round<'_>,
    which: Which,
    request: &Request,
    admin: &str,
    explanation: &Value,
) -> Option<Disagreement> {
    let gate = &round.side(which).gate;
    let arguments = ["explain", request.method, &request.path, "--as", admin, "--format", "json"];
    let (_, printed) = gate.attempt(&arguments);
    let command: Value = serde_json::from_str(&printed).unwrap_or_default();
    let same = ["route", "gate", "caller"].iter().all(|key| command[key] == explanation[key]);
    let text = format!("the API says {explanation:#}\nthe command {command:#}");
    (!same).then(|| Disagreement::new(Report::Explain, "command and API", text).at(request))
}

/// Asks about the imagined: a member of one group, and somebody with one legacy role, by the model that the gates have
/// confirmed. A share of ids says nothing of somebody without an id.
pub async fn compare_imagined(
    round: &Round<'_>,
    which: Which,
    limit: usize,
    tally: &mut Tally,
) -> Vec<Disagreement> {
    let mut found = Vec::new();
    let mut asked = 0;
    let facts = round.facts(which);
    let known = round.legacy_roles(&[which]);
    for request in round.scenario.requests.iter().filter(|request| !request.upgrade) {
        let row = find(facts.mapping, request.method, &request.path).row();
        let cluster = row.and_then(|row| facts.mapping.cluster_of(row));
        let Some(cluster) = cluster.filter(|_| asked < limit) else { continue };
        if matches!(cluster.rollout, Rollout::Cohort { percent: Some(_), .. }) {
            continue;
        }
        let (kind, name, holding) = match asked % 2 {
            0 => ("group", group_name(asked / 2 % GROUPS), of_group(facts.world, asked / 2 % GROUPS)),
            _ => {
                let role = LEGACY[asked / 2 % LEGACY.len()];
                ("legacy_role", role.to_owned(), of_legacy_role(role))
            }
        };
        asked += 1;
        tally.count(Report::Explain);
        let path = format!("/api/gate/explain?method={}&path={}", request.method, request.path);
        let (status, explanation) = round.side(which).api(&format!("{path}&{kind}={name}")).await;
        if kind == "legacy_role" && !known.contains(name.as_str()) {
            assert_eq!(status, 400, "nobody has `{name}`: {explanation}");
            continue;
        }
        assert_eq!(status, 200, "{path} for {name}: {explanation}");
        let rules = rules_at(facts.mapping, request.method, &request.path);
        let sort = sort(request, &[&rules]);
        let principal = Principal { kind: "admin", id: String::new(), holding };
        let passes = imagined_passes(&facts, &principal, request);
        let said = word(&explanation, &sort);
        if (said == Some("allow")) != passes {
            let kind = format!("{kind} {said:?} for a {} body", in_words(&sort));
            let message = format!(
                "explain says {said:?} of {name}, the model {passes}\n{}",
                explanation["caller"]["answers"]
            );
            found.push(Disagreement::new(Report::Explain, kind, message).at(request));
        }
    }
    found
}

fn contrast(said: Option<&str>, real: Option<&str>, drift: Option<&str>, direction: Option<&str>) -> String {
    if said == real {
        format!("shadow {drift:?} instead of {direction:?}")
    } else {
        format!("{said:?} instead of {real:?}")
    }
}

fn in_words(sort: &Sort) -> &'static str {
    match sort {
        Sort::Plain | Sort::Any => "plain",
        Sort::Meets(_) | Sort::ReadBy(..) => "ruled",
        Sort::Unreadable => "unreadable",
    }
}

/// The entries about a body of this sort.
fn entries<'a>(explanation: &'a Value, sort: &Sort) -> Vec<&'a Value> {
    let all = explanation["caller"]["answers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let plain = || all.iter().filter(|entry| entry["body"].is_null() || entry["body"]["kind"] == "no_rule");
    match sort {
        Sort::Plain | Sort::Any => plain().collect(),
        Sort::Unreadable => {
            let own: Vec<&Value> = all.iter().filter(|entry| is_unreadable(&entry["body"])).collect();
            if own.is_empty() { plain().collect() } else { own }
        }
        Sort::Meets(rules) | Sort::ReadBy(_, rules) => {
            let own: Vec<&Value> = all
                .iter()
                .filter(|entry| {
                    let body = &entry["body"];
                    rules.iter().any(|(field, equals)| body["field"] == **field && body["equals"] == **equals)
                })
                .collect();
            if own.is_empty() { plain().collect() } else { own }
        }
    }
}

/// Whether a report's word for bodies is that none can be read as the rules need.
pub fn is_unreadable(body: &Value) -> bool {
    body["kind"] == "unreadable"
}

/// How a request ends by the report: where a body meets several rules, any denial is one.
fn word<'a>(explanation: &'a Value, sort: &Sort) -> Option<&'a str> {
    let words: Vec<&str> =
        entries(explanation, sort).iter().filter_map(|entry| entry["answer"].as_str()).collect();
    words.iter().find(|word| **word == "deny").or(words.first()).copied()
}

/// Which way the two gates disagree by the report: V2 denies a body that meets several rules if it denies by one.
fn drift_word<'a>(explanation: &'a Value, sort: &Sort) -> Option<&'a str> {
    let all = entries(explanation, sort);
    let words: Vec<Option<&str>> = all.iter().map(|entry| entry["shadow"]["direction"].as_str()).collect();
    let deny = Some("would_newly_deny");
    if words.contains(&deny) {
        return deny;
    }
    words.iter().all(Option::is_some).then(|| words.first().copied().flatten()).flatten()
}
