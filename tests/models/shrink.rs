//! A disagreement made small: rows, people and requests are taken away as long as it stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::callers::Caller;
use crate::disagreement::{Disagreement, Report};
use crate::format::{Kind, Mapping, V2};
use crate::run::play;
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::world::{API_TOKEN, MARKER, Token, World, bare_admin, bare_token, group_name, role_name};

/// A scenario is not worth more.
const LIMIT: Duration = Duration::from_secs(45);

/// The smallest scenario that was found with a disagreement of the same sort, and that disagreement.
pub async fn shrink(
    bench: &Bench,
    scenario: Scenario,
    disagreement: Disagreement,
    shares: &BTreeMap<String, u8>,
) -> (Scenario, Disagreement) {
    let begun = Instant::now();
    let (mut small, mut found) = (scenario, disagreement);
    loop {
        let before = small.clone();
        let mut candidates = candidates(&small, &found);
        let mut progress = false;
        while let Some(candidate) = candidates.pop() {
            if begun.elapsed() > LIMIT {
                return (small, found);
            }
            if let Some(same) = still(bench, &candidate, &found, shares).await {
                (small, found) = (candidate, same);
                progress = true;
                break;
            }
        }
        if !progress || before.size() == small.size() {
            return (small, found);
        }
    }
}

/// The disagreement, if this scenario has it too.
async fn still(
    bench: &Bench,
    scenario: &Scenario,
    disagreement: &Disagreement,
    shares: &BTreeMap<String, u8>,
) -> Option<Disagreement> {
    // Drift is what replay and the others are explained by, and its wait brings the logs up to date.
    let mut reports = vec![disagreement.report];
    if disagreement.report == Report::Replay {
        reports.insert(0, Report::Drift);
    }
    let found = play(bench, scenario, shares, &reports, usize::MAX, &mut Tally::default()).await;
    found.into_iter().find(|one| one.is_like(disagreement))
}

impl Scenario {
    /// What gets smaller.
    fn size(&self) -> usize {
        let rows = self.old.rows().len() + self.new.rows().len();
        let clusters = self.old.clusters.len() + self.new.clusters.len();
        let texts = self.old.text().len() + self.new.text().len();
        let world = format!("{:?}", self.world).len();
        rows + clusters + texts + world + self.callers.len() + self.requests.len()
    }
}

/// Scenarios that are a step smaller; the boldest last, to be tried first.
fn candidates(scenario: &Scenario, found: &Disagreement) -> Vec<Scenario> {
    let mut all = smaller_worlds(scenario);
    all.extend(smaller_mappings(scenario));
    if let Some(request) = &found.request
        && scenario.requests.len() > 1
    {
        all.push(Scenario { requests: vec![request.clone()], ..scenario.clone() });
    } else if scenario.requests.len() > 1 {
        let (first, second) = scenario.requests.split_at(scenario.requests.len() / 2);
        for half in [first, second] {
            all.push(Scenario { requests: half.to_vec(), ..scenario.clone() });
        }
    }
    if let Some(caller) = &found.caller
        && scenario.callers.len() > 1
    {
        all.push(Scenario { callers: vec![caller.clone()], ..scenario.clone() });
    } else if scenario.callers.len() > 1 {
        all.push(Scenario { callers: vec![Caller::nobody()], ..scenario.clone() });
    }
    all
}

fn smaller_mappings(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    for (old, new) in smaller(&scenario.old, &scenario.new) {
        all.push(Scenario { old, new, ..scenario.clone() });
    }
    all
}

/// Both mappings with less: a row out of either or both, a rule, a key, a cluster; or one mapping for both.
fn smaller(old: &Mapping, new: &Mapping) -> Vec<(Mapping, Mapping)> {
    let mut all = Vec::new();
    let fewer = (without_idle_clusters(old), without_idle_clusters(new));
    if fewer != (old.clone(), new.clone()) {
        all.push(fewer);
    }
    if old != new {
        all.push((old.clone(), old.clone()));
        all.push((new.clone(), new.clone()));
    }
    for mapping in simpler(old) {
        all.push((mapping, new.clone()));
    }
    for mapping in simpler(new) {
        all.push((old.clone(), mapping));
    }
    for (mapping, route) in without_a_row(new) {
        all.push((old.clone(), mapping.clone()));
        // The boldest: the row in neither.
        let other = without_a_row(old).into_iter().find(|(_, other)| *other == route);
        if let Some((other, _)) = other {
            all.push((other, mapping));
        }
    }
    for (mapping, _) in without_a_row(old) {
        all.push((mapping, new.clone()));
    }
    all
}

/// The mapping without each of its rows, and what that row is called. The marker's stays.
fn without_a_row(mapping: &Mapping) -> Vec<(Mapping, String)> {
    let mut all = Vec::new();
    for (blueprint, owner) in
        mapping.blueprints.iter().enumerate().filter(|(_, owner)| owner.name != "marker")
    {
        for (row, taken) in owner.rows.iter().enumerate() {
            let mut smaller = mapping.clone();
            smaller.blueprints[blueprint].rows.remove(row);
            if smaller.blueprints[blueprint].rows.is_empty() {
                smaller.blueprints.remove(blueprint);
            }
            all.push((smaller, taken.route()));
        }
    }
    all
}

/// The mapping without the clusters that no blueprint names.
fn without_idle_clusters(mapping: &Mapping) -> Mapping {
    let named = |number: &usize| mapping.blueprints.iter().any(|one| one.cluster == Some(*number));
    let kept: Vec<usize> = (0..mapping.clusters.len()).filter(named).collect();
    let mut less = mapping.clone();
    less.clusters = kept.iter().map(|number| mapping.clusters[*number].clone()).collect();
    for blueprint in &mut less.blueprints {
        blueprint.cluster =
            blueprint.cluster.and_then(|number| kept.iter().position(|known| *known == number));
    }
    less
}

/// The mapping with one key less.
fn simpler(mapping: &Mapping) -> Vec<Mapping> {
    let mut all = Vec::new();
    for (number, blueprint) in mapping.blueprints.iter().enumerate() {
        if blueprint.freshness.is_some() {
            let mut simpler = mapping.clone();
            simpler.blueprints[number].freshness = None;
            all.push(simpler);
        }
        for (row, known) in blueprint.rows.iter().enumerate() {
            let mut plain = known.clone();
            (plain.freshness, plain.totp, plain.websocket) = (None, None, false);
            (plain.unauthenticated, plain.redirects) = (None, false);
            if plain != *known {
                all.push(replaced(mapping, number, row, plain));
            }
            for rule in 0..known.rules().len() {
                let mut fewer = known.clone();
                if let Kind::Gated(gated) = &mut fewer.kind
                    && let V2::Needs { when, decided, .. } = &mut gated.v2
                {
                    when.remove(rule);
                    *decided = false;
                }
                all.push(replaced(mapping, number, row, fewer));
            }
        }
    }
    all
}

fn replaced(mapping: &Mapping, blueprint: usize, row: usize, by: crate::format::Row) -> Mapping {
    let mut replaced = mapping.clone();
    replaced.blueprints[blueprint].rows[row] = by;
    replaced
}

fn smaller_worlds(scenario: &Scenario) -> Vec<Scenario> {
    let world = &scenario.world;
    let mut all: Vec<World> = Vec::new();
    for (number, admin) in world.admins.iter().enumerate().filter(|(_, admin)| admin.id != MARKER) {
        if format!("{admin:?}") != format!("{:?}", bare_admin(&admin.id)) {
            let mut less = world.clone();
            less.admins[number] = bare_admin(&admin.id);
            all.push(less);
        }
    }
    for (number, token) in world.tokens.iter().enumerate().filter(|(_, token)| token.id != API_TOKEN) {
        if format!("{token:?}") != format!("{:?}", bare_token(&token.id)) {
            let mut less = world.clone();
            less.tokens[number] = bare_token(&token.id);
            all.push(less);
        }
    }
    for edge in &world.group_roles {
        let mut less = world.clone();
        less.group_roles.remove(edge);
        all.push(less);
    }
    for edge in &world.inherits {
        let mut less = world.clone();
        less.inherits.remove(edge);
        all.push(less);
    }
    all.into_iter().map(|world| Scenario { world, ..scenario.clone() }).collect()
}

/// Prints the case for a person.
pub fn print(scenario: &Scenario, found: &Disagreement) {
    let caller = found.caller.as_ref().map_or("anybody".to_owned(), Caller::in_words);
    let request = found.request.as_ref().map_or("see below".to_owned(), crate::scenario::Request::in_words);
    println!(
        "--- disagreement: {} ({})\nGATE_SEED={} {:?}\ncaller: {caller}\nrequest: {request}\n{}\n\
         old mapping:\n{}{}{}",
        found.report.name(),
        found.kind,
        scenario.seed,
        scenario.switches,
        found.message,
        scenario.old.text(),
        if scenario.old == scenario.new {
            "new mapping: the same\n".to_owned()
        } else {
            format!("new mapping:\n{}", scenario.new.text())
        },
        people(&scenario.world),
    );
}

/// Who holds what, where it is anything.
fn people(world: &World) -> String {
    let mut lines = Vec::new();
    for admin in world.admins.iter().filter(|admin| admin.id != MARKER) {
        let groups: Vec<String> = admin.groups.iter().map(|group| group_name(*group)).collect();
        let disabled = if admin.disabled { ", disabled" } else { "" };
        let bare = format!("{admin:?}") == format!("{:?}", bare_admin(&admin.id));
        if !bare {
            lines.push(format!(
                "{}: legacy {:?}, groups {groups:?}, break-glass {:?}, session {:?}{disabled}",
                admin.id, admin.legacy, admin.break_glass, admin.session
            ));
        }
    }
    let is_bare = |token: &&Token| format!("{token:?}") == format!("{:?}", bare_token(&token.id));
    for token in world.tokens.iter().filter(|token| !is_bare(token)) {
        let groups: Vec<String> = token.groups.iter().map(|group| group_name(*group)).collect();
        lines.push(format!("{}: {:?}, legacy {:?}, groups {groups:?}", token.id, token.term, token.legacy));
    }
    for (group, role) in &world.group_roles {
        lines.push(format!("{} -> {}", group_name(*group), role_name(*role)));
    }
    for (child, parent) in &world.inherits {
        lines.push(format!("{} inherits {}", role_name(*child), role_name(*parent)));
    }
    format!("people:\n{}\n", lines.join("\n"))
}
