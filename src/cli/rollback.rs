//! `console-gate rollback`

mod plan;
mod told;

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ledger::{AuditEvent, Notary};
use policy::ids::PinId;

use self::plan::Plan;
use super::{Common, Finding, operator, with_notary};
use crate::activation::agreement::{self, Goal};
use crate::store::SharedStore;
use crate::store::mappings::NewPin;

/// Longer than the lease of a gate that is silent, and than any gate takes to look.
const PATIENCE: Duration = Duration::from_secs(15);

/// Activate an earlier mapping in every gate on this database, whatever its file says
///
/// It first says who gains and loses what, and asks; with `--yes` it acts first. Then it waits for every gate and names
/// those that do not follow: exit code 1. A gate does not pick its present file up again until it changes.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The beginning of its SHA-256 (see `history`); without it, the one before the running one, or once more the one
    /// that was rolled back to already
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
    with_notary(&settings, async |store, notary| {
        let plan = Plan::make(command, &store, &settings.mapping.file).await?;
        if !command.yes {
            // Nobody can agree to what they could not read: as long as nothing is done, a closed output stops it.
            let mut out = io::stdout();
            plan.write_impact(&store, &mut out).await.context("nothing was changed")?;
            if !agreed(&mut out)? {
                writeln!(out, "nothing was changed").context("nothing was changed")?;
                return Ok(Finding::Findings);
            }
        }
        let goal = order(&plan, &store, &notary).await?;
        // It is done. From here on nobody who reads can stop it, or change what the exit code says.
        let mut out = Unstoppable(io::stdout());
        if command.yes {
            writeln!(out, "{}", told::ordered(&goal))?;
            plan.write_impact(&store, &mut out).await?;
        }
        let agreement = agreement::wait(&store, &goal, PATIENCE).await.with_context(|| {
            format!(
                "{}, but it is not known which gates follow: ask `console-gate history`",
                told::ordered(&goal)
            )
        })?;
        write!(out, "{}", told::outcome(&agreement, &goal))?;
        Ok(if agreement.strays.is_empty() { Finding::Clean } else { Finding::Findings })
    })
}

/// Records what every gate is to do.
async fn order(plan: &Plan, store: &SharedStore, notary: &Notary) -> anyhow::Result<Goal> {
    let at = chrono::Utc::now();
    let new = NewPin {
        id: PinId::new(uuid::Uuid::now_v7().to_string()),
        sha256: plan.target.clone(),
        by: operator(),
        at,
    };
    let event = AuditEvent::MappingPinned { sha256: new.sha256.clone(), by: new.by.clone() };
    store
        .set_pin(&new, &plan.files, &notary.note(event.into_record(at)))
        .await
        .context("nothing was changed, or the database did not say whether it was")?;
    Ok(Goal { pin: new.id, mapping: new.sha256 })
}

/// Asks on the terminal. Where nobody sits, nobody can agree.
fn agreed(out: &mut dyn Write) -> anyhow::Result<bool> {
    let stdin = io::stdin();
    anyhow::ensure!(stdin.is_terminal(), "nobody can be asked here: say `--yes`");
    write!(out, "Go on? [y/N] ").and_then(|()| out.flush()).context("nothing was changed")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Output that is written for as long as somebody reads it, and never fails: `rollback | head -1`.
struct Unstoppable<W>(W);

impl<W: Write> Write for Unstoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.write(bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
