//! The typed mapping: what each route requires of its caller.
//!
//! A [`Mapping`] exists only if the whole file was valid: its fields are private and only the parser makes one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::ids::MappingSha256;
use crate::method::{Method, MethodSet};
use crate::rbac::{Access, LegacyRole, Requirement};

use super::approval::{ApprovalRule, Approvals};
use super::matcher::{Candidate, MatchOutcome, Matcher, Rule};
use super::pattern::Pattern;
use super::rollout::{ClusterMode, Order, Rollout, SoakTerms};

/// Where a body rule finds its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BodyField {
    /// A JSON pointer (RFC 6901) into a JSON body; it begins with a slash.
    Json(String),
    /// A field of an `application/x-www-form-urlencoded` body.
    Form(String),
}

impl BodyField {
    /// How deeply a JSON body may nest. No rule needs more, and deep nesting is a way to make parsers disagree or
    /// crash.
    pub const MAX_DEPTH: usize = 32;

    /// The pointer or the field's name.
    pub fn name(&self) -> &str {
        match self {
            BodyField::Json(name) | BodyField::Form(name) => name,
        }
    }

    /// Whether this is the field of an object or array that contains `inner`: no body has a single value at both.
    pub fn is_around(&self, inner: &BodyField) -> bool {
        match (self, inner) {
            (BodyField::Json(outer), BodyField::Json(inner)) => {
                inner.strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
            _ => false,
        }
    }
}

/// `when = [{ json = "/target", equals = "prod", role = ... }]`: a further requirement for some bodies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BodyRule {
    pub field: BodyField,
    pub equals: String,
    /// The requirement *in addition* to the row's own when the field has that value.
    pub requires: Requirement,
}

/// The V2 side of a gated row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum V2Gate {
    /// No operator has decided yet (cutover design, I-6): the row stays on its legacy gate whatever the mode of its
    /// cluster.
    Undecided { question: String, options: BTreeMap<String, String> },
    /// The requirement, further requirements, and the additional ones for some bodies; with a ticket rule, the
    /// requirement has to be granted for the ticket.
    Requires {
        base: Requirement,
        /// `permission = ["a", "b"]`: all but the first.
        also: Vec<Requirement>,
        when: Vec<BodyRule>,
        ticket: Option<Box<TicketRule>>,
    },
}

impl V2Gate {
    /// The requirements for every body, in words; empty if the row is undecided.
    pub fn demand(&self) -> String {
        let V2Gate::Requires { base, also, .. } = self else { return String::new() };
        let all: Vec<String> = std::iter::once(base).chain(also).map(ToString::to_string).collect();
        all.join(" and ")
    }
}

/// `ticket = { query = "ticket_id", customer = "path:id", without = "raptor-audit-admin" }`: the row's requirement has
/// to be granted for the ticket and the customer that the request names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TicketRule {
    /// The parameter of the query that names the ticket.
    pub query: Arc<str>,
    pub customer: CustomerPlace,
    /// The roles each of which is enough without a ticket and without the row's requirement.
    pub without: BTreeSet<Requirement>,
}

/// Where a request names the customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CustomerPlace {
    /// A variable of the row's path.
    Path(Arc<str>),
    /// A parameter of the query.
    Query(Arc<str>),
}

impl fmt::Display for CustomerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CustomerPlace::Path(name) => write!(f, "path:{name}"),
            CustomerPlace::Query(name) => write!(f, "query:{name}"),
        }
    }
}

/// In words, to follow the row's requirement.
impl fmt::Display for TicketRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TicketRule { query, customer, without } = self;
        write!(f, "for the ticket query:{query} and the customer {customer}")?;
        without.iter().try_for_each(|role| write!(f, ", or {role}"))
    }
}

/// The kind of a row, which determines the credential that it accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// A session (or, when `machine` is set, an enrolled machine token) that passes the gate in force.
    Gated {
        /// The arguments of `@require_role`; `None` if there never was a legacy gate.
        legacy: Option<Arc<BTreeSet<LegacyRole>>>,
        v2: V2Gate,
        /// `machine_or_session = true` (open question 6).
        machine: bool,
    },
    /// Any logged-in admin.
    Session,
    /// Anyone.
    Public,
    /// Bearer or HMAC present: forwarded, never session-gated (cutover design, I-7). Console verifies it.
    Machine,
    /// Already ported: Console gates it itself (cutover design, I-4).
    Upstream,
    /// Deleted: 410.
    Gone,
}

impl RowKind {
    /// Whether the decision depends on the caller's identity, and so on the database.
    pub fn asks_who(&self) -> bool {
        matches!(self, RowKind::Gated { .. } | RowKind::Session)
    }

    /// The additional requirements for some bodies; empty if the body does not matter.
    pub fn body_rules(&self) -> &[BodyRule] {
        match self {
            RowKind::Gated { v2: V2Gate::Requires { when, .. }, .. } => when,
            _ => &[],
        }
    }

    /// All requirements of the row's V2 gate that hold for every body; empty if there is no V2 gate or it is undecided.
    pub fn required(&self) -> Vec<&Requirement> {
        match self {
            RowKind::Gated { v2: V2Gate::Requires { base, also, .. }, .. } => {
                std::iter::once(base).chain(also).collect()
            }
            _ => Vec::new(),
        }
    }

    /// All requirements that the row's V2 gate may have; empty if there is no V2 gate or it is undecided.
    pub fn requirements(&self) -> Vec<&Requirement> {
        let of_bodies = self.body_rules().iter().map(|rule| &rule.requires);
        self.required().into_iter().chain(of_bodies).collect()
    }

    /// The ticket rule, if V2 requires a ticket.
    pub fn ticket(&self) -> Option<&TicketRule> {
        match self {
            RowKind::Gated { v2: V2Gate::Requires { ticket, .. }, .. } => ticket.as_deref(),
            _ => None,
        }
    }
}

/// The answer of a session row to a caller without identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// 302 to the login page (htmx: `HX-Redirect`).
    Redirect,
    /// 401 with a problem document.
    Status401,
    /// 403, as from an application that does not redirect unknown callers to its login. No principal is known, so there
    /// is no audit row.
    Status403,
}

impl Unauthenticated {
    /// The words of `unauthenticated`.
    pub const WORDS: [(&'static str, Unauthenticated); 3] = [
        ("302", Unauthenticated::Redirect),
        ("401", Unauthenticated::Status401),
        ("403", Unauthenticated::Status403),
    ];
}

/// The answer to an admin that is denied. The denial is audited whatever the answer is; a machine always gets 403.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forbidden {
    /// 403, naming the missing requirement.
    #[default]
    Status403,
    /// Redirect to the login page, as Django's `permission_required` does.
    Redirect,
}

impl Forbidden {
    /// The words of `forbidden`.
    pub const WORDS: [(&'static str, Forbidden); 2] =
        [("403", Forbidden::Status403), ("302", Forbidden::Redirect)];
}

/// The marker of a TOTP chain that stays in Console (cutover design, I-3 and I-8). It changes nothing here; reports
/// show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Totp {
    Elevation,
    Inline,
}

/// How current the data about a caller's access has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Includes everything that was committed before the request arrived, by a read that began after its arrival.
    #[default]
    Strict,
    /// The state that the database last announced, while it is proven that a change would have been announced.
    Push,
}

impl Freshness {
    /// The words of `freshness`.
    pub const WORDS: [(&'static str, Freshness); 2] =
        [("push", Freshness::Push), ("strict", Freshness::Strict)];
}

/// `decided = { option = "B", by = "operator", ref = "#1473" }`: an operator's choice of a row's V2 role (cutover
/// design, I-6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Decided {
    /// One of the row's options, or [`Decided::CUSTOM`].
    pub option: String,
    pub by: String,
    /// Where the decision is recorded.
    #[serde(rename = "ref")]
    pub reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Decided {
    /// The word for a choice other than the options.
    pub const CUSTOM: &str = "custom";
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decided { option, by, reference, reason, at } = self;
        match option.as_str() {
            Decided::CUSTOM => f.write_str("custom")?,
            option => write!(f, "option {option}")?,
        }
        write!(f, " by {by}")?;
        if let Some(at) = at {
            write!(f, " on {at}")?;
        }
        write!(f, " ({reference})")?;
        match reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The row as written, `GET /console/customers/`: its name in logs, audit rows and reports.
    pub route: Arc<str>,
    pub blueprint: Arc<str>,
    pub cluster: Option<Arc<str>>,
    /// The methods as written; the matcher also serves HEAD and OPTIONS, as Flask does.
    pub methods: MethodSet,
    pub pattern: Pattern,
    pub kind: RowKind,
    pub unauthenticated: Unauthenticated,
    pub forbidden: Forbidden,
    pub websocket: bool,
    /// Whether a request's body is sent to Console while it arrives, instead of when it is complete.
    pub stream: bool,
    /// Whether a CORS preflight for this row is sent to Console, without a caller.
    pub cors: bool,
    /// Whether the gate itself serves the route: see [`Row::served_by_gate`].
    pub gate: bool,
    /// The upstream that serves the route instead of Console, by its name in the settings.
    pub upstream: Option<Arc<str>>,
    /// The roles for any of which the upstream has to notify the customer: see [`Row::notifies`].
    pub notifies: BTreeSet<Requirement>,
    pub totp: Option<Totp>,
    /// Who chose the V2 role of a row that was undecided.
    pub decided: Option<Box<Decided>>,
    /// Why `import` left the row to Console; it has not been reviewed yet.
    pub unreviewed: Option<Arc<str>>,
    /// The row's own value, or its blueprint's; `None` leaves it to the settings.
    pub freshness: Option<Freshness>,
    /// How long ago a passkey of the caller's session may have signed, where the row asks for that: see
    /// [`stepped_up`](crate::decision::stepped_up).
    pub step_up: Option<Duration>,
    /// Byte offset of the row in the file, for reports.
    pub offset: usize,
}

impl Row {
    /// The ticket rule, if the row's V2 gate requires a ticket.
    pub fn ticket(&self) -> Option<&TicketRule> {
        self.kind.ticket()
    }

    /// Whether the gate itself serves the route to everybody: its login, and what belongs to it.
    pub fn is_identity(&self) -> bool {
        self.gate && self.kind == RowKind::Public
    }

    /// Whether the gate itself serves the route, so that Console never sees its requests.
    pub fn served_by_gate(&self) -> bool {
        self.gate
    }

    /// Whether the upstream has to notify the customer of a request by a caller with this access.
    pub fn notifies(&self, access: &Access) -> bool {
        self.notifies.iter().any(|role| access.meets(role))
    }

    /// Whether only V2 can decide the row, because the route is the gate's own and never had a legacy gate. Such a row
    /// does not exist while FLAG_RBAC_V2 is off.
    pub fn exists_by_v2_alone(&self) -> bool {
        self.gate && matches!(&self.kind, RowKind::Gated { legacy: None, .. })
    }
}

/// What to do with a path that no row covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unmapped {
    /// 403, audited as `unmapped_route`.
    Deny,
    /// Forwarded and counted: Console's own decorators still decide.
    Forward,
    /// 404 for every caller, counted and not audited: a path that `quiet` lists. Never a value of `unmapped` itself.
    Quiet,
}

/// `[soak]`, and `[soak.S3]` for one cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct SoakTable {
    pub of_all: SoakTerms,
    pub of_clusters: BTreeMap<Arc<str>, SoakTerms>,
}

/// A valid mapping file.
#[derive(Debug)]
pub struct Mapping {
    pub(super) source: Arc<str>,
    pub(super) sha256: MappingSha256,
    pub(super) unmapped: Unmapped,
    pub(super) quiet: BTreeSet<String>,
    pub(super) declared_roles: Option<BTreeSet<LegacyRole>>,
    pub(super) clusters: BTreeMap<Arc<str>, Rollout>,
    /// Only for clusters that require an order.
    pub(super) orders: BTreeMap<Arc<str>, Order>,
    pub(super) soak: SoakTable,
    pub(super) approvals: Approvals,
    pub(super) approval_of_edits: Option<ApprovalRule>,
    pub(super) rows: Vec<Row>,
    pub(super) matcher: Matcher,
    /// Made when it is first asked for.
    pub(super) on_v2: OnceLock<Option<Box<Mapping>>>,
}

/// The row that decides a request, and how the path matched it.
#[derive(Clone, Copy, Debug)]
pub enum Found<'m> {
    /// The row serves this path and method.
    Row(&'m Row),
    /// Console would redirect to the row's canonical path (a missing slash); its view does not run.
    Redirect(&'m Row),
    /// Some row has the path, but none has the method.
    WrongMethod(MethodSet),
    /// No row has the path.
    Nothing,
}

impl<'m> Found<'m> {
    /// The row that decides; `None` if the mapping's `unmapped` decides.
    pub fn row(self) -> Option<&'m Row> {
        match self {
            Found::Row(row) | Found::Redirect(row) => Some(row),
            Found::WrongMethod(_) | Found::Nothing => None,
        }
    }
}

impl Mapping {
    /// The row for a decoded path and a method.
    pub fn find(&self, path: &str, method: Method) -> Found<'_> {
        match self.matcher.find(path, method) {
            MatchOutcome::Match { rule, .. } => Found::Row(&self.rows[rule]),
            MatchOutcome::SlashRedirect { rule } | MatchOutcome::MergeRedirect { rule, .. } => {
                Found::Redirect(&self.rows[rule])
            }
            MatchOutcome::MethodMismatch { allowed } => Found::WrongMethod(allowed),
            MatchOutcome::NotFound => Found::Nothing,
        }
    }

    /// The value of a variable of the row that serves this path and method; also `None` for a redirect.
    pub fn value_at<'a>(&'a self, path: &'a str, method: Method, variable: &str) -> Option<&'a str> {
        match self.matcher.find(path, method) {
            MatchOutcome::Match { values, .. } => values.named(variable),
            _ => None,
        }
    }

    /// Every row whose pattern fits a decoded path, whatever the method, in the order of the search.
    pub fn candidates<'m>(&'m self, path: &'m str) -> Vec<(&'m Row, Candidate<'m>)> {
        let candidates = self.matcher.candidates(path);
        candidates.into_iter().map(|candidate| (&self.rows[candidate.rule], candidate)).collect()
    }

    /// The rows, in the order of the file.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The legacy roles that the file declares; `None` if rows may use any word.
    pub fn declared_roles(&self) -> Option<&BTreeSet<LegacyRole>> {
        self.declared_roles.as_ref()
    }

    /// Every legacy role that the file names: declared or in a row.
    pub fn legacy_roles(&self) -> BTreeSet<&LegacyRole> {
        let of_rows = self.rows.iter().filter_map(|row| match &row.kind {
            RowKind::Gated { legacy, .. } => legacy.as_deref(),
            _ => None,
        });
        of_rows.chain(&self.declared_roles).flatten().collect()
    }

    /// The number of rows that accept a legacy role: of two roles, the one that fewer rows accept gives less access.
    pub fn rows_that_accept(&self, role: &LegacyRole) -> usize {
        let accepts = |row: &&Row| matches!(&row.kind, RowKind::Gated { legacy: Some(legacy), .. } if legacy.contains(role));
        self.rows.iter().filter(accepts).count()
    }

    /// The rules for requesting membership of groups, by group.
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// The rule for requesting membership of a group; `None` if membership cannot be requested.
    pub fn approval(&self, group: &str) -> Option<&ApprovalRule> {
        self.approvals.get(group)
    }

    /// Who approves edits of groups, roles and permissions over the API; `None` if no approval is needed.
    pub fn approval_of_edits(&self) -> Option<&ApprovalRule> {
        self.approval_of_edits.as_ref()
    }

    /// The rollout of each cluster.
    pub fn clusters(&self) -> &BTreeMap<Arc<str>, Rollout> {
        &self.clusters
    }

    /// The rollout of a row's cluster. A row without a cluster is decided by its legacy gate; a route of the gate's own
    /// that never had one is decided by V2.
    pub fn rollout_of(&self, row: &Row) -> &Rollout {
        if row.exists_by_v2_alone() {
            return &Rollout::V2;
        }
        row.cluster.as_ref().and_then(|name| self.clusters.get(name)).unwrap_or(&Rollout::LEGACY)
    }

    /// The same rows with another rollout for one cluster: the effect of a flip. `None` if there is no such cluster.
    #[must_use]
    pub fn with_rollout(mut self, cluster: &str, rollout: Rollout) -> Option<Mapping> {
        *self.clusters.get_mut(cluster)? = rollout;
        self.on_v2 = OnceLock::new();
        Some(self)
    }

    /// The same mapping with other rows: the effect of an edit. `None` if two of them can match the same request, so that
    /// no gate would activate it.
    pub fn with_rows(&self, rows: Vec<Row>) -> Option<Mapping> {
        let rules = rows.iter().map(|row| Rule::declared(row.pattern.clone(), row.methods)).collect();
        let matcher = Matcher::build(rules);
        (matcher.overlaps().is_empty() && matcher.knows_all_overlaps()).then(|| Mapping {
            source: self.source.clone(),
            sha256: self.sha256.clone(),
            unmapped: self.unmapped,
            quiet: self.quiet.clone(),
            declared_roles: self.declared_roles.clone(),
            clusters: self.clusters.clone(),
            orders: self.orders.clone(),
            soak: self.soak.clone(),
            approvals: self.approvals.clone(),
            approval_of_edits: self.approval_of_edits.clone(),
            rows,
            matcher,
            on_v2: OnceLock::new(),
        })
    }

    /// This mapping with every cluster on V2, made once; `None` if all are already.
    pub fn on_v2(&self) -> Option<&Mapping> {
        let make = || {
            let rollout = Rollout::everybody(ClusterMode::V2);
            let others: Vec<&Arc<str>> =
                self.clusters.iter().filter(|(_, has)| **has != rollout).map(|(name, _)| name).collect();
            if others.is_empty() {
                return None;
            }
            let copy = self.with_rows(self.rows.clone())?;
            let all = others.into_iter().try_fold(copy, |one, name| one.with_rollout(name, rollout.clone()));
            all.map(Box::new)
        };
        self.on_v2.get_or_init(make).as_deref()
    }

    /// When a cluster is ready for V2.
    pub fn soak_terms(&self, cluster: &str) -> SoakTerms {
        self.soak.of_clusters.get(cluster).copied().unwrap_or(self.soak.of_all)
    }

    /// What happens to a path without a row, unless `quiet` lists it.
    pub fn unmapped(&self) -> Unmapped {
        self.unmapped
    }

    /// What happens to this decoded path, for which no row was found.
    pub fn unmapped_at(&self, path: &str) -> Unmapped {
        if self.is_quiet(path) { Unmapped::Quiet } else { self.unmapped }
    }

    /// Whether `quiet` lists this decoded path. No row covers such a path.
    pub fn is_quiet(&self, path: &str) -> bool {
        self.quiet.contains(path)
    }

    /// The paths of `quiet`, decoded.
    pub fn quiet(&self) -> &BTreeSet<String> {
        &self.quiet
    }

    /// The SHA-256 of the file's bytes.
    pub fn sha256(&self) -> &MappingSha256 {
        &self.sha256
    }

    /// The file's text.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }
}
