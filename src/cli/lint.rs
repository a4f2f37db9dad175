//! `console-gate lint --console-src DIR`

use std::path::PathBuf;

use clap::Args;
use console_source::ConsoleSource;
use console_source::lint::{lint, zero_match};
use serde_json::json;
use workbench::report::Format;

use super::console_files::{GuardNames, Names, console_source};
use super::findings::{outcome, print_findings};
use super::help::Examples;
use super::{Common, Ended, read_mapping};

pub(super) const EXAMPLES: Examples = &[("lint", &["console-gate lint --console-src ./console"])];

/// Compare Console's `@require_role` sites with the mapping
///
/// Compares their arguments with the `legacy` roles of the rows. Parses the Python source: finds `@require_role` under
/// every alias, and role checks inside views.
#[derive(Debug, Args)]
pub(super) struct Lint {
    /// The folder with Console's Python source
    #[arg(long, value_name = "DIR")]
    console_src: PathBuf,
    #[command(flatten)]
    guards: GuardNames,
    /// After the cutover: report every remaining site, without reading a mapping (RV-14, see docs/background.md)
    #[arg(long)]
    fail_on_any: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(command: &Lint, common: &Common) -> anyhow::Result<Ended> {
    let source = console_source(&command.console_src, Names::FromHere, &command.guards.guards())?;
    let (findings, rows) = if command.fail_on_any {
        (zero_match(&source), None)
    } else {
        let settings = common.settings()?;
        let name = settings.mapping.file.display().to_string();
        let mapping = read_mapping(&settings.mapping.file)?;
        (lint(&source, &name, &mapping), Some(format!("{} rows of {name}, ", mapping.rows().len())))
    };
    if command.format == Format::Text {
        println!("{}{}", rows.unwrap_or_default(), summary(&source));
    }
    let counts = json!({
        "sites": source.sites.len(),
        "unreadable": unreadable(&source),
        "inline_checks": source.inline_checks.len(),
        "files": source.files,
    });
    print_findings(counts, &findings, command.format)?;
    Ok(outcome(&findings))
}

/// `141 sites (2 unreadable) and 3 inline checks in 26 files`
pub(super) fn summary(source: &ConsoleSource) -> String {
    let unreadable = unreadable(source);
    format!(
        "{} sites ({unreadable} unreadable) and {} inline checks in {} files",
        source.sites.len(),
        source.inline_checks.len(),
        source.files
    )
}

/// Sites whose arguments cannot be read.
fn unreadable(source: &ConsoleSource) -> usize {
    source.sites.iter().filter(|site| site.roles.is_err()).count()
}
