//! `console_routes.csv`, read by itself: what the documents say of each route.

use policy::rbac::LegacyRole;

use super::project_text;

/// One row of the table.
#[derive(Clone, Debug)]
pub struct CsvRow {
    pub blueprint: String,
    /// `None` on rows that the cutover does not touch.
    pub cluster: Option<String>,
    pub methods: String,
    /// `None` where the documents state no path.
    pub path: Option<String>,
    pub legacy: Vec<String>,
    /// The V2 role; for an undecided row, the one that the document proposes, if it does.
    pub role: Option<String>,
    pub totp: Option<String>,
    pub status: Status,
    pub note: String,
}

/// What the documents have decided of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Decided,
    /// `AMBIGUOUS-n`.
    Undecided(String),
    Machine,
    AlreadyPorted,
    Deleted,
}

/// One request that a row covers.
#[derive(Clone, Debug)]
pub struct Probe {
    pub method: &'static str,
    /// Console's own rule for it.
    pub rule: String,
    /// The rule with values in the place of its variables.
    pub target: String,
}

/// A method and a rule.
type Route = (&'static str, &'static str);

/// Where the table states no path: the blueprint, the prefix that `routes.toml` covers, and routes below it that the
/// test Console serves.
const PREFIXES: [(&str, &str, &[Route]); 6] = [
    (
        "api_billing",
        "/api/billing/*",
        &[
            ("GET", "/api/billing/summary"),
            ("GET", "/api/billing/invoices/<id>"),
            ("POST", "/api/billing/refunds"),
        ],
    ),
    (
        "api_billing_dashboard",
        "/api/billing-dashboard/*",
        &[("GET", "/api/billing-dashboard/revenue"), ("GET", "/api/billing-dashboard/forecast")],
    ),
    (
        "api_rbac_grants",
        "/api/rbac/grants/*",
        &[
            ("GET", "/api/rbac/grants"),
            ("POST", "/api/rbac/grants"),
            ("POST", "/api/rbac/grants/ticket-scoped"),
            ("DELETE", "/api/rbac/grants/<grant_id>"),
        ],
    ),
    (
        "billing",
        "/console/billing/*",
        &[
            ("GET", "/console/billing/overview"),
            ("GET", "/console/billing/accounts/<id>"),
            ("POST", "/console/billing/accounts/<id>/credit"),
        ],
    ),
    ("audit_ingest", "/api/audit/ingest/*", &[("POST", "/api/audit/ingest/events")]),
    (
        "beta",
        "/console/beta/*",
        &[
            ("GET", "/console/beta/invites"),
            ("POST", "/console/beta/invites"),
            ("GET", "/console/beta/invites/<id>"),
            ("DELETE", "/console/beta/invites/<id>"),
            ("POST", "/console/beta/cohorts/<int:number>/close"),
        ],
    ),
];

impl CsvRow {
    /// Every row, in the order of the table.
    pub fn all() -> Vec<CsvRow> {
        let text = project_text("tests/data/console_routes.csv");
        let mut lines = text.lines();
        let header = "no,blueprint,cluster,methods,path,legacy_roles,v2_role,totp,status,note";
        assert_eq!(lines.next(), Some(header));
        let rows: Vec<CsvRow> = lines.map(CsvRow::parse).collect();
        assert_eq!(rows.len(), 104, "the documents have 104 rows");
        rows
    }

    /// The rows that a session opens: those with a legacy gate.
    pub fn gated() -> Vec<CsvRow> {
        let mut rows = CsvRow::all();
        rows.retain(|row| matches!(row.status, Status::Decided | Status::Undecided(_)));
        rows
    }

    fn parse(line: &str) -> CsvRow {
        let fields = split(line);
        let [_, blueprint, cluster, methods, path, legacy, role, totp, status, note] = &fields[..] else {
            panic!("not ten fields: {line}");
        };
        let stated = |field: &String| (!field.is_empty()).then(|| field.clone());
        CsvRow {
            blueprint: blueprint.clone(),
            cluster: stated(cluster),
            methods: methods.clone(),
            path: stated(path),
            legacy: legacy.split('|').filter(|role| !role.is_empty()).map(str::to_owned).collect(),
            role: stated(role),
            totp: stated(totp),
            status: match status.as_str() {
                "decided" => Status::Decided,
                "machine" => Status::Machine,
                "already-ported" => Status::AlreadyPorted,
                "deleted" => Status::Deleted,
                other => {
                    assert!(other.starts_with("AMBIGUOUS-"), "status `{other}`");
                    Status::Undecided(other.to_owned())
                }
            },
            note: note.clone(),
        }
    }

    /// The row's name in `routes.toml` and in audit rows.
    pub fn route(&self) -> String {
        let path = self.path.as_deref().unwrap_or_else(|| self.prefix().0);
        format!("{} {path}", self.methods)
    }

    /// Whether a machine token may come in the place of a session.
    pub fn takes_machines(&self) -> bool {
        self.note.contains("machine_auth_or_session")
    }

    pub fn admits(&self, role: &LegacyRole) -> bool {
        self.legacy.iter().any(|name| name == role.as_str())
    }

    /// A request for each method; GET and POST where the table states none.
    pub fn probes(&self) -> Vec<Probe> {
        let routes: Vec<(&'static str, String)> = match (&self.path, self.methods.as_str()) {
            (None, _) => self.prefix().1.iter().map(|(method, rule)| (*method, (*rule).to_owned())).collect(),
            (Some(path), "*") => vec![("GET", path.clone()), ("POST", path.clone())],
            (Some(path), "GET") => vec![("GET", path.clone())],
            (Some(path), "POST") => vec![("POST", path.clone())],
            (Some(path), "DELETE") => vec![("DELETE", path.clone())],
            (Some(_), other) => panic!("method `{other}`"),
        };
        routes.into_iter().map(|(method, rule)| Probe { method, target: fill(&rule), rule }).collect()
    }

    fn prefix(&self) -> (&'static str, &'static [Route]) {
        PREFIXES
            .into_iter()
            .find(|(blueprint, _, _)| *blueprint == self.blueprint)
            .map(|(_, prefix, routes)| (prefix, routes))
            .unwrap_or_else(|| panic!("`{}` has neither paths nor a prefix", self.blueprint))
    }
}

/// `<id>` and numbers become `7`, `<session_id>` becomes `session-id-1`.
fn fill(rule: &str) -> String {
    let segments = rule.split('/').map(|segment| match segment.strip_prefix('<') {
        None => segment.to_owned(),
        Some("id>") => "7".to_owned(),
        Some(variable) if variable.starts_with("int:") => "7".to_owned(),
        Some(variable) => format!("{}-1", variable.trim_end_matches('>').replace('_', "-")),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// The fields of a CSV line; the table quotes fields that hold a comma, and has no quotes within fields.
fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("there is a field from the start").push(other),
        }
    }
    fields
}
