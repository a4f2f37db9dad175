//! The findings in a mapping, as `check` and the API report them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use grants::registry::Registry;
use policy::diagnostic::Diagnostic;
use policy::mapping::Mapping;
use policy::mapping::order::Untimely;
use policy::method::Method;
use policy::rbac::LegacyRole;
use policy::rbac::catalog::Catalog;
use store::{SharedStore, StoreError};
use workbench::report::rules;

use super::rolled_back::{RolledBack, rolled_back};
use super::untimely;

/// What the database has for a mapping.
pub struct Known {
    pub catalog: Catalog,
    /// The legacy roles that at least one caller holds.
    pub held: BTreeSet<LegacyRole>,
    /// The clusters that the mapping would flip before their time.
    pub untimely: Vec<Untimely>,
    /// The rollback in force.
    pub rolled_back: Option<RolledBack>,
}

impl Known {
    /// Reads it for a mapping of a gate that runs `running`.
    ///
    /// # Errors
    ///
    /// The database is away.
    pub async fn read(
        store: &SharedStore,
        mapping: &Mapping,
        registry: &Registry,
        running: &Mapping,
        now: DateTime<Utc>,
    ) -> Result<Known, StoreError> {
        Ok(Known {
            catalog: registry.catalog.as_ref().clone(),
            held: registry.people.iter().flat_map(|person| person.legacy.iter().cloned()).collect(),
            untimely: untimely(store, mapping, Some(running), now).await?,
            rolled_back: rolled_back(store, mapping).await?,
        })
    }
}

/// The findings in a mapping that can be read, the most severe first. `own_routes` are those that the gate serves itself;
/// `upstreams` the names of its servers, where they are known.
pub fn findings_of(
    name: &str,
    mapping: &Mapping,
    known: Option<&Known>,
    (upstreams, own_routes): (Option<&BTreeSet<String>>, &[(Method, String)]),
) -> Vec<Diagnostic> {
    let catalog = known.map(|known| &known.catalog);
    let mut found = mapping.review(catalog);
    found.extend(mapping.review_own_routes(own_routes));
    if let Some(Err(mistakes)) = catalog.map(|catalog| mapping.check_against(name, catalog)) {
        found.extend_from_slice(mistakes.findings());
    }
    if let Some(Err(mistakes)) = upstreams.map(|known| mapping.check_upstreams(name, known)) {
        found.extend_from_slice(mistakes.findings());
    }
    if let Some(known) = known {
        found.extend(mapping.review_legacy_roles(&known.held));
        found.extend(known.untimely.iter().map(Untimely::finding));
        found.extend(known.rolled_back.as_ref().and_then(RolledBack::finding));
    }
    sorted(found)
}

/// The findings for which a gate refuses a mapping that can be read.
pub fn refusals(
    name: &str,
    mapping: &Mapping,
    known: &Known,
    upstreams: &BTreeSet<String>,
) -> Vec<Diagnostic> {
    let of_roles = mapping.check_against(name, &known.catalog).err();
    let of_servers = mapping.check_upstreams(name, upstreams).err();
    let mistakes = of_roles.iter().chain(&of_servers).flat_map(|mistakes| mistakes.findings().to_vec());
    let untimely = known.untimely.iter().filter(|one| one.excuse.is_none()).map(Untimely::finding);
    mistakes.chain(untimely).chain(known.rolled_back.as_ref().and_then(RolledBack::finding)).collect()
}

/// The most severe first, then by place.
pub fn sorted(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    found.sort_by_key(|finding| (rules::level_of(finding.code), finding.span.start));
    found
}
