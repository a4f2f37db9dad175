//! `console-gate audit tail`

use clap::{Args, Subcommand};

use super::{Common, Finding, with_store};

/// Look at the audit log
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the newest records as JSON lines, the oldest of them first
    Tail {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

pub(super) fn run(command: &Audit, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    let Action::Tail { limit } = command.action;
    with_store(&settings, async |store| {
        let events = store.recent(limit).await?;
        for event in events.iter().rev() {
            println!("{}", serde_json::to_string(event)?);
        }
        Ok(Finding::Clean)
    })
}
