//! `diff` by brute force: two running gates, one with the old and one with the new mapping, are asked everything by
//! everybody, and who gained and who lost which route must be what the command says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::access_model::{of_group, of_legacy_role};
use crate::bench::Seen;
use crate::bodies;
use crate::callers::Caller;
use crate::decision_model::{Ending, Facts, Principal, ask_gates};
use crate::disagreement::{Disagreement, Report};
use crate::explain_report::is_unreadable;
use crate::format::{Kind, Rollout, Rule, Unmapped};
use crate::paths::find;
use crate::random::Random;
use crate::round::{Round, Sort, Which, sort};
use crate::scenario::{METHODS, Request, rules_at};
use crate::tally::Tally;
use crate::ways;
use crate::world::{GROUPS, group_name};

/// How often bodies are drawn for one that is as a report says.
const DRAWS: usize = 40;

/// A pair of rows that decides a request, by their numbers, with the request's method and the sort of its body.
type Place = (Option<usize>, Option<usize>, &'static str, Sort);

/// `admin`, `machine`, `group` or `legacy_role`, and the name.
type Who = (String, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Gain,
    Loss,
}

/// What the command reports about one place.
#[derive(Clone, Debug, Default)]
struct Claim {
    who: BTreeMap<Who, &'static str>,
    strangers: Option<String>,
    machines_of_console: Option<String>,
}

/// Runs the command and compares.
pub async fn compare(round: &Round<'_>, tally: &mut Tally) -> Vec<Disagreement> {
    let report = run(round);
    let mut found = population(round, &report);
    found.extend(ways::compare_diff(round, &report));
    let (claims, further) = claims(round, &report, &mut found);
    let asked = Asked::of(round, further).await;
    found.extend(asked.compare_callers(round, &claims, tally));
    found.extend(asked.compare_imagined(round, &claims, tally));
    found
}

/// What the command prints.
fn run(round: &Round<'_>) -> Value {
    let gate = &round.bench.old.gate;
    let (old, new) = (gate.folder().join("diff-old.toml"), gate.folder().join("diff-new.toml"));
    std::fs::write(&old, round.scenario.old.text()).expect("a file");
    std::fs::write(&new, round.scenario.new.text()).expect("a file");
    let flag = if round.scenario.switches.flag { "on" } else { "off" };
    let (old, new) = (old.display().to_string(), new.display().to_string());
    let (code, printed) = gate.attempt(&["diff", &old, &new, "--flag", flag, "--format", "json"]);
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let is_neutral = report["changes"].as_array().is_some_and(Vec::is_empty) && report["complete"] == true;
    assert_eq!(code, i32::from(!is_neutral), "{printed}");
    report
}

/// Everybody who can act is in the report, and nobody else.
fn population(round: &Round<'_>, report: &Value) -> Vec<Disagreement> {
    let world = &round.scenario.world;
    let name = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
    let admins = world.admins.iter().filter(|admin| !admin.disabled).map(|admin| name("admin", &admin.id));
    let tokens =
        world.tokens.iter().filter(|token| token.term.lives()).map(|token| name("machine", &token.id));
    let groups = (0..GROUPS).map(|group| name("group", &group_name(group)));
    let legacy = round.legacy_roles(&Which::BOTH).into_iter().map(|role| name("legacy_role", role));
    let expected: BTreeSet<Who> = admins.chain(tokens).chain(groups).chain(legacy).collect();
    let listed: BTreeSet<Who> = profiles(report).into_iter().flatten().collect();
    if expected == listed {
        return Vec::new();
    }
    let message = format!(
        "missing {:?}, too many {:?}",
        expected.difference(&listed).collect::<Vec<_>>(),
        listed.difference(&expected).collect::<Vec<_>>()
    );
    vec![Disagreement::new(Report::Diff, "population", message)]
}

/// The members of each profile.
fn profiles(report: &Value) -> Vec<Vec<Who>> {
    let list = report["profiles"].as_array().expect("profiles");
    list.iter()
        .map(|profile| {
            let kind = profile["kind"].as_str().expect("a kind").to_owned();
            let members = profile["members"].as_array().expect("members").iter();
            members.map(|member| (kind.clone(), member.as_str().expect("a name").to_owned())).collect()
        })
        .collect()
}

/// What the command says, by place; and the requests with which it says so.
fn claims(
    round: &Round<'_>,
    report: &Value,
    found: &mut Vec<Disagreement>,
) -> (BTreeMap<Place, Claim>, Vec<Request>) {
    let profiles = profiles(report);
    let mut claims: BTreeMap<Place, Claim> = BTreeMap::new();
    let mut requests = Vec::new();
    // What changes for a WebSocket alone is not compared: a pair of requests would be needed.
    let changes = report["changes"].as_array().expect("changes").iter();
    for change in changes.filter(|change| change["websocket"] != true) {
        let path = change["example"].as_str().expect("an example");
        for method in METHODS.iter().filter(|method| lists(&change["methods"], method)) {
            let request = example(round, method, path, change);
            let Some(request) = request else {
                let message = format!("no body is as the report says: {change:#}");
                found.push(Disagreement::new(Report::Diff, "an impossible body", message));
                continue;
            };
            let mut place = place(round, &request);
            if change["body"].is_null() {
                place.3 = Sort::Any;
            }
            requests.push(request);
            let claim = claims.entry(place.clone()).or_default();
            for (key, word) in [("gains", "gain"), ("losses", "loss")] {
                for one in change[key].as_array().expect("a list") {
                    let number = one["profile"].as_u64().and_then(|number| usize::try_from(number).ok());
                    let members = &profiles[number.expect("a number")];
                    for who in members {
                        if claim.who.insert(who.clone(), word).is_some_and(|other| other != word) {
                            let message = format!("{who:?} at {place:?}\n{change:#}");
                            found.push(Disagreement::new(Report::Diff, "reported both ways", message));
                        }
                    }
                }
            }
            let direction = |key: &str| change[key].as_str().map(str::to_owned);
            claim.strangers = claim.strangers.take().or(direction("strangers"));
            claim.machines_of_console = claim.machines_of_console.take().or(direction("machines_of_console"));
        }
    }
    (claims, requests)
}

fn lists(methods: &Value, method: &str) -> bool {
    methods.as_array().is_some_and(|methods| methods.iter().any(|one| one == method))
}

/// A request as the report describes it. It may distinguish bodies where they do not matter.
fn example(round: &Round<'_>, method: &'static str, path: &str, change: &Value) -> Option<Request> {
    let body = &change["body"];
    let all_rules = |which: Which| rules_at(round.mapping(which), method, path);
    let in_force = |which: Which| rules_in_force(round, which, method, path);
    let (before, after) = (all_rules(Which::Old), all_rules(Which::New));
    let rules = [before.clone(), after.clone()].concat();
    // Rules of two kinds of body are met by no one body: each row's own are tried too, and several choices of values.
    let mut random = Random::new(round.scenario.seed);
    let mut every = vec![bodies::Body::none()];
    for rules in [&rules, &before, &after].iter().filter(|rules| !rules.is_empty()) {
        every.extend((0..DRAWS).flat_map(|_| bodies::about(rules, &mut random)));
    }
    let every: Vec<Request> = every.into_iter().map(|body| Request::plain(method, path, body)).collect();
    let is_rule = |rules: &[(&str, &str)]| {
        rules.len() == 1 && body["field"] == *rules[0].0 && body["equals"] == *rules[0].1
    };
    let is_wanted = |one: &Request, rules: [&[Rule]; 2]| match sort(one, &rules) {
        Sort::Plain => change["read_by"].is_null() && (body.is_null() || body["kind"] == "no_rule"),
        Sort::Meets(rules) => change["read_by"].is_null() && is_rule(&rules),
        Sort::ReadBy(side, rules) if rules.is_empty() => {
            change["read_by"] == side && body["kind"] == "no_rule"
        }
        Sort::ReadBy(side, rules) => change["read_by"] == side && is_rule(&rules),
        Sort::Unreadable => is_unreadable(body),
        Sort::Any => false,
    };
    let (decisive_before, decisive_after) = (in_force(Which::Old), in_force(Which::New));
    let decisive = every.iter().find(|one| is_wanted(one, [&decisive_before, &decisive_after]));
    // What the round asks is as good as what is made up here.
    let mut asked = round.scenario.requests.iter().filter(|one| one.method == method && one.path == path);
    let asked = asked.find(|one| is_wanted(one, [&decisive_before, &decisive_after]));
    let wanted = decisive.or(asked).or(every.iter().find(|one| is_wanted(one, [&before, &after])));
    // Where the body does not matter, any will do.
    wanted.or(every.first().filter(|_| body.is_null())).cloned()
}

/// Where a request belongs.
fn place(round: &Round<'_>, request: &Request) -> Place {
    let (old, new) = (&round.scenario.old, &round.scenario.new);
    let row = |mapping| find(mapping, request.method, &request.path).row();
    let rules = |which| rules_in_force(round, which, request.method, &request.path);
    (row(old), row(new), request.method, sort(request, &[&rules(Which::Old), &rules(Which::New)]))
}

/// The rules about bodies that have a say in who passes: none, where V2 decides for nobody.
fn rules_in_force(round: &Round<'_>, which: Which, method: &str, path: &str) -> Vec<Rule> {
    let mapping = round.mapping(which);
    let cluster = find(mapping, method, path).row().and_then(|row| mapping.cluster_of(row));
    let decides = cluster.is_some_and(|one| matches!(one.rollout, Rollout::V2 | Rollout::Cohort { .. }));
    if decides && round.scenario.switches.flag { rules_at(mapping, method, path) } else { Vec::new() }
}

/// What was asked, by place: a request of each, and who saw what before and after.
struct Asked {
    requests: Vec<(Request, Vec<(Seen, Seen)>)>,
}

impl Asked {
    /// The round's own requests, and those that the report names.
    async fn of(round: &Round<'_>, further: Vec<Request>) -> Asked {
        let callers = &round.scenario.callers;
        let old = round.bench.old.ask_all(callers, &further).await;
        let new = round.bench.new.ask_all(callers, &further).await;
        let all = round.scenario.requests.iter().cloned().chain(further);
        let before = round.old.iter().cloned().chain(old);
        let after = round.new.iter().cloned().chain(new);
        let requests = all
            .zip(before.zip(after))
            .map(|(request, (before, after))| (request, before.into_iter().zip(after).collect()))
            .collect();
        Asked { requests }
    }

    /// Each admin, each machine, nobody and a machine of Console's, by what they saw.
    fn compare_callers(
        &self,
        round: &Round<'_>,
        claims: &BTreeMap<Place, Claim>,
        tally: &mut Tally,
    ) -> Vec<Disagreement> {
        let nothing = Claim::default();
        let mut found = Vec::new();
        for (request, seen) in self.requests.iter().filter(|(request, _)| !request.upgrade) {
            let place = place(round, request);
            for (caller, (before, after)) in round.scenario.callers.iter().zip(seen) {
                let real = change(before.reached, after.reached);
                let claim = claim_at(&place, claims).unwrap_or(&nothing);
                let Some((said, who)) = reported_about(round, &place, claims, claim, caller, real) else {
                    continue;
                };
                tally.count(Report::Diff);
                if said == real {
                    continue;
                }
                let kind = format!("{who}: {said:?} instead of {real:?} for a {}", sort_word(&place));
                let message = format!(
                    "diff says {said:?}; the gates answered {} before and {} after\nrows {}\nclaim {claim:?}",
                    before.status,
                    after.status,
                    rows_in_words(round, &place),
                );
                found.push(Disagreement::new(Report::Diff, kind, message).by(caller).at(request));
            }
        }
        found
    }

    /// The imagined: a member of one group, and somebody with one legacy role, by the model that the gates have
    /// confirmed. A share of ids says nothing of somebody without an id.
    fn compare_imagined(
        &self,
        round: &Round<'_>,
        claims: &BTreeMap<Place, Claim>,
        tally: &mut Tally,
    ) -> Vec<Disagreement> {
        let world = &round.scenario.world;
        let groups = (0..GROUPS).map(|group| (("group", group_name(group)), of_group(world, group)));
        let legacy = round.legacy_roles(&Which::BOTH).into_iter();
        let legacy = legacy.map(|role| (("legacy_role", role.to_owned()), of_legacy_role(role)));
        let people: Vec<_> = groups.chain(legacy).collect();
        let nothing = Claim::default();
        let mut found = Vec::new();
        for (request, _) in &self.requests {
            let place = place(round, request);
            if several(&place.3).is_some() || has_share(round, &place) {
                continue;
            }
            let claim = claim_at(&place, claims).unwrap_or(&nothing);
            for ((kind, name), holding) in &people {
                let passes = |which: Which| {
                    let principal = Principal { kind: "admin", id: String::new(), holding: holding.clone() };
                    imagined_passes(&round.facts(which), &principal, request)
                };
                let real = change(passes(Which::Old), passes(Which::New));
                let said = named(claim.who.get(&((*kind).to_owned(), name.clone())).copied());
                tally.count(Report::Diff);
                if said != real {
                    let kind = format!("{kind}: {said:?} instead of {real:?} for a {}", sort_word(&place));
                    let message = format!(
                        "diff says {said:?} of {name}, the model {real:?}\nrows {}\nclaim {claim:?}",
                        rows_in_words(round, &place)
                    );
                    found.push(Disagreement::new(Report::Diff, kind, message).at(request));
                }
            }
        }
        found
    }
}

/// Whether somebody who is logged in and holds this is let through.
pub fn imagined_passes(facts: &Facts<'_>, principal: &Principal, request: &Request) -> bool {
    let Some(number) = find(facts.mapping, request.method, &request.path).row() else {
        return facts.mapping.unmapped == Some(Unmapped::Forward);
    };
    match &facts.mapping.rows()[number].kind {
        Kind::Public | Kind::Upstream | Kind::Session => true,
        Kind::Machine | Kind::Gone => false,
        Kind::Gated(gated) => ask_gates(facts, number, gated, principal, request).ending == Ending::Forwarded,
    }
}

/// Whether a share of ids has a say in one of the two rows.
fn has_share(round: &Round<'_>, place: &Place) -> bool {
    let by_share = |which: Which, row: Option<usize>| {
        let cluster = row.and_then(|row| round.mapping(which).cluster_of(row));
        matches!(cluster.map(|cluster| &cluster.rollout), Some(Rollout::Cohort { percent: Some(_), .. }))
    };
    by_share(Which::Old, place.0) || by_share(Which::New, place.1)
}

fn change(before: bool, after: bool) -> Option<Change> {
    match (before, after) {
        (false, true) => Some(Change::Gain),
        (true, false) => Some(Change::Loss),
        _ => None,
    }
}

fn named(word: Option<&str>) -> Option<Change> {
    match word {
        Some("gain") => Some(Change::Gain),
        Some("loss") => Some(Change::Loss),
        _ => None,
    }
}

/// What the report says about a caller at a place, and what sort of caller it is; nothing about callers that it
/// does not name.
fn reported_about(
    round: &Round<'_>,
    place: &Place,
    claims: &BTreeMap<Place, Claim>,
    claim: &Claim,
    caller: &Caller,
    real: Option<Change>,
) -> Option<(Option<Change>, &'static str)> {
    if *caller == Caller::nobody() {
        return Some((of_strangers(place, claims), "strangers"));
    }
    if *caller == Caller::unknown_token() {
        return Some((of_machines(place, claims), "machines of Console"));
    }
    let (kind, id) = match (caller.is_admin(), caller.is_machine()) {
        (Some(id), _) => ("admin", id),
        (_, Some(id)) => ("machine", id),
        _ => return None,
    };
    let world = &round.scenario.world;
    let acts = match kind {
        "admin" => world.admin(id).is_some_and(|admin| !admin.disabled),
        _ => world.token(id).is_some_and(|token| token.term.lives()),
    };
    let takes_machines = |which, row: Option<usize>| {
        let row = row.map(|row| &round.mapping(which).rows()[row].kind);
        matches!(row, Some(Kind::Gated(gated)) if gated.machines)
    };
    if !acts
        && kind == "machine"
        && (takes_machines(Which::Old, place.0) || takes_machines(Which::New, place.1))
    {
        // A token that was revoked is known there and refused, and is as good as any other on a machine row.
        return None;
    }
    if !acts {
        let said = if kind == "admin" { of_strangers(place, claims) } else { of_machines(place, claims) };
        return Some((said, "strangers"));
    }
    let name = (kind.to_owned(), id.to_owned());
    // A caller who gains by several rules together gains by one of them alone or by none (docs/workbench.md).
    if let Some(alone) = several(&place.3) {
        let mut words = alone.into_iter().filter_map(|sort| {
            let at = (place.0, place.1, place.2, sort);
            named(claim_at(&at, claims).and_then(|claim| claim.who.get(&name)).copied())
        });
        return Some((real.filter(|real| words.any(|word| word == *real)), "by several rules"));
    }
    let said = named(claim.who.get(&name).copied());
    // A row that leaves a credential to Console lets an enrolled token through like any other: the report names it with
    // all of Console's machines, or by itself.
    let at_machine_row = kind == "machine" && touches_machine_row(round, place);
    let said = if at_machine_row {
        said.or(of_machines(place, claims).filter(|word| real == Some(*word)))
    } else {
        said
    };
    Some((said, if kind == "admin" { "admin" } else { "machine" }))
}

/// Where a body meets several rules: the sorts of body that meet one of them, or none.
fn several(sort: &Sort) -> Option<Vec<Sort>> {
    let (Sort::Meets(rules) | Sort::ReadBy(_, rules)) = sort else { return None };
    let alone = |rules: Vec<_>| match sort {
        Sort::ReadBy(side, _) => Sort::ReadBy(side, rules),
        _ if rules.is_empty() => Sort::Plain,
        _ => Sort::Meets(rules),
    };
    (rules.len() > 1)
        .then(|| rules.iter().map(|rule| alone(vec![*rule])).chain([alone(Vec::new())]).collect())
}

/// What the report says about a place: about its sort of body, or about any.
fn claim_at<'c>(place: &Place, claims: &'c BTreeMap<Place, Claim>) -> Option<&'c Claim> {
    claims.get(place).or_else(|| claims.get(&(place.0, place.1, place.2, Sort::Any)))
}

/// What the report says about strangers at a pair of rows: no body makes a difference to them.
fn of_strangers(place: &Place, claims: &BTreeMap<Place, Claim>) -> Option<Change> {
    at_any_body(place, claims).find_map(|claim| named(claim.strangers.as_deref()))
}

/// The same of machines whose credential Console verifies.
fn of_machines(place: &Place, claims: &BTreeMap<Place, Claim>) -> Option<Change> {
    at_any_body(place, claims).find_map(|claim| named(claim.machines_of_console.as_deref()))
}

fn at_any_body<'c>(place: &Place, claims: &'c BTreeMap<Place, Claim>) -> impl Iterator<Item = &'c Claim> {
    let (old, new, method) = (place.0, place.1, place.2);
    claims.iter().filter(move |(at, _)| (at.0, at.1, at.2) == (old, new, method)).map(|(_, claim)| claim)
}

fn touches_machine_row(round: &Round<'_>, place: &Place) -> bool {
    let is_machine = |which: Which, row: Option<usize>| {
        row.is_some_and(|row| round.mapping(which).rows()[row].kind == Kind::Machine)
    };
    is_machine(Which::Old, place.0) || is_machine(Which::New, place.1)
}

fn sort_word(place: &Place) -> &'static str {
    match (&place.3, place.0, place.1) {
        (Sort::Unreadable, ..) => "body that cannot be read",
        (Sort::Meets(_) | Sort::ReadBy(..), ..) => "body that meets a rule",
        (Sort::Any, ..) => "any body",
        (Sort::Plain, Some(_), Some(_)) => "pair of rows",
        (Sort::Plain, None, Some(_)) => "new row",
        (Sort::Plain, Some(_), None) => "row that goes",
        (Sort::Plain, None, None) => "path without a row",
    }
}

fn rows_in_words(round: &Round<'_>, place: &Place) -> String {
    let word = |which: Which, row: Option<usize>| {
        row.map_or("none".to_owned(), |row| format!("`{}`", round.mapping(which).rows()[row].route()))
    };
    format!("{} before, {} after", word(Which::Old, place.0), word(Which::New, place.1))
}
