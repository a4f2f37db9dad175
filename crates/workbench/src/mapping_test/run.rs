//! The answers to the cases of a file.

use policy::diagnostic::Lines;
use serde::Serialize;

use super::caller::{Caller, Resolved};
use super::judge::{Answer, Ground, Sent};
use super::suite::Case;
use super::{TestFile, World};
use crate::report::{Finding, Location};

/// The result of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The line of the test file.
    pub line: usize,
    #[serde(rename = "as")]
    pub caller: String,
    pub selector: String,
    pub under: &'static str,
    pub expected: &'static str,
    /// How many requests were decided.
    pub requests: usize,
    /// The first request with another answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A request with another answer than the case expects.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    pub answer: Answer,
    pub why: String,
    /// The row that decides: its name and its line in the mapping.
    pub row: Option<(String, usize)>,
    /// How many requests of the case have another answer.
    pub requests: usize,
    #[serde(skip)]
    pub(super) offset: Option<usize>,
}

/// Decides every case of a file, in its order.
pub fn run(file: &TestFile, world: &World<'_>) -> Vec<Outcome> {
    let ground = Ground::of(world.mapping, world.catalog, world.control);
    let lines = Lines::new(&file.source);
    let rows = Lines::new(world.mapping.source());
    let mut last: Option<(&Caller, Resolved)> = None;
    let mut outcomes = Vec::with_capacity(file.cases.len());
    for case in &file.cases {
        let resolved = match last.take() {
            Some((caller, resolved)) if *caller == case.caller => resolved,
            _ => Resolved::of(&case.caller, world.catalog),
        };
        outcomes.push(Outcome {
            line: lines.position(case.span.start).0,
            caller: case.caller.to_string(),
            selector: case.selector.clone(),
            under: case.under.word(),
            expected: case.expect.word(),
            requests: case.requests.len(),
            failure: failure(case, &ground, &resolved, &rows),
        });
        last = Some((&case.caller, resolved));
    }
    outcomes
}

fn failure(case: &Case, ground: &Ground<'_>, resolved: &Resolved, rows: &Lines<'_>) -> Option<Failure> {
    let sent = Sent { caller: &case.caller, resolved, body: &case.body, under: case.under };
    let mut first: Option<Failure> = None;
    for asked in case.requests.iter() {
        let row = asked.row.and_then(|index| ground.mapping.rows().get(index));
        let answers = ground.answers(asked, row, sent);
        let Some(other) = answers.iter().find(|answer| !case.expect.holds(answer)) else { continue };
        match &mut first {
            Some(first) => first.requests += 1,
            None => {
                first = Some(Failure {
                    request: asked.to_string(),
                    body: other.body.as_ref().map(ToString::to_string),
                    answer: other.answer,
                    why: other.why.clone(),
                    row: row.map(|row| (row.route.to_string(), rows.position(row.offset).0)),
                    requests: 1,
                    offset: row.map(|row| row.offset),
                });
            }
        }
    }
    first
}

impl Outcome {
    /// Whether each request got the expected answer.
    pub fn holds(&self) -> bool {
        self.failure.is_none()
    }

    /// The failure in one sentence; `None` if the case holds.
    pub fn sentence(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        let body = failure.body.iter().map(|body| format!(" with {body}")).collect::<String>();
        let under = if self.under == "file" { String::new() } else { format!(" under {}", self.under) };
        Some(format!(
            "`{}` as `{}`{body}{under}: expected {}, decided {}",
            failure.request,
            self.caller,
            self.expected,
            failure.answer.word(),
        ))
    }
}

/// The findings about cases that do not hold, each with its place in the test file.
pub fn findings(file: &TestFile, outcomes: &[Outcome]) -> Vec<Finding> {
    let lines = Lines::new(&file.source);
    let mut found = Vec::new();
    for (case, outcome) in file.cases.iter().zip(outcomes) {
        let Some(message) = outcome.sentence() else { continue };
        let (line, column) = lines.position(case.span.start);
        let place = Location { file: file.path.clone(), line, column };
        let mut finding = Finding::new("failed-case", Some(place), message);
        finding.suggestion = outcome.failure.as_ref().map(|failure| failure.why.clone());
        found.push(finding);
    }
    found
}
