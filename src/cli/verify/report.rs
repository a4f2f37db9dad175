//! The report of a run, to be read and to be attached to a promotion.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use workbench::report::Level;
use workbench::report::style::{Style, columns};
use workbench::report::text::wrapped;
use workbench::verify::{Case, Expect, Plan};

use super::through::Through;

/// What a gate reports about itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Running {
    pub mapping_sha256: String,
    pub rbac_v2: bool,
    pub may_enforce: bool,
}

/// One case and its answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CaseResult {
    /// `None` where no row covers the request.
    pub route: Option<String>,
    pub cluster: Option<String>,
    pub method: &'static str,
    pub path: String,
    pub body: Option<String>,
    pub who: &'static str,
    pub admin: Option<String>,
    pub expected: Expect,
    pub status: u16,
    /// Whether the gate stopped it at the decision and would have forwarded it.
    pub passed: bool,
    pub request_id: String,
    /// `access_denied` rows that name the request.
    pub audit_rows: usize,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    gate: String,
    at: DateTime<Utc>,
    running: Running,
    rows: usize,
    cases: usize,
    failed: usize,
    /// Rows that no request reaches.
    out_of_reach: Vec<String>,
    outcomes: Vec<CaseResult>,
    /// If real requests were sent: Console's answers, and the findings about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<Through>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    through_findings: Vec<String>,
}

impl CaseResult {
    pub(super) fn new(
        case: &Case<'_>,
        admin: Option<&str>,
        status: u16,
        passed: bool,
        request_id: String,
    ) -> CaseResult {
        CaseResult {
            route: case.row.map(|row| row.route.to_string()),
            cluster: case.row.and_then(|row| row.cluster.as_ref()).map(ToString::to_string),
            method: case.method.as_str(),
            path: case.path.clone(),
            body: case.body.as_ref().map(|(_, text)| text.clone()),
            who: case.said,
            admin: admin.map(str::to_owned),
            expected: case.expect,
            status,
            passed,
            request_id,
            audit_rows: 0,
        }
    }

    fn is_as_expected(&self) -> bool {
        match self.expected {
            Expect::Login => self.status == 302 && self.audit_rows == 0,
            Expect::Unauthorized => self.status == 401 && self.audit_rows == 0,
            Expect::Unknown => self.status == 403 && self.audit_rows == 0,
            Expect::DenyToLogin => self.status == 302 && !self.passed && self.audit_rows == 1,
            Expect::Allow => self.status == 200 && self.passed && self.audit_rows == 0,
            Expect::Deny => self.status == 403 && !self.passed && self.audit_rows == 1,
            Expect::Gone => self.status == 410 && self.audit_rows == 0,
            Expect::Quiet => self.status == 404 && self.audit_rows == 0,
        }
    }

    fn wanted(&self) -> &'static str {
        match self.expected {
            Expect::Login => "302",
            Expect::Unauthorized => "401",
            Expect::Unknown => "403 without an audit row",
            Expect::DenyToLogin => "302 with one audit row",
            Expect::Allow => "200 from the view",
            Expect::Deny => "403 with one audit row",
            Expect::Gone => "410",
            Expect::Quiet => "404",
        }
    }
}

impl Report {
    pub(super) fn new(
        gate: &str,
        running: &Running,
        plan: &Plan<'_>,
        outcomes: Vec<CaseResult>,
        through: Option<Through>,
        at: DateTime<Utc>,
    ) -> Report {
        let rows: std::collections::BTreeSet<&str> =
            outcomes.iter().filter_map(|one| one.route.as_deref()).collect();
        Report {
            gate: gate.to_owned(),
            at,
            running: running.clone(),
            rows: rows.len(),
            cases: outcomes.len(),
            failed: outcomes.iter().filter(|one| !one.is_as_expected()).count(),
            out_of_reach: plan.out_of_reach.iter().map(|row| row.route.to_string()).collect(),
            outcomes,
            through_findings: through.as_ref().map(Through::findings).unwrap_or_default(),
            through,
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.failed == 0 && self.through_findings.is_empty()
    }

    pub(super) fn print(&self) {
        let style = Style::of(&std::io::stdout());
        let flag = match (self.running.rbac_v2, self.running.may_enforce) {
            (false, _) => "FLAG_RBAC_V2 is off",
            (true, false) => "FLAG_RBAC_V2 is on, but not promoted",
            (true, true) => "FLAG_RBAC_V2 is on",
        };
        println!("{}", self.gate);
        println!("mapping {}, {flag}", self.running.mapping_sha256.get(..12).unwrap_or_default());
        let (level, verdict) = match self.failed {
            0 => (Level::Note, "all as expected".to_owned()),
            failed => (Level::Error, format!("{failed} not as expected")),
        };
        let counts = format!("{} rows, {} requests: {verdict}", self.rows, self.cases);
        println!("{}", style.paint(level, &counts));
        for route in &self.out_of_reach {
            println!("unreachable: {route}");
        }
        for one in self.outcomes.iter().filter(|one| !one.is_as_expected()) {
            println!("\n{}", style.bold(one.route.as_deref().unwrap_or("no row")));
            println!("  {} {}", one.method, one.path);
            if let Some(body) = &one.body {
                println!("  {body}");
            }
            println!("  {}: expected {}", one.who, one.wanted());
            let passed = if one.passed { " from the view" } else { "" };
            println!("  got {}{passed}, {} audit row(s)", one.status, one.audit_rows);
            println!("  request {}", one.request_id);
        }
        if let Some(through) = &self.through {
            self.print_through(through, style);
        }
    }

    fn print_through(&self, through: &Through, style: Style) {
        let level = if self.through_findings.is_empty() { Level::Note } else { Level::Error };
        let sent = format!("{} requests sent through the gate to Console", through.passages.len());
        println!("\n{}", style.paint(level, &sent));
        if !through.not_tried.is_empty() {
            println!("{} not sent: no cookie's holder may make them", through.not_tried.len());
        }
        for finding in &self.through_findings {
            println!("{}", wrapped(finding, columns(), 0, 4));
        }
    }
}
