//! The rollback in force, and the parts of a file that it took back.
//!
//! A silent gate counts as one that does not follow: a gate that lost its database looks the same as one that stopped.

use policy::diagnostic::Diagnostic;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use policy::mapping::parse::sha256_of;
use policy::mapping::taken_back::{TakenBack, finding};
use store::mappings::Pin;
use store::{Store, StoreError};

/// A rollback that has not been released, compared with a file.
#[derive(Clone, Debug)]
pub struct RolledBack {
    pub pin: Pin,
    /// Whether the rollback replaced the file.
    pub is_replaced: bool,
    /// The parts of the file that the rollback took back.
    pub contains: Vec<TakenBack>,
}

impl RolledBack {
    /// Whether gates do not activate the file until a release.
    pub fn holds(&self) -> bool {
        self.is_replaced || !self.contains.is_empty()
    }

    /// The finding about the file; `None` if a gate would activate it.
    pub fn finding(&self) -> Option<Diagnostic> {
        let pinned = self.pin.sha256.as_ref()?.short();
        finding(&self.contains, pinned, &self.pin.by).or_else(|| {
            let message = format!("the rollback to {pinned} by {} is in force, and this is the file that it replaced", self.pin.by);
            self.is_replaced.then(|| {
                Diagnostic::new("taken-back", 0..0, message).suggest(
                    "change the file; or, if it is meant, `console-gate rollback --release` lets the files decide again",
                )
            })
        })
    }
}

/// The rollback in force, compared with a file; `None` if the files decide. The text of a mapping that is not stored,
/// or that this version cannot read, is not compared; the file itself is, by its hash.
///
/// # Errors
///
/// The database is away.
pub async fn rolled_back(store: &Store, mapping: &Mapping) -> Result<Option<RolledBack>, StoreError> {
    against(store, store.pin().await?, mapping).await
}

/// The same for a pin that has been read already.
///
/// # Errors
///
/// The database is away.
pub async fn against(store: &Store, pin: Pin, mapping: &Mapping) -> Result<Option<RolledBack>, StoreError> {
    let Some(sha256) = &pin.sha256 else { return Ok(None) };
    let own = sha256_of(mapping.source());
    let is_replaced = pin.replaces.contains(&own);
    let mut contains = Vec::new();
    if own != *sha256
        && let Some(pinned) = text(store, sha256.as_str()).await?
    {
        let mut replaced = Vec::new();
        for file in &pin.replaces {
            replaced.extend(text(store, file.as_str()).await?);
        }
        contains = mapping.taken_back(&pinned, &replaced);
    }
    Ok(Some(RolledBack { pin, is_replaced, contains }))
}

async fn text(store: &Store, sha256: &str) -> Result<Option<Mapping>, StoreError> {
    let text = store.mapping_text(&MappingSha256::new(sha256)).await?;
    Ok(text.and_then(|text| Mapping::parse(sha256, &text).ok()))
}
