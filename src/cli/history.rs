//! `console-gate history`

use clap::Args;

use super::{Common, Finding, with_store};

/// List activated and refused mappings, the latest first
#[derive(Debug, Args)]
pub(super) struct History {
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

pub(super) fn run(command: &History, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    with_store(&settings, async |store| {
        for activation in store.activations(command.limit).await? {
            println!(
                "{}  {:9}  {}  by {} on {}",
                activation.activated_at_utc.format("%Y-%m-%d %H:%M:%SZ"),
                activation.outcome,
                &activation.sha256[..activation.sha256.len().min(12)],
                activation.activated_by,
                activation.instance,
            );
            for line in activation.diagnostics.iter().flat_map(|text| text.lines()) {
                println!("    {line}");
            }
        }
        Ok(Finding::Clean)
    })
}
