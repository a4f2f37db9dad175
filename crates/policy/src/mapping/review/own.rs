//! Remarks about rows that the gate itself serves.

use crate::diagnostic::Diagnostic;
use crate::mapping::catalog_check::place;
use crate::mapping::{Found, Mapping};
use crate::method::Method;

/// Rows with `gate = true` that decide none of the gate's routes: a permitted request gets 404.
pub(super) fn rows_without_a_route(mapping: &Mapping, routes: &[(Method, String)]) -> Vec<Diagnostic> {
    let decides = |offset: usize| {
        routes.iter().any(|(method, path)| match mapping.find(path, *method) {
            Found::Row(row) => row.offset == offset,
            _ => false,
        })
    };
    let rows = mapping.rows().iter().filter(|row| row.served_by_gate() && !decides(row.offset));
    rows.map(|row| {
        Diagnostic::new(
            "unknown-gate-route",
            place(row),
            format!("the gate itself has no route for `{}`: every request gets 404", row.route),
        )
        .suggest("correct the path, or remove `gate = true`: docs/rbac-api.md lists the gate's routes")
    })
    .collect()
}
