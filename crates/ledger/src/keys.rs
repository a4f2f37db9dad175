//! The keys of the chain.
//!
//! A ring is written `kid:base64,kid2:base64`: the first key seals, all of them verify. To rotate, put the new key
//! first and keep the old one after it as long as rows that it sealed are verified.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::hexadecimal;

/// A key may be longer, not shorter: the length of the hash (RFC 2104 section 3).
pub const SHORTEST_KEY: usize = 32;
const LONGEST_ID: usize = 64;
const SESSION_PREFIX: &[u8] = b"console-gate/audit/session/v1\0";
const FINGERPRINT_PREFIX: &[u8] = b"console-gate/audit/key/v1\0";
/// The size of the largest ring, in bytes.
pub const LARGEST_FILE: u64 = 64 * 1024;

/// Why there is no ring. No error contains a byte of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key was given.
    #[error("there is no key: expected `id:base64`, or several, separated by commas")]
    Empty,
    /// An entry without a colon, or with an id that contains other characters.
    #[error("key {position} has no id of 1 to 64 letters, digits, `-`, `_` and `.` before a colon")]
    Id { position: usize },
    /// Not standard base64.
    #[error("key `{id}` is not standard base64")]
    Base64 { id: String },
    /// Fewer than [`SHORTEST_KEY`] bytes.
    #[error("key `{id}` has {length} bytes, at least {SHORTEST_KEY} are required")]
    Short { id: String, length: usize },
    /// A duplicate id.
    #[error("key id `{id}` occurs twice")]
    Duplicate { id: String },
    /// One key under two ids, so that a row's key id could be changed unnoticed.
    #[error("keys `{one}` and `{other}` are the same key")]
    Same { one: String, other: String },
    /// The file cannot be read.
    #[error("the key file `{path}` cannot be read: {cause}")]
    File { path: PathBuf, cause: std::io::Error },
    /// The file is larger than any ring.
    #[error("the key file `{path}` is larger than {LARGEST_FILE} bytes")]
    LargeFile { path: PathBuf },
    /// The service that unwraps keys refused permanently.
    #[error("the key service refused to unwrap key `{id}`: {reason}")]
    Refused { id: String, reason: String },
    /// The service that unwraps keys did not do so within the time allowed at start.
    #[error("the key service did not unwrap key `{id}` within {patience:?}: {reason}")]
    Unavailable { id: String, patience: std::time::Duration, reason: String },
}

/// The keys, each ready to be used. They are zeroed when the last ring is dropped.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<[Key]>,
}

/// One key under its id.
pub struct Key {
    id: String,
    keyed: Hmac<Sha256>,
}

impl KeyRing {
    /// Reads `id:base64` entries, with commas or line breaks between them.
    ///
    /// # Errors
    ///
    /// No key, an unusable key, or a duplicate.
    pub fn parse(text: &str) -> Result<KeyRing, KeyError> {
        let mut keys = Vec::new();
        for (id, encoded) in entries(text)? {
            let bytes = STANDARD.decode(encoded).map(Zeroizing::new);
            keys.push((id.to_owned(), bytes.map_err(|_| KeyError::Base64 { id: id.to_owned() })?));
        }
        KeyRing::from_keys(&keys)
    }

    /// The ring of these keys; the first seals.
    ///
    /// # Errors
    ///
    /// No key, a key that is too short, or a duplicate.
    pub fn from_keys(keys: &[(String, Zeroizing<Vec<u8>>)]) -> Result<KeyRing, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        for (index, (id, key)) in keys.iter().enumerate() {
            if key.len() < SHORTEST_KEY {
                return Err(KeyError::Short { id: id.clone(), length: key.len() });
            }
            for (other_id, other) in &keys[..index] {
                if other_id == id {
                    return Err(KeyError::Duplicate { id: id.clone() });
                }
                if bool::from(other.ct_eq(key)) {
                    return Err(KeyError::Same { one: other_id.clone(), other: id.clone() });
                }
            }
        }
        let keyed = keys.iter().map(|(id, key)| Key {
            id: id.clone(),
            keyed: Hmac::new_from_slice(key).expect("hmac takes keys of any length (RFC 2104 section 2)"),
        });
        Ok(KeyRing { keys: keyed.collect() })
    }

    /// All keys, the sealing one first.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// The sealing key.
    pub fn sealing(&self) -> &Key {
        &self.keys[0]
    }

    /// Whether there is a key with that id.
    pub fn knows(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    /// The key with that id.
    pub fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// The id and the rest of each entry.
///
/// # Errors
///
/// An entry has no id.
pub fn entries(text: &str) -> Result<Vec<(&str, &str)>, KeyError> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let entries = parts.enumerate().map(|(index, part)| match part.split_once(':') {
        Some((id, rest)) if !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(allowed) => {
            Ok((id, rest))
        }
        _ => Err(KeyError::Id { position: index + 1 }),
    });
    entries.collect()
}

impl Key {
    /// The id, which every row sealed with the key contains.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Distinguishes this key from others, whatever their ids: the beginning of an HMAC by the key, in hexadecimal. It
    /// reveals nothing about the key, and is not the HMAC of any row.
    pub fn fingerprint(&self) -> String {
        hexadecimal::encode(&self.mac(&[FINGERPRINT_PREFIX]))[..16].to_owned()
    }

    /// The audit's name for a login session: the beginning of an HMAC of its id, in hexadecimal. Ids may open sessions,
    /// and short ones can be guessed; this name opens none, and without the key, ids cannot be tested against it.
    pub fn session_name(&self, id: &str) -> String {
        hexadecimal::encode(&self.mac(&[SESSION_PREFIX, id.as_bytes()]))[..32].to_owned()
    }

    /// HMAC-SHA-256 of the concatenated parts.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}
