//! The last use of what a grant brings, as far as the decision log knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::mapping::Mapping;
use policy::rbac::catalog::Catalog;
use store::access_grants::AccessGrant;

/// When a request of each admin was last allowed on a row that asks for a role or permission, by that role's or permission's name.
pub struct Uses<'u>(BTreeMap<(&'u str, &'u str), DateTime<Utc>>);

impl<'u> Uses<'u> {
    /// From `(admin, route, time)` of allowed requests, in any order. `mapping` specifies which rows ask for which rights.
    pub fn new(
        mapping: &'u Mapping,
        allowed: impl IntoIterator<Item = (&'u str, &'u str, DateTime<Utc>)>,
    ) -> Uses<'u> {
        let mut required: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in mapping.rows() {
            let names = row.kind.requirements().into_iter().map(|requirement| &**requirement.name());
            required.entry(&row.route).or_default().extend(names);
        }
        let mut last: BTreeMap<(&str, &str), DateTime<Utc>> = BTreeMap::new();
        for (admin, route, used_at) in allowed {
            for name in required.get(route).into_iter().flatten() {
                let at = last.entry((admin, name)).or_insert(used_at);
                *at = (*at).max(used_at);
            }
        }
        Uses(last)
    }

    /// The last use of a role or permission that a grant brings. A use counts for each grant that brings it.
    pub fn last(&self, grant: &AccessGrant, catalog: &Catalog) -> Option<DateTime<Utc>> {
        let roles = roles_of(grant, catalog);
        let permissions = catalog.permissions_of(&roles);
        let names = roles.iter().chain(&permissions);
        names.filter_map(|name| self.0.get(&(grant.admin.as_str(), &**name)).copied()).max()
    }
}

/// Every role that a grant brings.
pub fn roles_of(grant: &AccessGrant, catalog: &Catalog) -> BTreeSet<Arc<str>> {
    match (&grant.group, &grant.role) {
        (Some(group), _) => catalog.roles_of_group(group),
        (None, Some(role)) => catalog.with_inherited([Arc::from(role.as_str())]),
        (None, None) => BTreeSet::new(),
    }
}
