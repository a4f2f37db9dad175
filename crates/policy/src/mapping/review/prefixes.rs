//! Remarks about prefix rows (`/console/beta/*`): an exact row takes precedence over a prefix, method by method. That
//! surprises in both directions.

use std::collections::BTreeMap;

use super::reach::paths_of;
use crate::diagnostic::{Diagnostic, Lines};
use crate::mapping::catalog_check::place;
use crate::mapping::pattern::{Part, Pattern, PatternKind};
use crate::mapping::table::{Found, Mapping, Row};
use crate::method::{Method, MethodSet};

pub(super) fn remarks(mapping: &Mapping) -> Vec<Diagnostic> {
    let prefixes: Vec<&Row> = mapping.rows().iter().filter(|row| is_prefix(row)).collect();
    if prefixes.is_empty() {
        return Vec::new();
    }
    let lines = Lines::new(mapping.source());
    let fallen = mapping.rows().iter().flat_map(|row| methods_that_fall(mapping, row, &lines));
    let outranked = prefixes.iter().flat_map(|prefix| rows_that_come_before(mapping, prefix, &lines));
    fallen.chain(outranked).collect()
}

fn is_prefix(row: &Row) -> bool {
    row.pattern.kind() == PatternKind::Prefix
}

/// Methods that a row lacks and that a prefix above it answers under another rule: `GET /auth/keys` requires a role,
/// and `POST /auth/keys` goes to the public `/auth/*`.
fn methods_that_fall(mapping: &Mapping, row: &Row, lines: &Lines<'_>) -> Vec<Diagnostic> {
    let Some(path) = paths_of(&row.pattern).first else { return Vec::new() };
    let mut fallen: BTreeMap<usize, (&Row, MethodSet)> = BTreeMap::new();
    for method in Method::ALL.into_iter().filter(|method| !row.methods.served().contains(*method)) {
        if let Found::Row(other) = mapping.find(&path, method)
            && is_prefix(other)
            && other.kind != row.kind
            // The gate has no route there: it answers 405.
            && !(row.served_by_gate() && other.served_by_gate())
        {
            let (_, methods) = fallen.entry(other.offset).or_insert((other, MethodSet::EMPTY));
            *methods = methods.with(method);
        }
    }
    let remark = |(prefix, methods): &(&Row, MethodSet)| {
        Diagnostic::new(
            "prefix-shadow",
            place(row),
            format!(
                "{methods} of `{}` {} to {}, which requires something else",
                row.pattern,
                if methods.iter().nth(1).is_none() { "falls" } else { "fall" },
                named(prefix, lines),
            ),
        )
        .suggest("add a row for these methods")
    };
    fallen.values().map(remark).collect()
}

/// Exact rows whose variables take paths away from a prefix: `GET /console/<page>/<id>` answers for `/console/beta/7`,
/// and `* /console/beta/*` does not.
fn rows_that_come_before(mapping: &Mapping, prefix: &Row, lines: &Lines<'_>) -> Vec<Diagnostic> {
    let takes = |row: &&Row| {
        let methods = row.methods.served().intersection(prefix.methods.served());
        let only_options = methods == MethodSet::EMPTY.with(Method::Options);
        !only_options && row.kind != prefix.kind && takes_paths_of(&row.pattern, &prefix.pattern)
    };
    let remark = |row: &Row| {
        Diagnostic::new(
            "prefix-outranked",
            place(prefix),
            format!(
                "{} takes precedence over the prefix `{}` on some of its paths, and requires something else",
                named(row, lines),
                prefix.route
            ),
        )
        .suggest("add exact rows for the paths that matter")
    };
    mapping.rows().iter().filter(|row| !is_prefix(row)).filter(takes).map(remark).collect()
}

/// Whether a variable of an exact pattern can take the value that a prefix fixes.
fn takes_paths_of(exact: &Pattern, prefix: &Pattern) -> bool {
    let mut by_variable = false;
    for (index, fixed) in prefix.parts().iter().enumerate() {
        let Part::Static(fixed) = fixed else { return false };
        match exact.parts().get(index) {
            Some(Part::Static(text)) if text == fixed => {}
            Some(Part::Dynamic(part)) if part.takes_rest() => {
                return fixed.starts_with(part.leading_literal())
                    || part.leading_literal().starts_with(&**fixed);
            }
            Some(Part::Dynamic(part)) if part.fits(fixed) => by_variable = true,
            _ => return false,
        }
    }
    by_variable
}

fn named(row: &Row, lines: &Lines<'_>) -> String {
    format!("`{}` (line {})", row.route, lines.position(row.offset).0)
}
