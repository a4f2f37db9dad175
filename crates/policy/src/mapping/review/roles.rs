//! Roles and permissions that exist but that no group has (open question 5 of the cutover design).

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::mapping::catalog_check::place;
use crate::mapping::{ClusterMode, Mapping, Row};
use crate::rbac::Requirement;
use crate::rbac::catalog::Catalog;

/// Requirements of rows that no group holds and no cluster enforces yet; once one is enforced, this is the error
/// `unreachable`. Also roles that include a requirement of a row, as `console-ops` does: the intended holders of such a
/// role get nothing.
pub(super) fn without_a_group(mapping: &Mapping, catalog: &Catalog) -> Vec<Diagnostic> {
    let mut asked: BTreeMap<&Requirement, Vec<&Row>> = BTreeMap::new();
    // A row's requirement for a ticket is granted for the ticket, and not through a group.
    for row in mapping.rows().iter().filter(|row| row.ticket().is_none()) {
        for requirement in row.kind.requirements() {
            asked.entry(requirement).or_default().push(row);
        }
    }
    let unheld = |requirement: &Requirement| catalog.groups_that_meet(requirement).is_empty();
    let mut remarks = Vec::new();
    for (requirement, rows) in &asked {
        let is_enforced = rows.iter().any(|row| mapping.rollout_of(row).mode == ClusterMode::V2);
        if catalog.defines(requirement) && !is_enforced && unheld(requirement) {
            remarks.extend(rows.first().map(|row| asked_for(requirement, row, rows.len())));
        }
    }
    for role in &catalog.roles {
        let requirement = Requirement::Role(role.clone());
        if asked.contains_key(&requirement) || !unheld(&requirement) {
            continue;
        }
        let roles = catalog.with_inherited([role.clone()]);
        let permissions = catalog.permissions_of(&roles);
        let met = |requirement: &&Requirement| match requirement {
            Requirement::Role(name) => roles.contains(name),
            Requirement::Permission(name) => permissions.contains(name),
        };
        let mut opened: Vec<&Row> =
            asked.keys().copied().filter(met).flat_map(|met| asked[met].clone()).collect();
        opened.sort_by_key(|row| row.offset);
        remarks.extend(opened.first().map(|row| brought_along(role, row, opened.len())));
    }
    remarks
}

fn asked_for(requirement: &Requirement, row: &Row, count: usize) -> Diagnostic {
    let asking = match count {
        1 => format!("`{}` requires", row.route),
        _ => format!("{count} rows require, the first being `{}`", row.route),
    };
    Diagnostic::new(
        "role-without-group",
        place(row),
        format!("no group has the {requirement}, which {asking}"),
    )
    .suggest("give it to a group before the cluster leaves `legacy`")
}

fn brought_along(role: &str, row: &Row, count: usize) -> Diagnostic {
    let opened = match count {
        1 => format!("`{}`", row.route),
        _ => format!("{count} rows, the first being `{}`", row.route),
    };
    Diagnostic::new(
        "role-without-group",
        place(row),
        format!("no group has the role {role}, which would give access to {opened}"),
    )
    .suggest("give it to a group if anyone should have it")
}
