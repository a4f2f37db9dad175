//! `console-gate audit verify`

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::audit::keys::KeyRing;
use crate::audit::verify::{Finding as Damage, Kind, Summary, Verifier};
use crate::cli::{Common, Finding, with_notary};
use crate::store::SharedStore;
use crate::store::audit::{StoredCustomerEvent, StoredEvent};

/// Rows on their way from the database.
const AHEAD: usize = 1_024;
/// How often a person at a terminal is told how far it has come.
const PROGRESS: u64 = 50_000;

/// Check that every row is as it was sealed and none is missing
///
/// Each row carries a MAC over itself and the row before it. Needs the keys that sealed them. Without checkpoints, rows
/// that were cut off the end of the newest chains cannot be missed; with them, all but those of the last minute can.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Checkpoints, a line each, as the gate wrote them to their second place; may be repeated
    #[arg(long)]
    checkpoints: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(command: &Verify, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    let mut files = command.checkpoints.clone();
    if files.is_empty() {
        files.extend(settings.audit.checkpoint_file.clone().filter(|file| file.exists()));
    }
    with_notary(&settings, async |store, notary| {
        let mut findings = Vec::new();
        let summary = chains(&store, notary.keys(), &files, &mut findings).await?;
        let customers = customers(&store, &mut findings).await?;
        match command.format {
            Format::Text => print_text(&findings, &summary, &customers),
            Format::Json => print_json(&findings, &summary, &customers)?,
        }
        Ok(if findings.is_empty() { Finding::Clean } else { Finding::Findings })
    })
}

/// One thing that is wrong, with a sentence about it.
struct Found {
    kind: &'static str,
    sentence: String,
    json: Value,
}

async fn chains(
    store: &SharedStore,
    keys: &KeyRing,
    files: &[PathBuf],
    findings: &mut Vec<Found>,
) -> anyhow::Result<Summary> {
    let mut verifier = Verifier::new(keys.clone(), |damage: Damage| findings.push(found(&damage)));
    for path in files {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        for (number, line) in (1..).zip(std::io::BufReader::new(file).lines()) {
            verifier.checkpoint(number, &line.with_context(|| path.display().to_string())?);
        }
    }
    let (sender, mut rows) = mpsc::channel::<StoredEvent>(AHEAD);
    let is_watched = std::io::stderr().is_terminal();
    let reading = async {
        let mut count = 0_u64;
        while let Some(row) = rows.recv().await {
            verifier.row(row.into_row());
            count += 1;
            if is_watched && count.is_multiple_of(PROGRESS) {
                eprint!("\r{count} rows");
            }
        }
        if is_watched && count >= PROGRESS {
            eprint!("\r");
        }
        verifier.finish()
    };
    let (sent, summary) = futures::future::join(store.send_by_chain(sender), reading).await;
    sent.context("the rows cannot be read to their end")?;
    Ok(summary)
}

/// What was seen of customers' events.
#[derive(Default)]
struct Customers {
    events: u64,
    erased: u64,
}

/// Holds each customer's event against its twin in the chain.
async fn customers(store: &SharedStore, findings: &mut Vec<Found>) -> anyhow::Result<Customers> {
    let (sender, mut rows) = mpsc::channel::<StoredCustomerEvent>(AHEAD);
    let mut customers = Customers::default();
    let mut erased: BTreeMap<String, u64> = BTreeMap::new();
    let reading = async {
        while let Some(row) = rows.recv().await {
            if row.tenant_id.is_some() {
                customers.events += 1;
            }
            if let (Some(event), None, None) = (&row.erased_by, &row.salt, &row.actor_id) {
                customers.erased += 1;
                *erased.entry(event.clone()).or_default() += 1;
            }
            findings.extend(customer_fault(row));
        }
    };
    let (sent, ()) = futures::future::join(store.send_customer_events(sender), reading).await;
    sent.context("customers' events cannot be read to their end")?;
    for (event, found) in erased {
        let id = uuid::Uuid::try_parse(&event).unwrap_or_default();
        let detail = store.by_id(id).await?.and_then(|event| event.detail);
        let expected = detail.and_then(|detail| detail.0.get("customer_rows").and_then(Value::as_u64));
        if expected != Some(found) {
            findings.push(Found {
                kind: "erasure_unaccounted",
                sentence: format!("{found} customers' events are erased in the name of {event}, which tells of {}", expected.unwrap_or(0)),
                json: json!({ "kind": "erasure_unaccounted", "event": event, "found": found, "expected": expected }),
            });
        }
    }
    Ok(customers)
}

fn customer_fault(row: StoredCustomerEvent) -> Option<Found> {
    let id = row.id.clone();
    let fault = |kind: &'static str, what: &str| {
        let json = json!({ "kind": kind, "customer_event": id });
        Some(Found { kind, sentence: format!("customer's event {id} {what}"), json })
    };
    let is_erased = row.erased_by.is_some() && row.salt.is_none() && row.actor_id.is_none();
    let twin = row.twin.as_ref().map(|twin| twin.0.clone());
    match (twin, row.into_event()) {
        (None, _) => fault("inserted", "has no twin in the chain"),
        (Some(_), None) => fault("removed", "is in the chain and not in its table"),
        (Some(_), Some(_)) if is_erased => None,
        (Some(twin), Some(event)) if event.is_committed_to_by(&twin) => None,
        (Some(_), Some(_)) => fault("edited", "is not what its twin in the chain commits to"),
    }
}

fn found(damage: &Damage) -> Found {
    let place = match (&damage.chain, damage.sequence, damage.last) {
        (Some(chain), Some(first), Some(last)) if last != first => {
            format!("chain {chain}, rows {first} to {last}")
        }
        (Some(chain), Some(row), _) => format!("chain {chain}, row {row}"),
        (Some(chain), None, _) => format!("chain {chain}"),
        (None, ..) => "outside every chain".to_owned(),
    };
    let row = damage.row.as_ref().map_or_else(String::new, |row| format!(" ({row})"));
    let (kind, what) = match &damage.kind {
        Kind::Edited => ("edited", "is not as it was sealed".to_owned()),
        Kind::Removed => ("removed", "is missing".to_owned()),
        Kind::Inserted => ("inserted", "was never sealed there, or is there a second time".to_owned()),
        Kind::Reordered { belongs_at } => ("reordered", format!("belongs at {belongs_at}")),
        Kind::Cut { head, witness } => {
            ("cut", format!("and all behind it up to {head} are cut off, says {witness}"))
        }
        Kind::Rewritten { witness } => {
            ("rewritten", format!("was sealed anew: it was another row, says {witness}"))
        }
        Kind::Unsealed => ("unsealed", "carries no seal".to_owned()),
        Kind::UnknownKey { key } => {
            ("unknown_key", format!("was sealed with the key `{key}`, which is not given"))
        }
        Kind::BadCheckpoint { line, reason } => {
            ("bad_checkpoint", format!("line {line} of the checkpoints: {reason}"))
        }
        Kind::ErasureUnaccounted { event, found, expected } => (
            "erasure_unaccounted",
            match expected {
                Some(expected) => {
                    format!("{found} rows are erased in the name of {event}, which tells of {expected}")
                }
                None => {
                    format!("{found} rows are erased in the name of {event}, which is no event of erasure")
                }
            },
        ),
    };
    let json = serde_json::to_value(damage).unwrap_or_default();
    Found { kind, sentence: format!("{place}{row}: {what}"), json }
}

fn print_text(findings: &[Found], summary: &Summary, customers: &Customers) {
    let mut out = std::io::stdout().lock();
    for finding in findings {
        // A reader that has seen enough closes the pipe.
        let _ = writeln!(out, "{:<20} {}", finding.kind, finding.sentence);
    }
    let verdict = if findings.is_empty() { "clean" } else { "NOT CLEAN" };
    let _ = writeln!(
        out,
        "{verdict}: {} finding(s); {} rows in {} chains, {} of them erased; {} checkpoints; {} customers' events, {} of them erased",
        findings.len(),
        summary.rows,
        summary.chains,
        summary.erased,
        summary.checkpoints,
        customers.events,
        customers.erased,
    );
    if let (Some(first), Some(last)) = (summary.first_at, summary.last_at) {
        let _ = writeln!(out, "from {first} to {last}");
    }
    if summary.checkpoints == 0 {
        let _ = writeln!(
            out,
            "no checkpoints were given: rows cut off the end of a newest chain would not be missed"
        );
    }
}

fn print_json(findings: &[Found], summary: &Summary, customers: &Customers) -> anyhow::Result<()> {
    let report = json!({
        "clean": findings.is_empty(),
        "findings": findings.iter().map(|finding| &finding.json).collect::<Vec<_>>(),
        "summary": summary,
        "customer_events": { "rows": customers.events, "erased": customers.erased },
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
