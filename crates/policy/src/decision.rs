//! The decision: synchronous, total, and pure.
//!
//! [`decide`] takes a route, a caller and the facts known about both, and returns a [`Permit`] or the [`Rejection`]
//! that is answered instead. A request goes upstream only with a permit, and only this module makes one: the proxy asks
//! for it before it picks a server. Unknown, missing and unreadable never mean allow.

pub mod body;
mod target;
pub mod ticket;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::identity::Principal;
use crate::identity::login::Login;
use crate::ids::Epoch;
use crate::mapping::{
    ClusterMode, Forbidden, Found, Mapping, Rollout, Row, RowKind, TicketRule, Unauthenticated, Unmapped,
    V2Gate,
};
use crate::method::Method;
use crate::rbac::flaw::FlawKind;
use crate::rbac::{Access, LegacyRole, Requirement};

use body::BodyFacts;
pub use target::{Caller, Target};
use ticket::TicketFacts;

/// The switches that override the mapping, as of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    pub epoch: Epoch,
    /// `FLAG_RBAC_V2`, the kill-switch (cutover design, I-5). While it is off, every route is on its legacy gate.
    pub rbac_v2: bool,
    /// Whether V2 may be enforced here: always outside production; in production only with a promoted row (RBAC V2
    /// design, I-11).
    pub may_enforce: bool,
}

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whether the request asks for another protocol, a WebSocket. Only rows that allow it explicitly permit that.
    pub upgrade: bool,
    pub target: Target<'a>,
    pub caller: Caller<'a>,
    /// `None` on rows that ask for no role: public and machine rows are served while the database is away.
    pub control: Option<&'a Control>,
    pub body: &'a BodyFacts,
}

/// Which gate decides a gated row, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateInForce {
    Legacy(WhyLegacy),
    /// Legacy decides; V2 is computed too.
    Shadow,
    V2,
}

/// The word for the gate that decided; `none` where no role was required.
pub fn gate_word(gate: Option<GateInForce>) -> &'static str {
    match gate {
        Some(GateInForce::Legacy(_)) => "legacy",
        Some(GateInForce::Shadow) => "shadow",
        Some(GateInForce::V2) => "v2",
        None => "none",
    }
}

/// Why a row is on its legacy gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyLegacy {
    /// The cluster's mode is `legacy`, or the row has no cluster.
    Cluster,
    /// No operator has decided its V2 role yet (cutover design, I-6).
    Undecided,
    /// `FLAG_RBAC_V2` is off (cutover design, I-5).
    KillSwitch,
    /// The cluster's mode is `v2`, but the flag has not been promoted to production (RBAC V2 design, I-11).
    NotPromoted,
}

/// The outcome of a request: permission to go upstream, or the answer that is given instead.
pub type Outcome = Result<Permit, Rejection>;

/// The outcome and the reasons for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The gate that decided; `None` where no role was required.
    pub gate: Option<GateInForce>,
    /// What the other gate would have decided, when it disagrees in shadow mode.
    pub drift: Option<Drift>,
}

/// The response to a request that does not go upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// 403, with an audit row.
    Denied(Denial),
    /// The caller is not logged in: redirect to the login page.
    Login,
    /// The caller is not logged in, or a machine sent no token: 401.
    Unauthorized,
    /// The caller is not logged in, and the row specifies 403 for that. There is no audit row, since it would name no
    /// principal.
    Unknown,
    /// The route was deleted: 410.
    Gone,
    /// 404 for every caller: the mapping lists the path in `quiet`, or the route is the gate's own and FLAG_RBAC_V2 is
    /// off.
    Quiet,
    /// The caller is allowed, but the row does not allow the WebSocket that the request asks for: 400.
    Upgrade,
    /// The caller is allowed once a passkey of this session has signed, not longer ago than that: to the page that asks for
    /// it, or 401 (RFC 9470).
    StepUp(Duration),
}

/// The stable word of an outcome, as the decision log, reports and AuthZEN name it. A caller whose upgrade is refused
/// still counts as allowed.
pub const fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(_) | Err(Rejection::Upgrade) => "allow",
        Err(Rejection::Denied(_)) => "deny",
        Err(Rejection::Login) => "login",
        Err(Rejection::Unauthorized | Rejection::Unknown) => "unauthorized",
        Err(Rejection::Gone) => "gone",
        Err(Rejection::Quiet) => "quiet",
        Err(Rejection::StepUp(_)) => "step-up",
    }
}

/// The outcome once it is known when a passkey of the caller's session last signed, for a row that asks for that
/// (`step_up`). It takes a permit away and gives none. Sessions that the gate did not begin have no passkey.
pub fn stepped_up(
    outcome: Outcome,
    target: &Target<'_>,
    login: Option<&Login>,
    now: DateTime<Utc>,
) -> Outcome {
    let age = target.row().and_then(|row| row.step_up);
    let (Ok(_), Some(age)) = (&outcome, age) else { return outcome };
    match login.is_some_and(|login| login.is_fresh(age, now)) {
        true => outcome,
        false => Err(Rejection::StepUp(age)),
    }
}

/// What permitted a request: one of the two gates, or a row that consults neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetInBy {
    V2,
    /// In shadow mode too: V2 only compares there.
    Legacy,
    Public,
    Session,
    Machine,
    Upstream,
    /// No row covers the path, and the mapping forwards unmapped paths.
    Unmapped,
}

impl LetInBy {
    /// The stable word, as used in assertions.
    pub const fn word(self) -> &'static str {
        match self {
            LetInBy::V2 => "v2",
            LetInBy::Legacy => "legacy",
            LetInBy::Public => "public",
            LetInBy::Session => "session",
            LetInBy::Machine => "machine",
            LetInBy::Upstream => "upstream",
            LetInBy::Unmapped => "unmapped",
        }
    }
}

impl From<GateInForce> for LetInBy {
    fn from(gate: GateInForce) -> LetInBy {
        match gate {
            GateInForce::V2 => LetInBy::V2,
            GateInForce::Legacy(_) | GateInForce::Shadow => LetInBy::Legacy,
        }
    }
}

/// Permission to go upstream, or to the gate's own handler. Only [`decide`] and [`preflight`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    route: Option<Arc<str>>,
    cluster: Option<Arc<str>>,
    let_in_by: LetInBy,
    principal: Option<Principal>,
    groups: Vec<Arc<str>>,
    roles_used: Vec<Arc<str>>,
    upgrade: bool,
    stream: bool,
    served_by_gate: bool,
    upstream: Option<Arc<str>>,
    notifies_customer: bool,
    login: Option<Arc<Login>>,
}

impl Permit {
    /// How the permitted caller logged in, where the gate itself began the session.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_deref()
    }

    /// The row that permitted the request; `None` for an unmapped path under `unmapped = "forward"`.
    pub fn route(&self) -> Option<&Arc<str>> {
        self.route.as_ref()
    }

    /// The cluster of that row.
    pub fn cluster(&self) -> Option<&Arc<str>> {
        self.cluster.as_ref()
    }

    /// What permitted the request.
    pub fn let_in_by(&self) -> LetInBy {
        self.let_in_by
    }

    /// The groups of the permitted caller.
    pub fn groups(&self) -> &[Arc<str>] {
        &self.groups
    }

    /// The permitted principal; `None` where no principal was required.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The roles or permissions that the decision rested on.
    pub fn roles_used(&self) -> &[Arc<str>] {
        &self.roles_used
    }

    /// Whether the request may become a WebSocket: it asked for one, and the row allows it.
    pub fn upgrade(&self) -> bool {
        self.upgrade
    }

    /// Whether the body is sent to Console while it arrives (`stream = true`).
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// The upstream that the request goes to, by its name in the settings; `None` for Console.
    pub fn upstream(&self) -> Option<&Arc<str>> {
        self.upstream.as_ref()
    }

    /// Whether the upstream has to notify the customer: the row specifies that for a role that the caller holds.
    pub fn notifies_customer(&self) -> bool {
        self.notifies_customer
    }

    /// Whether the row specifies that the gate itself serves the request, so that Console never sees it.
    pub fn served_by_gate(&self) -> bool {
        self.served_by_gate
    }
}

/// Who was denied, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Only known callers are denied; unknown callers are asked to log in.
    pub principal: Principal,
    pub lack: Lack,
    /// The answer to the denial, which is audited whatever the answer is.
    pub answer: Forbidden,
}

/// What a principal lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    pub reason: Reason,
    /// What would have been enough, in words: `role console-manager`, `legacy role ops or superadmin`.
    pub required: Vec<String>,
}

/// The kinds of denial. Each has a stable word for audit rows, metrics and problem documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    MissingLegacyRole,
    MissingRole,
    MissingPermission,
    BodyUnreadable,
    NoLegacyGate,
    /// Console no longer has legacy roles, so a requirement for one cannot be decided.
    LegacyRolesGone,
    UnmappedRoute,
    /// The row requires a ticket, and the request does not name one ticket and one customer.
    TicketRequired,
    /// No grant for that ticket and that customer covers what the row requires.
    NoTicketGrant,
    /// There is a grant, but the ticket is no longer open.
    TicketClosed,
    /// Grants for tickets are switched off.
    TicketGrantsOff,
}

impl Reason {
    /// The requirement that is named when the body is at fault.
    pub const READABLE_BODY: &'static str = "a body that the rule can read";

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::MissingLegacyRole => "missing_legacy_role",
            Reason::MissingRole => "missing_role",
            Reason::MissingPermission => "missing_permission",
            Reason::BodyUnreadable => "body_unreadable",
            Reason::NoLegacyGate => "no_legacy_gate",
            Reason::LegacyRolesGone => "legacy_roles_gone",
            Reason::UnmappedRoute => "unmapped_route",
            Reason::TicketRequired => "ticket_required",
            Reason::NoTicketGrant => "no_ticket_grant",
            Reason::TicketClosed => "ticket_closed",
            Reason::TicketGrantsOff => "ticket_grants_off",
        }
    }
}

/// A disagreement between the two gates in shadow mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub direction: Direction,
    /// What the denying gate required.
    pub required: Vec<String>,
    pub reason: Reason,
}

/// What enforcing V2 would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    WouldNewlyDeny,
    WouldNewlyAllow,
}

impl Direction {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Direction::WouldNewlyDeny => "would_newly_deny",
            Direction::WouldNewlyAllow => "would_newly_allow",
        }
    }

    /// The direction of a stable word.
    pub fn parse(word: &str) -> Option<Direction> {
        [Direction::WouldNewlyDeny, Direction::WouldNewlyAllow]
            .into_iter()
            .find(|direction| direction.word() == word)
    }
}

/// The gate that decides a gated row for a caller in this mode, under these switches.
pub fn gate_in_force(v2: &V2Gate, mode: ClusterMode, control: &Control) -> GateInForce {
    match (v2, mode) {
        (V2Gate::Undecided { .. }, _) => GateInForce::Legacy(WhyLegacy::Undecided),
        (_, ClusterMode::Legacy) => GateInForce::Legacy(WhyLegacy::Cluster),
        _ if !control.rbac_v2 => GateInForce::Legacy(WhyLegacy::KillSwitch),
        (_, ClusterMode::Shadow) => GateInForce::Shadow,
        (_, ClusterMode::V2) if control.may_enforce => GateInForce::V2,
        (_, ClusterMode::V2) => GateInForce::Legacy(WhyLegacy::NotPromoted),
    }
}

/// Whether a row that requires a role accepts a machine credential that the gate does not know, and leaves it to
/// Console. It does where a machine may act instead of a session and the legacy gate is in force for a caller in no
/// group. V2 knows only enrolled machines.
pub fn takes_presented(kind: &RowKind, rollout: &Rollout, control: &Control) -> bool {
    let RowKind::Gated { legacy: Some(_), v2, machine: true } = kind else { return false };
    gate_in_force(v2, mode_of_nobody(rollout), control) != GateInForce::V2
}

/// V2 will refuse a caller that it does not know.
fn drift_of_nobody(v2: &V2Gate, control: &Control) -> Option<Drift> {
    let nobody = Access::nothing(control.epoch);
    disagreement(&Ok(Vec::new()), &v2_gate(v2, &nobody, &BodyFacts::NotRead, &TicketFacts::NotAsked))
}

/// The mode for a caller without an id and without groups.
fn mode_of_nobody(rollout: &Rollout) -> ClusterMode {
    rollout.mode_at(&BTreeSet::new(), None)
}

/// Decides one request without looking at its ticket. Under V2, a row that requires a ticket then permits only callers
/// with a role that needs none.
pub fn decide(question: &Question<'_>) -> Verdict {
    decide_with(question, &TicketFacts::NotAsked)
}

/// Decides one request, given the facts about the ticket that it names.
pub fn decide_with(question: &Question<'_>, ticket: &TicketFacts) -> Verdict {
    let verdict = match question.target {
        Target::Row(row, rollout) => decide_row(row, rollout, question, ticket),
        Target::Unmapped(Unmapped::Forward) => {
            settled(Ok(permit(None, LetInBy::Unmapped, question.caller, Vec::new())))
        }
        Target::Unmapped(Unmapped::Quiet) => settled(Err(Rejection::Quiet)),
        Target::Unmapped(Unmapped::Deny) => settled(Err(match question.caller {
            Caller::Known(principal, _) => Rejection::Denied(Denial {
                principal: principal.clone(),
                lack: Lack { reason: Reason::UnmappedRoute, required: vec!["a row in the mapping".into()] },
                answer: Forbidden::Status403,
            }),
            // A caller without identity gets the same answer as on any session row, so that probing does not reveal
            // which routes exist.
            Caller::Nobody | Caller::Presented => Rejection::Login,
        })),
    };
    with_upgrade(verdict, question)
}

/// Whether a permitted request would be refused without the caller's break-glass sessions. The ticket facts are those
/// of the caller with the session: a caller that needs no ticket with the session may need one without it, and then the
/// session counts as the reason.
pub fn rests_on_break_glass(question: &Question<'_>, ticket: &TicketFacts) -> bool {
    let Caller::Known(principal, access) = question.caller else { return false };
    let Some(without) = access.without_break_glass() else { return false };
    let question = Question { caller: Caller::Known(principal, &without), ..*question };
    decide_with(&question, ticket).outcome.is_err()
}

/// The permit for a CORS preflight that asks for `requested` on a path, if the row of that request has `cors`.
///
/// The preflight is forwarded as OPTIONS, so the rule that answers OPTIONS counts too. Flask's own answer runs no view;
/// where a view answers, its row must have `cors` itself.
pub fn preflight(mapping: &Mapping, path: &str, requested: Method) -> Option<Permit> {
    let (Found::Row(row), Found::Row(answering)) =
        (mapping.find(path, requested), mapping.find(path, Method::Options))
    else {
        return None;
    };
    let runs_no_view = !answering.methods.contains(Method::Options);
    let is_open = row.cors && (answering.cors || runs_no_view) && answering.kind != RowKind::Gone;
    is_open.then(|| permit(Some(row), LetInBy::Public, Caller::Nobody, Vec::new()))
}

/// Only a caller that is permitted on the route learns whether it accepts a WebSocket.
fn with_upgrade(verdict: Verdict, question: &Question<'_>) -> Verdict {
    if !question.upgrade {
        return verdict;
    }
    let takes_websocket = question.target.row().is_some_and(|row| row.websocket);
    let outcome = match verdict.outcome {
        Ok(permit) if takes_websocket => Ok(Permit { upgrade: true, ..permit }),
        Ok(_) => Err(Rejection::Upgrade),
        rejected => rejected,
    };
    Verdict { outcome, ..verdict }
}

fn decide_row(row: &Row, rollout: &Rollout, question: &Question<'_>, ticket: &TicketFacts) -> Verdict {
    match (&row.kind, question.caller) {
        (RowKind::Gone, _) => settled(Err(Rejection::Gone)),
        (RowKind::Public, caller) => allow(row, LetInBy::Public, caller),
        (RowKind::Upstream, caller) => allow(row, LetInBy::Upstream, caller),
        (RowKind::Machine, caller @ Caller::Presented) => allow(row, LetInBy::Machine, caller),
        (RowKind::Machine, _) => settled(Err(Rejection::Unauthorized)),
        (RowKind::Session, caller @ Caller::Known(Principal::Admin { .. }, _)) => {
            allow(row, LetInBy::Session, caller)
        }
        (kind @ RowKind::Gated { v2, .. }, caller @ Caller::Presented) => {
            match question.control.filter(|control| takes_presented(kind, rollout, control)) {
                Some(control) => {
                    let gate = gate_in_force(v2, mode_of_nobody(rollout), control);
                    let drift = if gate == GateInForce::Shadow { drift_of_nobody(v2, control) } else { None };
                    Verdict { gate: Some(gate), drift, ..allow(row, LetInBy::Machine, caller) }
                }
                None => settled(Err(challenge(row))),
            }
        }
        (RowKind::Gated { legacy, v2, machine }, Caller::Known(principal, access)) => {
            if matches!(principal, Principal::Machine { .. }) && !machine {
                return settled(Err(challenge(row)));
            }
            let Some(control) = question.control else {
                // The proxy always observes the switches before it asks about a gated row.
                return settled(Err(challenge(row)));
            };
            let mode = rollout.mode_for(principal.id(), &access.groups);
            let gate = gate_in_force(v2, mode, control);
            if row.exists_by_v2_alone() && gate == GateInForce::Legacy(WhyLegacy::KillSwitch) {
                return settled(Err(Rejection::Quiet));
            }
            let known = Known { principal, access, body: question.body, ticket };
            decide_gated(row, legacy.as_deref(), v2, gate, &known)
        }
        (RowKind::Session | RowKind::Gated { .. }, _) => settled(Err(challenge(row))),
    }
}

/// The caller of a gated row, and the facts from the request.
struct Known<'k> {
    principal: &'k Principal,
    access: &'k Access,
    body: &'k BodyFacts,
    ticket: &'k TicketFacts,
}

fn decide_gated(
    row: &Row,
    legacy: Option<&BTreeSet<LegacyRole>>,
    v2: &V2Gate,
    gate: GateInForce,
    &Known { principal, access, body, ticket }: &Known<'_>,
) -> Verdict {
    let (enforced, drift) = match gate {
        GateInForce::Legacy(_) => (legacy_gate(legacy, access), None),
        GateInForce::V2 => (v2_gate(v2, access, body, ticket), None),
        GateInForce::Shadow => {
            let enforced = legacy_gate(legacy, access);
            let drift = disagreement(&enforced, &v2_gate(v2, access, body, ticket));
            (enforced, drift)
        }
    };
    let outcome = match enforced {
        Ok(roles_used) => Ok(permit(Some(row), gate.into(), Caller::Known(principal, access), roles_used)),
        Err(lack) => {
            let is_admin = matches!(principal, Principal::Admin { .. });
            let answer = if is_admin { row.forbidden } else { Forbidden::Status403 };
            Err(Rejection::Denied(Denial { principal: principal.clone(), lack, answer }))
        }
    };
    Verdict { outcome, gate: Some(gate), drift }
}

/// `require_role(*roles)`: one of the roles is enough. A row that never had a legacy gate is closed without V2.
fn legacy_gate(legacy: Option<&BTreeSet<LegacyRole>>, access: &Access) -> Result<Vec<Arc<str>>, Lack> {
    let Some(accepted) = legacy else {
        return Err(Lack { reason: Reason::NoLegacyGate, required: vec!["RBAC V2 to be enforced".into()] });
    };
    let used: Vec<Arc<str>> = access.legacy.intersection(accepted).map(LegacyRole::shared).collect();
    if used.is_empty() && access.flaws.iter().any(|flaw| flaw.kind == FlawKind::NoLegacyRoles) {
        return Err(Lack {
            reason: Reason::LegacyRolesGone,
            required: vec!["Console's legacy roles, or RBAC V2 to be enforced".into()],
        });
    }
    if used.is_empty() {
        let names: Vec<&str> = accepted.iter().map(LegacyRole::as_str).collect();
        return Err(Lack {
            reason: Reason::MissingLegacyRole,
            required: vec![format!("legacy role {}", names.join(" or "))],
        });
    }
    Ok(used)
}

/// Everything that the row requires, plus the requirement of each body rule that the body meets.
fn v2_gate(
    v2: &V2Gate,
    access: &Access,
    body: &BodyFacts,
    ticket: &TicketFacts,
) -> Result<Vec<Arc<str>>, Lack> {
    let V2Gate::Requires { base, also, when, ticket: rule } = v2 else {
        return Err(Lack { reason: Reason::NoLegacyGate, required: vec!["an operator's decision".into()] });
    };
    let mut used = vec![match rule {
        None => met(base, access)?,
        Some(rule) => met_by_ticket(rule, base, access, ticket)?,
    }];
    for requirement in also {
        used.push(met(requirement, access)?);
    }
    if when.is_empty() {
        return Ok(used);
    }
    let unreadable = || Lack { reason: Reason::BodyUnreadable, required: vec![Reason::READABLE_BODY.into()] };
    let matches = body.matches().filter(|matches| matches.len() == when.len()).ok_or_else(unreadable)?;
    for (rule, matched) in when.iter().zip(matches) {
        if *matched {
            used.push(match ticket {
                // A grant for the ticket counts for the whole request.
                TicketFacts::Named(holding) if holding.meets(&rule.requires) => rule.requires.name().clone(),
                _ => met(&rule.requires, access)?,
            });
        }
    }
    Ok(used)
}

/// A role that needs no ticket, or a grant of the requirement for this ticket and customer. Other grants of the
/// requirement are not enough, because the row is about the ticket.
fn met_by_ticket(
    rule: &TicketRule,
    base: &Requirement,
    access: &Access,
    ticket: &TicketFacts,
) -> Result<Arc<str>, Lack> {
    if let Some(role) = rule.without.iter().find(|role| access.meets(role)) {
        return Ok(role.name().clone());
    }
    let reason = match ticket {
        TicketFacts::NotAsked | TicketFacts::Unnamed => Reason::TicketRequired,
        TicketFacts::Off => Reason::TicketGrantsOff,
        TicketFacts::Named(holding) if !holding.meets(base) => Reason::NoTicketGrant,
        TicketFacts::Named(holding) if !holding.is_open => Reason::TicketClosed,
        TicketFacts::Named(_) => return Ok(base.name().clone()),
    };
    Err(Lack { reason, required: vec![format!("{base} {rule}")] })
}

fn met(requirement: &Requirement, access: &Access) -> Result<Arc<str>, Lack> {
    if access.meets(requirement) {
        return Ok(requirement.name().clone());
    }
    let reason = match requirement {
        Requirement::Role(_) => Reason::MissingRole,
        Requirement::Permission(_) => Reason::MissingPermission,
    };
    Err(Lack { reason, required: vec![requirement.to_string()] })
}

fn disagreement<T>(legacy: &Result<T, Lack>, v2: &Result<T, Lack>) -> Option<Drift> {
    let (direction, lack) = match (legacy, v2) {
        (Ok(_), Err(lack)) => (Direction::WouldNewlyDeny, lack),
        (Err(lack), Ok(_)) => (Direction::WouldNewlyAllow, lack),
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => return None,
    };
    Some(Drift { direction, required: lack.required.clone(), reason: lack.reason })
}

fn challenge(row: &Row) -> Rejection {
    match row.unauthenticated {
        Unauthenticated::Redirect => Rejection::Login,
        Unauthenticated::Status401 => Rejection::Unauthorized,
        Unauthenticated::Status403 => Rejection::Unknown,
    }
}

fn permit(row: Option<&Row>, let_in_by: LetInBy, caller: Caller<'_>, roles_used: Vec<Arc<str>>) -> Permit {
    let (principal, groups, notifies_customer, login) = match caller {
        Caller::Known(principal, access) => (
            Some(principal.clone()),
            access.groups.iter().cloned().collect(),
            row.is_some_and(|row| row.notifies(access)),
            access.login().cloned(),
        ),
        Caller::Nobody | Caller::Presented => (None, Vec::new(), false, None),
    };
    Permit {
        route: row.map(|row| row.route.clone()),
        cluster: row.and_then(|row| row.cluster.clone()),
        let_in_by,
        principal,
        groups,
        roles_used,
        upgrade: false,
        stream: row.is_some_and(|row| row.stream),
        served_by_gate: row.is_some_and(Row::served_by_gate),
        upstream: row.and_then(|row| row.upstream.clone()),
        notifies_customer,
        login,
    }
}

fn allow(row: &Row, let_in_by: LetInBy, caller: Caller<'_>) -> Verdict {
    settled(Ok(permit(Some(row), let_in_by, caller, Vec::new())))
}

fn settled(outcome: Outcome) -> Verdict {
    Verdict { outcome, gate: None, drift: None }
}

#[cfg(test)]
mod tests;
