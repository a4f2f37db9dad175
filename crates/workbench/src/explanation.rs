//! Why a request gets its answer: which row decides and why no other, which gate is in force and why, and the outcome
//! for a caller, with the grants behind it or the missing ones.
//!
//! [`explain`] gives all of it as data; [`text`] prints that. It decides nothing itself: every answer in it, and every
//! grant that it names as enough, comes from [`decide`](policy::decision::decide). Pure: no I/O.
//!
//! It shows everything that the mapping and the registry contain, so it is for operators, not for a denied caller.

pub mod answer;
pub mod asker;
pub mod caller;
pub mod gate;
pub mod grants;
pub mod place;
pub mod rivals;
#[cfg(test)]
mod tests;
pub mod text;

use policy::decision::{Control, Target};
use policy::firewall::{Policy, Refusal, Request, inspect};
use policy::mapping::{Found, Mapping, Row, RowKind, Unmapped};
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;
use serde::Serialize;

pub use asker::Asker;
use caller::CallerReport;
use gate::GateReport;
use place::{RowLine, line_of, nearest};
use rivals::{Rival, rivals};

/// The inputs of an explanation.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub mapping: &'a Mapping,
    /// The name of the mapping's file, for places.
    pub file: &'a str,
    /// The policy of the firewall.
    pub policy: &'a Policy,
    pub control: &'a Control,
    pub catalog: &'a Catalog,
    /// Who may have a break-glass session.
    pub break_glass: &'a BreakGlassRules,
}

/// The complete explanation of a request.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub method: String,
    /// The path as requested.
    pub path: String,
    pub file: String,
    pub mapping_sha256: String,
    pub switches: Switches,
    pub route: Route,
    /// Every other row that the path fits, in the order of the search.
    pub rivals: Vec<Rival>,
    /// `None` if no role is required.
    pub gate: Option<GateReport>,
    /// `None` if there is no caller to explain, or the request is refused.
    pub caller: Option<CallerReport>,
}

/// The switches above the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Switches {
    pub epoch: i64,
    /// `FLAG_RBAC_V2` (cutover design, I-5).
    pub rbac_v2: bool,
    /// Outside production, or promoted there (RBAC V2 design, I-11).
    pub may_enforce: bool,
}

/// The match of the method and the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Route {
    /// The firewall answers; no row is looked up.
    Refused {
        status: u16,
        reason: &'static str,
        why: String,
    },
    Row(RowReport),
    /// A slash is missing at the end. For callers that this row permits, Console redirects, or also serves this
    /// spelling: the gate does not know which.
    #[serde(rename = "slash_missing")]
    Redirect(RowReport),
    /// There are rows for the path, but none for the method.
    WrongMethod {
        allowed: String,
        unmapped: UnmappedReport,
    },
    NoRow {
        /// Rows that were possibly intended.
        nearest: Vec<RowLine>,
        unmapped: UnmappedReport,
    },
}

/// The outcome of a request without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnmappedReport {
    Deny,
    Forward,
    Quiet,
}

/// The row that decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowReport {
    pub route: String,
    pub line: usize,
    pub blueprint: String,
    pub cluster: Option<String>,
    /// The cluster's mode, with its cohort: `v2 for ops-admins, shadow for the rest`.
    pub rollout: Option<String>,
    pub kind: KindReport,
    /// Whether the gate itself serves the route, instead of Console.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub served_by_gate: bool,
    /// The upstream that has the route instead of Console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The roles for whose holders' requests the customer is notified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notifies: Vec<String>,
    /// The path's variables.
    pub values: Vec<ValueReport>,
}

/// The kinds of [`RowKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KindReport {
    Gated,
    Session,
    Public,
    Machine,
    Upstream,
    Gone,
}

/// A variable of the path and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueReport {
    pub name: String,
    pub value: String,
}

/// Explains a request and its outcome if `asker` sends it.
///
/// `path` is the target as a client sends it. The names that `asker` contains are not checked: the caller has to know
/// that a group exists.
pub fn explain(method: &str, path: &str, facts: &Facts<'_>, asker: Option<&Asker<'_>>) -> Explanation {
    let mut explanation = Explanation {
        method: method.to_owned(),
        path: path.to_owned(),
        file: facts.file.to_owned(),
        mapping_sha256: facts.mapping.sha256().as_str().to_owned(),
        switches: Switches {
            epoch: facts.control.epoch.0,
            rbac_v2: facts.control.rbac_v2,
            may_enforce: facts.control.may_enforce,
        },
        route: Route::NoRow { nearest: Vec::new(), unmapped: UnmappedReport::Deny },
        rivals: Vec::new(),
        gate: None,
        caller: None,
    };
    let request = match request(method, path, facts.policy) {
        Ok(request) => request,
        Err(refusal) => {
            let (status, reason) = (refusal.status(), refusal.word());
            explanation.route = Route::Refused { status, reason, why: refusal.to_string() };
            return explanation;
        }
    };
    let met = meet(facts.mapping, &request);
    explanation.route = met.route;
    explanation.rivals = met.rivals;
    if let Target::Row(row, rollout) = &met.target {
        explanation.gate = gate::report(row, rollout, facts);
    }
    explanation.caller = asker.map(|asker| caller::report(&met.target, request.method(), asker, facts));
    explanation
}

/// The request as the firewall reads it.
///
/// # Errors
///
/// The firewall refuses it.
pub fn request(method: &str, path: &str, policy: &Policy) -> Result<Request, Refusal> {
    // A line break here would make a head of several lines, and so a request other than the explained one.
    if [method, path].iter().any(|text| text.contains(|one: char| one.is_whitespace() || one.is_control())) {
        return Err(Refusal::TargetCharacter);
    }
    let host = policy.allowed_hosts.first().map_or("localhost", String::as_str);
    inspect(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), policy)
}

struct Met<'m> {
    target: Target<'m>,
    route: Route,
    rivals: Vec<Rival>,
}

/// The row for a request, found like the gate finds it.
fn meet<'m>(mapping: &'m Mapping, request: &Request) -> Met<'m> {
    let (path, method) = (request.target().path(), request.method());
    let unmapped = match mapping.unmapped_at(path) {
        Unmapped::Deny => UnmappedReport::Deny,
        Unmapped::Forward => UnmappedReport::Forward,
        Unmapped::Quiet => UnmappedReport::Quiet,
    };
    let target = Target::of(mapping, path, method);
    if request.target().is_asterisk() {
        let route = Route::NoRow { nearest: Vec::new(), unmapped: UnmappedReport::Deny };
        return Met { target, route, rivals: Vec::new() };
    }
    let route = match mapping.find(path, method) {
        Found::Row(row) => Route::Row(described(mapping, row, path)),
        Found::Redirect(row) => Route::Redirect(described(mapping, row, path)),
        Found::WrongMethod(allowed) => Route::WrongMethod { allowed: allowed.to_string(), unmapped },
        Found::Nothing => Route::NoRow { nearest: nearest(mapping, path), unmapped },
    };
    Met { target, route, rivals: rivals(mapping, path, method, target.row()) }
}

fn described(mapping: &Mapping, row: &Row, path: &str) -> RowReport {
    let candidates = mapping.candidates(path);
    let values = candidates.iter().find(|(one, _)| one.offset == row.offset).map(|(_, one)| &one.values);
    let value =
        |(name, value): &(&str, &str)| ValueReport { name: (*name).to_owned(), value: (*value).to_owned() };
    RowReport {
        route: row.route.to_string(),
        line: line_of(mapping, row),
        blueprint: row.blueprint.to_string(),
        cluster: row.cluster.as_ref().map(ToString::to_string),
        rollout: row.cluster.as_ref().map(|_| mapping.rollout_of(row).to_string()),
        kind: match row.kind {
            RowKind::Gated { .. } => KindReport::Gated,
            RowKind::Session => KindReport::Session,
            RowKind::Public => KindReport::Public,
            RowKind::Machine => KindReport::Machine,
            RowKind::Upstream => KindReport::Upstream,
            RowKind::Gone => KindReport::Gone,
        },
        served_by_gate: row.served_by_gate(),
        upstream: row.upstream.as_deref().map(ToOwned::to_owned),
        notifies: row.notifies.iter().map(|role| role.name().to_string()).collect(),
        values: values.into_iter().flatten().map(value).collect(),
    }
}

impl Explanation {
    /// Whether the request passes; `None` if there is no caller to explain.
    pub fn passes(&self) -> Option<bool> {
        match (&self.route, &self.caller) {
            (Route::Refused { .. }, _) => Some(false),
            (_, caller) => caller.as_ref().map(|caller| caller.passes),
        }
    }
}
