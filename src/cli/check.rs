//! `console-gate check [FILE]`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Common, Finding, with_store};
use crate::mapping::{Mapping, RowKind, V2Gate};

/// Check a mapping file, as `nginx -t` does
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file; without it, the one that the settings name
    file: Option<PathBuf>,
    /// Do not hold it against the roles in the database
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(command: &Check, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    let file = command.file.clone().unwrap_or_else(|| settings.mapping.file.clone());
    let name = file.display().to_string();
    let source = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
    let mapping = match Mapping::parse(&name, &source) {
        Ok(mapping) => mapping,
        Err(diagnostics) => {
            eprintln!("{diagnostics}\n\n{name}: {} mistake(s)", diagnostics.findings().len());
            return Ok(Finding::Findings);
        }
    };
    if !command.offline {
        let catalog = with_store(&settings, async |store| Ok(store.catalog().await?))
            .context("cannot read the roles (use --offline to check the file alone)")?;
        if let Err(diagnostics) = mapping.check_against(&name, &catalog) {
            eprintln!("{diagnostics}\n\n{name}: {} mistake(s)", diagnostics.findings().len());
            return Ok(Finding::Findings);
        }
    }
    let undecided = mapping
        .rows()
        .iter()
        .filter(|row| matches!(row.kind, RowKind::Gated { v2: V2Gate::Undecided { .. }, .. }));
    for row in undecided.clone() {
        if let RowKind::Gated { v2: V2Gate::Undecided { question, .. }, .. } = &row.kind {
            println!("undecided  {}  ({question}): stays on its legacy gate", row.route);
        }
    }
    println!(
        "{name}: sound, {} rows, {} undecided, {}",
        mapping.rows().len(),
        undecided.count(),
        mapping.sha256()
    );
    Ok(Finding::Clean)
}
