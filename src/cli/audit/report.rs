//! `console-gate audit report`

use std::io::Write as _;
use std::path::PathBuf;

use askama::Template;
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use store::audit::StoredEvent;
use workbench::who::text::in_seconds;

use super::verify::verified;
use crate::cli::time::past;
use crate::cli::{Common, Ended, with_notary};
use crate::facts::who::{Report as Period, ReportOf, report};
use crate::sheet::{cell, line};

/// Report a period for an auditor
///
/// Who held what and by which grant, every change with its row of the audit, who used which route, reviews of access and
/// break-glass sessions; with the result of verifying the audit, and with what is not known. Exits with 1 if the audit is not
/// clean.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Start of the period: `2026-11-01`, `2026-11-01T06:00:00Z`, or how long ago: `7d`
    #[arg(long, value_parser = past)]
    since: DateTime<Utc>,
    /// End of the period (exclusive), in the same forms; without it, now
    #[arg(long, value_parser = past)]
    until: Option<DateTime<Utc>>,
    /// A file of checkpoints as gates write it, for verifying; may be repeated
    #[arg(long)]
    checkpoints: Vec<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value = "html")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A page to read, print and file
    Html,
    /// For a program
    Json,
    /// For a spreadsheet: one table, whose first column names the kind of record
    Csv,
}

/// What verifying said.
#[derive(Debug, Serialize)]
struct Audit {
    clean: bool,
    findings: usize,
    rows: u64,
    chains: u64,
    checkpoints: u64,
}

#[derive(Debug, Serialize)]
struct Whole {
    audit: Audit,
    #[serde(flatten)]
    period: Period,
}

pub(super) fn run(command: &Report, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let now = Utc::now();
    let until = command.until.unwrap_or(now);
    anyhow::ensure!(command.since < until, "--until must be later than --since");
    anyhow::ensure!(
        until <= now,
        "{} is in the future: nobody knows what will be done then",
        in_seconds(until)
    );
    let whole = with_notary(&settings, async |store, notary| {
        let asked = ReportOf { from: command.since, until, now, decisions: &settings.decisions };
        let period = report(&store, asked).await?;
        let verified = verified(&store, &notary, (&command.checkpoints, &settings), 0).await?;
        let summary = &verified.summary;
        let audit = Audit {
            clean: verified.total() == 0,
            findings: verified.total(),
            rows: summary.rows,
            chains: summary.chains,
            checkpoints: summary.checkpoints,
        };
        Ok(Whole { audit, period })
    })?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match command.format {
        Format::Html => out.write_all(page(&whole).as_bytes())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?,
        Format::Csv => out.write_all(&table(&whole)?)?,
    }
    out.flush()?;
    if !whole.audit.clean {
        eprintln!("console-gate: the audit is NOT CLEAN: `console-gate audit verify` lists what was found");
        return Ok(Ended::Findings);
    }
    Ok(Ended::Clean)
}

/// The page. It runs no script and loads nothing, so that it can be filed.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'p> {
    whole: &'p Whole,
    period: &'p Period,
}

fn page(whole: &Whole) -> String {
    // Rendering strings into a string fails only without memory.
    Page { whole, period: &whole.period }.render().unwrap_or_default()
}

/// A time; the template hands over some of them by reference.
fn time(time: impl std::borrow::Borrow<DateTime<Utc>>) -> String {
    in_seconds(*time.borrow())
}

/// A time, or nothing.
fn at(time: &Option<DateTime<Utc>>) -> String {
    time.map(in_seconds).unwrap_or_default()
}

/// What a row of the audit says was done, without what has a column of its own.
fn said(event: &StoredEvent) -> String {
    let detail = event.detail.as_ref().map(|detail| flat(&detail.0)).unwrap_or_default();
    let rest = [&event.route, &event.mapping_sha256, &event.note];
    let rest = rest.into_iter().flatten().map(ToOwned::to_owned);
    std::iter::once(detail).chain(rest).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// A value in one line: what names nothing is left out.
fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(flat).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let known = fields.iter().filter(|(_, value)| !value.is_null());
            let named = known.map(|(name, value)| format!("{} {}", name.replace('_', " "), flat(value)));
            named.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

const COLUMNS: [&str; 20] = [
    "record",
    "kind",
    "id",
    "name",
    "origin",
    "granted",
    "ticket",
    "customer",
    "from",
    "until",
    "roles",
    "event",
    "by",
    "reason",
    "method",
    "route",
    "allowed",
    "denied",
    "break_glass",
    "note",
];

fn table(whole: &Whole) -> anyhow::Result<Vec<u8>> {
    let mut table = line(&COLUMNS.map(str::to_owned))?;
    let mut row = |values: Value| {
        let cells: Vec<String> = COLUMNS.iter().map(|column| cell(&values[*column])).collect();
        line(&cells).map(|line| table.extend(line))
    };
    let Whole { audit, period } = whole;
    row(json!({
        "record": "period", "from": period.from, "until": period.until,
        "event": if audit.clean { "clean" } else { "NOT CLEAN" },
        "note": format!("{} rows in {} chains, {} checkpoints", audit.rows, audit.chains, audit.checkpoints),
    }))?;
    for grant in &period.access {
        row(json!({
            "record": "access", "kind": grant.kind, "id": grant.id, "name": grant.name, "origin": grant.origin,
            "granted": grant.granted, "ticket": grant.ticket, "customer": grant.customer, "from": grant.from,
            "until": grant.until, "roles": grant.roles.join(" "), "note": grant.unless,
        }))?;
    }
    for event in &period.changes {
        row(json!({
            "record": "change", "id": event.subject_id, "from": event.occurred_at_utc, "event": event.event_type,
            "by": event.actor_id, "reason": event.reason, "note": said(event),
        }))?;
    }
    for used in &period.uses {
        row(json!({
            "record": "use", "kind": used.actor_kind, "id": used.actor_id, "from": used.first_seen,
            "until": used.last_seen, "method": used.method, "route": used.route, "allowed": used.allowed,
            "denied": used.denied, "break_glass": used.break_glass,
        }))?;
    }
    for review in &period.reviews {
        for item in &review.items {
            row(json!({
                "record": "review", "id": item.admin, "origin": item.origin, "granted": item.granted,
                "from": review.review.opened_at, "until": review.review.closed_at,
                "event": item.decision.as_deref().unwrap_or("undecided"), "by": item.decided_by, "reason": item.comment,
                "roles": item.roles, "note": review.review.id,
            }))?;
        }
    }
    for session in &period.break_glass {
        row(json!({
            "record": "break_glass", "id": session.admin, "ticket": session.ticket, "from": session.starts,
            "until": session.over_at, "event": if session.review_closed_at.is_some() { "reviewed" } else { "not reviewed" },
            "by": session.review_closed_by, "reason": session.reason, "break_glass": session.requests,
            "note": session.review_comment,
        }))?;
    }
    for note in period.assumptions.iter().chain(&period.gaps) {
        row(json!({ "record": "not_known", "note": note }))?;
    }
    Ok(table)
}
