//! What an operator asks about a rollout, gathered from the store as of one moment: for commands and the API alike.

mod drift;
mod soak;

pub use drift::{DriftReport, drift};
pub use soak::soak;

use crate::diagnostic::Diagnostics;
use crate::ids::MappingSha256;
use crate::mapping::Mapping;
use crate::registry::RegistryError;
use crate::store::{SharedStore, StoreError};

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum WorkbenchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A gate that runs on this database would have recorded what it activated.
    #[error("no gate has activated a mapping on this database yet")]
    NoMapping,
    #[error("the running mapping cannot be read by this version: {0}")]
    Unsound(#[from] Diagnostics),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The mapping that was activated last: what runs, whatever a file says by now.
///
/// # Errors
///
/// Nothing was activated yet, or the database is away.
pub async fn running_mapping(store: &SharedStore) -> Result<Mapping, WorkbenchError> {
    let activations = store.activations(u32::MAX).await?;
    let latest = activations.iter().find(|activation| activation.outcome == "activated");
    let sha256 = MappingSha256::new(latest.ok_or(WorkbenchError::NoMapping)?.sha256.as_str());
    let text = store.mapping_text(&sha256).await?.ok_or(WorkbenchError::NoMapping)?;
    Ok(Mapping::parse("the running mapping", &text)?)
}
