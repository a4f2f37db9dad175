//! What a change opens and closes, as a page shows it: the API's own impact, read.

use std::collections::BTreeMap;

use askama::Template;
use serde_json::Value;

use super::template::render;
use super::views::{Apart, Effect};
use super::words::{counted, name};

/// Callers that are named in a sentence.
const MOST_NAMED: usize = 5;

#[derive(Template)]
#[template(path = "pages/effect.html")]
struct EffectTable {
    headline: Vec<String>,
    rest: &'static str,
    parts: Vec<Part>,
    rights: Vec<(String, Vec<String>)>,
    warnings: Vec<String>,
}

/// Routes that the same callers gain or lose.
struct Part {
    title: String,
    is_gain: bool,
    is_now: bool,
    routes: Vec<String>,
}

/// The impact as a table, with a sentence above it. `asked_for` is the route that somebody was denied.
pub(super) fn table(impact: &Value) -> String {
    let effects: Vec<Effect> = list(&impact["effects"]);
    let apart: Vec<Apart> = list(&impact["apart"]);
    let mut parts = Vec::new();
    let mut headline = Vec::new();
    for effect in &effects {
        let who = who(effect);
        let verb = verb(effect);
        headline.push(sentence(&who, effect));
        for (routes, is_now) in [(&effect.now, true), (&effect.once_on_v2, false)] {
            if routes.is_empty() {
                continue;
            }
            let when = if is_now { "at once" } else { "once their clusters are on V2" };
            let title = format!("{who} {verb} {when}: {}", counted(routes.len(), "route"));
            parts.push(Part { title, is_gain: effect.change == "gain", is_now, routes: routes.clone() });
        }
    }
    for one in &apart {
        let scope = match (&one.scope["ticket"]["ticket"], &one.scope["ticket"]["customer"]) {
            (Value::String(ticket), customer) => format!("for ticket {ticket} and customer {customer}"),
            _ => "in break-glass sessions".to_owned(),
        };
        let verb = if one.change == "gain" { "gains" } else { "loses" };
        let opens = match (one.routes.len(), one.once_on_v2.len()) {
            (0, 0) => "no route: no row asks for it".to_owned(),
            (now, later) => format!("{} now, {later} once on V2", counted(now, "route")),
        };
        headline.push(format!("{} {verb} {scope}: {opens}.", name(&one.admin)));
        for (routes, is_now) in [(&one.routes, true), (&one.once_on_v2, false)] {
            if !routes.is_empty() {
                let when = if is_now { "at once" } else { "once on V2" };
                let title = format!("{} {verb} {scope}, {when}", name(&one.admin));
                parts.push(Part { title, is_gain: one.change == "gain", is_now, routes: routes.clone() });
            }
        }
    }
    let changes = effects.iter().map(|one| &one.change).chain(apart.iter().map(|one| &one.change));
    let has_losses = changes.into_iter().any(|change| change == "loss");
    let rest = match (effects.is_empty() && apart.is_empty(), has_losses) {
        (true, _) => "No route opens or closes for anybody.",
        (false, true) => "Nothing changes for anybody else.",
        (false, false) => "Nothing is lost, and nothing changes for anybody else.",
    };
    let warnings = list(&impact["warnings"]);
    render(&EffectTable { headline, rest, parts, rights: rights(impact), warnings })
}

/// The effect in one line.
pub(super) fn in_short(impact: &Value) -> String {
    let effects: Vec<Effect> = list(&impact["effects"]);
    let sum = |change: &str, of: fn(&Effect) -> &Vec<String>| -> usize {
        effects.iter().filter(|one| one.change == change).map(|one| of(one).len()).sum()
    };
    let (now, later) = (sum("gain", |one| &one.now), sum("gain", |one| &one.once_on_v2));
    let lost = sum("loss", |one| &one.now);
    match (now, later, lost) {
        (0, 0, 0) => "No route opens or closes".to_owned(),
        (0, later, 0) => format!("Opens nothing now, {} on V2", counted(later, "route")),
        (now, later, 0) => format!("Opens {} now, {later} later", counted(now, "route")),
        (now, _, lost) => format!("Opens {}, closes {lost}", counted(now, "route")),
    }
}

/// The verb for those that an effect concerns.
fn verb(effect: &Effect) -> &'static str {
    match (effect.change == "gain", effect.who.len()) {
        (true, 1) => "gains",
        (true, _) => "gain",
        (false, 1) => "loses",
        (false, _) => "lose",
    }
}

fn sentence(who: &str, effect: &Effect) -> String {
    let verb = verb(effect);
    match (effect.now.len(), effect.once_on_v2.len()) {
        (now, 0) => format!("{who} {verb} {} at once.", counted(now, "route")),
        (0, later) => format!(
            "{who} {verb} no route now, and {} once their clusters are on V2.",
            counted(later, "route")
        ),
        (now, later) => {
            format!(
                "{who} {verb} {} at once, and {later} more once their clusters are on V2.",
                counted(now, "route")
            )
        }
    }
}

/// `anna`, or `anna, ben and 3 others`.
fn who(effect: &Effect) -> String {
    let named = effect.who.iter().take(MOST_NAMED);
    let named = named.map(|one| match one.kind.as_str() {
        "machine" => format!("machine {}", name(&one.id)),
        _ => name(&one.id),
    });
    let mut names: Vec<String> = named.collect();
    match effect.who.len().saturating_sub(MOST_NAMED) {
        0 => names.join(", "),
        others => {
            names.push(format!("{others} others"));
            names.join(", ")
        }
    }
}

/// What each caller gains beside routes: groups, roles, permissions.
fn rights(impact: &Value) -> Vec<(String, Vec<String>)> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in impact["gains"].as_array().into_iter().flatten() {
        let id = name(one["id"].as_str().unwrap_or_default());
        let rights = all.entry(id).or_default();
        for gained in one["rights"].as_array().into_iter().flatten() {
            let Some((kind, value)) = gained["right"].as_object().and_then(|right| right.iter().next())
            else {
                continue;
            };
            let text = match value {
                Value::String(text) => format!("{} {text}", kind.replace('_', " ")),
                other => format!("{} {other}", kind.replace('_', " ")),
            };
            if !rights.contains(&text) {
                rights.push(text);
            }
        }
    }
    all.into_iter().collect()
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|one| serde_json::from_value(one.clone()).ok()).collect()
}
