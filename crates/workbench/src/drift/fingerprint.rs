//! The content that a sign-off covers, as two digests that can be stored and compared.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::mapping::{BodyField, BodyRule, Row, RowKind, V2Gate};
use policy::rbac::LegacyRole;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::Person;
use serde_json::{Value, json};

use super::sha256;

/// The requirement of the mapping and the access of the caller, each as a SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    pub demand_sha256: String,
    pub grants_sha256: String,
}

/// The fingerprint of a row's requirement, wherever it is in the file; for a deleted row, of the fact that it is
/// deleted.
pub(super) fn of_demand(row: Option<&Row>) -> String {
    sha256(&row.map_or(Value::Null, |row| demand(&row.kind)).to_string())
}

fn demand(kind: &RowKind) -> Value {
    let word = |word: &str| json!({ "kind": word });
    match kind {
        RowKind::Gated { legacy, v2, machine } => json!({
            "kind": "gated",
            "legacy": legacy.as_deref().map(legacy_names),
            "machine": machine,
            "v2": v2_gate(v2),
        }),
        RowKind::Session => word("session"),
        RowKind::Public => word("public"),
        RowKind::Machine => word("machine"),
        RowKind::Upstream => word("upstream"),
        RowKind::Gone => word("gone"),
    }
}

fn v2_gate(v2: &V2Gate) -> Value {
    match v2 {
        V2Gate::Undecided { .. } => Value::Null,
        V2Gate::Requires { base, also, when, ticket } => {
            let mut demand =
                json!({ "base": base.to_string(), "when": when.iter().map(body_rule).collect::<Vec<_>>() });
            // Only if there are any, so that earlier sign-offs stay valid.
            if !also.is_empty() {
                demand["also"] = also.iter().map(ToString::to_string).collect::<Vec<_>>().into();
            }
            if let Some(rule) = ticket {
                demand["ticket"] = rule.to_string().into();
            }
            demand
        }
    }
}

fn body_rule(BodyRule { field, equals, requires }: &BodyRule) -> Value {
    let (kind, name) = match field {
        BodyField::Json(pointer) => ("json", pointer),
        BodyField::Form(name) => ("form", name),
    };
    json!([kind, name, equals, requires.to_string()])
}

/// The fingerprint of all access of a person; for a deleted or disabled one, of that fact.
pub(super) fn of_grants(person: Option<&Person>, catalog: &Catalog) -> String {
    let grants = person.map_or(Value::Null, |person| {
        let roles = person.roles(catalog);
        json!({
            "groups": names(&person.groups),
            "legacy": legacy_names(&person.legacy),
            "permissions": names(&catalog.permissions_of(&roles)),
            "roles": names(&roles),
        })
    });
    sha256(&grants.to_string())
}

/// The roles of the design's own Console first, in the same order as in sign-offs of earlier versions, so that those
/// stay valid.
fn legacy_names(roles: &BTreeSet<LegacyRole>) -> Vec<&str> {
    const FIRST: [&str; 4] = ["superadmin", "ops", "support", "readonly"];
    let place = |name: &&str| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len());
    let mut names: Vec<&str> = roles.iter().map(LegacyRole::as_str).collect();
    names.sort_by_key(place);
    names
}

fn names(set: &BTreeSet<Arc<str>>) -> Vec<&str> {
    set.iter().map(AsRef::as_ref).collect()
}
