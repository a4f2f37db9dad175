//! `console-gate check [FILE]`

mod table;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::{Common, with_store};
use crate::diagnostic::{Diagnostic, Lines};
use crate::mapping::effective::EffectiveRow;
use crate::mapping::parse::sha256_of;
use crate::mapping::{Mapping, RowKind, V2Gate};
use crate::rbac::catalog::Catalog;
use crate::report::style::{COLUMNS, Style};
use crate::report::{Finding, Format, Level, json, rules, sarif, text};
use crate::settings::Settings;

/// Check a mapping file, as `nginx -t` does: mistakes, roles that the database does not have, and what is worth a look
///
/// Exit code 1 says that there is an error or a warning, 2 that the file or the database could not be read.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file; without it, the one that the settings name
    file: Option<PathBuf>,
    /// Do not hold it against the roles in the database
    #[arg(long)]
    offline: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The least level that makes the exit code 1
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "warning")]
    deny: Level,
    /// Print every row as it decides, too
    #[arg(short = 'T', long)]
    table: bool,
    /// Only list the kinds of findings
    #[arg(long, conflicts_with_all = ["file", "offline", "format", "deny", "table"])]
    list: bool,
}

pub(super) fn run(command: &Check, common: &Common) -> anyhow::Result<super::Finding> {
    if command.list {
        print(&listing())?;
        return Ok(super::Finding::Clean);
    }
    if command.table && command.format == Format::Sarif {
        anyhow::bail!("SARIF has no place for the table: use `--format text` or `--format json`");
    }
    let settings = common.settings()?;
    let file = command.file.clone().unwrap_or_else(|| settings.mapping.file.clone());
    let name = file.display().to_string();
    let source = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
    let checked = Checked::of(name, source, || match command.offline {
        true => Ok(None),
        false => catalog(&settings).map(Some),
    })?;
    print(&checked.told(command.format, command.table)?)?;
    let is_denied = checked.found.iter().any(|found| rules::level_of(found.code) <= command.deny);
    Ok(if is_denied { super::Finding::Findings } else { super::Finding::Clean })
}

fn catalog(settings: &Settings) -> anyhow::Result<Catalog> {
    with_store(settings, async |store| Ok(store.catalog().await?))
        .context("cannot read the roles (use --offline to check the file alone)")
}

/// A file and what was found in it.
struct Checked {
    name: String,
    source: String,
    /// `None` for a file that is not sound by itself.
    mapping: Option<Mapping>,
    roles_checked: bool,
    /// The worst first.
    found: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Summary<'a> {
    file: &'a str,
    sha256: String,
    /// Whether a gate would activate it.
    sound: bool,
    roles_checked: bool,
    rows: usize,
    undecided: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
}

/// All that is printed as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    report: json::Report<'a, Summary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Vec<EffectiveRow<'a>>>,
}

impl Checked {
    /// Checks the file by itself and, if it can be read as a mapping, against the roles.
    fn of(
        name: String,
        source: String,
        catalog: impl FnOnce() -> anyhow::Result<Option<Catalog>>,
    ) -> anyhow::Result<Checked> {
        let (mapping, catalog, mut found) = match Mapping::parse(&name, &source) {
            Err(mistakes) => (None, None, mistakes.findings().to_vec()),
            Ok(mapping) => {
                let catalog = catalog()?;
                let mut found = mapping.review(catalog.as_ref());
                if let Some(Err(mistakes)) =
                    catalog.as_ref().map(|catalog| mapping.check_against(&name, catalog))
                {
                    found.extend_from_slice(mistakes.findings());
                }
                (Some(mapping), catalog, found)
            }
        };
        found.sort_by_key(|finding| (rules::level_of(finding.code), finding.span.start));
        Ok(Checked { name, source, mapping, roles_checked: catalog.is_some(), found })
    }

    fn findings(&self) -> Vec<Finding> {
        let lines = Lines::new(&self.source);
        self.found.iter().map(|found| Finding::in_file(&self.name, &lines, found)).collect()
    }

    fn told(&self, format: Format, with_table: bool) -> anyhow::Result<String> {
        let table = self.mapping.as_ref().filter(|_| with_table).map(Mapping::effective);
        match format {
            Format::Text => Ok(self.text(table.as_deref())),
            Format::Json => {
                let findings = self.findings();
                let report = json::Report { summary: self.summary(), findings: &findings };
                Ok(serde_json::to_string_pretty(&Whole { report, table })? + "\n")
            }
            Format::Sarif => Ok(sarif::log(&self.findings())? + "\n"),
        }
    }

    fn text(&self, table: Option<&[EffectiveRow<'_>]>) -> String {
        let style = Style::of(&std::io::stdout());
        let lines = Lines::new(&self.source);
        let mut output = String::new();
        if let Some(table) = table {
            output.push_str(&table::text(table));
            output.push('\n');
        }
        for found in &self.found {
            if rules::level_of(found.code) == Level::Note {
                let finding = Finding::in_file(&self.name, &lines, found);
                output.push_str(&text::finding(&finding, style));
            } else {
                output.push_str(&text::excerpt(&self.name, &lines, found, style));
                output.push('\n');
            }
        }
        let _ = writeln!(output, "{}", text::wrapped(&self.sum(), COLUMNS, 0, 4));
        output
    }

    /// The last line.
    fn sum(&self) -> String {
        let summary = self.summary();
        let mut parts = vec![if summary.sound { "sound" } else { "refused" }.to_owned()];
        if self.mapping.is_some() {
            parts.push(counted(summary.rows, "row"));
            parts.push(format!("{} undecided", summary.undecided));
        }
        for (count, what) in
            [(summary.errors, "error"), (summary.warnings, "warning"), (summary.notes, "note")]
        {
            if count > 0 {
                parts.push(counted(count, what));
            }
        }
        if self.mapping.is_some() && !self.roles_checked {
            parts.push("roles not checked".to_owned());
        }
        parts.push(format!("sha256:{}", summary.sha256.get(..12).unwrap_or_default()));
        format!("{}: {}", self.name, parts.join(", "))
    }

    fn summary(&self) -> Summary<'_> {
        let count = |level| self.found.iter().filter(|found| rules::level_of(found.code) == level).count();
        let rows = self.mapping.as_ref().map(Mapping::rows).unwrap_or_default();
        let undecided = |kind: &RowKind| matches!(kind, RowKind::Gated { v2: V2Gate::Undecided { .. }, .. });
        Summary {
            file: &self.name,
            sha256: sha256_of(&self.source).to_string(),
            sound: count(Level::Error) == 0,
            roles_checked: self.roles_checked,
            rows: rows.len(),
            undecided: rows.iter().filter(|row| undecided(&row.kind)).count(),
            errors: count(Level::Error),
            warnings: count(Level::Warning),
            notes: count(Level::Note),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn listing() -> String {
    let line = |rule: &rules::Rule| {
        let head = format!("{:7}  {:21}  ", rule.level.word(), rule.id);
        text::wrapped(rule.summary, COLUMNS, head.len(), head.len()).replacen(
            &" ".repeat(head.len()),
            &head,
            1,
        )
    };
    let lines: Vec<String> = rules::CHECK.iter().map(line).collect();
    lines.join("\n") + "\n"
}

/// Writes to standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
