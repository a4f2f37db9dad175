//! Who there is and what the tables of roles define, as of one moment, for reports about everybody.

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::LegacyRole;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::Person;
use workbench::impact::profile::LegacyAs;

use crate::store::{SharedStore, StoreError};

/// Roles, groups, and everybody who was granted any.
pub struct Registry {
    pub catalog: Catalog,
    pub people: Vec<Person>,
}

/// It could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the access tables kept changing while they were read: try again")]
    Changing,
}

impl Registry {
    /// Reads both as of one epoch; `now` says what has ended.
    ///
    /// # Errors
    ///
    /// The database did not answer, or the tables changed each time while they were read.
    pub async fn read(store: &SharedStore, now: DateTime<Utc>) -> Result<Registry, RegistryError> {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            let before = store.control().await?.epoch;
            let registry = Registry { catalog: store.catalog().await?, people: store.census(now).await? };
            // People log in all the while; who holds what does not change with it.
            if store.control_since(Some(before)).await?.only_sessions_changed_since(before) {
                return Ok(registry);
            }
        }
        Err(RegistryError::Changing)
    }
}

/// `superadmin=raxx-platform-admins`, or `readonly=` for nobody.
#[derive(Clone, Debug)]
pub struct LegacyAsArgument {
    role: LegacyRole,
    group: Option<Arc<str>>,
}

impl FromStr for LegacyAsArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, group) = text.split_once('=').ok_or("write it as ROLE=GROUP")?;
        let known = LegacyRole::ALL.map(LegacyRole::as_str).join(", ");
        let role =
            LegacyRole::parse(role).ok_or(format!("`{role}` is not a legacy role; they are {known}"))?;
        Ok(LegacyAsArgument { role, group: (!group.is_empty()).then(|| group.into()) })
    }
}

/// There is no such group: a report would say that its people lose everything.
#[derive(Debug, thiserror::Error)]
#[error("there is no group `{group}`; there are {known}")]
pub struct UnknownGroup {
    group: Arc<str>,
    known: String,
}

/// Gathers what is said of the legacy roles.
///
/// # Errors
///
/// A group that does not exist.
pub fn legacy_as(arguments: &[LegacyAsArgument], catalog: &Catalog) -> Result<LegacyAs, UnknownGroup> {
    let mut gathered = LegacyAs::new();
    for LegacyAsArgument { role, group } in arguments {
        let groups = gathered.entry(*role).or_default();
        let Some(group) = group else { continue };
        if !catalog.groups.contains(group) {
            let known = catalog.groups.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            return Err(UnknownGroup { group: group.clone(), known });
        }
        groups.insert(group.clone());
    }
    Ok(gathered)
}
