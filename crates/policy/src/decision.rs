//! The decision: synchronous, total, and pure.
//!
//! [`decide`] takes a route, a caller and what is known about both, and answers with a [`Permit`] or a reason why
//! not. A request goes upstream only with a permit, and only this module can make one, so an undecided request does
//! not compile. Unknown, missing and unreadable never mean allow.

pub mod body;
mod target;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::identity::Principal;
use crate::ids::Epoch;
use crate::mapping::{ClusterMode, Rollout, Row, RowKind, Unauthenticated, Unmapped, V2Gate};
use crate::rbac::{Access, LegacyRole, Requirement};

use body::BodyFacts;
pub use target::{Caller, Target};

/// The switches that stand above the mapping, as of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    pub epoch: Epoch,
    /// `FLAG_RBAC_V2`, the kill-switch (I-5). Off: every route is on its legacy gate.
    pub rbac_v2: bool,
    /// Whether V2 may be enforced here: always outside production, in production only with a promoted row (I-11).
    pub may_enforce: bool,
}

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
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
    /// Legacy decides, V2 is computed beside it.
    Shadow,
    V2,
}

/// The word for the gate that decided; `none` where no role was asked for.
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
    /// The cluster says so.
    Cluster,
    /// No operator has decided its V2 role yet (I-6).
    Undecided,
    /// `FLAG_RBAC_V2` is off (I-5).
    KillSwitch,
    /// The cluster says V2, but the flag has not been promoted to production (I-11).
    NotPromoted,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub answer: Answer,
    /// The gate that decided; `None` where no role was asked for.
    pub gate: Option<GateInForce>,
    /// What the other gate would have said, when it disagrees in shadow mode.
    pub drift: Option<Drift>,
}

/// What becomes of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes upstream.
    Allow(Permit),
    /// 403, with an audit row.
    Deny(Denial),
    /// Nobody is logged in: to the login page.
    Login,
    /// Nobody is logged in, or a machine brought no token: 401.
    Unauthorized,
    /// The route was deleted: 410.
    Gone,
}

/// Leave to go upstream. Only [`decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    route: Option<Arc<str>>,
    principal: Option<Principal>,
    roles_used: Vec<Arc<str>>,
    websocket: bool,
}

impl Permit {
    /// The row that let the request in; `None` for an unmapped path under `unmapped = "forward"`.
    pub fn route(&self) -> Option<&Arc<str>> {
        self.route.as_ref()
    }

    /// Who was let in; `None` where nobody needed to be known.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The roles or permissions that the decision rested on.
    pub fn roles_used(&self) -> &[Arc<str>] {
        &self.roles_used
    }

    /// Whether the row allows a WebSocket.
    pub fn websocket(&self) -> bool {
        self.websocket
    }
}

/// Why a request was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub reason: Reason,
    /// What would have been enough, in words: `role console-manager`, `legacy role superadmin or ops`.
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
    UnmappedRoute,
}

impl Reason {
    /// What is required where the body is at fault.
    pub const READABLE_BODY: &'static str = "a body that the rule can read";

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::MissingLegacyRole => "missing_legacy_role",
            Reason::MissingRole => "missing_role",
            Reason::MissingPermission => "missing_permission",
            Reason::BodyUnreadable => "body_unreadable",
            Reason::NoLegacyGate => "no_legacy_gate",
            Reason::UnmappedRoute => "unmapped_route",
        }
    }
}

/// A disagreement between the two gates in shadow mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub direction: Direction,
    /// What the denying gate asked for.
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

/// The gate that decides a gated row for somebody of this mode, under these switches.
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

/// Decides one request.
pub fn decide(question: &Question<'_>) -> Verdict {
    match question.target {
        Target::Row(row, rollout) => decide_row(row, rollout, question),
        Target::Unmapped(Unmapped::Forward) => settled(Answer::Allow(Permit {
            route: None,
            principal: principal_of(question.caller),
            roles_used: Vec::new(),
            websocket: false,
        })),
        Target::Unmapped(Unmapped::Deny) => settled(match question.caller {
            Caller::Known(..) => Answer::Deny(Denial {
                reason: Reason::UnmappedRoute,
                required: vec!["a row in the mapping".into()],
            }),
            // A stranger gets what any session row would give, so that nobody can probe which routes exist.
            Caller::Nobody | Caller::Presented => Answer::Login,
        }),
    }
}

fn decide_row(row: &Row, rollout: &Rollout, question: &Question<'_>) -> Verdict {
    match (&row.kind, question.caller) {
        (RowKind::Gone, _) => settled(Answer::Gone),
        (RowKind::Public | RowKind::Upstream, caller) => allow(row, principal_of(caller), Vec::new()),
        (RowKind::Machine, Caller::Presented) => allow(row, None, Vec::new()),
        (RowKind::Machine, _) => settled(Answer::Unauthorized),
        (RowKind::Session, Caller::Known(principal @ Principal::Admin { .. }, _)) => {
            allow(row, Some(principal.clone()), Vec::new())
        }
        (RowKind::Gated { legacy, v2, machine }, Caller::Known(principal, access)) => {
            if matches!(principal, Principal::Machine { .. }) && !machine {
                return settled(challenge(row));
            }
            let Some(control) = question.control else {
                // The proxy always observes the switches before it asks about a gated row.
                return settled(challenge(row));
            };
            let mode = rollout.mode_for(principal.id(), &access.groups);
            let gate = gate_in_force(v2, mode, control);
            decide_gated(row, legacy.as_ref(), v2, gate, principal, access, question.body)
        }
        (RowKind::Session | RowKind::Gated { .. }, _) => settled(challenge(row)),
    }
}

fn decide_gated(
    row: &Row,
    legacy: Option<&BTreeSet<LegacyRole>>,
    v2: &V2Gate,
    gate: GateInForce,
    principal: &Principal,
    access: &Access,
    body: &BodyFacts,
) -> Verdict {
    let (enforced, drift) = match gate {
        GateInForce::Legacy(_) => (legacy_gate(legacy, access), None),
        GateInForce::V2 => (v2_gate(v2, access, body), None),
        GateInForce::Shadow => {
            let enforced = legacy_gate(legacy, access);
            let drift = disagreement(&enforced, &v2_gate(v2, access, body));
            (enforced, drift)
        }
    };
    let answer = match enforced {
        Ok(roles_used) => Answer::Allow(permit(row, Some(principal.clone()), roles_used)),
        Err(denial) => Answer::Deny(denial),
    };
    Verdict { answer, gate: Some(gate), drift }
}

/// `require_role(*roles)`: one of the roles is enough. A row that never had a legacy gate is closed without V2.
fn legacy_gate(legacy: Option<&BTreeSet<LegacyRole>>, access: &Access) -> Result<Vec<Arc<str>>, Denial> {
    let Some(accepted) = legacy else {
        return Err(Denial { reason: Reason::NoLegacyGate, required: vec!["RBAC V2 to be enforced".into()] });
    };
    let used: Vec<Arc<str>> =
        access.legacy.intersection(accepted).map(|role| Arc::from(role.as_str())).collect();
    if used.is_empty() {
        let names: Vec<&str> = accepted.iter().map(|role| role.as_str()).collect();
        return Err(Denial {
            reason: Reason::MissingLegacyRole,
            required: vec![format!("legacy role {}", names.join(" or "))],
        });
    }
    Ok(used)
}

/// The row's requirement and, besides, that of every body rule that the body meets.
fn v2_gate(v2: &V2Gate, access: &Access, body: &BodyFacts) -> Result<Vec<Arc<str>>, Denial> {
    let V2Gate::Requires { base, when } = v2 else {
        return Err(Denial { reason: Reason::NoLegacyGate, required: vec!["an operator's decision".into()] });
    };
    let mut used = vec![met(base, access)?];
    if when.is_empty() {
        return Ok(used);
    }
    let unreadable =
        || Denial { reason: Reason::BodyUnreadable, required: vec![Reason::READABLE_BODY.into()] };
    let matches = body.matches().filter(|matches| matches.len() == when.len()).ok_or_else(unreadable)?;
    for (rule, matched) in when.iter().zip(matches) {
        if *matched {
            used.push(met(&rule.requires, access)?);
        }
    }
    Ok(used)
}

fn met(requirement: &Requirement, access: &Access) -> Result<Arc<str>, Denial> {
    if access.meets(requirement) {
        return Ok(requirement.name().clone());
    }
    let reason = match requirement {
        Requirement::Role(_) => Reason::MissingRole,
        Requirement::Permission(_) => Reason::MissingPermission,
    };
    Err(Denial { reason, required: vec![requirement.to_string()] })
}

fn disagreement<T>(legacy: &Result<T, Denial>, v2: &Result<T, Denial>) -> Option<Drift> {
    let (direction, denial) = match (legacy, v2) {
        (Ok(_), Err(denial)) => (Direction::WouldNewlyDeny, denial),
        (Err(denial), Ok(_)) => (Direction::WouldNewlyAllow, denial),
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => return None,
    };
    Some(Drift { direction, required: denial.required.clone(), reason: denial.reason })
}

fn challenge(row: &Row) -> Answer {
    match row.unauthenticated {
        Unauthenticated::Redirect => Answer::Login,
        Unauthenticated::Status401 => Answer::Unauthorized,
    }
}

fn principal_of(caller: Caller<'_>) -> Option<Principal> {
    match caller {
        Caller::Known(principal, _) => Some(principal.clone()),
        Caller::Nobody | Caller::Presented => None,
    }
}

fn permit(row: &Row, principal: Option<Principal>, roles_used: Vec<Arc<str>>) -> Permit {
    Permit { route: Some(row.route.clone()), principal, roles_used, websocket: row.websocket }
}

fn allow(row: &Row, principal: Option<Principal>, roles_used: Vec<Arc<str>>) -> Verdict {
    settled(Answer::Allow(permit(row, principal, roles_used)))
}

fn settled(answer: Answer) -> Verdict {
    Verdict { answer, gate: None, drift: None }
}

#[cfg(test)]
mod tests;
