//! `console-gate history`

use clap::Args;

use super::{Common, Finding, kept, with_store};
use crate::ids::MappingSha256;
use crate::registry::Registry;
use crate::store::SharedStore;
use crate::store::mappings::StoredActivation;

/// List activated and refused mappings, the latest first, with what each changed
///
/// What a step changed is told for the people and grants of today.
#[derive(Debug, Args)]
pub(super) struct History {
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Show one step in full: the beginning of the SHA-256 of the mapping that it activated
    #[arg(long, value_name = "SHA")]
    show: Option<String>,
}

pub(super) fn run(command: &History, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    with_store(&settings, async |store| {
        let registry = Registry::read(&store, chrono::Utc::now()).await?;
        match &command.show {
            Some(beginning) => show(&store, &registry, beginning).await?,
            None => list(&store, &registry, command.limit).await?,
        }
        Ok(Finding::Clean)
    })
}

async fn list(store: &SharedStore, registry: &Registry, limit: u32) -> anyhow::Result<()> {
    for activation in store.activations(limit).await? {
        println!(
            "{}  {:9}  {}  {} on {}",
            activation.activated_at_utc.format("%Y-%m-%d %H:%M:%SZ"),
            activation.outcome,
            short(&activation.sha256),
            activation.activated_by,
            activation.instance,
        );
        for line in activation.diagnostics.iter().flat_map(|text| text.lines()) {
            println!("    {line}");
        }
        if let Some(told) = step(store, registry, &activation).await {
            println!("    {told}");
        }
    }
    Ok(())
}

/// One line about what an activation changed; `None` where it replaced nothing, or the same mapping.
async fn step(store: &SharedStore, registry: &Registry, activation: &StoredActivation) -> Option<String> {
    let previous = activation.previous_sha256.as_ref().filter(|sha256| **sha256 != activation.sha256)?;
    if activation.outcome != "activated" {
        return None;
    }
    let from = format!("from {}", short(previous));
    let old = kept::mapping(store, &MappingSha256::new(previous.as_str())).await;
    let new = kept::mapping(store, &MappingSha256::new(activation.sha256.as_str())).await;
    Some(match (old, new) {
        (Ok(old), Ok(new)) => {
            kept::compared(&old, &new, registry, |impact| format!("{from}: {}", impact.headline()))
        }
        (Err(error), _) | (_, Err(error)) => format!("{from}: cannot be compared: {error:#}"),
    })
}

async fn show(store: &SharedStore, registry: &Registry, beginning: &str) -> anyhow::Result<()> {
    let activated = kept::activated(store).await?;
    let sha256 = kept::beginning(&activated, beginning)?;
    let activation =
        activated.iter().find(|one| one.sha256 == sha256.as_str() && one.previous_sha256.is_some());
    let Some(previous) = activation.and_then(|activation| activation.previous_sha256.as_deref()) else {
        println!("{} replaced nothing", short(sha256.as_str()));
        return Ok(());
    };
    let old = kept::mapping(store, &MappingSha256::new(previous)).await?;
    let new = kept::mapping(store, &sha256).await?;
    kept::print_impact(&old, &new, short(sha256.as_str()), registry);
    Ok(())
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
