//! What an auditor reads: the timeline, the audit, and the state of its chain.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::lists::{next, target};
use super::template::render;
use super::words::{exact, exact_or, name, part, place, relative, short};
use super::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::Local;
use crate::rbac_api::query::Query;

const TIMELINE: [&str; 10] =
    ["user", "by", "group", "role", "ticket", "customer", "kind", "from", "to", "cursor"];
const AUDIT: [&str; 8] = ["kind", "by", "user", "route", "request", "from", "to", "cursor"];
/// The kinds of events, with the words of the form.
const KINDS: [(&str, &str); 11] = [
    ("grant", "granted"),
    ("revoke", "revoked"),
    ("expiry", "ended by itself"),
    ("request", "requests"),
    ("edit", "groups and roles"),
    ("break_glass", "break-glass"),
    ("token", "tokens"),
    ("mapping", "mappings"),
    ("flag", "flags"),
    ("review", "reviews"),
    ("outside", "without the gate"),
];

#[derive(Deserialize)]
pub(super) struct Events {
    pub(super) events: Vec<Event>,
    next: Option<String>,
    looked_back_to_utc: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) at_utc: DateTime<Utc>,
    kind: String,
    pub(super) by: Option<String>,
    user: Option<String>,
    pub(super) what: String,
    group: Option<String>,
    role: Option<String>,
    ticket_id: Option<String>,
    customer_id: Option<i64>,
    ends_at_utc: Option<DateTime<Utc>>,
    reason: Option<String>,
    erased: bool,
    chain: Seal,
    #[serde(default)]
    record: Value,
}

#[derive(Deserialize)]
struct Seal {
    state: String,
    chain_id: Option<String>,
    sequence: Option<i64>,
    checkpoint: Option<i64>,
}

impl Event {
    fn kind_in_words(&self) -> &str {
        KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or(&self.kind, |(_, words)| words)
    }

    /// Who did it.
    fn author(&self) -> &str {
        match &self.by {
            Some(by) => by,
            None if self.erased => "(erased)",
            None => "",
        }
    }

    /// The person concerned.
    fn about(&self) -> &str {
        match &self.user {
            Some(user) => user,
            None if self.erased => "(erased)",
            None => "",
        }
    }
}

impl Timeline {
    /// What a field of the form has.
    fn value(&self, name: &str) -> &str {
        of(&self.query, name)
    }
}

impl AuditPage {
    /// As [`Timeline::value`].
    fn value(&self, name: &str) -> &str {
        of(&self.query, name)
    }
}

fn of<'q>(query: &'q [(&str, String)], name: &str) -> &'q str {
    query.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

impl Seal {
    fn badge(&self) -> (&'static str, &'static str) {
        match self.state.as_str() {
            "checkpointed" => ("allow", "checkpointed"),
            "sealed" => ("", "sealed"),
            "derived" => ("", "no row of its own"),
            _ => ("undecided", "not sealed"),
        }
    }
}

#[derive(Template)]
#[template(path = "pages/timeline.html")]
struct Timeline {
    events: Vec<Event>,
    query: Vec<(&'static str, String)>,
    kinds: Vec<(&'static str, &'static str, bool)>,
    /// The filter as the address of a file.
    file: String,
    next: Option<String>,
    looked_back_to: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/record.html")]
struct Record {
    /// The list that it is from.
    list: (&'static str, &'static str),
    title: String,
    facts: Vec<(String, String)>,
    record: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
    next: Option<String>,
    looked_back_to_utc: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    event_type: String,
    occurred_at_utc: DateTime<Utc>,
    actor_kind: String,
    actor_id: Option<String>,
    subject_id: Option<String>,
    method: Option<String>,
    path: Option<String>,
    reason: Option<String>,
    chain_id: Option<String>,
    sequence: Option<i64>,
}

#[derive(Deserialize)]
struct State {
    at_utc: DateTime<Utc>,
    verified: Verified,
    chains: Vec<Chain>,
    checkpoints_readable: bool,
    key: Key,
}

#[derive(Deserialize)]
struct Verified {
    rows: usize,
    chains: usize,
    changed: Vec<String>,
}

#[derive(Deserialize)]
struct Chain {
    chain_id: String,
    rows: i64,
    last_row_at_utc: Option<DateTime<Utc>>,
    checkpoint: Option<i64>,
    checkpoint_at_utc: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    fingerprint: String,
}

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct AuditPage {
    rows: Vec<Row>,
    state: State,
    query: Vec<(&'static str, String)>,
    next: Option<String>,
    looked_back_to: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

pub(super) async fn timeline(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::with_list(query, &TIMELINE, "kind")?;
    let path = target("/api/rbac/timeline", &query, &TIMELINE);
    let Events { events, next: cursor, looked_back_to_utc } = local.get(&path).await?;
    let wanted: Vec<&str> = query.get("kind").into_iter().flat_map(|kinds| kinds.split(',')).collect();
    let page = Timeline {
        events,
        query: given(&query, &TIMELINE),
        kinds: KINDS.iter().map(|(kind, words)| (*kind, *words, wanted.contains(kind))).collect(),
        file: target("/api/rbac/timeline", &query, &TIMELINE[..TIMELINE.len() - 1]),
        next: next("/timeline", &query, &TIMELINE, cursor),
        looked_back_to: looked_back_to_utc,
        now: local.parts().clock.now(),
    };
    Ok(Shown::page("Timeline", render(&page)))
}

/// The values of a filter's fields.
fn given(query: &Query, names: &[&'static str]) -> Vec<(&'static str, String)> {
    names.iter().map(|name| (*name, query.get(name).unwrap_or_default().to_owned())).collect()
}

/// One event, with the record in full.
pub(super) async fn event(local: &Local<'_>, id: &str) -> Outcome {
    let event: Event = local.get(&format!("/api/rbac/timeline/{}", part(id))).await?;
    let customer = event.customer_id.map(|customer| customer.to_string());
    let seal = match (&event.chain.chain_id, event.chain.sequence, event.chain.checkpoint) {
        (Some(chain), Some(row), Some(checkpoint)) => {
            format!("row {row} of chain {chain}; the checkpoint at row {checkpoint} covers it")
        }
        (Some(chain), Some(row), None) => {
            format!("row {row} of chain {chain}; no known checkpoint covers it yet")
        }
        _ if event.chain.state == "derived" => {
            "no row of its own: this follows from the end that the sealed row below states".to_owned()
        }
        _ => "written without the gate, so it is not sealed".to_owned(),
    };
    let facts = [
        ("When", Some(exact_in_seconds(event.at_utc))),
        ("What", Some(event.what.clone())),
        ("By", Some(event.author().to_owned())),
        ("About", Some(event.about().to_owned())),
        ("Group", event.group.clone()),
        ("Role", event.role.clone()),
        ("Ticket", event.ticket_id.clone()),
        ("Customer", customer),
        ("Ends", event.ends_at_utc.map(exact_in_seconds)),
        ("Reason", event.reason.clone()),
        ("Chain", Some(seal)),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let title = name(&event.what);
    let record = Record {
        list: ("Timeline", "/timeline"),
        title: title.clone(),
        facts: facts.filter(|(_, value)| !value.is_empty()).collect(),
        record: fields(&event.record),
    };
    Ok(Shown::page(title, render(&record)))
}

fn exact_in_seconds(time: DateTime<Utc>) -> String {
    time.format("%F %T%.6f UTC").to_string()
}

/// One row of the audit.
pub(super) async fn row(local: &Local<'_>, id: &str) -> Outcome {
    let row: Value = local.get(&format!("/api/rbac/audit/{}", part(id))).await?;
    let title = row["event_type"].as_str().unwrap_or("row").replace('_', " ");
    let record =
        Record { list: ("Audit", "/audit"), title: title.clone(), facts: Vec::new(), record: fields(&row) };
    Ok(Shown::page(title, render(&record)))
}

/// The members of a record that have a value, in lines.
fn fields(record: &Value) -> Vec<(String, String)> {
    let members = record.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        other => other.to_string(),
    };
    members.map(|(name, value)| (name.replace('_', " "), text(value))).collect()
}

pub(super) async fn audit(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &AUDIT)?;
    let Rows { rows, next: cursor, looked_back_to_utc } =
        local.get(&target("/api/rbac/audit", &query, &AUDIT)).await?;
    let page = AuditPage {
        rows,
        state: local.get("/api/rbac/audit/state").await?,
        query: given(&query, &AUDIT),
        next: next("/audit", &query, &AUDIT, cursor),
        looked_back_to: looked_back_to_utc,
        now: local.parts().clock.now(),
    };
    Ok(Shown::page("Audit", render(&page)))
}
