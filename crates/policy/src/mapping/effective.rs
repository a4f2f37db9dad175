//! The effective table: every row with what decides it, as the matcher and the clusters see it.

use serde::Serialize;

use super::{
    BodyField, BodyRule, Decided, Forbidden, Freshness, Mapping, Row, RowKind, Totp, Unauthenticated, V2Gate,
};
use crate::diagnostic::Lines;
use crate::rbac::LegacyRole;

/// One row, described in words.
#[derive(Clone, Debug, Serialize)]
pub struct EffectiveRow<'m> {
    pub line: usize,
    pub blueprint: &'m str,
    pub cluster: Option<&'m str>,
    /// What decides while FLAG_RBAC_V2 is on: `legacy`, `shadow`, `v2`, or the kind of a row without a role.
    pub decides: &'static str,
    pub methods: String,
    pub path: &'m str,
    pub legacy: Option<Vec<&'m str>>,
    pub v2: Option<String>,
    pub when: Vec<String>,
    /// The ticket for which the requirement has to be granted, and the roles that need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The upstream that has the route instead of Console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'m str>,
    /// The roles for whose holders' requests the customer is notified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notifies: Vec<&'m str>,
    pub undecided: Option<&'m str>,
    /// Who chose the V2 role, if the row was undecided.
    pub decided: Option<&'m Decided>,
    /// Why `import` left the row to Console; set until the row has been reviewed.
    pub unreviewed: Option<&'m str>,
    /// The callers that V2 decides first, if it does not decide all.
    pub cohort: Option<String>,
    pub flags: Vec<&'static str>,
    /// How many seconds ago a passkey of the caller's session may have signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_up_seconds: Option<u64>,
}

impl Mapping {
    /// Every row, in the order of the file.
    pub fn effective(&self) -> Vec<EffectiveRow<'_>> {
        let lines = Lines::new(self.source());
        self.rows().iter().map(|row| effective(self, row, lines.position(row.offset).0)).collect()
    }
}

fn effective<'m>(mapping: &'m Mapping, row: &'m Row, line: usize) -> EffectiveRow<'m> {
    let mut effective = EffectiveRow {
        line,
        blueprint: &row.blueprint,
        cluster: row.cluster.as_deref(),
        decides: mapping.rollout_of(row).mode.as_str(),
        methods: row.methods.to_string(),
        path: row.pattern.as_str(),
        legacy: None,
        v2: None,
        when: Vec::new(),
        ticket: None,
        upstream: row.upstream.as_deref(),
        notifies: row.notifies.iter().map(|role| &**role.name()).collect(),
        undecided: None,
        decided: row.decided.as_deref(),
        unreviewed: row.unreviewed.as_deref(),
        cohort: None,
        flags: flags(row),
        step_up_seconds: row.step_up.map(|age| age.as_secs()),
    };
    match &row.kind {
        RowKind::Gated { legacy, v2, .. } => {
            effective.legacy = legacy.as_ref().map(|roles| roles.iter().map(LegacyRole::as_str).collect());
            match v2 {
                V2Gate::Undecided { question, .. } => {
                    effective.decides = "legacy";
                    effective.undecided = Some(question);
                }
                V2Gate::Requires { when, ticket, .. } => {
                    let rollout = mapping.rollout_of(row);
                    effective.cohort = rollout.cohort.is_some().then(|| rollout.to_string());
                    effective.v2 = Some(v2.demand());
                    effective.when = when.iter().map(in_words).collect();
                    effective.ticket = ticket.as_ref().map(ToString::to_string);
                }
            }
        }
        RowKind::Session => effective.decides = "session",
        RowKind::Public => effective.decides = "public",
        RowKind::Machine => effective.decides = "machine",
        RowKind::Upstream => effective.decides = "upstream",
        RowKind::Gone => effective.decides = "gone",
    }
    effective
}

fn in_words(rule: &BodyRule) -> String {
    let field = match &rule.field {
        BodyField::Json(pointer) => pointer,
        BodyField::Form(field) => field,
    };
    format!("{} where `{field}` is `{}`", rule.requires, rule.equals)
}

fn flags(row: &Row) -> Vec<&'static str> {
    let flags = [
        (matches!(row.kind, RowKind::Gated { machine: true, .. }), "machine-or-session"),
        (row.totp == Some(Totp::Elevation), "totp-elevation"),
        (row.totp == Some(Totp::Inline), "totp-inline"),
        (row.websocket, "websocket"),
        (row.stream, "stream"),
        (row.cors, "cors"),
        (row.gate, "gate"),
        (row.unauthenticated == Unauthenticated::Status401, "unauthenticated-401"),
        (row.unauthenticated == Unauthenticated::Status403, "unauthenticated-403"),
        (row.forbidden == Forbidden::Redirect, "forbidden-302"),
        (row.freshness == Some(Freshness::Push), "push"),
        (row.freshness == Some(Freshness::Strict), "strict"),
    ];
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect()
}
