//! The keys of the chain in a file.

use std::path::Path;

use ledger::keys::{KeyError, KeyRing, LARGEST_FILE};
use zeroize::Zeroizing;

/// Reads a ring from a file: `id:base64` entries, with commas or line breaks between them.
///
/// # Errors
///
/// The file cannot be read or is too large, or its content is not a ring.
pub async fn read(path: &Path) -> Result<KeyRing, KeyError> {
    let failed = |cause| KeyError::File { path: path.to_owned(), cause };
    if tokio::fs::metadata(path).await.map_err(failed)?.len() > LARGEST_FILE {
        return Err(KeyError::LargeFile { path: path.to_owned() });
    }
    let text = tokio::fs::read_to_string(path).await.map(Zeroizing::new).map_err(failed)?;
    KeyRing::parse(&text)
}
