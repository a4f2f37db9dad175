//! `console-gate audit tail|verify|export|erase`

mod erase;
mod export;
mod verify;

use clap::{Args, Subcommand};

use super::{Common, Ended, with_store};

/// Read, verify and export the audit log
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the newest rows as JSON lines, oldest first
    Tail {
        /// The maximum number of rows
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    Verify(verify::Verify),
    Export(export::Export),
    Erase(erase::Erase),
}

pub(super) fn run(command: &Audit, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Tail { limit } => tail(*limit, common),
        Action::Verify(command) => verify::run(command, common),
        Action::Export(command) => export::run(command, common),
        Action::Erase(command) => erase::run(command, common),
    }
}

fn tail(limit: u32, common: &Common) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let events = store.recent(limit).await?;
        for event in events.iter().rev() {
            println!("{}", serde_json::to_string(event)?);
        }
        Ok(Ended::Clean)
    })
}
