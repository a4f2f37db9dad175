//! Remarks about a single row.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::mapping::catalog_check::place;
use crate::mapping::{ClusterMode, Mapping, Row, RowKind, Totp, V2Gate};
use crate::method::MethodSet;
use crate::rbac::Requirement;
use crate::rbac::catalog::Catalog;

pub(super) fn remarks(mapping: &Mapping, row: &Row, catalog: Option<&Catalog>) -> Vec<Diagnostic> {
    let mut remarks = Vec::new();
    remarks.extend(foreign_variable(row));
    remarks.extend(row.totp.map(|totp| totp_marker(row, totp)));
    remarks.extend(row.unreviewed.as_deref().map(|reason| unreviewed(row, reason)));
    let RowKind::Gated { legacy, v2, .. } = &row.kind else { return remarks };
    match v2 {
        V2Gate::Undecided { question, options } => remarks.push(undecided(row, question, options, catalog)),
        V2Gate::Requires { base, also, .. } if also.iter().all(only_reads) => {
            remarks.extend(read_role(row, base));
        }
        V2Gate::Requires { .. } => {}
    }
    if row.exists_by_v2_alone() {
        return remarks;
    }
    if legacy.is_none() {
        remarks.push(without_legacy_gate(row, mapping.rollout_of(row).mode));
    } else if row.cluster.is_none() {
        remarks.push(without_cluster(row));
    }
    remarks
}

/// `/orders/:oid` and `/orders/{oid}`, the variable syntax of other frameworks: here they are plain text.
fn foreign_variable(row: &Row) -> Option<Diagnostic> {
    let name = |segment: &str| -> Option<String> {
        let of_braces = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let name = of_braces.or_else(|| segment.strip_prefix(':'))?;
        let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        (is_name && begins).then(|| name.to_owned())
    };
    // The text of a variable itself is left to Flask.
    let expression =
        |segment: &&str| !segment.contains('<') && segment.contains('[') && segment.contains(']');
    if let Some(segment) = row.pattern.as_str().split('/').find(expression) {
        let message =
            format!("`{}` is for the text `{segment}` alone, and no regular expression", row.pattern);
        let finding = Diagnostic::new("foreign-variable", place(row), message);
        return Some(finding.suggest("a number is written `<int:name>`, any text `<name>`"));
    }
    let segment = row.pattern.as_str().split('/').find(|segment| name(segment).is_some())?;
    let meant = row.pattern.as_str().replacen(segment, &format!("<{}>", name(segment)?), 1);
    let message = format!("`{}` is for the text `{segment}` alone, and no variable", row.pattern);
    Some(
        Diagnostic::new("foreign-variable", place(row), message)
            .suggest(format!("a variable is written `{meant}`")),
    )
}

/// Cutover design, I-6: an operator has to choose.
fn undecided(
    row: &Row,
    question: &str,
    options: &BTreeMap<String, String>,
    catalog: Option<&Catalog>,
) -> Diagnostic {
    let option = |(letter, role): (&String, &String)| {
        let is_missing = catalog.is_some_and(|catalog| !catalog.roles.contains(role.as_str()));
        format!("{letter}: {role}{}", if is_missing { ", which needs a migration" } else { "" })
    };
    let options: Vec<String> = options.iter().map(option).collect();
    let choices = match options.is_empty() {
        true => String::new(),
        false => format!(" ({})", options.join("; ")),
    };
    Diagnostic::new(
        "undecided",
        place(row),
        format!("`{}` is undecided ({question}): the legacy gate decides", row.route),
    )
    .suggest(format!("have an operator choose{choices}, then write `role` and `decided`"))
}

/// A row that `import` could not turn into a gate.
fn unreviewed(row: &Row, reason: &str) -> Diagnostic {
    Diagnostic::new("unreviewed-row", place(row), format!("`{}` is left to Console: {reason}", row.route)).suggest(
        "write `legacy`, `public`, `session` or `machine`; where Console is to decide, remove `unreviewed`",
    )
}

/// Cutover design, I-3 and I-8: the chain stays in Console, after the role check.
fn totp_marker(row: &Row, totp: Totp) -> Diagnostic {
    let how = match totp {
        Totp::Elevation => "by its decorator",
        Totp::Inline => "in its view",
    };
    Diagnostic::new(
        "totp-marker",
        place(row),
        format!("`{}`: Console requires TOTP {how}, after the gate", row.route),
    )
}

/// The concern of AMBIGUOUS-3: "a write action mapped to a read role". `*` means "the document states no method", so it
/// gives no information about writing.
fn read_role(row: &Row, requirement: &Requirement) -> Option<Diagnostic> {
    let writes: MethodSet = row.methods.iter().filter(|method| !method.is_safe()).collect();
    if row.methods == MethodSet::ALL || writes.is_empty() || !only_reads(requirement) {
        return None;
    }
    let verb = if writes.iter().nth(1).is_none() { "changes" } else { "change" };
    Some(
        Diagnostic::new(
            "read-role-on-mutation",
            place(row),
            format!("`{}`: {writes} {verb} data, but the {requirement} is for reading", row.route),
        )
        .suggest("use a role that allows changes, or have an operator confirm this one"),
    )
}

/// Whether the documents call this a role for reading. Roles are named `<app>-<resource>-<level>` (RBAC V2 design,
/// 4.2). A role with the level `read` is one, and so is every role for the resource `audit` except `write`:
/// `console-audit-user` is "a read role" (AMBIGUOUS-3), and the others "read" events (section 3.3). `console-user` is
/// not: the documents give it changes, such as the status page's settings. Permissions are named
/// `<app>:<resource>:<action>`.
fn only_reads(requirement: &Requirement) -> bool {
    match requirement {
        Requirement::Role(name) => {
            let words: Vec<&str> = name.split('-').collect();
            match words.as_slice() {
                [_, .., "read"] => true,
                [_, "audit", level] => *level != "write",
                _ => false,
            }
        }
        Requirement::Permission(name) => {
            let action = name.rsplit(':').next().unwrap_or_default();
            action == "read" || action.starts_with("read-")
        }
    }
}

/// A row that only V2 can decide: the kill-switch has no legacy gate to fall back to (cutover design, I-5).
fn without_legacy_gate(row: &Row, mode: ClusterMode) -> Diagnostic {
    match mode {
        ClusterMode::V2 => Diagnostic::new(
            "no-way-back",
            place(row),
            format!("`{}` has no legacy gate: with FLAG_RBAC_V2=0 every request is denied", row.route),
        ),
        ClusterMode::Legacy | ClusterMode::Shadow => Diagnostic::new(
            "closed-row",
            place(row),
            format!("`{}` has no legacy gate and V2 does not decide: every request is denied", row.route),
        ),
    }
    .suggest("add `legacy = [...]` with today's roles, if there are any")
}

fn without_cluster(row: &Row) -> Diagnostic {
    Diagnostic::new(
        "no-cluster",
        place(row),
        format!("`{}` is in no cluster: its V2 role never decides", row.route),
    )
    .suggest(format!("add a `cluster` to `[blueprints.{}]`", row.blueprint))
}
