//! `console-gate rollback`

mod plan;
mod text;

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ledger::{AuditEvent, Notary};
use policy::ids::PinId;
use store::SharedStore;
use store::mappings::NewPin;

use self::plan::Plan;
use super::help::Examples;
use super::{Common, Ended, operator_here, with_notary};
use crate::activation::agreement::{self, Goal};

pub(super) const EXAMPLES: Examples = &[(
    "rollback",
    &[
        "console-gate --config gate.toml rollback --to 3f9a1c",
        "console-gate --config gate.toml rollback --release",
    ],
)];

/// Longer than the lease of a silent gate, and than any gate takes for a look.
const PATIENCE: Duration = Duration::from_secs(15);

/// Activate an earlier mapping
///
/// Activates it in every gate on this database, regardless of its file. First shows who gains and loses access and asks
/// for confirmation; with `--yes` it acts first. Then it waits for every gate, names those that do not follow, and
/// exits 1 if there are any. A gate does not activate its current file again until that file changes.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The beginning of the SHA-256 of the mapping (see `history`); without it, the mapping before the running one or, if
    /// a rollback is in force, the same mapping again
    #[arg(long)]
    to: Option<String>,
    /// End the rollback; each gate's file decides again
    #[arg(long, conflicts_with = "to")]
    release: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn run(command: &Rollback, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    with_notary(&settings, async |store, notary| {
        let plan = Plan::make(command, &store, &settings.mapping.file).await?;
        if !command.yes {
            // An operator cannot agree to unread text: as long as nothing is done, a closed output stops the command.
            let mut out = io::stdout();
            plan.write_impact(&store, &mut out).await.context("nothing was changed")?;
            if !agreed(&mut out)? {
                writeln!(out, "nothing was changed").context("nothing was changed")?;
                return Ok(Ended::Findings);
            }
        }
        let goal = order(&plan, &store, &notary).await?;
        // The rollback is recorded. From here on a closed output cannot stop it or change the exit code.
        let mut out = Unstoppable(io::stdout());
        if command.yes {
            writeln!(out, "{}", text::ordered(&goal))?;
            plan.write_impact(&store, &mut out).await?;
        }
        let agreement = agreement::wait(&store, &goal, PATIENCE).await.with_context(|| {
            format!(
                "{}, but which gates follow could not be determined: run `console-gate history`",
                text::ordered(&goal)
            )
        })?;
        write!(out, "{}", text::outcome(&agreement, &goal))?;
        Ok(if agreement.strays.is_empty() { Ended::Clean } else { Ended::Findings })
    })
}

/// Records the order to every gate.
async fn order(plan: &Plan, store: &SharedStore, notary: &Notary) -> anyhow::Result<Goal> {
    let at = chrono::Utc::now();
    let new = NewPin {
        id: PinId::new(uuid::Uuid::now_v7().to_string()),
        sha256: plan.target.clone(),
        by: operator_here(),
        at,
    };
    let event = AuditEvent::MappingPinned { sha256: new.sha256.clone(), by: new.by.clone() };
    store
        .set_pin(&new, &plan.files, &notary.note(event.into_record(at)))
        .await
        .context("nothing was changed, or the database did not confirm the change")?;
    Ok(Goal { pin: new.id, mapping: new.sha256, is_file: false })
}

/// Asks for confirmation on the terminal. Without a terminal, nothing can be confirmed.
fn agreed(out: &mut dyn Write) -> anyhow::Result<bool> {
    let stdin = io::stdin();
    anyhow::ensure!(stdin.is_terminal(), "cannot ask for confirmation without a terminal: use `--yes`");
    write!(out, "Continue? [y/N] ").and_then(|()| out.flush()).context("nothing was changed")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Output that ignores a reader that has gone, and never fails: `rollback | head -1`.
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
