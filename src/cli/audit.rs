//! `console-gate audit tail|verify|export|report|erase`

mod erase;
pub(super) mod export;
mod report;
mod verify;

use clap::{Args, Subcommand, ValueEnum};
use store::audit::StoredEvent;
use workbench::report::text::harmless;

use super::help::Examples;
use super::{Common, Ended, with_store};

pub(super) const EXAMPLES: Examples = &[
    ("audit", &["console-gate --config gate.toml audit tail"]),
    ("audit tail", &["console-gate --config gate.toml audit tail --limit 100"]),
    ("audit verify", &["console-gate --config gate.toml audit verify --checkpoints checkpoints.jsonl"]),
    (
        "audit export",
        &["console-gate --config gate.toml audit export --since 2026-11-01 --until 2026-12-01 --format csv"],
    ),
    ("audit report", &["console-gate --config gate.toml audit report --since 2026-11-01 --until 2026-12-01"]),
    ("audit erase", &["console-gate --config gate.toml audit erase admin-07"]),
];

/// Read, verify and export the audit log
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the newest rows, oldest first
    Tail {
        /// The maximum number of rows
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// The output format
        #[arg(long, value_enum, default_value = "jsonl")]
        format: TailFormat,
    },
    Verify(verify::Verify),
    Export(export::Export),
    Report(report::Report),
    Erase(erase::Erase),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TailFormat {
    /// A JSON object a line
    Jsonl,
    /// One JSON array
    Json,
    /// A line a row, for a person
    Text,
}

pub(super) fn run(command: &Audit, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Tail { limit, format } => tail(*limit, *format, common),
        Action::Verify(command) => verify::run(command, common),
        Action::Export(command) => export::run(command, common),
        Action::Report(command) => report::run(command, common),
        Action::Erase(command) => erase::run(command, common),
    }
}

fn tail(limit: u32, format: TailFormat, common: &Common) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let mut events = store.recent(limit).await?;
        events.reverse();
        match format {
            TailFormat::Json => println!("{}", serde_json::to_string_pretty(&events)?),
            TailFormat::Jsonl => {
                for event in &events {
                    println!("{}", serde_json::to_string(event)?);
                }
            }
            TailFormat::Text => events.iter().for_each(|event| println!("{}", in_words(event))),
        }
        Ok(Ended::Clean)
    })
}

fn in_words(event: &StoredEvent) -> String {
    let parts = [&event.actor_id, &event.method, &event.path, &event.reason, &event.request_id];
    let said: Vec<String> = parts.into_iter().flatten().map(|part| harmless(part)).collect();
    let at = event.occurred_at_utc.format("%Y-%m-%d %H:%M:%SZ");
    format!("{at}  {:20}  {} {}", event.event_type, event.actor_kind, said.join("  ")).trim_end().to_owned()
}
