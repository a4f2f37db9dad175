//! The effective table: every row with what decides it, as the matcher and the clusters have it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::diagnostic::Lines;
use crate::mapping::{BodyField, BodyRule, Freshness, Mapping, Row, RowKind, Totp, Unauthenticated, V2Gate};
use crate::rbac::{LegacyRole, Requirement};
use crate::report::style::COLUMNS;
use crate::report::text::{harmless, wrapped};

/// One row, with words for everything.
#[derive(Serialize)]
pub(super) struct EffectiveRow<'m> {
    line: usize,
    blueprint: &'m str,
    cluster: Option<&'m str>,
    /// What decides while FLAG_RBAC_V2 is on: `legacy`, `shadow`, `v2`, or for a row without a role its kind.
    decides: &'static str,
    methods: String,
    path: &'m str,
    legacy: Option<Vec<&'static str>>,
    v2: Option<String>,
    when: Vec<String>,
    undecided: Option<&'m str>,
    flags: Vec<&'static str>,
}

pub(super) fn rows(mapping: &Mapping) -> Vec<EffectiveRow<'_>> {
    let lines = Lines::new(mapping.source());
    mapping.rows().iter().map(|row| effective(mapping, row, lines.position(row.offset).0)).collect()
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
        undecided: None,
        flags: flags(row),
    };
    match &row.kind {
        RowKind::Gated { legacy, v2, .. } => {
            effective.legacy =
                legacy.as_ref().map(|roles| roles.iter().map(|role| LegacyRole::as_str(*role)).collect());
            match v2 {
                V2Gate::Undecided { question, .. } => {
                    effective.decides = "legacy";
                    effective.undecided = Some(question);
                }
                V2Gate::Requires { base, when } => {
                    effective.v2 = Some(Requirement::to_string(base));
                    effective.when = when.iter().map(in_words).collect();
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
        (row.unauthenticated == Unauthenticated::Status401, "unauthenticated-401"),
        (row.freshness == Some(Freshness::Push), "push"),
        (row.freshness == Some(Freshness::Strict), "strict"),
    ];
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect()
}

/// One line a row, and a second one for its gates.
pub(super) fn text(rows: &[EffectiveRow<'_>]) -> String {
    let widest = |of: fn(&EffectiveRow<'_>) -> usize| rows.iter().map(of).max().unwrap_or_default();
    let cluster = widest(|row| cluster_name(row).chars().count());
    let decides = widest(|row| row.decides.len());
    let methods = widest(|row| row.methods.len());
    let mut text = String::from("what decides while FLAG_RBAC_V2 is on:\n");
    for row in rows {
        let _ = writeln!(
            text,
            "{:cluster$}  {:decides$}  {:methods$}  {}",
            cluster_name(row),
            row.decides,
            row.methods,
            row.path
        );
        let gates = gates(row);
        if !gates.is_empty() {
            let _ = writeln!(text, "{}", wrapped(&gates, COLUMNS, 4, 8));
        }
    }
    text
}

fn cluster_name(row: &EffectiveRow<'_>) -> String {
    row.cluster.map_or_else(|| "-".to_owned(), harmless)
}

fn gates(row: &EffectiveRow<'_>) -> String {
    let mut gates = Vec::new();
    gates.extend(row.legacy.as_ref().map(|roles| format!("legacy {}", roles.join(" "))));
    gates.extend(row.v2.as_ref().map(|requirement| format!("v2 {requirement}")));
    gates.extend(row.when.iter().map(|rule| format!("and {rule}")));
    gates.extend(row.undecided.map(|question| format!("undecided {question}")));
    gates.extend(row.flags.iter().map(|flag| (*flag).to_owned()));
    gates.join("; ")
}
