//! `console-gate test [FILE]`

mod report;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use grants::registry::Registry;
use policy::decision::Control;
use policy::diagnostic::Diagnostics;
use policy::ids::Epoch;
use policy::rbac::catalog::Catalog;
use workbench::mapping_test::coverage::coverage;
use workbench::mapping_test::init::first_file;
use workbench::mapping_test::invariants::judge;
use workbench::mapping_test::mutants::mutation;
use workbench::mapping_test::{TestFile, World, registry_of, run as run_cases};

use super::check::counted;
use super::help::Examples;
use super::{Common, Ended, announce, read_mapping, with_store};
use crate::settings::Settings;
use report::Report;

pub(super) const EXAMPLES: Examples = &[(
    "test",
    &[
        "console-gate test",
        "console-gate test routes.test.toml --seed registry.toml",
        "console-gate --config gate.toml test --live",
        "console-gate test --format junit",
        "console-gate test --coverage --mutants --fail-under 80",
        "console-gate test --init --seed registry.toml",
    ],
)];

/// Run the tests of the mapping
///
/// Decides each case of the test file by the mapping, without a gate, and reports those with another answer. Decides each
/// invariant for all possible callers, and reports the caller with the fewest grants that violates it. The groups and roles come from the file that `registry` of the test file or `--seed` names; otherwise, and with `--live`, from
/// the database. Assumes that FLAG_RBAC_V2 is on and promoted; `under` of a case changes that.
///
/// With `--mutants`, tests the tests: it changes the mapping and the grants in each way that could be a mistake, and reports
/// the changes that no case and no invariant notices.
///
/// Exits 1 if a case or an invariant does not hold, or if a share is below `--fail-under`; 2 if a file is not sound or cannot
/// be read.
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
    /// Report which answers of which rows, by kind of caller, no case observes
    #[arg(long)]
    coverage: bool,
    /// Report the mutants of the mapping and of the grants that no test kills
    #[arg(long)]
    mutants: bool,
    /// Exit 1 if the coverage, or the share of killed mutants, is below this share in percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    fail_under: Option<u8>,
    /// List every row and every mutant
    #[arg(long)]
    full: bool,
    /// Write a first test file from what holds now; never over an existing file
    #[arg(long, conflicts_with_all = ["coverage", "mutants", "fail_under", "full", "format"])]
    init: bool,
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
        !self.init
    }
}

pub(super) fn run(command: &Test, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let mapping_file = settings.mapping.file.display().to_string();
    let mapping = read_mapping(&settings.mapping.file)?;
    let file = command.file.clone().unwrap_or_else(|| beside(&settings.mapping.file));
    let name = file.display().to_string();
    let source = match command.init {
        true => String::new(),
        false => crate::text_file::read(&file)
            .with_context(|| format!("cannot read {name}: `console-gate test --init` writes a first one"))?,
    };
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
    mapping.check_against(&mapping_file, &registry.catalog).map_err(|mistakes| unsound(&mistakes))?;
    if command.init {
        return init(&file, command.seed.as_deref(), &world);
    }
    let tests = TestFile::read(&name, &source, &world).map_err(|mistakes| unsound(&mistakes))?;
    let (outcomes, judgements) = (run_cases(&tests, &world), judge(&tests, &world));
    let mut report =
        Report { tests: &tests, world: &world, from, outcomes, judgements, coverage: None, mutation: None };
    report.coverage = command.coverage.then(|| coverage(&tests, &world));
    // A test that fails anyway kills every mutant.
    report.mutation = (command.mutants && report.holds()).then(|| mutation(&tests, &world));
    report.print(command.format, command.full)?;
    let is_enough = command.fail_under.is_none_or(|least| report.reaches(usize::from(least)));
    Ok(if report.holds() && is_enough { Ended::Clean } else { Ended::Findings })
}

/// Writes a first test file.
fn init(file: &Path, seed: Option<&Path>, world: &World<'_>) -> anyhow::Result<Ended> {
    let name = file.display().to_string();
    // The test file names its registry from its own folder.
    let registry = seed.map(|seed| match file.parent().filter(|folder| *folder != Path::new("")) {
        Some(folder) => {
            seed.strip_prefix(folder).map(Path::to_path_buf).or_else(|_| std::path::absolute(seed))
        }
        None => Ok(seed.to_path_buf()),
    });
    let registry = registry.transpose()?.map(|path| path.display().to_string());
    let text = first_file(&name, registry.as_deref(), world).map_err(|mistakes| unsound(&mistakes))?;
    let mut created = std::fs::File::create_new(file).with_context(|| format!("cannot create {name}"))?;
    created.write_all(text.as_bytes()).with_context(|| format!("cannot write {name}"))?;
    announce(format_args!("wrote {name}: review it, then run `console-gate test`"));
    Ok(Ended::Clean)
}

fn unsound(mistakes: &Diagnostics) -> anyhow::Error {
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
    Ok((Registry { catalog: catalog.into(), people: Vec::new().into() }, name))
}
