//! Who there is and what the registry defines, as of one moment.

use chrono::{DateTime, Utc};

use crate::rbac::catalog::Catalog;
use crate::rbac::census::Person;
use crate::store::{SharedStore, StoreError};

/// How often it is tried when the access tables change meanwhile.
const TRIES: u32 = 5;

/// Roles, groups, and everybody who was granted any.
pub struct Registry {
    pub catalog: Catalog,
    pub people: Vec<Person>,
}

impl Registry {
    /// Reads both as of one epoch, with the grants that are live now.
    ///
    /// # Errors
    ///
    /// As [`Registry::at`].
    pub async fn read(store: &SharedStore) -> Result<Registry, StoreError> {
        Registry::at(store, Utc::now()).await
    }

    /// Reads both as of one epoch, with the grants that are live at `now`.
    ///
    /// # Errors
    ///
    /// The database is away, or its access tables changed each time: [`StoreError::Conflict`].
    pub async fn at(store: &SharedStore, now: DateTime<Utc>) -> Result<Registry, StoreError> {
        for _ in 0..TRIES {
            let before = store.control().await?.epoch;
            let registry = Registry { catalog: store.catalog().await?, people: store.census(now).await? };
            if store.control().await?.epoch == before {
                return Ok(registry);
            }
        }
        let changed = "the access tables changed each time while they were read: try again";
        Err(StoreError::Conflict(changed.into()))
    }
}
