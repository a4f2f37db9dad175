//! `console-gate test [FILE]`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use grants::registry::Registry;
use policy::decision::Control;
use policy::diagnostic::Diagnostics;
use policy::ids::Epoch;
use policy::rbac::catalog::Catalog;
use serde::Serialize;
use workbench::mapping_test::invariants::{self, Judgement, judge};
use workbench::mapping_test::junit::{self, TestCase};
use workbench::mapping_test::{Outcome, TestFile, World, findings, registry_of, run as run_cases, text};
use workbench::report::style::{Style, columns};
use workbench::report::text::wrapped;
use workbench::report::{self, Finding, Level, sarif};

use super::check::counted;
use super::help::Examples;
use super::{Common, Ended, read_mapping, with_store};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[(
    "test",
    &[
        "console-gate test",
        "console-gate test routes.test.toml --seed registry.toml",
        "console-gate --config gate.toml test --live",
        "console-gate test --format junit",
    ],
)];

/// Run the tests of the mapping
///
/// Decides each case of the test file by the mapping, without a gate, and reports those with another answer. Decides each
/// invariant for all possible callers, and reports the caller with the fewest grants that violates it. The groups and roles come from the file that `registry` of the test file or `--seed` names; otherwise, and with `--live`, from
/// the database. Assumes that FLAG_RBAC_V2 is on and promoted; `under` of a case changes that.
///
/// Exits 1 if a case or an invariant does not hold, 2 if a file is not sound or cannot be read.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The test file; without it, the one beside the mapping: `routes.test.toml` for `routes.toml`
    file: Option<PathBuf>,
    /// Read groups and roles from this file
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    seed: Option<PathBuf>,
    /// Read groups, roles and people from the database, whatever registry the test file names
    #[arg(long)]
    live: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person
    Text,
    /// For a program
    Json,
    /// For a CI server: JUnit XML
    Junit,
    /// For a code host: SARIF 2.1.0
    Sarif,
}

impl Test {
    pub(super) fn only_reads(&self) -> bool {
        true
    }
}

pub(super) fn run(command: &Test, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let mapping_file = settings.mapping.file.display().to_string();
    let mapping = read_mapping(&settings.mapping.file)?;
    let file = command.file.clone().unwrap_or_else(|| beside(&settings.mapping.file));
    let name = file.display().to_string();
    let source = crate::text_file::read(&file).with_context(|| format!("cannot read {name}"))?;
    let (registry, from) = registry(command, &settings, &file, &source)?;
    let policy = crate::server::policy(&settings);
    let world = World {
        mapping: &mapping,
        mapping_file: &mapping_file,
        catalog: &registry.catalog,
        people: &registry.people,
        control: Control { epoch: Epoch(0), rbac_v2: true, may_enforce: true },
        break_glass: &settings.break_glass.rules(),
        policy: &policy,
    };
    mapping.check_against(&mapping_file, &registry.catalog).map_err(unsound)?;
    let tests = TestFile::read(&name, &source, &world).map_err(unsound)?;
    let outcomes = run_cases(&tests, &world);
    let judgements = judge(&tests, &world);
    let report = Report { tests: &tests, world: &world, from, outcomes, judgements };
    report.print(command.format)?;
    Ok(if report.holds() { Ended::Clean } else { Ended::Findings })
}

fn unsound(mistakes: Diagnostics) -> anyhow::Error {
    let count = mistakes.findings().len();
    anyhow::anyhow!("{}\n{mistakes}", counted(count, "mistake"))
}

/// `routes.test.toml` for `routes.toml`.
fn beside(mapping: &Path) -> PathBuf {
    mapping.with_extension("test.toml")
}

/// The groups and roles, and where they are from, in words.
fn registry(
    command: &Test,
    settings: &Settings,
    file: &Path,
    source: &str,
) -> anyhow::Result<(Registry, String)> {
    let named = registry_of(source).map(|name| file.parent().unwrap_or(Path::new("")).join(name));
    let seed = command.seed.clone().or(named).filter(|_| !command.live);
    let Some(seed) = seed else {
        let read = with_store(settings, async |store| Ok(Registry::read(&store, chrono::Utc::now()).await?));
        let read = read.context(
            "cannot read groups and roles from the database: name a file with `registry` in the test file, or --seed",
        )?;
        return Ok((read, "the database".to_owned()));
    };
    let name = seed.display().to_string();
    let text = crate::text_file::read(&seed).with_context(|| format!("cannot read {name}"))?;
    let catalog = Catalog::from_seed(&text).with_context(|| name.clone())?;
    Ok((Registry { catalog, people: Vec::new() }, name))
}

/// The results of a run.
struct Report<'a> {
    tests: &'a TestFile,
    world: &'a World<'a>,
    from: String,
    outcomes: Vec<Outcome>,
    judgements: Vec<Judgement>,
}

/// What the answers depend on, for programs.
#[derive(Serialize)]
struct WorldReport<'a> {
    mapping: &'a str,
    mapping_sha256: &'a str,
    registry: &'a str,
    groups: usize,
    roles: usize,
    people: usize,
}

#[derive(Serialize)]
struct Summary {
    cases: usize,
    invariants: usize,
    requests: usize,
    failed: usize,
}

#[derive(Serialize)]
struct Json<'a> {
    world: WorldReport<'a>,
    #[serde(flatten)]
    report: report::json::Report<'a, Summary>,
    cases: &'a [Outcome],
    invariants: &'a [Judgement],
}

impl Report<'_> {
    fn holds(&self) -> bool {
        self.outcomes.iter().all(Outcome::holds) && self.judgements.iter().all(Judgement::holds)
    }

    fn print(&self, format: Format) -> anyhow::Result<()> {
        match format {
            Format::Text => print!("{}", self.text()),
            Format::Json => {
                let findings = self.findings();
                let report = report::json::Report { summary: self.summary(), findings: &findings };
                let json =
                    Json { world: self.world(), report, cases: &self.outcomes, invariants: &self.judgements };
                println!("{}", serde_json::to_string_pretty(&json)?);
            }
            Format::Junit => print!("{}", junit::document(&self.tests.path, &self.junit())),
            Format::Sarif => println!("{}", sarif::log(&self.findings())?),
        }
        Ok(())
    }

    fn findings(&self) -> Vec<Finding> {
        let mut all = findings(self.tests, &self.outcomes);
        all.extend(invariants::findings(self.tests, &self.judgements));
        all
    }

    fn summary(&self) -> Summary {
        Summary {
            cases: self.outcomes.len(),
            requests: self.outcomes.iter().map(|outcome| outcome.requests).sum(),
            invariants: self.judgements.len(),
            failed: self.outcomes.iter().filter(|outcome| !outcome.holds()).count()
                + self.judgements.iter().filter(|judgement| !judgement.holds()).count(),
        }
    }

    fn world(&self) -> WorldReport<'_> {
        WorldReport {
            mapping: self.world.mapping_file,
            mapping_sha256: self.world.mapping.sha256().as_str(),
            registry: &self.from,
            groups: self.world.catalog.groups.len(),
            roles: self.world.catalog.roles.len(),
            people: self.world.people.len(),
        }
    }

    fn text(&self) -> String {
        let style = Style::of(&std::io::stdout());
        let mut output = text::failed_cases(self.tests, &self.outcomes, self.world, style);
        output += &text::violated(self.tests, &self.judgements, self.world, style);
        let (world, summary) = (self.world(), self.summary());
        let decided = format!(
            "decided by {} (sha256:{}) with {} and {} of {}",
            world.mapping,
            world.mapping_sha256.get(..12).unwrap_or_default(),
            counted(world.groups, "group"),
            counted(world.roles, "role"),
            world.registry,
        );
        output.push_str(&wrapped(&decided, columns(), 0, 4));
        let (level, verdict) = match summary.failed {
            0 => (Level::Note, "all hold".to_owned()),
            failed => (Level::Error, format!("{failed} failed")),
        };
        let counts = format!(
            "{}: {} with {}, {}: {verdict}",
            self.tests.path,
            counted(summary.cases, "case"),
            counted(summary.requests, "request"),
            counted(summary.invariants, "invariant"),
        );
        output.push_str(&format!("\n{}\n", style.paint(level, &counts)));
        output
    }

    fn junit(&self) -> Vec<TestCase> {
        let of_case = |outcome: &Outcome| {
            let Outcome { caller, selector, under, expected, .. } = outcome;
            let why = outcome.failure.iter().map(|failure| format!(" ({})", failure.why)).collect::<String>();
            TestCase {
                table: "case",
                name: format!("{selector} as {caller} under {under}: {expected}"),
                line: outcome.line,
                failure: outcome.sentence().map(|sentence| sentence + &why),
            }
        };
        let of_invariant = |judgement: &Judgement| {
            let why =
                judgement.witness.iter().map(|witness| format!(" ({})", witness.why)).collect::<String>();
            TestCase {
                table: judgement.kind.word(),
                name: judgement.statement.clone(),
                line: judgement.line,
                failure: judgement.sentence().map(|sentence| sentence + &why),
            }
        };
        self.outcomes.iter().map(of_case).chain(self.judgements.iter().map(of_invariant)).collect()
    }
}
