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
    /// The mappings that ran, by their hash, whose text is not kept or is of a format that this version does not read: what was
    /// taken back is not known then.
    pub unreadable: Vec<MappingSha256>,
}

impl RolledBack {
    /// Whether gates do not activate the file until a release.
    pub fn holds(&self) -> bool {
        self.is_replaced || !self.contains.is_empty() || !self.unreadable.is_empty()
    }

    /// The finding about the file; `None` if a gate would activate it.
    pub fn finding(&self) -> Option<Diagnostic> {
        let pinned = self.pin.sha256.as_ref()?.short();
        let by = &self.pin.by;
        finding(&self.contains, pinned, by).or_else(|| {
            let (said, help) = match self.unreadable.first() {
                _ if self.is_replaced => {
                    ("this is the file that it replaced".to_owned(), "change the file; or, if it is meant, ")
                }
                Some(unreadable) => (
                    format!(
                        "what it took back is not known: the mapping {} cannot be read",
                        unreadable.short()
                    ),
                    "",
                ),
                None => return None,
            };
            let message = format!("the rollback to {pinned} by {by} is in force, and {said}");
            let help = format!("{help}`console-gate rollback --release` lets the files decide again");
            Some(Diagnostic::new("taken-back", 0..0, message).suggest(help))
        })
    }
}

/// The rollback in force, compared with a file; `None` where the files decide.
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
    let Some(sha256) = pin.sha256.clone() else { return Ok(None) };
    let own = sha256_of(mapping.source());
    let is_replaced = pin.replaces.contains(&own);
    let mut compared = RolledBack { pin, is_replaced, contains: Vec::new(), unreadable: Vec::new() };
    if own == sha256 {
        return Ok(Some(compared));
    }
    let mut texts = Vec::new();
    for file in std::iter::once(&sha256).chain(&compared.pin.replaces) {
        match store.mapping_text(file).await?.and_then(|text| Mapping::parse(file.as_str(), &text).ok()) {
            Some(mapping) => texts.push(mapping),
            // A file that was refused never decided, so nothing of it was taken back.
            None if *file != sha256 && store.activated_beginning(file.as_str()).await?.is_empty() => {}
            None => compared.unreadable.push(file.clone()),
        }
    }
    if let (true, Some((pinned, replaced))) = (compared.unreadable.is_empty(), texts.split_first()) {
        compared.contains = mapping.taken_back(pinned, replaced);
    }
    Ok(Some(compared))
}
