//! The report of a test run.

use serde::Serialize;
use workbench::mapping_test::coverage::Coverage;
use workbench::mapping_test::invariants::{self, Judgement};
use workbench::mapping_test::junit::{self, TestCase};
use workbench::mapping_test::mutants::Mutation;
use workbench::mapping_test::{Outcome, TestFile, World, findings, text};
use workbench::report::style::{Style, columns};
use workbench::report::text::wrapped;
use workbench::report::{self, Finding, Level, sarif};

use super::Format;
use crate::cli::check::counted;

/// The results of a run.
pub(super) struct Report<'a> {
    pub tests: &'a TestFile,
    pub world: &'a World<'a>,
    /// Where groups and roles are from.
    pub from: String,
    pub outcomes: Vec<Outcome>,
    pub judgements: Vec<Judgement>,
    pub coverage: Option<Coverage>,
    pub mutation: Option<Mutation>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'a Coverage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutation: Option<&'a Mutation>,
}

impl Report<'_> {
    /// Whether every case and every invariant holds.
    pub(super) fn holds(&self) -> bool {
        self.outcomes.iter().all(Outcome::holds) && self.judgements.iter().all(Judgement::holds)
    }

    /// Whether the shares that were asked for are at least this many percent.
    pub(super) fn reaches(&self, least: usize) -> bool {
        let covered = self.coverage.as_ref().is_none_or(|coverage| coverage.percent() >= least);
        covered && self.mutation.as_ref().is_none_or(|mutation| mutation.percent() >= least)
    }

    pub(super) fn print(&self, format: Format, full: bool) -> anyhow::Result<()> {
        match format {
            Format::Text => print!("{}", self.text(full)),
            Format::Json => {
                let findings = self.findings();
                let report = report::json::Report { summary: self.summary(), findings: &findings };
                let json = Json {
                    world: self.world(),
                    report,
                    cases: &self.outcomes,
                    invariants: &self.judgements,
                    coverage: self.coverage.as_ref(),
                    mutation: self.mutation.as_ref(),
                };
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

    fn text(&self, full: bool) -> String {
        let style = Style::of(&std::io::stdout());
        let mut output = text::failed_cases(self.tests, &self.outcomes, self.world, style);
        output += &text::violated(self.tests, &self.judgements, self.world, style);
        output += &self.coverage.as_ref().map(|coverage| text::covered(coverage, full)).unwrap_or_default();
        output += &self.mutation.as_ref().map(|mutation| text::mutated(mutation, full)).unwrap_or_default();
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
