//! The answer for each kind of body, the ways of access behind it, and the grants that would change it.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::decision::body::{BodyKind, BodyReport};
use policy::decision::ticket::{TicketFacts, TicketHolding};
use policy::decision::{
    self, Caller, Direction, GateInForce, Lack, Question, Reason, Rejection, Target, Verdict, decide_with,
};
use policy::identity::Principal;
use policy::ids::{AdminId, MachineTokenId};
use policy::mapping::{Row, RowKind, V2Gate};
use policy::method::Method;
use policy::rbac::census::{BREAK_GLASS, granting_groups};
use policy::rbac::{Access, LegacyRole, Requirement, Standing};
use serde::Serialize;

use super::Facts;
use super::asker::{AskerKind, Subject};
use super::gate::Decides;
use super::grants::{Grant, smallest};

/// The outcome of a request with one kind of body.
#[derive(Debug, Serialize)]
pub struct AnswerReport {
    /// `None` for any body, because it does not matter.
    pub body: Option<BodyReport>,
    pub answer: Ending,
    /// The stable word of a denial.
    pub reason: Option<&'static str>,
    /// `None` if no role was required.
    pub decided_by: Option<Decides>,
    /// Each way of access behind an allow.
    pub through: Vec<Way>,
    /// Everything that is missing.
    pub missing: Vec<String>,
    /// The missing requirements that no group holds, so that no membership of a group fulfils them.
    pub held_by_nobody: Vec<String>,
    /// The grants each of which would be enough; the one with the fewest additional roles comes first.
    pub enough: Vec<Grant>,
    /// What V2 would have decided, if it disagrees in shadow mode.
    pub shadow: Option<ShadowReport>,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Allow,
    Deny,
    Login,
    Unauthorized,
    Unknown,
    Gone,
    Quiet,
}

/// How a caller meets the requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Way {
    LegacyRole {
        role: String,
    },
    /// The role that the group holds, then each role that the previous one inherits; at the end the permission, if it
    /// is one.
    Group {
        group: String,
        roles: Vec<String>,
        permission: Option<String>,
    },
    /// The same through a live break-glass session.
    BreakGlass {
        roles: Vec<String>,
        permission: Option<String>,
    },
    /// A role that is granted for one ticket and one customer, as long as the ticket is open.
    Ticket {
        ticket: String,
        customer: i64,
        role: String,
    },
}

/// The grant to a person for one ticket and one customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForTicket {
    pub ticket: String,
    pub customer: i64,
    pub role: String,
}

/// A permitted request of a caller, and the ways of access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Whether some kind of body is refused.
    pub is_partial: bool,
    /// Each way of access, once; empty if the row requires no role.
    pub ways: Vec<Way>,
}

/// A disagreement of the two gates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowReport {
    pub direction: Direction,
    pub reason: &'static str,
    pub required: Vec<String>,
}

/// The question whether a caller passes.
pub(super) struct CallerQuestion<'a> {
    pub target: Target<'a>,
    pub method: Method,
    pub subject: &'a Subject<'a>,
    pub facts: &'a Facts<'a>,
}

impl<'a> CallerQuestion<'a> {
    /// Each kind of body that matters; only `None` if the body does not matter. The legacy gate never examines bodies.
    pub(super) fn bodies(&self) -> Vec<Option<BodyKind<'a>>> {
        let gate = self.verdict(None, &self.subject.access).gate;
        let kinds = BodyKind::all(self.target.body_rules(), self.method);
        if kinds.is_empty() || matches!(gate, None | Some(GateInForce::Legacy(_))) {
            return vec![None];
        }
        kinds.into_iter().map(Some).collect()
    }

    pub(super) fn answer(&self, body: Option<BodyKind<'_>>) -> AnswerReport {
        let verdict = self.verdict(body, &self.subject.access);
        let mut report = AnswerReport {
            body: body.map(BodyKind::report),
            answer: Ending::of(&verdict.outcome),
            reason: None,
            decided_by: verdict.gate.map(Decides::of),
            through: Vec::new(),
            missing: Vec::new(),
            held_by_nobody: Vec::new(),
            enough: Vec::new(),
            shadow: verdict.drift.as_ref().map(|drift| ShadowReport {
                direction: drift.direction,
                reason: drift.reason.word(),
                required: drift.required.clone(),
            }),
        };
        match &verdict.outcome {
            Ok(_) => report.through = self.ways(verdict.gate, body),
            Err(Rejection::Denied(denial)) => self.denied(&mut report, &denial.lack, verdict.gate, body),
            Err(_) => {}
        }
        report
    }

    /// Whether the request passes with some kind of body, and by which grants. Those for `tickets` are tested too, each
    /// as if the request named its ticket and the ticket were open.
    pub(super) fn passage(&self, tickets: &[&ForTicket]) -> Option<Passage> {
        let access = &self.subject.access;
        let (mut is_partial, mut passes, mut ways) = (false, false, Vec::new());
        for body in self.bodies() {
            let verdict = self.verdict(body, access);
            let mut found = verdict.outcome.is_ok().then(|| self.ways(verdict.gate, body));
            for grant in tickets {
                let roles = self.facts.catalog.with_inherited([Arc::from(grant.role.as_str())]);
                let permissions = self.facts.catalog.permissions_of(&roles);
                let holding = TicketHolding { roles, permissions, is_open: true };
                if self.verdict_with(body, access, &TicketFacts::Named(holding)).outcome.is_ok() {
                    let ForTicket { ticket, customer, role } = (*grant).clone();
                    found.get_or_insert_default().push(Way::Ticket { ticket, customer, role });
                }
            }
            passes |= found.is_some();
            is_partial |= found.is_none();
            for way in found.into_iter().flatten() {
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
        }
        passes.then_some(Passage { is_partial, ways })
    }

    /// The answer of [`decide`](policy::decision::decide) for a caller with `access`.
    fn verdict(&self, body: Option<BodyKind<'_>>, access: &Access) -> Verdict {
        self.verdict_with(body, access, &TicketFacts::NotAsked)
    }

    fn verdict_with(&self, body: Option<BodyKind<'_>>, access: &Access, ticket: &TicketFacts) -> Verdict {
        let principal = match self.subject.kind {
            AskerKind::Machine => Principal::Machine { id: MachineTokenId::new(self.subject.name) },
            _ => Principal::Admin { id: AdminId::new(self.subject.name), session: None },
        };
        let caller = match access.standing {
            Standing::Active => Caller::at(&self.target, &principal, access),
            Standing::Unknown | Standing::Disabled | Standing::SessionEnded => Caller::Nobody,
        };
        let body = body.unwrap_or(BodyKind::NoRule).facts(self.target.body_rules());
        let question = Question {
            upgrade: false,
            target: self.target,
            caller,
            control: Some(self.facts.control),
            body: &body,
        };
        decide_with(&question, ticket)
    }

    fn denied(
        &self,
        report: &mut AnswerReport,
        lack: &Lack,
        gate: Option<GateInForce>,
        body: Option<BodyKind<'_>>,
    ) {
        report.reason = Some(lack.reason.word());
        let unmet: Vec<&Requirement> =
            self.demanded(gate, body).into_iter().filter(|one| !self.subject.access.meets(one)).collect();
        report.missing = unmet.iter().map(ToString::to_string).collect();
        if unmet.is_empty() {
            report.missing.clone_from(&lack.required);
        } else if gate == Some(GateInForce::V2) && body == Some(BodyKind::Unreadable) {
            report.missing.push(Reason::READABLE_BODY.to_owned());
        }
        let unheld = unmet.iter().filter(|one| self.facts.catalog.groups_that_meet(one).is_empty());
        report.held_by_nobody = unheld.map(ToString::to_string).collect();
        let passes = |access: &Access| self.verdict(body, access).outcome.is_ok();
        report.enough = {
            let (catalog, rules) = (self.facts.catalog, self.facts.break_glass);
            smallest(&self.subject.access, catalog, rules, &self.accepted(), passes)
        };
    }

    /// The legacy roles that the row accepts; those that the fewest rows accept come first.
    fn accepted(&self) -> Vec<&'a LegacyRole> {
        let Some(Row { kind: RowKind::Gated { legacy: Some(legacy), .. }, .. }) = self.target.row() else {
            return Vec::new();
        };
        let mut roles: Vec<&LegacyRole> = legacy.iter().collect();
        roles.sort_by_cached_key(|role| self.facts.mapping.rows_that_accept(role));
        roles
    }

    /// The requirements of V2, if V2 decides.
    fn demanded(&self, gate: Option<GateInForce>, body: Option<BodyKind<'_>>) -> Vec<&Requirement> {
        let Target::Row(
            Row { kind: RowKind::Gated { v2: V2Gate::Requires { base, also, when, ticket }, .. }, .. },
            _,
        ) = &self.target
        else {
            return Vec::new();
        };
        if gate != Some(GateInForce::V2) {
            return Vec::new();
        }
        let met = when.iter().filter(|rule| body.is_some_and(|body| body.meets(rule)));
        let all: BTreeSet<&Requirement> = met.map(|rule| &rule.requires).collect();
        let first: Vec<&Requirement> = match ticket {
            None => std::iter::once(base).chain(also).collect(),
            // No group brings the grant for a ticket: only the requirements without a ticket count here.
            Some(rule) => rule.without.iter().filter(|one| self.subject.access.meets(one)).take(1).collect(),
        };
        let further = all.into_iter().filter(|one| !first.contains(one));
        first.iter().copied().chain(further).collect()
    }

    fn ways(&self, gate: Option<GateInForce>, body: Option<BodyKind<'_>>) -> Vec<Way> {
        let (access, catalog) = (&self.subject.access, self.facts.catalog);
        if let Target::Row(Row { kind: RowKind::Gated { legacy: Some(legacy), .. }, .. }, _) = &self.target
            && !matches!(gate, None | Some(GateInForce::V2))
        {
            let held = access.legacy.intersection(legacy);
            return held.map(|role| Way::LegacyRole { role: role.to_string() }).collect();
        }
        let mut ways = Vec::new();
        for requirement in self.demanded(gate, body) {
            let permission = match requirement {
                Requirement::Role(_) => None,
                Requirement::Permission(name) => Some(name.to_string()),
            };
            for group in granting_groups(&access.groups, self.subject.break_glass) {
                let Some(way) = catalog.way_to(group, requirement) else { continue };
                let roles = way.iter().map(ToString::to_string).collect();
                let permission = permission.clone();
                ways.push(match group {
                    BREAK_GLASS => Way::BreakGlass { roles, permission },
                    group => Way::Group { group: group.to_owned(), roles, permission },
                });
            }
        }
        ways
    }
}

impl Ending {
    pub(crate) fn of(outcome: &decision::Outcome) -> Ending {
        match outcome {
            // The report of the row states whether it takes WebSockets, and whether a passkey has to sign first.
            Ok(_) | Err(Rejection::Upgrade | Rejection::StepUp(_)) => Ending::Allow,
            Err(Rejection::Denied(_)) => Ending::Deny,
            Err(Rejection::Login) => Ending::Login,
            Err(Rejection::Unauthorized) => Ending::Unauthorized,
            Err(Rejection::Unknown) => Ending::Unknown,
            Err(Rejection::Gone) => Ending::Gone,
            Err(Rejection::Quiet) => Ending::Quiet,
        }
    }
}
