//! `console-gate audit verify`

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use ledger::Notary;
use ledger::verify::{Fault as Damage, Kind, Summary, Verifier};
use serde_json::{Value, json};
use store::SharedStore;
use store::audit::Evidence;
use tokio::sync::mpsc;

use crate::cli::{Common, Ended, with_notary};
use crate::settings::Settings;
use crate::upkeep::retention::cutoffs;

/// Rows that may wait between the database and the verifier.
const AHEAD: usize = 1_024;
/// At most this many findings of one kind are listed.
const LISTED: usize = 100;
/// Rows between two progress lines on a terminal.
const PROGRESS: u64 = 50_000;

/// Verify that no audit row was changed, removed or inserted
///
/// Each row has a MAC over itself and the row before it; verifying needs the keys that sealed the rows. Without
/// checkpoints, rows that were cut off the end of a chain go unnoticed; with them, only those of the last minute can.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A file of checkpoints as gates write it, one per line; may be repeated
    #[arg(long)]
    checkpoints: Vec<PathBuf>,
    /// List every finding; without it, the first 100 of each kind, and how many more there are
    #[arg(long)]
    all: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The audit, verified.
pub(super) struct Verified {
    findings: Findings,
    pub(super) summary: Summary,
}

impl Verified {
    pub(super) fn total(&self) -> usize {
        self.findings.total()
    }
}

/// Verifies every row with these keys, and with the checkpoints in `files`, or in the file of the settings.
pub(super) async fn verified(
    store: &SharedStore,
    notary: &Notary,
    (files, settings): (&[PathBuf], &Settings),
    most: usize,
) -> anyhow::Result<Verified> {
    let mut files = files.to_vec();
    if files.is_empty() {
        files.extend(settings.audit.checkpoint_file.clone().filter(|file| file.exists()));
    }
    let mut findings = Findings { most, listed: Vec::new(), counts: BTreeMap::new() };
    let verifier = Verifier::new(notary.keys().clone(), |damage: Damage| findings.add(&damage));
    let summary = verify(store, verifier, &files).await?;
    Ok(Verified { findings, summary })
}

pub(super) fn run(command: &Verify, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    with_notary(&settings, async |store, notary| {
        let most = if command.all { usize::MAX } else { LISTED };
        let Verified { findings, summary } =
            verified(&store, &notary, (&command.checkpoints, &settings), most).await?;
        match command.format {
            Format::Text => print_text(&findings, &summary),
            Format::Json => print_json(&findings, &summary)?,
        }
        Ok(if findings.counts.is_empty() { Ended::Clean } else { Ended::Findings })
    })
}

/// The findings: the first ones of each kind, and the number of each kind.
struct Findings {
    most: usize,
    listed: Vec<Found>,
    counts: BTreeMap<&'static str, usize>,
}

impl Findings {
    fn add(&mut self, damage: &Damage) {
        let found = found(damage);
        let count = self.counts.entry(found.kind).or_default();
        *count += 1;
        if *count <= self.most {
            self.listed.push(found);
        }
    }

    fn total(&self) -> usize {
        self.counts.values().sum()
    }

    /// The kinds that are not listed in full, with the number of unlisted findings.
    fn omitted(&self) -> BTreeMap<&'static str, usize> {
        let beyond = |(kind, count): (&&'static str, &usize)| Some((*kind, count.checked_sub(self.most)?));
        self.counts.iter().filter_map(beyond).filter(|(_, count)| *count > 0).collect()
    }
}

/// A finding, with a sentence about it.
struct Found {
    kind: &'static str,
    sentence: String,
    json: Value,
}

async fn verify<F: FnMut(Damage)>(
    store: &SharedStore,
    mut verifier: Verifier<F>,
    files: &[PathBuf],
) -> anyhow::Result<Summary> {
    for path in files {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        for (number, line) in (1..).zip(std::io::BufReader::new(file).lines()) {
            verifier.checkpoint(number, &line.with_context(|| path.display().to_string())?);
        }
    }
    let kept_since = cutoffs(0, chrono::Utc::now()).grants_audit;
    let (sender, mut evidence) = mpsc::channel(AHEAD);
    let is_watched = std::io::stderr().is_terminal();
    let reading = async {
        let mut count = 0_u64;
        while let Some(piece) = evidence.recv().await {
            match piece {
                Evidence::ControlChain(chain) => verifier.control_head(chain.head.as_ref()),
                Evidence::Row(row) => verifier.row(row.into_row()),
                Evidence::Customer(row) => verifier.customer(&row.into_row()),
                Evidence::Grant(grant) => verifier.grant(&grant, kept_since),
            }
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
    let (sent, summary) = futures::future::join(store.send_evidence(sender), reading).await;
    sent.context("not all rows could be read")?;
    Ok(summary)
}

fn found(damage: &Damage) -> Found {
    let place = match (&damage.chain, damage.sequence, damage.last) {
        (Some(chain), Some(first), Some(last)) if last != first => {
            format!("chain {chain}, rows {first} to {last}")
        }
        (Some(chain), Some(row), _) => format!("chain {chain}, row {row}"),
        (Some(chain), None, _) => format!("chain {chain}"),
        (None, ..) => match (&damage.customer_event, damage.table) {
            (Some(event), _) => format!("customer's event {event}"),
            (None, Some(table)) => table.to_owned(),
            (None, None) => "outside every chain".to_owned(),
        },
    };
    let row = damage.row.as_ref().map_or_else(String::new, |row| format!(" ({row})"));
    let (kind, what) = match &damage.kind {
        Kind::Edited if damage.customer_event.is_some() => {
            ("edited", "does not match its record in the chain".to_owned())
        }
        Kind::Removed if damage.customer_event.is_some() => {
            ("removed", "is in the chain, but not in its table".to_owned())
        }
        Kind::Inserted if damage.customer_event.is_some() => {
            ("inserted", "has no record in the chain".to_owned())
        }
        Kind::Edited if damage.table.is_some() => {
            ("edited", "is not what was granted or ended: its sealed row says otherwise".to_owned())
        }
        Kind::Removed if damage.table.is_some() => {
            ("removed", "is in the chain, but not in its table".to_owned())
        }
        Kind::Unrecorded { table, found, before } => (
            "unrecorded",
            format!(
                "{found} rows of {table} have no sealed row, and there were {before} before grants were sealed"
            ),
        ),
        Kind::Edited => ("edited", "was changed after it was sealed".to_owned()),
        Kind::Removed => ("removed", "is missing".to_owned()),
        Kind::Inserted => ("inserted", "was not sealed at this position, or is a duplicate".to_owned()),
        Kind::Reordered { belongs_at } => ("reordered", format!("belongs at {belongs_at}")),
        Kind::Cut { head, witness } => {
            ("cut", format!("and all later rows up to {head} are cut off, according to {witness}"))
        }
        Kind::Rewritten { witness } => {
            ("rewritten", format!("was sealed again: it was a different row, according to {witness}"))
        }
        Kind::ControlHead { says: None } => {
            ("control_head", "gate_audit_control has no head: its row was removed or changed".to_owned())
        }
        Kind::ControlHead { says: Some(says) } => (
            "control_head",
            format!("gate_audit_control has a different head, row {says}: it was changed or reset"),
        ),
        Kind::Unsealed => ("unsealed", "has no seal".to_owned()),
        Kind::UnknownKey { key } => {
            ("unknown_key", format!("was sealed with the key `{key}`, which is not given"))
        }
        Kind::BadCheckpoint { line, reason } => {
            ("bad_checkpoint", format!("line {line} of the checkpoints: {reason}"))
        }
        Kind::ErasureUnaccounted { table, event, found, expected } => {
            let actual = match expected {
                Some(expected) => format!("reports {expected}"),
                None => "is not an erasure event".to_owned(),
            };
            let what = format!("{found} rows of {table} are marked as erased by {event}, which {actual}");
            ("erasure_unaccounted", what)
        }
    };
    let json = serde_json::to_value(damage).unwrap_or_default();
    Found { kind, sentence: format!("{place}{row}: {what}"), json }
}

fn print_text(findings: &Findings, summary: &Summary) {
    let mut out = std::io::stdout().lock();
    for finding in &findings.listed {
        // A reader that has seen enough closes the pipe.
        let _ = writeln!(out, "{:<20} {}", finding.kind, finding.sentence);
    }
    for (kind, count) in findings.omitted() {
        let _ = writeln!(out, "{kind:<20} and {count} more: `--all` lists them");
    }
    let verdict = if findings.counts.is_empty() { "clean" } else { "NOT CLEAN" };
    let _ = writeln!(
        out,
        "{verdict}: {} finding(s); {} rows in {} chains, {} of them erased; {} checkpoints; {} customers' events, {} of them \
         erased; {} grants",
        findings.total(),
        summary.rows,
        summary.chains,
        summary.erased,
        summary.checkpoints,
        summary.customer_events,
        summary.customer_events_erased,
        summary.grants,
    );
    if summary.grants_before_sealing > 0 {
        let before = summary.grants_before_sealing;
        let _ = writeln!(
            out,
            "{before} grants are of before their content was sealed: whether they were changed is not known"
        );
    }
    if let (Some(first), Some(last)) = (summary.first_at, summary.last_at) {
        let _ = writeln!(out, "from {first} to {last}");
    }
    if summary.checkpoints == 0 {
        let _ =
            writeln!(out, "no checkpoints were given: rows cut off the end of a chain would go unnoticed");
    } else if summary.chains_without_checkpoint > 0 {
        let _ = writeln!(
            out,
            "{} of the {} chains are not in any given checkpoint: rows cut off their ends may go unnoticed",
            summary.chains_without_checkpoint, summary.chains,
        );
    }
}

fn print_json(findings: &Findings, summary: &Summary) -> anyhow::Result<()> {
    let report = json!({
        "clean": findings.counts.is_empty(),
        "findings": findings.listed.iter().map(|finding| &finding.json).collect::<Vec<_>>(),
        "omitted": findings.omitted(),
        "summary": summary,
        "customer_events": { "rows": summary.customer_events, "erased": summary.customer_events_erased },
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
