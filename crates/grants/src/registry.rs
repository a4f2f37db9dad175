//! All principals and the definitions in the tables of roles, as of one moment, for reports about everyone.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::mapping::Mapping;
use policy::rbac::LegacyRole;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person, place_of};
use store::everybody::Everybody;
use store::{SharedStore, StoreError};
use workbench::impact::profile::LegacyAs;

/// Roles, groups, and every principal that was granted any.
#[derive(Clone)]
pub struct Registry {
    pub catalog: Arc<Catalog>,
    /// In the order of kind and id.
    pub people: Arc<Vec<Person>>,
}

/// The registry could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the access tables kept changing while they were read: try again")]
    Changing,
}

impl Registry {
    /// Reads both as of one epoch; `now` determines which grants have ended.
    ///
    /// # Errors
    ///
    /// The database did not answer, or the tables changed during every attempt to read them.
    pub async fn read(store: &SharedStore, now: DateTime<Utc>) -> Result<Registry, RegistryError> {
        let Everybody { catalog, people } = store.everybody(now).await?.ok_or(RegistryError::Changing)?;
        Ok(Registry { catalog, people })
    }

    /// An enabled admin or a live machine.
    pub fn person(&self, kind: CallerKind, id: &str) -> Option<&Person> {
        place_of(&self.people, kind, id).ok().map(|place| &self.people[place])
    }
}

/// `superadmin=raxx-platform-admins`, or `readonly=` for no group.
#[derive(Clone, Debug)]
pub struct LegacyAsArgument {
    role: LegacyRole,
    group: Option<Arc<str>>,
}

impl FromStr for LegacyAsArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, group) = text.split_once('=').ok_or("write it as ROLE=GROUP")?;
        let role = role.parse::<LegacyRole>().map_err(|error| error.to_string())?;
        Ok(LegacyAsArgument { role, group: (!group.is_empty()).then(|| group.into()) })
    }
}

/// A name that does not exist: a report with it would wrongly show its people losing everything.
#[derive(Debug, thiserror::Error)]
pub enum UnknownName {
    #[error("there is no group `{group}`; there are {known}")]
    Group { group: Arc<str>, known: String },
    #[error("there is no legacy role `{role}`; there are {known}")]
    LegacyRole { role: LegacyRole, known: String },
}

impl Registry {
    /// The legacy roles that these mappings name or that a principal holds.
    pub fn legacy_roles<'r>(&'r self, mappings: &[&'r Mapping]) -> BTreeSet<&'r LegacyRole> {
        let named = mappings.iter().flat_map(|mapping| mapping.legacy_roles());
        named.chain(self.people.iter().flat_map(|person| person.legacy.iter())).collect()
    }
}

/// Gathers the facts about the legacy roles.
///
/// # Errors
///
/// A group that does not exist, or a legacy role that no mapping names and no principal holds.
pub fn legacy_as(
    arguments: &[LegacyAsArgument],
    registry: &Registry,
    mappings: &[&Mapping],
) -> Result<LegacyAs, UnknownName> {
    let (catalog, roles) = (&registry.catalog, registry.legacy_roles(mappings));
    let mut gathered = LegacyAs::new();
    for LegacyAsArgument { role, group } in arguments {
        if !roles.contains(role) {
            let known = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
            return Err(UnknownName::LegacyRole { role: role.clone(), known });
        }
        let groups = gathered.entry(role.clone()).or_default();
        let Some(group) = group else { continue };
        if !catalog.groups.contains(group) {
            let known = catalog.groups.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            return Err(UnknownName::Group { group: group.clone(), known });
        }
        groups.insert(group.clone());
    }
    Ok(gathered)
}
