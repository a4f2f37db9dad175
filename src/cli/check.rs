//! `console-gate check [FILE]`

mod console;
mod fix;
mod own_api;
mod rows;
mod servers;
mod sessions;
mod settings;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use policy::diagnostic::{Diagnostic, Lines};
use policy::mapping::effective::EffectiveRow;
use policy::mapping::parse::sha256_of;
use policy::mapping::{Mapping, RowKind, V2Gate};
use policy::rbac::census::BREAK_GLASS;
use policy::rbac::flaw::Flaw;
use serde::Serialize;
use store::SharedStore;
use workbench::report::style::{Style, columns};
use workbench::report::{Finding, Format, Level, json, rules, sarif, text};

use super::help::Examples;
use super::{Common, with_store};
use crate::facts::findings::{Known, findings_of, sorted};
use crate::facts::rolled_back::rolled_back;
use crate::facts::untimely;
use crate::identity;
use crate::settings::Identity;
use crate::settings::Settings;
use crate::settings::load::Looked;

pub(super) const EXAMPLES: Examples = &[(
    "check",
    &[
        "console-gate --config gate.toml check",
        "console-gate check routes.toml --offline",
        "console-gate check routes.toml --offline --format sarif",
        "console-gate check routes.toml --fix",
    ],
)];

/// Validate the settings and the mapping, like `nginx -t`
///
/// Reports errors in the settings file and in the files that it names, errors in the mapping, roles that the database does
/// not have, and warnings worth reviewing. Without a settings file (`--config`), only the mapping is checked. Exits 1 if
/// there is an error or a warning, 2 if a file or the database could not be read.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The mapping file; without it, the one from the settings
    file: Option<PathBuf>,
    /// Do not compare with the roles in the database, nor look for the files that the settings name
    #[arg(long)]
    offline: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The lowest level of a finding that exits 1
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "warning")]
    deny: Level,
    /// Also print every row as it decides
    #[arg(short = 'T', long)]
    table: bool,
    /// Write the number of rows into the file (`rows = N`), so that a truncated copy is refused
    #[arg(long)]
    fix: bool,
    /// Print every note, where many rows have the same one
    #[arg(long)]
    full: bool,
    /// List every kind of finding and exit
    #[arg(long, conflicts_with_all = ["file", "offline", "format", "deny", "table", "fix", "full"])]
    list: bool,
}

pub(super) fn run(command: &Check, common: &Common) -> anyhow::Result<super::Ended> {
    if command.list {
        print(&listing())?;
        return Ok(super::Ended::Clean);
    }
    if command.table && command.format == Format::Sarif {
        anyhow::bail!("SARIF cannot represent the table: use `--format text` or `--format json`");
    }
    let looked = common.config.as_deref().map(Settings::look).transpose()?.unwrap_or_default();
    if looked.iter().any(|file| !file.mistakes.is_empty()) {
        return unsound(command, common, looked);
    }
    let settings = common.settings()?;
    let file = command.file.clone().unwrap_or_else(|| settings.mapping.file.clone());
    let name = file.display().to_string();
    let mut source = crate::text_file::read(&file).with_context(|| format!("cannot read {name}"))?;
    if command.fix {
        source = fix::fix(&file, source)?;
    }
    if !command.offline && settings.audit.mirror.is_some() {
        with_store(&settings, async |store| Ok(store.check_mirror().await?))
            .context("Console's own audit table (use --offline to check the file alone)")?;
    }
    // Without a settings file, the upstreams are unknown.
    let upstreams = common.config.as_deref().map(|_| settings.upstream_names());
    let mut checked =
        Checked::of(name, source, (upstreams.as_ref(), settings.identity.as_ref()), |mapping| match command
            .offline
        {
            true => Ok(None),
            false => with_store(&settings, async |store| Registered::read(&store, &settings, mapping).await)
                .context("cannot read the roles (use --offline to check the file alone)")
                .map(Some),
        })?;
    checked.add_settings(&settings, common.config.as_deref(), looked, command.offline);
    finish(command, &checked)
}

/// All findings of `check` with these settings, for `doctor`.
///
/// # Errors
///
/// A file or the database could not be read.
pub(super) async fn everything(
    settings: &Settings,
    config: Option<&Path>,
    store: &SharedStore,
) -> anyhow::Result<Vec<Finding>> {
    let looked = config.map(Settings::look).transpose()?.unwrap_or_default();
    let name = settings.mapping.file.display().to_string();
    let source =
        crate::text_file::read(&settings.mapping.file).with_context(|| format!("cannot read {name}"))?;
    let registered = match Mapping::parse(&name, &source) {
        Ok(mapping) => Some(Registered::read(store, settings, &mapping).await?),
        Err(_) => None,
    };
    let upstreams = config.map(|_| settings.upstream_names());
    let mut checked =
        Checked::of(name, source, (upstreams.as_ref(), settings.identity.as_ref()), |_| Ok(registered))?;
    checked.add_settings(settings, config, looked, false);
    Ok(checked.findings())
}

/// Reports settings that no gate would start with, and the mapping as far as it can be judged without them.
fn unsound(command: &Check, common: &Common, looked: Vec<Looked>) -> anyhow::Result<super::Ended> {
    let named = command.file.clone().or_else(|| common.mapping.clone());
    let file = named.or_else(|| looked.first()?.mapping.clone()).unwrap_or_else(|| {
        let folder = common.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        folder.join(&Settings::default().mapping.file)
    });
    let name = file.display().to_string();
    let Ok(source) = crate::text_file::read(&file) else {
        let mut text = String::new();
        settings::write(&mut text, &looked, Style::of(&std::io::stdout()));
        print(&text)?;
        anyhow::bail!("cannot read the mapping {name}, which was not checked");
    };
    let mut checked = Checked::of(name, source, (None, None), |_| Ok(None))?;
    checked.looked = looked;
    finish(command, &checked)
}

fn finish(command: &Check, checked: &Checked) -> anyhow::Result<super::Ended> {
    print(&checked.report(command)?)?;
    let is_denied = checked.findings().iter().any(|finding| finding.level <= command.deny);
    Ok(if is_denied { super::Ended::Findings } else { super::Ended::Clean })
}

/// What the database has: the roles, and rows that cannot be used.
struct Registered {
    known: Known,
    flaws: Vec<Flaw>,
    /// The members of the break-glass group.
    standing: Vec<Arc<str>>,
    /// The findings about Console's tables and the RBAC API.
    console: Vec<Finding>,
}

impl Registered {
    async fn read(store: &SharedStore, settings: &Settings, mapping: &Mapping) -> anyhow::Result<Registered> {
        let now = chrono::Utc::now();
        let catalog = store.catalog().await?;
        let mut console = console::findings(store).await?;
        let untimely = untimely(store, mapping, None, now).await?;
        let rolled_back = rolled_back(store, mapping).await?;
        // If Console's tables cannot be read, their rows cannot be judged.
        let is_readable = console.iter().all(|finding| finding.level != Level::Error);
        let (flaws, people) = match is_readable {
            true => (store.flaws().await?, store.census(now).await?),
            false => Default::default(),
        };
        let standing: Vec<Arc<str>> = people
            .iter()
            .filter(|person| person.groups.contains(BREAK_GLASS))
            .map(|person| person.id.clone())
            .collect();
        let unapprovable = if is_readable { own_api::unapprovable(mapping, &people) } else { Vec::new() };
        let held = people.iter().flat_map(|person| person.legacy.iter().cloned()).collect();
        console.extend(own_api::findings(&settings.rbac_api, &catalog));
        console.extend(own_api::unknown_callers(settings, &store.tokens().await?));
        console.extend(unapprovable);
        let eligible = &store.break_glass_rules().eligible;
        console.extend(own_api::unseen_powers(mapping, eligible, &store.grantors().await?, &catalog));
        let known = Known { catalog, held, untimely, rolled_back };
        Ok(Registered { known, flaws, standing, console })
    }
}

/// A file and its findings.
struct Checked {
    name: String,
    source: String,
    /// `None` for a file that is invalid by itself.
    mapping: Option<Mapping>,
    roles_checked: bool,
    /// In the file; the most severe first.
    found: Vec<Diagnostic>,
    /// About Console's tables, the RBAC API and the access tables.
    rows: Vec<Finding>,
    /// The findings in the settings, if there are any.
    settings: Vec<Finding>,
    /// The settings files with their mistakes; empty if none is named.
    looked: Vec<Looked>,
}

#[derive(Serialize)]
struct Summary<'a> {
    file: &'a str,
    /// The settings files that were checked.
    settings: Vec<&'a str>,
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

/// The whole JSON output.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    report: json::Report<'a, Summary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Vec<EffectiveRow<'a>>>,
}

impl Checked {
    /// Checks the file by itself and, if it is a readable mapping, against the roles in the database; and the tables
    /// that hold these roles.
    fn of(
        name: String,
        source: String,
        (upstreams, terms): (Option<&BTreeSet<String>>, Option<&Identity>),
        registered: impl FnOnce(&Mapping) -> anyhow::Result<Option<Registered>>,
    ) -> anyhow::Result<Checked> {
        let (mapping, registered, found) = match Mapping::parse(&name, &source) {
            Err(mistakes) => (None, None, sorted(mistakes.findings().to_vec())),
            Ok(mapping) => {
                let registered = registered(&mapping)?;
                let known = registered.as_ref().map(|registered| &registered.known);
                let own_routes = identity::own_routes(terms);
                let found = findings_of(&name, &mapping, known, (upstreams, &own_routes));
                (Some(mapping), registered, found)
            }
        };
        let roles_checked = registered.is_some();
        let rows = registered.map(|registered| {
            let mut findings = registered.console;
            findings.extend(rows::findings(&registered.flaws));
            findings.extend(rows::standing(&registered.standing));
            findings
        });
        let rows = rows.unwrap_or_default();
        Ok(Checked {
            name,
            source,
            mapping,
            roles_checked,
            found,
            rows,
            settings: Vec::new(),
            looked: Vec::new(),
        })
    }

    /// Adds the findings in the settings, and between the settings and the mapping.
    fn add_settings(
        &mut self,
        settings: &Settings,
        config: Option<&Path>,
        looked: Vec<Looked>,
        is_offline: bool,
    ) {
        if let Some(file) = config.filter(|_| !is_offline) {
            self.settings = sessions::findings(file, &settings.session);
            let mapping = self.mapping.as_ref();
            let needed =
                mapping.and_then(|mapping| servers::without_freescout(file, &settings.freescout, mapping));
            self.settings.extend(needed);
            let logins = mapping.map(|mapping| sessions::logins(file, settings.identity.as_ref(), mapping));
            self.settings.extend(logins.into_iter().flatten());
            self.settings.extend(settings::unreadable(settings, &looked));
        }
        if !looked.is_empty() {
            // A flag or a variable can turn it into a production gate.
            self.settings.extend(settings::without_hosts(settings));
        }
        self.looked = looked;
    }

    fn findings(&self) -> Vec<Finding> {
        let lines = Lines::new(&self.source);
        let in_file = self.found.iter().map(|found| Finding::in_file(&self.name, &lines, found));
        let of_settings = settings::findings(&self.looked);
        of_settings
            .into_iter()
            .chain(in_file)
            .chain(self.rows.iter().chain(&self.settings).cloned())
            .collect()
    }

    fn report(&self, command: &Check) -> anyhow::Result<String> {
        let table = self.mapping.as_ref().filter(|_| command.table).map(Mapping::effective);
        match command.format {
            Format::Text => Ok(self.text(table.as_deref(), command.full)),
            Format::Json => {
                let findings = self.findings();
                let report = json::Report { summary: self.summary(), findings: &findings };
                Ok(serde_json::to_string_pretty(&Whole { report, table })? + "\n")
            }
            Format::Sarif => Ok(sarif::log(&self.findings())? + "\n"),
        }
    }

    fn text(&self, table: Option<&[EffectiveRow<'_>]>, full: bool) -> String {
        let style = Style::of(&std::io::stdout());
        let lines = Lines::new(&self.source);
        let mut output = String::new();
        if let Some(table) = table {
            output.push_str(&table::text(table));
            output.push('\n');
        }
        settings::write(&mut output, &self.looked, style);
        let (notes, others): (Vec<&Diagnostic>, Vec<_>) =
            self.found.iter().partition(|found| rules::level_of(found.code) == Level::Note);
        for found in others {
            output.push_str(&text::excerpt(&self.name, &lines, found, style));
            output.push('\n');
        }
        let mut alike: Vec<Vec<&Diagnostic>> = Vec::new();
        for note in notes {
            match alike.iter_mut().find(|group| group[0].code == note.code) {
                Some(group) => group.push(note),
                None => alike.push(vec![note]),
            }
        }
        for group in alike {
            let findings: Vec<Finding> =
                group.iter().map(|found| Finding::in_file(&self.name, &lines, found)).collect();
            if full || findings.len() <= MOST_ALIKE {
                findings.iter().for_each(|finding| output.push_str(&text::finding(finding, style)));
            } else {
                let places = if self.are_rows(&group) { "rows" } else { "places" };
                output.push_str(&text::collapsed(&findings, MOST_ALIKE, places, style));
            }
        }
        for finding in self.rows.iter().chain(&self.settings) {
            output.push_str(&text::finding(finding, style));
        }
        for line in settings::sums(&self.looked, &self.settings) {
            let _ = writeln!(output, "{line}");
        }
        let _ = writeln!(output, "{}", text::wrapped(&self.sum(), columns(), 0, 4));
        output
    }

    /// Whether each finding is about a row.
    fn are_rows(&self, found: &[&Diagnostic]) -> bool {
        let rows = self.mapping.as_ref().map(Mapping::rows).unwrap_or_default();
        let starts: BTreeSet<usize> = rows.iter().map(|row| row.offset).collect();
        found.iter().all(|found| starts.contains(&found.span.start))
    }

    /// The summary line.
    fn sum(&self) -> String {
        let summary = self.summary();
        let mut parts = vec![if summary.sound { "sound" } else { "refused" }.to_owned()];
        if self.mapping.is_some() {
            parts.push(counted(summary.rows, "row"));
            parts.push(format!("{} undecided", summary.undecided));
        }
        // Errors in the settings are counted in the lines of their files.
        let of_settings = self.looked.iter().map(|file| file.mistakes.len()).sum::<usize>()
            + self.settings.iter().filter(|finding| finding.level == Level::Error).count();
        for (count, what) in
            [(summary.errors - of_settings, "error"), (summary.warnings, "warning"), (summary.notes, "note")]
        {
            if count > 0 {
                parts.push(counted(count, what));
            }
        }
        if self.mapping.is_some() && !self.roles_checked {
            parts.push("roles not checked".to_owned());
        }
        if self.looked.is_empty() {
            parts.push("no settings file".to_owned());
        }
        parts.push(format!("sha256:{}", summary.sha256.get(..12).unwrap_or_default()));
        format!("{}: {}", self.name, parts.join(", "))
    }

    fn summary(&self) -> Summary<'_> {
        let findings = self.findings();
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let rows = self.mapping.as_ref().map(Mapping::rows).unwrap_or_default();
        let undecided = |kind: &RowKind| matches!(kind, RowKind::Gated { v2: V2Gate::Undecided { .. }, .. });
        Summary {
            file: &self.name,
            settings: self.looked.iter().map(|file| file.name.as_str()).collect(),
            sha256: sha256_of(&self.source).to_string(),
            // Findings in Console's and the access tables do not prevent an activation.
            sound: self.found.iter().all(|found| rules::level_of(found.code) != Level::Error),
            roles_checked: self.roles_checked,
            rows: rows.len(),
            undecided: rows.iter().filter(|row| undecided(&row.kind)).count(),
            errors: count(Level::Error),
            warnings: count(Level::Warning),
            notes: count(Level::Note),
        }
    }
}

/// At most this many notes of one kind are listed; the others are counted.
const MOST_ALIKE: usize = 3;

pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn listing() -> String {
    let line = |rule: &rules::Rule| {
        let head = format!("{:7}  {:22}  ", rule.level.word(), rule.id);
        text::wrapped(rule.summary, columns(), head.len(), head.len()).replacen(
            &" ".repeat(head.len()),
            &head,
            1,
        )
    };
    let lines: Vec<String> = rules::CHECK
        .iter()
        .chain(&rules::CONSOLE)
        .chain(&rules::ROWS)
        .chain(&rules::SETTINGS)
        .map(line)
        .collect();
    lines.join("\n") + "\n"
}

/// Writes to standard output; a reader that closes the pipe early is not an error.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
