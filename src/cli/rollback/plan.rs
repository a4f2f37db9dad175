//! The effect of a rollback or a release on each gate.
//!
//! If gates run different mappings, there is no mapping before the running one, so `--to` is required.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use grants::registry::Registry;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use policy::mapping::parse::sha256_of;
use store::SharedStore;
use store::mappings::Pin;
use store::running::RunningGate;

use super::Rollback;
use crate::cli::{diff, kept};
use crate::facts::{Observed, compared, differing, in_words, observed};
use workbench::impact::text::View;
use workbench::report::style::columns;
use workbench::report::text::wrapped;

/// The work to do.
pub(super) struct Plan {
    /// The mapping for every gate; `None`: its own file.
    pub(super) target: Option<MappingSha256>,
    /// Files to replace, besides those that the gates report.
    pub(super) files: Vec<MappingSha256>,
    /// Who ordered the rollback that this one repeats.
    repeats: Option<String>,
    changes: Vec<Change>,
    /// The mapping file in the settings, and its text.
    path: PathBuf,
    local: Option<String>,
}

/// A mapping to replace.
struct Change {
    /// The gates that run it; empty if no gate is running.
    gates: Vec<String>,
    from: MappingSha256,
    to: Option<MappingSha256>,
}

impl Plan {
    pub(super) async fn make(command: &Rollback, store: &SharedStore, path: &Path) -> anyhow::Result<Plan> {
        let Observed { gates, runs } = observed(store).await?;
        let running = runs.context("no mapping was ever activated here")?;
        let pin = store.pin().await?;
        let target = target(command, store, (&gates, &running), &pin).await?;
        let repeats = target == pin.sha256 && target.as_ref() == Some(&running);
        let local = crate::text_file::read(path).ok();
        let file = local.as_deref().map(sha256_of);
        // Running gates know their files better than the operator's machine does.
        let files =
            if gates.is_empty() { file.iter().chain([&running]).cloned().collect() } else { Vec::new() };
        let changes = changes(&gates, target.as_ref(), running, file);
        Ok(Plan { target, files, repeats: repeats.then_some(pin.by), changes, path: path.to_owned(), local })
    }

    /// Writes who gains and loses access. A rollback is for an emergency: unknown effects are named and stop
    /// nothing.
    ///
    /// # Errors
    ///
    /// Only those of `out`.
    pub(super) async fn write_impact(&self, store: &SharedStore, out: &mut dyn Write) -> io::Result<()> {
        if let (Some(by), Some(target)) = (&self.repeats, &self.target) {
            let says = format!(
                "The rollback to {} by {by} is in force already: this repeats it and goes no further back. `--to` does; \
                 `console-gate history` lists the mappings.",
                target.short()
            );
            writeln!(out, "{}\n", wrapped(&says, columns(), 0, 4))?;
        }
        if self.changes.is_empty() {
            writeln!(out, "No access changes: every gate already runs this mapping.\n")?;
        }
        for change in &self.changes {
            if self.changes.len() > 1 {
                writeln!(out, "{}, which run {}:", change.gates.join(", "), change.from.short())?;
            }
            match self.read(change, store).await {
                Ok((old, new, registry)) => {
                    let name = self
                        .target
                        .as_ref()
                        .map_or_else(|| self.path.display().to_string(), |target| target.short().to_owned());
                    compared(&old, &new, &registry, |impact| {
                        diff::write_text(out, impact, &name, View::default())
                    })?;
                }
                Err(error) => writeln!(out, "what this changes cannot be determined: {error:#}")?,
            }
            writeln!(out)?;
        }
        Ok(())
    }

    async fn read(
        &self,
        change: &Change,
        store: &SharedStore,
    ) -> anyhow::Result<(Mapping, Mapping, Registry)> {
        let old = kept::mapping(store, &change.from).await?;
        let to = change.to.as_ref().context("the file that will be in force cannot be read")?;
        let new = match &self.local {
            Some(text) if sha256_of(text) == *to => Mapping::parse(&self.path.display().to_string(), text)?,
            _ => kept::mapping(store, to).await?,
        };
        Ok((old, new, Registry::read(store, chrono::Utc::now()).await?))
    }
}

/// The requested mapping. If a rollback is in force already, its mapping again, and not the mapping that it rolled
/// back: an unsure operator runs the command twice.
///
/// # Errors
///
/// There is no such mapping, or only the operator can tell which mapping precedes the running one.
async fn target(
    command: &Rollback,
    store: &SharedStore,
    (gates, running): (&[RunningGate], &MappingSha256),
    pin: &Pin,
) -> anyhow::Result<Option<MappingSha256>> {
    if command.release {
        return Ok(None);
    }
    if let Some(beginning) = &command.to {
        return kept::beginning(store, beginning).await.map(Some);
    }
    let runs =
        |sha256: &MappingSha256| sha256 == running || gates.iter().any(|gate| gate.runs.mapping == *sha256);
    if let Some(pinned) = pin.sha256.clone().filter(runs) {
        return Ok(Some(pinned));
    }
    if let Some(gates) = in_words(&differing(gates)) {
        anyhow::bail!(
            "the gates run different mappings ({gates}): use `--to` to choose which one all of them should run"
        );
    }
    let before = store.latest_activation_but(running).await?;
    let before = before.context("there is no mapping before the running one")?;
    Ok(Some(MappingSha256::new(before.sha256)))
}

/// The pairs of a mapping and its replacement, each once, with the gates concerned.
fn changes(
    gates: &[RunningGate],
    target: Option<&MappingSha256>,
    running: MappingSha256,
    file: Option<MappingSha256>,
) -> Vec<Change> {
    let mut by_pair: BTreeMap<(MappingSha256, Option<MappingSha256>), Vec<String>> = BTreeMap::new();
    for gate in gates {
        let to = target.cloned().or_else(|| gate.runs.file.clone());
        by_pair.entry((gate.runs.mapping.clone(), to)).or_default().push(gate.name.clone());
    }
    if gates.is_empty() {
        by_pair.insert((running, target.cloned().or(file)), Vec::new());
    }
    let pairs = by_pair.into_iter().filter(|((from, to), _)| Some(from) != to.as_ref());
    pairs.map(|((from, to), gates)| Change { gates, from, to }).collect()
}
