//! `console-gate coverage [--flask-routes FILE] [--console-src DIR]`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use clap::{ArgGroup, Args};
use serde_json::json;

use super::console_files::{Names, console_source};
use super::findings::{outcome, print_findings};
use super::{Common, Finding as Outcome, with_store};
use crate::console_source::{ConsoleSource, TroubleKind};
use crate::coverage::flask_routes::{self, Listing};
use crate::coverage::hits::{Hit, hits};
use crate::coverage::{ConsoleRoute, coverage};
use crate::mapping::Mapping;
use crate::mapping::pattern::Pattern;
use crate::method::Method;
use crate::report::{Finding, Format, Place};
use crate::settings::{MAX_DAYS, Settings};

/// Hold Console's routes against the mapping: routes without a row, rows without a route, methods, converters
///
/// The routes are what Flask lists, what the source declares, or both. Notes alone are no findings for the exit code.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("routes").required(true).multiple(true).args(["flask_routes", "console_src", "hits"])))]
pub(super) struct Coverage {
    /// The output of `flask routes`, or what deploy/flask/dump_routes.py writes
    #[arg(long, value_name = "FILE")]
    flask_routes: Option<PathBuf>,
    /// The folder with Console's Python source
    #[arg(long, value_name = "DIR")]
    console_src: Option<PathBuf>,
    /// And the paths that no row covers and that were asked for in so many days, from the decision log
    #[arg(long, value_name = "DAYS", num_args = 0..=1, default_missing_value = "30", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    hits: Option<u32>,
    /// Who reads the findings
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(command: &Coverage, common: &Common) -> anyhow::Result<Outcome> {
    let settings = common.settings()?;
    let name = settings.mapping.file.display().to_string();
    let text =
        std::fs::read_to_string(&settings.mapping.file).with_context(|| format!("cannot read {name}"))?;
    let mapping = Mapping::parse(&name, &text)?;
    let listed = command.flask_routes.as_deref().map(listed).transpose()?;
    let source =
        command.console_src.as_deref().map(|folder| console_source(folder, Names::FromHere)).transpose()?;

    let mut learned = Learned::default();
    if let (Some(file), Some(listing)) = (&command.flask_routes, &listed) {
        learned.listed(&file.display().to_string(), listing);
    }
    if let Some(source) = &source {
        learned.declared(source, listed.is_some());
    }
    let mut findings = learned.findings;
    if listed.is_some() || source.is_some() {
        findings.splice(..0, coverage(&learned.routes, &name, &mapping));
    }
    if let Some(days) = command.hits {
        findings.extend(unmapped_hits(&settings, &mapping, days)?);
    }
    if command.format == Format::Text {
        println!("{} routes of Console, {} rows of {name}", learned.routes.len(), mapping.rows().len());
        source.iter().for_each(tell_files);
    }
    let summary = json!({ "routes": learned.routes.len(), "rows": mapping.rows().len() });
    print_findings(summary, &findings, command.format)?;
    Ok(outcome(&findings))
}

/// What people asked a gate for and no row covers: those that still have none, the most frequent first.
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
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{name}`"))?;
    flask_routes::parse(&text).with_context(|| format!("cannot read `{name}`"))
}

/// What is known of Console's routes, and what kept it from being more.
#[derive(Default)]
struct Learned {
    routes: Vec<ConsoleRoute>,
    findings: Vec<Finding>,
}

impl Learned {
    fn listed(&mut self, file: &str, listing: &Listing) {
        let place = |line: usize| (line > 0).then(|| Place { file: file.to_owned(), line, column: 1 });
        self.routes.extend(listing.routes.iter().map(|route| ConsoleRoute {
            place: route.line.and_then(place),
            name: route.endpoint.clone(),
            rule: route.rule.clone(),
            methods: route.methods,
        }));
        let unreadable = listing.unreadable.iter();
        self.findings.extend(
            unreadable.map(|(line, reason)| Finding::new("unreadable-route", place(*line), reason.clone())),
        );
    }

    /// What Flask lists is what Console serves. Beside it, the source says where, and what is not listed.
    fn declared(&mut self, source: &ConsoleSource, has_list: bool) {
        let shapes: Vec<String> = self.routes.iter().map(|route| shape(&route.rule)).collect();
        let mut in_source = vec![false; self.routes.len()];
        let mut unlisted = Vec::new();
        for route in &source.routes {
            let (Ok(rule), Ok(methods)) = (&route.rule, &route.methods) else {
                self.findings.extend((!has_list).then(|| unreadable(route)));
                continue;
            };
            let (shape, mut found) = (shape(rule), false);
            for (index, listed) in self.routes.iter_mut().enumerate() {
                if shapes[index] == shape && !listed.methods.intersection(*methods).is_empty() {
                    listed.place = Some(route.place.clone());
                    (found, in_source[index]) = (true, true);
                }
            }
            if !found {
                let (place, name) = (Some(route.place.clone()), route.view.clone());
                unlisted.push(ConsoleRoute { place, name, rule: rule.clone(), methods: *methods });
            }
        }
        if has_list {
            let listed = self.routes.iter().zip(&in_source).filter(|(_, known)| !**known);
            let listed =
                listed.map(|(route, _)| (route, "is listed by Flask and cannot be read in the source"));
            let declared = unlisted.iter().map(|route| (route, "is in the source and not listed by Flask"));
            let one_sided = listed.chain(declared).map(|(route, what)| {
                let message = format!("`{} {}` of `{}` {what}", route.methods, route.rule, route.name);
                Finding::new("only-in-one-list", route.place.clone(), message)
            });
            self.findings.extend(one_sided);
        }
        self.routes.extend(unlisted);
        self.findings.extend(
            source.troubles.iter().filter(|trouble| !has_list || trouble.kind == TroubleKind::Syntax).map(
                |trouble| {
                    Finding::new("unreadable-route", Some(trouble.place.clone()), trouble.message.clone())
                },
            ),
        );
    }
}

fn unreadable(route: &crate::console_source::Route) -> Finding {
    let reason = route.rule.as_ref().err().or(route.methods.as_ref().err());
    let reason = reason.map_or("", String::as_str);
    let message = format!("the route of `{}` cannot be read: {reason}", route.view);
    Finding::new("unreadable-route", Some(route.place.clone()), message)
}

/// What two rules have in common if they are one, whatever their variables are called.
fn shape(rule: &str) -> String {
    Pattern::parse(rule).map_or_else(|_| rule.to_owned(), |pattern| pattern.shape().to_owned())
}

/// The sites file by file, to be held against the documents' counts.
fn tell_files(source: &ConsoleSource) {
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
