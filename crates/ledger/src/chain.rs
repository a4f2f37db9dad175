//! The chain: each row carries a mac over itself and the mac of the row before it.
//!
//! ```text
//!   personal values + salt --SHA-256--> personal digest
//!                                            |
//!   everything else of the record -----------+--SHA-256--> content hash
//!                                                               |
//!   zeros --> [ 1 | hash | mac 1 ] --> [ 2 | hash | mac 2 ] --> [ 3 | hash | mac 3 ] --> ...
//!                             '------------^          '------------^
//!   mac n = HMAC-SHA-256(key, prefix | chain | n | mac n-1 | content hash n)
//! ```
//!
//! Without the key, a row cannot be changed, removed or inserted without a mac that no longer follows. The chain alone
//! cannot reveal a cut tail: the remaining rows are a chain as well. [Checkpoints](super::checkpoint) reveal it, and so
//! does the first row of every new chain, which names the heads of the others.
//!
//! There is one chain for each gate process, so that gates never wait for one another, and [`CONTROL`], which commands
//! share inside their transactions.
//!
//! # Erasure
//!
//! The personal values of a row, and its salt, can be blanked; `erased_by` then names the `admin_erased` event. The
//! digest remains, so the row still verifies; without the 16 random bytes of the salt, values cannot be tested against
//! the digest.

use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

use super::event::{AuditRecord, ChainHead};
use super::keys::{Key, KeyRing};
use super::{canonical, hexadecimal};

/// The chain that commands share.
pub const CONTROL: &str = "control";

const ROW_PREFIX: &[u8] = b"console-gate/audit/row/v1\0";

/// The bytes of a mac.
pub type Mac = [u8; 32];

/// The columns of a row besides its record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub chain_id: String,
    /// From 1, without gaps.
    pub sequence: i64,
    /// The key of the mac.
    pub key_id: String,
    /// 16 random bytes in hexadecimal; `None` once the row is erased.
    pub personal_salt: Option<String>,
    /// SHA-256 in hexadecimal; the two below are hexadecimal, too.
    pub personal_digest: String,
    pub content_hash: String,
    pub mac: String,
}

impl Link {
    /// The row as the end of its chain.
    pub fn head(&self) -> ChainHead {
        ChainHead { chain: self.chain_id.clone(), sequence: self.sequence, mac: self.mac.clone() }
    }
}

/// A record with its place in the chain. The record is [storable](AuditRecord::into_storable).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    pub record: AuditRecord,
    pub link: Link,
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of rows.
    pub sequence: i64,
    /// The mac of the last row; zeros if there is none.
    pub mac: Mac,
}

/// Seals records, one after the other.
#[derive(Debug)]
pub struct Chain {
    id: String,
    keys: KeyRing,
    head: Head,
    /// A buffer for reuse.
    text: String,
}

impl Head {
    /// Reads the columns of a chain's last row.
    ///
    /// Returns `None` if the mac is malformed, or the sequence could not be that of a row.
    pub fn from_columns(sequence: i64, mac: &str) -> Option<Head> {
        let mac = hexadecimal::decode(mac)?;
        (1..i64::MAX).contains(&sequence).then_some(Head { sequence, mac })
    }

    /// In the form in which events and checkpoints name it.
    pub fn named(self, chain: &str) -> ChainHead {
        ChainHead { chain: chain.to_owned(), sequence: self.sequence, mac: hexadecimal::encode(&self.mac) }
    }
}

impl Chain {
    /// A chain without rows.
    pub fn new(id: impl Into<String>, keys: KeyRing) -> Chain {
        Chain::resume(id, keys, Head::default())
    }

    /// A chain that continues after `head`.
    pub fn resume(id: impl Into<String>, keys: KeyRing, head: Head) -> Chain {
        Chain { id: id.into(), keys, head, text: String::new() }
    }

    /// The chain's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The end of the chain.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Goes back to `head`, for rows that were certainly not stored anywhere.
    pub fn rewind(&mut self, head: Head) {
        self.head = head;
    }

    /// The keys.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Gives the record the next place. Afterwards the chain has moved on, so the sealed row must be stored, here or in
    /// the spool; a dropped row is reported as removed.
    pub fn seal(&mut self, record: AuditRecord) -> Sealed {
        let record = record.into_storable();
        let mut salt = [0; 16];
        rand::rng().fill_bytes(&mut salt);
        self.seal_with_salt(record, salt)
    }

    fn seal_with_salt(&mut self, record: AuditRecord, salt: [u8; 16]) -> Sealed {
        let personal_digest = hexadecimal::encode(&personal_digest(&record, &salt, &mut self.text));
        let content = content_hash(&record, &personal_digest, &mut self.text);
        let key = self.keys.sealing();
        let sequence = self.head.sequence + 1;
        let mac = row_mac(key, &self.id, sequence, &self.head.mac, &content);
        self.head = Head { sequence, mac };
        let link = Link {
            chain_id: self.id.clone(),
            sequence,
            key_id: key.id().to_owned(),
            personal_salt: Some(hexadecimal::encode(&salt)),
            personal_digest,
            content_hash: hexadecimal::encode(&content),
            mac: hexadecimal::encode(&mac),
        };
        Sealed { record, link }
    }
}

/// SHA-256 over the salt and the canonical personal values. `text` is scratch space.
pub(super) fn personal_digest(record: &AuditRecord, salt: &[u8; 16], text: &mut String) -> [u8; 32] {
    text.clear();
    canonical::personal(record, text);
    // The salt has a fixed length, so its end needs no marker.
    Sha256::new().chain_update(salt).chain_update(text.as_bytes()).finalize().into()
}

/// SHA-256 over the canonical rest of the record and the personal digest. `text` is scratch space.
pub(super) fn content_hash(record: &AuditRecord, personal_digest: &str, text: &mut String) -> [u8; 32] {
    text.clear();
    canonical::record(record, personal_digest, text);
    Sha256::digest(text.as_bytes()).into()
}

/// Whether `key` sealed a row after the row with the mac `previous`, according to the stored hash of the row.
pub fn is_sealed_by(key: &Key, link: &Link, previous: &str) -> bool {
    let (previous, content) = (hexadecimal::decode(previous), hexadecimal::decode(&link.content_hash));
    let (Some(previous), Some(content)) = (previous, content) else { return false };
    let mac = row_mac(key, &link.chain_id, link.sequence, &previous, &content);
    hexadecimal::encode(&mac) == link.mac
}

/// The mac of one row. Every part has a fixed length except the chain's name, which is preceded by its length.
pub(super) fn row_mac(key: &Key, chain: &str, sequence: i64, previous: &Mac, content: &[u8; 32]) -> Mac {
    let length = u64::try_from(chain.len()).unwrap_or(u64::MAX).to_be_bytes();
    key.mac(&[ROW_PREFIX, &length, chain.as_bytes(), &sequence.to_be_bytes(), previous, content])
}
