//! `console-gate audit export`

use std::io::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use store::audit::StoredEvent;
use tokio::sync::mpsc;

use crate::cli::time::past;
use crate::cli::{Common, Ended, with_store};
use crate::sheet::{cell, line};

const AHEAD: usize = 1_024;

const COLUMNS: [&str; 27] = [
    "id",
    "event_type",
    "occurred_at_utc",
    "actor_kind",
    "actor_id",
    "session_id",
    "request_id",
    "client_address",
    "method",
    "path",
    "route",
    "reason",
    "required",
    "held",
    "mapping_sha256",
    "epoch",
    "detail",
    "chain_id",
    "sequence",
    "key_id",
    "personal_salt",
    "personal_digest",
    "content_hash",
    "mac",
    "erased_by",
    "subject_id",
    "note",
];

/// Print the rows of a period as CSV or JSON lines
///
/// JSON lines are exact. In CSV, a value that a spreadsheet would read as a formula is prefixed with an apostrophe.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Start of the period: `2026-11-01`, `2026-11-01T06:00:00Z`, or how long ago: `7d`
    #[arg(long, value_parser = past)]
    since: DateTime<Utc>,
    /// End of the period (exclusive), in the same forms; without it, now
    #[arg(long, value_parser = past)]
    until: Option<DateTime<Utc>>,
    /// The output format
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

pub(super) fn run(command: &Export, common: &Common) -> anyhow::Result<Ended> {
    let until = command.until.unwrap_or_else(Utc::now);
    with_store(&common.settings()?, async |store| {
        let (sender, mut rows) = mpsc::channel(AHEAD);
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let writing = async {
            if let Format::Csv = command.format {
                out.write_all(&line(&COLUMNS.map(str::to_owned))?)?;
            }
            while let Some(row) = rows.recv().await {
                match command.format {
                    Format::Jsonl => writeln!(out, "{}", serde_json::to_string(&row)?)?,
                    Format::Csv => out.write_all(&line(&cells(&row)?)?)?,
                }
            }
            out.flush()?;
            anyhow::Ok(())
        };
        let (sent, written) =
            futures::future::join(store.send_by_time(command.since, until, sender), writing).await;
        match written {
            // A reader that has seen enough closes the pipe.
            Err(error) if is_closed_pipe(&error) => {}
            other => other?,
        }
        sent.context("not all rows could be read")?;
        Ok(Ended::Clean)
    })
}

/// The cells of a row, in the order of [`COLUMNS`].
fn cells(row: &StoredEvent) -> anyhow::Result<Vec<String>> {
    let row = serde_json::to_value(row)?;
    Ok(COLUMNS.iter().map(|column| cell(&row[*column])).collect())
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
