//! `console-gate rollback`

use anyhow::Context as _;
use clap::Args;

use super::{Common, Finding, operator, with_notary};
use crate::audit::AuditEvent;
use crate::ids::MappingSha256;
use crate::mapping::parse::sha256_of;
use crate::store::SharedStore;
use crate::store::mappings::Pin;

/// Activate an earlier mapping in every gate on this database
///
/// The gates take it up within a second, and do not pick the present file up again until it changes.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The beginning of its SHA-256 (see `history`); without it, the one before the running one
    #[arg(long)]
    to: Option<String>,
    /// Let the file rule again
    #[arg(long, conflicts_with = "to")]
    release: bool,
}

pub(super) fn run(command: &Rollback, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    with_notary(&settings, async |store, notary| {
        let now = chrono::Utc::now();
        let pin =
            if command.release { None } else { Some(choose(command, &store, &settings.mapping.file).await?) };
        let event =
            AuditEvent::MappingPinned { sha256: pin.as_ref().map(|pin| pin.sha256.clone()), by: operator() };
        store.record(&notary.note(event.into_record(now))).await?;
        store.set_pin(pin.as_ref(), &operator(), now).await?;
        match pin {
            Some(pin) => println!("rolled back to {}", pin.sha256),
            None => println!("the file rules again"),
        }
        Ok(Finding::Clean)
    })
}

async fn choose(command: &Rollback, store: &SharedStore, file: &std::path::Path) -> anyhow::Result<Pin> {
    let activated: Vec<String> = store
        .activations(1_000)
        .await?
        .into_iter()
        .filter(|activation| activation.outcome == "activated")
        .map(|activation| activation.sha256)
        .collect();
    let running = activated.first().context("no mapping was ever activated here")?;
    let chosen = match &command.to {
        Some(beginning) => {
            let mut matching: Vec<&String> =
                activated.iter().filter(|sha256| sha256.starts_with(beginning.as_str())).collect();
            matching.sort();
            matching.dedup();
            match matching.as_slice() {
                [one] => (*one).clone(),
                [] => anyhow::bail!("no activated mapping begins with `{beginning}`"),
                _ => anyhow::bail!("`{beginning}` begins more than one mapping"),
            }
        }
        None => activated
            .iter()
            .find(|sha256| *sha256 != running)
            .context("there is no mapping before the running one")?
            .clone(),
    };
    let replaced = std::fs::read_to_string(file).ok().map(|source| sha256_of(&source));
    Ok(Pin { sha256: MappingSha256::new(chosen), replaced_file_sha256: replaced })
}
