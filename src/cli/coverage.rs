//! `console-gate coverage [--flask-routes FILE] [--console-src DIR]`

mod learned;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use clap::{ArgGroup, Args};
use console_source::coverage::coverage;
use console_source::coverage::flask_routes::{self, Listing};
use console_source::coverage::hits::{Hit, hits};
use console_source::{ConsoleSource, Guards};
use policy::mapping::Mapping;
use policy::method::Method;
use serde_json::json;
use workbench::report::{Finding, Format};

use self::learned::Learned;
use super::console_files::{Names, console_source};
use super::findings::{outcome, print_findings};
use super::help::Examples;
use super::time::days;
use super::{Common, Ended as Outcome, read_mapping, with_store};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[(
    "coverage",
    &["console-gate coverage --console-src ./console", "console-gate --config gate.toml coverage --hits 14d"],
)];

/// Compare Console's routes with the mapping
///
/// Reports routes without a row, rows without a route, and differing methods, converters and hosts. The routes come
/// from a list by Flask, from the source, or from both. Exits 1 on errors or warnings; notes do not count.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("routes").required(true).multiple(true).args(["flask_routes", "console_src", "hits"])))]
pub(super) struct Coverage {
    /// The output of deploy/flask/dump_routes.py, or of `flask routes`, which has less information
    #[arg(long, value_name = "FILE")]
    flask_routes: Option<PathBuf>,
    /// The folder with Console's Python source
    #[arg(long, value_name = "DIR")]
    console_src: Option<PathBuf>,
    /// Also list requests of the last DAYS days that no row covers, from the decision log
    #[arg(long, value_name = "DAYS", num_args = 0..=1, default_missing_value = "30", value_parser = days)]
    hits: Option<u32>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(command: &Coverage, common: &Common) -> anyhow::Result<Outcome> {
    let settings = common.settings()?;
    let name = settings.mapping.file.display().to_string();
    let mapping = read_mapping(&settings.mapping.file)?;
    let listed = command.flask_routes.as_deref().map(listed).transpose()?;
    let source = command
        .console_src
        .as_deref()
        .map(|folder| console_source(folder, Names::FromHere, &Guards::default()))
        .transpose()?;

    let mut learned = Learned::default();
    if let (Some(file), Some(listing)) = (&command.flask_routes, &listed) {
        learned.listed(&file.display().to_string(), listing);
    }
    if let Some(source) = &source {
        learned.declared(source, listed.is_some());
    }
    let mut findings = learned.findings;
    if listed.is_some() || source.is_some() {
        findings.splice(..0, coverage(&learned.routes, learned.has_order, &name, &mapping));
    }
    if let Some(days) = command.hits {
        findings.extend(unmapped_hits(&settings, &mapping, days)?);
    }
    if command.format == Format::Text {
        println!("{} routes of Console, {} rows of {name}", learned.routes.len(), mapping.rows().len());
        source.iter().for_each(print_files);
    }
    let summary = json!({ "routes": learned.routes.len(), "rows": mapping.rows().len() });
    print_findings(summary, &findings, command.format)?;
    Ok(outcome(&findings))
}

/// Requests to a gate that no row covered: those that still have no row, the most frequent first.
fn unmapped_hits(settings: &Settings, mapping: &Mapping, days: u32) -> anyhow::Result<Vec<Finding>> {
    let since = Utc::now() - TimeDelta::days(i64::from(days));
    let decisions = with_store(settings, async |store| Ok(store.decisions(since).await?))
        .context("cannot read the decision log")?;
    let hits = hits(decisions.into_iter().filter_map(|decision| {
        let method = Method::parse(&decision.method).filter(|_| decision.route.is_empty())?;
        let caller = (!decision.actor_id.is_empty()).then_some((decision.actor_kind, decision.actor_id));
        let count = decision.count.unsigned_abs();
        Some(Hit { method, path: decision.path, caller, count, last_seen: decision.last_seen_at_utc })
    }));
    Ok(hits.iter().filter_map(|hit| hit.finding(mapping)).collect())
}

fn listed(file: &Path) -> anyhow::Result<Listing> {
    let name = file.display();
    let text = crate::text_file::read(file).with_context(|| format!("cannot read `{name}`"))?;
    flask_routes::parse(&text).with_context(|| format!("cannot read `{name}`"))
}

/// Prints the sites file by file, for comparison with the documents' counts.
fn print_files(source: &ConsoleSource) {
    let mut files: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for route in &source.routes {
        files.entry(&route.place.file).or_default().0 += 1;
    }
    for site in &source.sites {
        files.entry(&site.place.file).or_default().1 += 1;
    }
    println!("{}\n\nroutes  sites  file", super::lint::summary(source));
    for (file, (routes, sites)) in files {
        println!("{routes:>6}  {sites:>5}  {file}");
    }
    println!();
}
