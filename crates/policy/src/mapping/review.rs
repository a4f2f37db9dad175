//! Findings that are not mistakes in a valid mapping, but worth a look before it goes live.
//!
//! A mistake prevents a file from being activated ([`Mapping::parse`], [`Mapping::check_against`]); a remark never
//! does.

mod file;
mod legacy;
mod own;
mod prefixes;
mod reach;
mod roles;
mod rows;

use std::collections::BTreeSet;

use super::table::Mapping;
use crate::diagnostic::Diagnostic;
use crate::method::Method;
use crate::rbac::LegacyRole;
use crate::rbac::catalog::Catalog;

impl Mapping {
    /// Remarks about the table, in the order of the file. Without a `catalog`, remarks that depend on the existing
    /// roles are left out.
    pub fn review(&self, catalog: Option<&Catalog>) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        remarks.extend(file::unmapped_is_forwarded(self));
        remarks.extend(file::clusters_that_decide_nothing(self));
        for row in self.rows() {
            remarks.extend(rows::remarks(self, row, catalog));
        }
        remarks.extend(prefixes::remarks(self));
        remarks.extend(reach::rows_that_never_match(self));
        if let Some(catalog) = catalog {
            remarks.extend(roles::without_a_group(self, catalog));
        }
        remarks.sort_by_key(|remark| remark.span.start);
        remarks
    }

    /// Remarks about rows with `gate = true` that lead to no route of the gate. `routes` are its routes: a method, and
    /// a path of that form.
    pub fn review_own_routes(&self, routes: &[(Method, String)]) -> Vec<Diagnostic> {
        own::rows_without_a_route(self, routes)
    }

    /// Remarks about the table's legacy roles, compared with those that admins and machine tokens hold.
    pub fn review_legacy_roles(&self, held: &BTreeSet<LegacyRole>) -> Vec<Diagnostic> {
        legacy::compared_with_held(self, held)
    }
}

#[cfg(test)]
mod tests;
