//! Checks a mapping against the existing roles, before it is activated.

use std::collections::BTreeSet;

use crate::rbac::Requirement;
use crate::rbac::catalog::Catalog;

use super::approval::ApprovalRule;
use super::rollout::ClusterMode;
use super::table::{Mapping, Row};
use crate::diagnostic::{Diagnostic, Diagnostics, closest};

impl Mapping {
    /// Finds rows that this database could not decide: roles and permissions that do not exist, and rows of an enforced
    /// cluster that no group can reach.
    ///
    /// # Errors
    ///
    /// All such rows at once.
    pub fn check_against(&self, path: &str, catalog: &Catalog) -> Result<(), Diagnostics> {
        let mut findings = Vec::new();
        for row in self.rows() {
            for requirement in row.kind.requirements() {
                if !catalog.defines(requirement) {
                    findings.push(missing(row, requirement, catalog));
                } else if row.ticket().is_none()
                    && self.rollout_of(row).mode == ClusterMode::V2
                    && catalog.groups_that_meet(requirement).is_empty()
                {
                    findings.push(unreachable(row, requirement));
                }
            }
            // A grant for a ticket is of a role, whatever roles the groups have, so these requirements only have to
            // exist.
            let without = row.ticket().into_iter().flat_map(|rule| &rule.without);
            for role in without.chain(&row.notifies) {
                if !catalog.defines(role) {
                    findings.push(missing(row, role, catalog));
                }
            }
        }
        for (cluster, rollout) in self.clusters() {
            for group in rollout.cohort.iter().flat_map(|cohort| &cohort.groups) {
                if !catalog.groups.contains(group) {
                    findings.push(missing_group(self.source(), cluster, group, catalog));
                }
            }
        }
        for (group, rule) in self.approvals() {
            for name in std::iter::once(group).chain(&rule.by).filter(|name| !catalog.groups.contains(*name))
            {
                findings.push(missing_approval_group(rule, group, name, catalog));
            }
        }
        if let Some(rule) = self.approval_of_edits() {
            for name in rule.by.iter().filter(|name| !catalog.groups.contains(*name)) {
                findings.push(missing_approval_group(rule, "edits", name, catalog));
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(Diagnostics::new(path, self.source(), findings)) }
    }
}

impl Mapping {
    /// Finds rows with an upstream that the settings do not have.
    ///
    /// # Errors
    ///
    /// All such rows at once.
    pub fn check_upstreams(&self, path: &str, known: &BTreeSet<String>) -> Result<(), Diagnostics> {
        let findings: Vec<Diagnostic> = self
            .rows()
            .iter()
            .filter_map(|row| Some((row, row.upstream.as_deref()?)))
            .filter(|(_, name)| !known.contains(*name))
            .map(|(row, name)| unknown_upstream(row, name, known))
            .collect();
        if findings.is_empty() { Ok(()) } else { Err(Diagnostics::new(path, self.source(), findings)) }
    }
}

fn unknown_upstream(row: &Row, name: &str, known: &BTreeSet<String>) -> Diagnostic {
    let finding = Diagnostic::new(
        "unknown-upstream",
        place(row),
        format!("`{}` leads to the upstream `{name}`, which the settings do not have", row.route),
    );
    match closest(name, known.iter().map(AsRef::as_ref)) {
        Some(near) => finding.suggest(format!("did you mean `{near}`?")),
        None => finding.suggest(format!("add `[upstreams.{name}]` with its `servers` to gate.toml")),
    }
}

/// The place of a row's name: its key as written, including the quotes.
pub(super) fn place(row: &Row) -> std::ops::Range<usize> {
    row.offset..row.offset + row.route.len() + 2
}

fn missing(row: &Row, requirement: &Requirement, catalog: &Catalog) -> Diagnostic {
    let (code, known) = match requirement {
        Requirement::Role(_) => ("missing-role", &catalog.roles),
        Requirement::Permission(_) => ("missing-permission", &catalog.permissions),
    };
    let finding = Diagnostic::new(
        code,
        place(row),
        format!("`{}` requires the {requirement}, which the database does not have", row.route),
    );
    match closest(requirement.name(), known.iter().map(AsRef::as_ref)) {
        Some(near) => finding.suggest(format!("did you mean `{near}`?")),
        None => finding.suggest("create it in a migration, or correct the name"),
    }
}

/// A misspelt group, which makes a cohort smaller than it appears.
fn missing_group(source: &str, cluster: &str, group: &str, catalog: &Catalog) -> Diagnostic {
    let start = source.find(&format!("\"{group}\"")).unwrap_or(0);
    let finding = Diagnostic::new(
        "missing-group",
        start..(start + group.len() + 2).min(source.len()),
        format!("the cohort of `{cluster}` names the group `{group}`, which the database does not have"),
    );
    match closest(group, catalog.groups.iter().map(AsRef::as_ref)) {
        Some(near) => finding.suggest(format!("did you mean `{near}`?")),
        None => finding.suggest("correct the name"),
    }
}

/// An approval rule that names a group which does not exist: no request could be made, or none could be approved.
fn missing_approval_group(rule: &ApprovalRule, group: &str, name: &str, catalog: &Catalog) -> Diagnostic {
    let finding = Diagnostic::new(
        "missing-group",
        rule.offset..rule.offset + 1,
        format!("the approval of `{group}` names the group `{name}`, which the database does not have"),
    );
    match closest(name, catalog.groups.iter().map(AsRef::as_ref)) {
        Some(near) => finding.suggest(format!("did you mean `{near}`?")),
        None => finding.suggest("correct the name"),
    }
}

fn unreachable(row: &Row, requirement: &Requirement) -> Diagnostic {
    Diagnostic::new(
        "unreachable",
        place(row),
        format!(
            "`{}` is enforced by V2 and requires the {requirement}, which no group has: every request would be denied",
            row.route
        ),
    )
    .suggest("give the role to a group first, or leave the cluster in `legacy` or `shadow`")
}
