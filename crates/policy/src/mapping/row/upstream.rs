//! `upstream = "raptor"`: the server that has the route, if it is not Console. `notifies`: for which callers that
//! server has to notify the customer.

use std::collections::BTreeSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::contradiction;
use crate::diagnostic::Diagnostic;
use crate::mapping::reader::{Reader, distinct};
use crate::mapping::table::RowKind;
use crate::rbac::Requirement;

/// The characters that a name may contain: it is a key of the settings, and part of the names of variables.
fn is_plain(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(is_word)
}

/// Whether the value names an upstream; `true` means that Console itself decides.
pub(super) fn is_name(value: &Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::String(_))
}

/// The upstream that the row names; `None` for Console.
pub(super) fn named(reader: &mut Reader, table: &DeTable<'_>) -> Option<Arc<str>> {
    let value = table.get("upstream").filter(|value| is_name(value))?;
    let name = reader.shared_string(value, "upstream")?;
    if !is_plain(&name) {
        reader.report(
            Diagnostic::new(
                "bad-upstream",
                value.span(),
                format!("`{name}` cannot be the name of an upstream"),
            )
            .suggest("names have lower-case letters, digits and `-`, as in `[upstreams.raptor]`"),
        );
        return None;
    }
    for key in ["gate", "gone"] {
        if table.contains_key(key) {
            let message = format!("`upstream` and `{key}` exclude each other: no server gets the request");
            contradiction(reader, &value.span(), &message);
        }
    }
    Some(name)
}

/// `notifies = ["raptor-audit-admin"]`: the upstream has to notify the customer of requests by holders of these roles.
pub(super) fn notifies(
    reader: &mut Reader,
    table: &DeTable<'_>,
    kind: Option<&RowKind>,
) -> BTreeSet<Requirement> {
    let Some(value) = table.get("notifies") else { return BTreeSet::new() };
    if kind.is_some_and(|kind| !matches!(kind, RowKind::Gated { .. })) {
        contradiction(
            reader,
            &value.span(),
            "`notifies` is only for a row that asks for a role or a permission",
        );
    }
    if let Some(gate) = table.get("gate") {
        contradiction(
            reader,
            &gate.span(),
            "`notifies` and `gate` exclude each other: the upstream notifies",
        );
    }
    let names = match value.get_ref() {
        DeValue::String(_) => reader.string(value, "notifies").map(|role| vec![role]),
        _ => reader
            .strings(value, "notifies")
            .map(|roles| roles.into_iter().map(Spanned::into_inner).collect()),
    };
    let Some(names) = names else { return BTreeSet::new() };
    if names.is_empty() {
        reader.report(Diagnostic::new("missing-key", value.span(), "`notifies` names no role"));
    }
    let Ok(roles) = distinct(names.iter().map(|role| Requirement::Role(role.as_str().into()))) else {
        reader.report(Diagnostic::new("repeated-role", value.span(), "`notifies` names a role twice"));
        return BTreeSet::new();
    };
    roles
}
