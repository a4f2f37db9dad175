//! The mapping: its text with the findings at their lines, what every gate runs, its history, and what another one would
//! change.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cutover::{Fleet, Gate};
use super::template::render;
use super::words::{exact, name, place, short};
use super::{Outcome, PREFIX, Shown, effect};
use crate::rbac_api::local::{Call, Local};
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

#[derive(Deserialize)]
struct Running {
    sha256: String,
    text: String,
    rows: usize,
    findings: Vec<Finding>,
}

#[derive(Clone, Deserialize)]
struct Finding {
    id: String,
    level: String,
    place: Option<Place>,
    message: String,
    suggestion: Option<String>,
}

#[derive(Clone, Deserialize)]
struct Place {
    line: usize,
}

#[derive(Deserialize)]
struct History {
    activations: Vec<Activation>,
}

#[derive(Deserialize)]
struct Activation {
    sha256: String,
    activated_at_utc: DateTime<Utc>,
    activated_by: String,
    instance: String,
    outcome: String,
    diagnostics: Option<String>,
    previous_sha256: Option<String>,
}

#[derive(Deserialize)]
struct Text {
    sha256: String,
    text: String,
}

/// Two mappings compared, or the running one and a candidate.
#[derive(Deserialize)]
struct Compared {
    from_sha256: String,
    #[serde(default)]
    to_sha256: Option<String>,
    patch: String,
    #[serde(default)]
    findings: Vec<Finding>,
    impact: Value,
}

/// A line of the text, with what is found in it.
struct Line {
    number: usize,
    text: String,
    findings: Vec<Finding>,
}

#[derive(Template)]
#[template(path = "pages/mapping.html")]
struct MappingPage {
    sha256: String,
    rows: usize,
    line: String,
    gates: Vec<(Gate, Option<DateTime<Utc>>)>,
    history: Vec<Activation>,
    versions: Vec<(String, String)>,
    counts: String,
    lines: Vec<Line>,
    may_compare: bool,
    token: String,
}

#[derive(Template)]
#[template(path = "pages/mapping_text.html")]
struct TextPage {
    sha256: String,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "pages/mapping_diff.html")]
struct DiffPage {
    title: String,
    findings: Vec<Finding>,
    is_candidate: bool,
    effect: Option<String>,
    patch: String,
}

impl Finding {
    /// The class of its badge.
    fn class(&self) -> &'static str {
        match self.level.as_str() {
            "error" => "deny",
            "warning" => "undecided",
            _ => "",
        }
    }
}

pub(super) async fn running(local: &Local<'_>) -> Outcome {
    let Running { sha256, text, rows, findings } = local.get("/api/rbac/mapping").await?;
    let fleet: Fleet = local.get("/api/rbac/fleet").await?;
    let History { activations } = local.get("/api/rbac/mapping/history?limit=50").await?;
    let line = fleet.line();
    let since = |gate: &Gate| {
        let is_it = |one: &&Activation| one.instance == gate.gate && one.outcome == "activated";
        let latest = activations.iter().find(is_it).filter(|one| one.sha256 == gate.mapping_sha256);
        latest.map(|one| one.activated_at_utc)
    };
    let gates: Vec<(Gate, Option<DateTime<Utc>>)> = fleet
        .gates
        .into_iter()
        .map(|gate| {
            let at = since(&gate);
            (gate, at)
        })
        .collect();
    let mut versions: Vec<(String, String)> = Vec::new();
    for one in activations.iter().filter(|one| one.outcome == "activated") {
        if versions.iter().all(|(sha256, _)| *sha256 != one.sha256) {
            versions.push((one.sha256.clone(), exact(one.activated_at_utc)));
        }
    }
    let count = |level: &str| findings.iter().filter(|one| one.level == level).count();
    let page = MappingPage {
        counts: format!("{} errors, {} warnings, {} notes", count("error"), count("warning"), count("note")),
        lines: lines(&text, findings),
        sha256,
        rows,
        line,
        gates,
        history: activations,
        versions,
        may_compare: local.may("POST", "/api/rbac/mapping/compare"),
        token: local.csrf_token(),
    };
    Ok(Shown::page("Mapping", render(&page)))
}

/// An activated mapping.
pub(super) async fn version(local: &Local<'_>, sha256: &str) -> Outcome {
    let Text { sha256, text } =
        local.get(&format!("/api/rbac/mapping/{}", super::words::part(sha256))).await?;
    let title = format!("Mapping {}", short(&sha256));
    Ok(Shown::page(title, render(&TextPage { lines: lines(&text, Vec::new()), sha256 })))
}

pub(super) async fn diff(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["from", "to"])?;
    let text = |name: &str| super::words::part(query.get(name).unwrap_or_default());
    let target = format!("/api/rbac/mapping/diff?from={}&to={}", text("from"), text("to"));
    compared(local.get(&target).await?)
}

/// What a candidate would change.
pub(super) async fn compare(local: &Local<'_>) -> Outcome {
    let form = local.form(&["text"])?;
    // A browser sends each line break as two characters.
    let text = form.get("text").unwrap_or_default().replace("\r\n", "\n");
    let body = json!({ "text": text });
    let call = Call { method: "POST", body: Some(&body), ..Call::get("/api/rbac/mapping/compare") };
    let answer = local.send(call).await?.body.unwrap_or_default();
    compared(serde_json::from_value(answer).map_err(|error| Problem::unavailable(&error))?)
}

fn compared(Compared { from_sha256, to_sha256, patch, findings, impact }: Compared) -> Outcome {
    let title = match &to_sha256 {
        Some(to) => format!("From {} to {}", short(&from_sha256), short(to)),
        None => format!("A candidate beside {}", short(&from_sha256)),
    };
    let page = DiffPage {
        title: title.clone(),
        findings,
        is_candidate: to_sha256.is_none(),
        effect: (!impact.is_null()).then(|| effect::table(&impact)),
        patch,
    };
    Ok(Shown::page(title, render(&page)))
}

fn lines(text: &str, findings: Vec<Finding>) -> Vec<Line> {
    let mut at: BTreeMap<usize, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        at.entry(finding.place.as_ref().map_or(1, |place| place.line)).or_default().push(finding);
    }
    let numbered = text.lines().enumerate().map(|(place, text)| (place + 1, text.to_owned()));
    numbered
        .map(|(number, text)| Line { number, text, findings: at.remove(&number).unwrap_or_default() })
        .collect()
}
