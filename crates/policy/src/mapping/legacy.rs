//! Lists of legacy roles: the argument of a row's `legacy`, and the words that `legacy_roles` declares for all rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Reader, distinct};
use crate::diagnostic::{Diagnostic, closest};
use crate::rbac::LegacyRole;

/// `legacy_roles = ["superadmin", "ops"]`: the only words that rows may use. With it, a typing error in a row is found
/// without a database.
pub(super) fn declared(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<BTreeSet<LegacyRole>> {
    roles(reader, value, "legacy_roles").map(|roles| roles.into_iter().map(|(role, _)| role).collect())
}

/// A row's `legacy = ["ops", "superadmin"]`.
pub(super) fn of_row(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Arc<BTreeSet<LegacyRole>>> {
    let roles = roles(reader, value, "legacy")?;
    if let Some(declared) = reader.declared_roles.take() {
        for (role, span) in &roles {
            if !declared.contains(role) {
                reader.report(undeclared(role, span.clone(), &declared));
            }
        }
        reader.declared_roles = Some(declared);
    }
    let roles: BTreeSet<LegacyRole> = roles.into_iter().map(|(role, _)| role).collect();
    // An application has few such sets, and repeats them on each of its routes.
    if let Some(known) = reader.shared_roles.get(&roles) {
        return Some(known.clone());
    }
    let roles = Arc::new(roles);
    reader.shared_roles.insert(roles.clone());
    Some(roles)
}

fn undeclared(
    role: &LegacyRole,
    span: std::ops::Range<usize>,
    declared: &BTreeSet<LegacyRole>,
) -> Diagnostic {
    let known: Vec<&str> = declared.iter().map(LegacyRole::as_str).collect();
    let finding = Diagnostic::new(
        "unknown-legacy-role",
        span,
        format!("`legacy_roles` does not declare the legacy role `{role}`"),
    );
    match closest(role.as_str(), known.iter().copied()) {
        Some(near) => finding.suggest(format!("did you mean `{near}`?")),
        None => finding.suggest(format!("it declares {}; add the role there if it exists", known.join(", "))),
    }
}

/// Roles with their places, each once; `None` if there is a mistake, which is then already reported.
fn roles(
    reader: &mut Reader,
    value: &Spanned<DeValue<'_>>,
    key: &str,
) -> Option<Vec<(LegacyRole, std::ops::Range<usize>)>> {
    let words = reader.strings(value, key)?;
    if words.is_empty() {
        reader.report(Diagnostic::new("empty-legacy", value.span(), format!("`{key}` is an empty list")));
        return None;
    }
    let before = reader.findings.len();
    let mut roles = Vec::new();
    for word in &words {
        match word.get_ref().parse::<LegacyRole>() {
            Ok(role) => roles.push((role, word.span())),
            Err(error) => {
                reader.report(Diagnostic::new("malformed-legacy-role", word.span(), error.to_string()));
            }
        }
    }
    if distinct(roles.iter().map(|(role, _)| role)).is_err() {
        reader.report(Diagnostic::new("repeated-role", value.span(), format!("`{key}` repeats a role")));
    }
    (reader.findings.len() == before).then_some(roles)
}
