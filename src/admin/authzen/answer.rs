//! The answers.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::decision::{Rejection, outcome_word};
use policy::rbac::{Requirement, Standing};
use serde::Serialize;

use super::access_request::{Hint, Requestable};
use crate::ruling::evaluation::{Evaluation, Holding, Moment};
use policy::decision::gate_word;

/// One answer. Only `decision` is to be acted on; the rest explains it.
#[derive(Debug, Serialize)]
pub(super) struct Decision {
    pub(super) decision: bool,
    context: Context,
}

#[derive(Debug, Default, Serialize)]
struct Context {
    /// `allowed` or `held`; else the reason of an audit row, `login`, `unauthorized`, `gone`, `quiet`, a refusal of the firewall, or
    /// what of the question is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// `active`, or why the subject identifies no principal.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Arc<str>>,
    /// The gate that decided: `legacy`, `shadow`, `v2`, or `none` where no role was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<&'static str>,
    /// The requirements that would have been enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required: Vec<String>,
    /// The roles or permissions that it rests on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    through: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluated_at: Option<DateTime<Utc>>,
    /// That access can be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_request: Option<Requestable>,
}

/// Why one of several questions could not be read.
#[derive(Debug, Serialize)]
struct Fault {
    status: u16,
    message: String,
}

impl Decision {
    /// About a request.
    pub(super) fn of_route(evaluation: Evaluation, moment: &Moment) -> Decision {
        let Evaluation { verdict, route, cluster, standing } = evaluation;
        let ending = outcome_word(&verdict.outcome);
        let (decision, reason, required, through) = match verdict.outcome {
            Ok(permit) => (true, "allowed", Vec::new(), permit.roles_used().to_vec()),
            Err(Rejection::Denied(denial)) => {
                (false, denial.lack.reason.word(), denial.lack.required, Vec::new())
            }
            Err(Rejection::Upgrade) => (false, "upgrade", Vec::new(), Vec::new()),
            Err(Rejection::StepUp(_)) => (false, ending, Vec::new(), Vec::new()),
            Err(
                Rejection::Login
                | Rejection::Unauthorized
                | Rejection::Unknown
                | Rejection::Gone
                | Rejection::Quiet,
            ) => (false, ending, Vec::new(), Vec::new()),
        };
        let context = Context {
            reason: Some(reason),
            subject: Some(word(standing)),
            route,
            cluster,
            gate: Some(gate_word(verdict.gate)),
            required,
            through,
            mapping_sha256: Some(moment.mapping.sha256().to_string()),
            epoch: Some(moment.control.epoch.0),
            ..Context::default()
        };
        Decision { decision, context }
    }

    /// About a role or permission.
    pub(super) fn of_holding(holding: Holding, requirement: &Requirement, moment: &Moment) -> Decision {
        let reason = match (holding.held, requirement) {
            (true, _) => "held",
            (false, Requirement::Role(_)) => "missing_role",
            (false, Requirement::Permission(_)) => "missing_permission",
        };
        let context = Context {
            reason: Some(reason),
            subject: Some(word(holding.standing)),
            required: if holding.held { Vec::new() } else { vec![requirement.to_string()] },
            epoch: Some(moment.control.epoch.0),
            ..Context::default()
        };
        Decision { decision: holding.held, context }
    }

    /// Why it is no.
    pub(super) fn denied_for(&self) -> Option<&'static str> {
        self.context.reason.filter(|_| !self.decision)
    }

    /// With what can be asked for.
    pub(super) fn with_hint(mut self, hint: Option<Hint>) -> Decision {
        if let Some(Hint { evaluation_id, evaluated_at, requestable }) = hint {
            let context = &mut self.context;
            (context.evaluation_id, context.evaluated_at) = (Some(evaluation_id), Some(evaluated_at));
            context.access_request = Some(requestable);
        }
        self
    }

    /// No, for the question does not lead to a known request.
    pub(super) fn unanswerable(reason: &'static str) -> Decision {
        Decision { decision: false, context: Context { reason: Some(reason), ..Context::default() } }
    }

    /// No to one of several questions, which could not be read.
    pub(super) fn malformed(message: String) -> Decision {
        let error = Some(Fault { status: 400, message });
        Decision { decision: false, context: Context { error, ..Context::default() } }
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Unknown => "unknown",
        Standing::Disabled => "disabled",
        Standing::SessionEnded => "session_ended",
    }
}
