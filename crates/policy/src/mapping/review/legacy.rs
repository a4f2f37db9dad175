//! The legacy roles of the table, compared with the roles that admins and machines hold.

use std::collections::BTreeSet;

use super::file::key_span;
use crate::diagnostic::{Diagnostic, closest};
use crate::mapping::catalog_check::place;
use crate::mapping::{Mapping, Row, RowKind};
use crate::rbac::LegacyRole;

/// If the file declares its roles, its rows were compared with the declaration at parsing; this finds held roles that
/// the file does not declare. In any other file, a role without a holder may be a typing error. If no role has a
/// holder, nothing can be compared.
pub(super) fn compared_with_held(mapping: &Mapping, held: &BTreeSet<LegacyRole>) -> Vec<Diagnostic> {
    if held.is_empty() {
        return Vec::new();
    }
    match mapping.declared_roles() {
        Some(declared) => held.difference(declared).map(|role| undeclared(mapping, role, declared)).collect(),
        None => mapping
            .legacy_roles()
            .into_iter()
            .filter(|role| !held.contains(*role))
            .filter_map(|role| unheld(mapping, role, held))
            .collect(),
    }
}

fn undeclared(mapping: &Mapping, role: &LegacyRole, declared: &BTreeSet<LegacyRole>) -> Diagnostic {
    let finding = Diagnostic::new(
        "undeclared-legacy-role",
        key_span(mapping.source(), &["legacy_roles"]),
        format!("somebody holds the legacy role `{role}`, which `legacy_roles` does not declare"),
    );
    match closest(role.as_str(), declared.iter().map(LegacyRole::as_str)) {
        Some(near) => finding.suggest(format!(
            "correct the admin's or token's role if `{near}` is meant, or declare `{role}` too"
        )),
        None => finding.suggest("declare it too: no row can accept it until then"),
    }
}

/// A finding at the first row that accepts the role.
fn unheld(mapping: &Mapping, role: &LegacyRole, held: &BTreeSet<LegacyRole>) -> Option<Diagnostic> {
    let accepts = |row: &&Row| matches!(&row.kind, RowKind::Gated { legacy: Some(legacy), .. } if legacy.contains(role));
    let rows: Vec<&Row> = mapping.rows().iter().filter(accepts).collect();
    let accepting = match rows.as_slice() {
        [] => return None,
        [row] => format!("`{}` accepts", row.route),
        [first, ..] => format!("{} rows accept, the first being `{}`", rows.len(), first.route),
    };
    let finding = Diagnostic::new(
        "unheld-legacy-role",
        place(rows.first()?),
        format!("nobody holds the legacy role `{role}`, which {accepting}"),
    );
    Some(match closest(role.as_str(), held.iter().map(LegacyRole::as_str)) {
        Some(near) => finding.suggest(format!("did you mean `{near}`?")),
        None => {
            finding.suggest("correct the role, or declare every role that exists with `legacy_roles = [...]`")
        }
    })
}
