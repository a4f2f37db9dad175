//! `console-gate rollback`

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::Args;

use super::{Common, Finding, kept, operator, with_notary};
use crate::audit::AuditEvent;
use crate::ids::MappingSha256;
use crate::mapping::Mapping;
use crate::mapping::parse::sha256_of;
use crate::registry::Registry;
use crate::store::SharedStore;
use crate::store::mappings::Pin;

/// Activate an earlier mapping in every gate on this database
///
/// It first says who gains and loses what, and asks. The gates take it up within a second, and do not pick the present file
/// up again until it changes.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The beginning of its SHA-256 (see `history`); without it, the one before the running one
    #[arg(long)]
    to: Option<String>,
    /// Let the file rule again
    #[arg(long, conflicts_with = "to")]
    release: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn run(command: &Rollback, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    let file = &settings.mapping.file;
    with_notary(&settings, async |store, notary| {
        let activated = kept::activated(&store).await?;
        let running = activated.first().context("no mapping was ever activated here")?;
        let running = MappingSha256::new(running.sha256.as_str());
        let pin = match (&command.to, command.release) {
            (_, true) => None,
            (Some(beginning), _) => Some(kept::beginning(&activated, beginning)?),
            (None, _) => {
                let before = activated.iter().find(|activation| activation.sha256 != running.as_str());
                let before = before.context("there is no mapping before the running one")?;
                Some(MappingSha256::new(before.sha256.as_str()))
            }
        };
        let source = std::fs::read_to_string(file).ok();
        if let Err(error) = tell_impact(&store, &running, pin.as_ref(), source.as_deref(), file).await {
            // A rollback is for the night when things are broken: what cannot be told must not stop it.
            println!("what this changes cannot be told: {error:#}");
        }
        if !command.yes && !agreed()? {
            println!("nothing was changed");
            return Ok(Finding::Findings);
        }
        let now = chrono::Utc::now();
        let event = AuditEvent::MappingPinned { sha256: pin.clone(), by: operator() };
        store.record(&notary.note(event.into_record(now))).await?;
        let replaced_file_sha256 = source.as_deref().map(sha256_of);
        let pin = pin.map(|sha256| Pin { sha256, by: operator(), replaced_file_sha256 });
        store.set_pin(pin.as_ref(), &operator(), now).await?;
        match pin {
            Some(pin) => println!("rolled back to {}", pin.sha256),
            None => println!("the file rules again"),
        }
        Ok(Finding::Clean)
    })
}

/// Who gains and loses what when `pin`, or else the file, takes the running mapping's place.
async fn tell_impact(
    store: &SharedStore,
    running: &MappingSha256,
    pin: Option<&MappingSha256>,
    source: Option<&str>,
    file: &Path,
) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let new = match pin {
        Some(sha256) => kept::mapping(store, sha256).await?,
        None => Mapping::parse(&name, source.with_context(|| format!("cannot read {name}"))?)?,
    };
    let old = kept::mapping(store, running).await?;
    let registry = Registry::read(store, chrono::Utc::now()).await?;
    let name = pin.map_or(name.as_str(), |sha256| sha256.as_str().get(..12).unwrap_or(sha256.as_str()));
    kept::print_impact(&old, &new, name, &registry);
    println!();
    Ok(())
}

/// Asks on the terminal. Where nobody sits, nobody can agree.
fn agreed() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    anyhow::ensure!(stdin.is_terminal(), "nobody can be asked here: say `--yes`");
    print!("Go on? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
