//! `console-gate diff [[OLD] NEW]`

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use grants::registry::{LegacyAsArgument, Registry, legacy_as};
use policy::diagnostic::{Diagnostic, Lines};
use policy::ids::MappingSha256;
use policy::mapping::order::Untimely;
use policy::mapping::{ClusterMode, Rollout};
use policy::rbac::catalog::Catalog;
use serde::Serialize;
use workbench::impact::text::{ImpactText, Layout, Tone, View};
use workbench::impact::{AccessChange, Change, Impact, Population, ProfileKind, Switches, impact};
use workbench::report::style::{Style, columns};
use workbench::report::text::{harmless, wrapped};
use workbench::report::{self, Format, Level, Location, sarif};

use super::help::Examples;
use super::{Common, Ended, read_mapping, with_store};
use crate::facts::rolled_back::RolledBack;
use crate::facts::{self, Running};

pub(super) const EXAMPLES: Examples = &[(
    "diff",
    &[
        "console-gate --config gate.toml diff",
        "console-gate --config gate.toml diff routes.toml new.toml",
        "console-gate --config gate.toml diff routes.toml --cluster S3=v2 --only losses",
        "console-gate --config gate.toml diff routes.toml new.toml --admin admin-07",
    ],
)];

/// Show who gains and loses which route by a mapping
///
/// Compares access by admin and machine (from the database), by legacy role and by group, with the grants behind each
/// change. Without OLD, the current mapping is the one that the gates on this database run. A new mode of a cluster counts:
/// `diff routes.toml --cluster S3=v2` shows what happens if S3 switches to V2. Routes that change alike are shown together.
/// Says if a rollback is in force and the new mapping contains what it took back. Exits 1 if anyone's access changes, or if no
/// gate would activate the new mapping for its order or the rollback.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The current mapping and the new one. With one FILE, what the gates run and this file; or, with `--cluster`, this file
    /// and the same with these modes. Without a file, what the gates run and the file of the settings
    #[arg(value_name = "FILE", num_args = 0..=2)]
    files: Vec<PathBuf>,
    /// Set the mode of a cluster in the new mapping: `S3=v2`; may be repeated
    #[arg(id = "clusters", long = "cluster", value_name = "CLUSTER=MODE", value_parser = cluster)]
    clusters: Vec<(String, ClusterMode)>,
    /// Read roles and groups from this file instead of the database; admins are then not compared
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// The groups of the admins with a legacy role: `superadmin=raxx-platform-admins,...`; a role may be repeated
    #[arg(long, value_name = "ROLE=GROUP", value_delimiter = ',')]
    legacy_as: Vec<LegacyAsArgument>,
    /// The state of `FLAG_RBAC_V2` to assume
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = on_or_off, action = clap::ArgAction::Set)]
    flag: bool,
    /// Show each route by itself, with everybody who gains or loses it
    #[arg(long, conflicts_with_all = ["by_person", "admin"])]
    by_route: bool,
    /// Show people with the same gains and losses, and their routes
    #[arg(long)]
    by_person: bool,
    /// Show gains or losses alone
    #[arg(long, value_enum, value_name = "gains|losses")]
    only: Option<Only>,
    /// Show what one admin or machine gains and loses, by its id
    #[arg(long, value_name = "ID")]
    admin: Option<String>,
    /// Show every name and every route
    #[arg(long)]
    full: bool,
    /// The output format; the options that choose what is shown are for text
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Only {
    Gains,
    Losses,
}

impl Diff {
    fn view(&self) -> View {
        let layout = match (self.by_route, self.by_person) {
            (true, _) => Layout::Routes,
            (_, true) => Layout::People,
            _ => Layout::Grouped,
        };
        let only = self.only.map(|only| match only {
            Only::Gains => AccessChange::Gain,
            Only::Losses => AccessChange::Loss,
        });
        View { layout, only, caller: self.admin.clone(), full: self.full }
    }
}

pub(super) fn run(command: &Diff, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let (old_file, name) = match command.files.as_slice() {
        [old, new] => (Some(old), new),
        [one] if command.clusters.is_empty() => (None, one),
        [one] => (Some(one), one),
        _ => (None, &settings.mapping.file),
    };
    let mut new = read_mapping(name)?;
    for (cluster, mode) in &command.clusters {
        let known: Vec<String> = new.clusters().keys().map(ToString::to_string).collect();
        new = new
            .with_rollout(cluster, Rollout::everybody(*mode))
            .with_context(|| format!("there is no cluster `{cluster}`; there are {}", known.join(", ")))?;
    }
    let mut old = old_file.map(|file| read_mapping(file)).transpose()?;
    let (mut untimely, mut running, mut rolled_back) = (Vec::new(), None, None);
    let registry = match &command.seed {
        Some(file) => {
            let text =
                crate::text_file::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let catalog = Catalog::from_seed(&text).with_context(|| file.display().to_string())?;
            Registry { catalog: catalog.into(), people: Arc::default() }
        }
        None => with_store(&settings, async |store| {
            let now = chrono::Utc::now();
            untimely = facts::untimely(&store, &new, None, now).await?;
            rolled_back = facts::rolled_back::rolled_back(&store, &new).await?;
            if old.is_none() {
                running = Some(facts::running(&store).await);
            }
            Ok(Registry::read(&store, now).await?)
        })
        .context("cannot read admins and grants (use --seed to compare without a database)")?,
    };
    let running =
        running.transpose().context("what the gates run is not known: give the current mapping as OLD")?;
    let runs = running.as_ref().map(|running| running.mapping.sha256().clone());
    let warning = running.as_ref().and_then(Running::warning);
    let old = match (old.take(), running) {
        (Some(old), _) => old,
        (None, Some(running)) => running.mapping,
        (None, None) => anyhow::bail!(
            "what the gates run is in the database: give the current mapping as OLD with --seed"
        ),
    };
    let legacy_as = legacy_as(&command.legacy_as, &registry, &[&old, &new])?;
    let population = Population::new(&registry.catalog, &registry.people, &legacy_as, &[&old, &new]);
    let switches = Switches { rbac_v2: command.flag };
    let impact = impact(&old, &new, &registry.catalog, &population, switches);
    if let Some(admin) = &command.admin
        && !registry.people.iter().any(|person| *person.id == **admin)
    {
        anyhow::bail!("there is no admin or machine `{admin}`; `console-gate admin list` lists the admins");
    }
    let file = name.display().to_string();
    let taken_back = rolled_back.as_ref().and_then(RolledBack::finding);
    match command.format {
        Format::Text => {
            let mut out = std::io::stdout().lock();
            if let Some(runs) = &runs {
                let compared = format!("Compared with what the gates run, {}.", runs.short());
                let said = warning.iter().chain([&compared]);
                said.clone().try_for_each(|line| writeln!(out, "{}", wrapped(line, columns(), 0, 4)))?;
                writeln!(out)?;
            }
            write_text(&mut out, &impact, &file, command.view())?;
            let order = untimely.iter().map(Untimely::finding);
            write_findings(&mut out, "Order", order)?;
            write_findings(&mut out, "Rollback", taken_back.iter().cloned())?;
        }
        Format::Json => {
            let rolled_back = rolled_back.as_ref().map(|rolled_back| PrintedRollback {
                to: rolled_back.pin.sha256.as_ref().map(MappingSha256::as_str),
                by: &rolled_back.pin.by,
                is_replaced: rolled_back.is_replaced,
                contains: rolled_back.contains.iter().map(|part| part.what.as_str()).collect(),
            });
            let compared_with = runs.as_ref().map(MappingSha256::as_str);
            let report =
                PrintedDiff { impact: impact.report(), compared_with, order: &untimely, rolled_back };
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
        Format::Sarif => {
            let lines = Lines::new(new.source());
            let order = untimely.iter().map(Untimely::finding).chain(taken_back.clone());
            let order = order.map(|found| report::Finding::in_file(&file, &lines, &found));
            let all: Vec<report::Finding> = findings(&impact, &file).into_iter().chain(order).collect();
            println!("{}", sarif::log(&all)?);
        }
    }
    let in_order = untimely.iter().all(|one| one.excuse.is_some()) && taken_back.is_none();
    Ok(if impact.is_neutral() && impact.complete && in_order { Ended::Clean } else { Ended::Findings })
}

/// The whole JSON output.
#[derive(Serialize)]
struct PrintedDiff<'t, R> {
    #[serde(flatten)]
    impact: R,
    /// The mapping that the gates run, if it was compared with that.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_with: Option<&'t str>,
    /// The clusters that go to V2 before their time.
    #[serde(skip_serializing_if = "<[Untimely]>::is_empty")]
    order: &'t [Untimely],
    /// The rollback in force, and the parts of the new mapping that it took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back: Option<PrintedRollback<'t>>,
}

#[derive(Serialize)]
struct PrintedRollback<'t> {
    to: Option<&'t str>,
    by: &'t str,
    is_replaced: bool,
    contains: Vec<&'t str>,
}

/// Writes the findings that a gate would refuse, or accept by override.
fn write_findings(
    out: &mut dyn Write,
    heading: &str,
    found: impl Iterator<Item = Diagnostic>,
) -> io::Result<()> {
    let mut found = found.peekable();
    if found.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "\n{}", Style::of(&io::stdout()).bold(heading))?;
    for one in found {
        writeln!(out, "{}", wrapped(&one.message, columns(), 2, 4))?;
    }
    Ok(())
}

/// Writes an impact as standard output shows it, line by line.
pub(super) fn write_text(out: &mut dyn Write, impact: &Impact<'_>, file: &str, view: View) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    let mut outcome = Ok(());
    ImpactText::new(impact, file, view).each_line(|tone, line| {
        if outcome.is_ok() {
            // A foreign file must not control the terminal.
            let line = &harmless(line);
            outcome = match tone {
                Tone::Plain => writeln!(out, "{line}"),
                Tone::Heading => writeln!(out, "{}", style.bold(line)),
                Tone::Gain => writeln!(out, "{}", style.paint(Level::Note, line)),
                Tone::Loss => writeln!(out, "{}", style.paint(Level::Error, line)),
            };
        }
    });
    outcome
}

/// One finding for each change and direction.
fn findings(impact: &Impact<'_>, file: &str) -> Vec<report::Finding> {
    let mut findings = Vec::new();
    for (change, report) in impact.changes.iter().zip(&impact.report().changes) {
        for direction in [AccessChange::Gain, AccessChange::Loss] {
            let who = names(impact, change, direction);
            if who.is_empty() {
                continue;
            }
            let route =
                report.route.as_ref().map_or("what no row covers".to_owned(), |name| format!("`{name}`"));
            let requests = change.requests.in_words().map_or_else(String::new, |words| format!(" {words}"));
            let (id, verb) = match direction {
                AccessChange::Gain => ("access-gain", "gains"),
                AccessChange::Loss => ("access-loss", "loses"),
            };
            findings.push(report::Finding {
                id,
                level: if change.strangers == Some(AccessChange::Gain) {
                    Level::Error
                } else {
                    Level::Warning
                },
                place: report.line.map(|line| Location { file: file.to_owned(), line, column: 1 }),
                message: format!(
                    "{verb} {route}{requests}: {} ({} -> {})",
                    who.join(", "),
                    report.before,
                    report.after
                ),
                suggestion: None,
            });
        }
    }
    findings
}

/// Who gains or loses by a change: admins as a number, all others by name. "Anybody" covers everybody.
fn names(impact: &Impact<'_>, change: &Change<'_>, direction: AccessChange) -> Vec<String> {
    let mut names: Vec<String> = change.nameless(direction).map(ToOwned::to_owned).collect();
    if (direction, change.strangers) == (AccessChange::Gain, Some(AccessChange::Gain)) {
        return names;
    }
    let profiles: Vec<_> = impact.who(change, direction).collect();
    let of_kind = |is_admin: bool| {
        profiles.iter().filter(move |profile| (profile.kind == ProfileKind::Admin) == is_admin)
    };
    let admins: usize = of_kind(true).map(|profile| profile.members.len()).sum();
    if admins > 0 {
        names.push(format!("{admins} admin(s)"));
    }
    names.extend(of_kind(false).flat_map(|profile| &profile.members).map(ToString::to_string));
    names
}

fn cluster(text: &str) -> Result<(String, ClusterMode), String> {
    let (name, word) = text.split_once('=').ok_or("write it as CLUSTER=MODE, such as `S3=v2`")?;
    let mode = ClusterMode::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, mode)| mode);
    Ok((name.to_owned(), mode.ok_or("the modes are legacy, shadow and v2")?))
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write `on` or `off`".into()),
    }
}
