//! Which gate decides a row, why, and what it requires.

use std::collections::BTreeMap;

use policy::decision::{GateInForce, WhyLegacy, gate_in_force, takes_presented};
use policy::mapping::{ClusterMode, Decided, Rollout, Row, RowKind, V2Gate};
use policy::rbac::Requirement;
use serde::Serialize;

use super::Facts;

/// The gates of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateReport {
    /// One for everyone; or two, for a cohort and for the rest.
    pub in_force: Vec<InForce>,
    /// The roles of `@require_role`; `None` if there never was a legacy gate, so that it denies everyone.
    pub legacy: Option<Vec<String>>,
    /// The requirement of V2; `None` if it is undecided.
    pub v2: Option<Demanded>,
    /// The further requirements for every body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Demanded>,
    /// The additional requirements for some bodies.
    pub when: Vec<RuleReport>,
    /// The ticket for which the requirement has to be granted, in words; `None` if the row requires no ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    pub undecided: Option<Undecided>,
    /// Who chose the requirement of V2, if it was undecided.
    pub decided: Option<Decided>,
    /// Whether an enrolled machine token is accepted instead of a session.
    pub takes_machines: bool,
    /// Whether a machine's credential that the gate does not know is left to Console, as it is while the legacy gate
    /// decides.
    pub takes_unknown_machines: bool,
}

/// The gate that decides for some callers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InForce {
    pub of: Part,
    pub decides: Decides,
    /// Whether V2 is also computed for comparison.
    pub shadow: bool,
    /// `None` if V2 decides or is computed.
    pub why_legacy: Option<WhyLegacy>,
    pub in_words: String,
}

/// The callers for which a gate decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Everybody,
    Cohort,
    /// Everyone outside the cohort.
    Rest,
}

/// One of the two gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decides {
    Legacy,
    V2,
}

impl Decides {
    pub(super) fn of(gate: GateInForce) -> Decides {
        match gate {
            GateInForce::V2 => Decides::V2,
            GateInForce::Shadow | GateInForce::Legacy(_) => Decides::Legacy,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Decides::Legacy => "legacy",
            Decides::V2 => "v2",
        }
    }
}

/// A role or permission, with the groups that hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Demanded {
    pub requirement: String,
    /// The groups whose members meet it.
    pub held_through: Vec<String>,
}

/// The additional requirement for a kind of body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// The field of the body, and its value.
    pub field: String,
    pub equals: String,
    #[serde(flatten)]
    pub demanded: Demanded,
}

/// The open decision of an operator (cutover design, I-6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undecided {
    pub question: String,
    pub options: BTreeMap<String, String>,
}

/// The gates of a row that requires a role.
pub(super) fn report(row: &Row, rollout: &Rollout, facts: &Facts<'_>) -> Option<GateReport> {
    let RowKind::Gated { legacy, v2, machine } = &row.kind else { return None };
    let in_force = |of, mode| {
        let gate = gate_in_force(v2, mode, facts.control);
        let why_legacy = match gate {
            GateInForce::Legacy(why) => Some(why),
            GateInForce::Shadow | GateInForce::V2 => None,
        };
        let shadow = gate == GateInForce::Shadow;
        InForce { of, decides: Decides::of(gate), shadow, why_legacy, in_words: in_words(gate, v2, row) }
    };
    let in_force = match &rollout.cohort {
        Some(_) => vec![in_force(Part::Cohort, rollout.mode), in_force(Part::Rest, ClusterMode::Shadow)],
        None => vec![in_force(Part::Everybody, rollout.mode)],
    };
    let mut also = Vec::new();
    let (v2, when, undecided) = match v2 {
        V2Gate::Requires { base, also: further, when, .. } => {
            also.extend(further.iter().map(|requirement| demanded(requirement, facts)));
            let rules = when.iter().map(|rule| RuleReport {
                field: rule.field.name().to_owned(),
                equals: rule.equals.clone(),
                demanded: demanded(&rule.requires, facts),
            });
            (Some(demanded(base, facts)), rules.collect(), None)
        }
        V2Gate::Undecided { question, options } => {
            (None, Vec::new(), Some(Undecided { question: question.clone(), options: options.clone() }))
        }
    };
    Some(GateReport {
        in_force,
        legacy: legacy.as_ref().map(|roles| roles.iter().map(ToString::to_string).collect()),
        v2,
        also,
        when,
        ticket: row.ticket().map(ToString::to_string),
        undecided,
        decided: row.decided.as_deref().cloned(),
        takes_machines: *machine,
        takes_unknown_machines: takes_presented(&row.kind, rollout, facts.control),
    })
}

fn demanded(requirement: &Requirement, facts: &Facts<'_>) -> Demanded {
    let groups = facts.catalog.groups_that_meet(requirement);
    Demanded {
        requirement: requirement.to_string(),
        held_through: groups.iter().map(ToString::to_string).collect(),
    }
}

fn in_words(gate: GateInForce, v2: &V2Gate, row: &Row) -> String {
    match (gate, v2) {
        (GateInForce::V2, _) => "v2".to_owned(),
        (GateInForce::Shadow, _) => "legacy, with V2 computed for comparison (shadow)".to_owned(),
        (GateInForce::Legacy(WhyLegacy::Cluster), _) if row.cluster.is_none() => {
            "legacy: the row is in no cluster".to_owned()
        }
        (GateInForce::Legacy(WhyLegacy::Cluster), _) => "legacy: the cluster is in legacy mode".to_owned(),
        (GateInForce::Legacy(WhyLegacy::Undecided), V2Gate::Undecided { question, .. }) => {
            format!("legacy: the row is undecided ({question})")
        }
        (GateInForce::Legacy(WhyLegacy::Undecided), _) => "legacy: the row is undecided".to_owned(),
        (GateInForce::Legacy(WhyLegacy::KillSwitch), _) => "legacy: FLAG_RBAC_V2 is off".to_owned(),
        (GateInForce::Legacy(WhyLegacy::NotPromoted), _) => {
            "legacy: FLAG_RBAC_V2 is not promoted to production".to_owned()
        }
    }
}
