//! Records of commands and activations: sealed inside the transaction of what they record.
//!
//! They share the chain [`CONTROL`], whose head is a row of the database: whoever writes to it holds it until the
//! transaction ends.

use super::chain::{CONTROL, Chain, Head, Sealed};
use super::event::AuditRecord;
use super::keys::KeyRing;

/// Makes notes: whoever has the keys.
#[derive(Clone, Debug)]
pub struct Notary {
    keys: KeyRing,
}

impl Notary {
    /// A notary that seals with the first of `keys`.
    pub fn new(keys: KeyRing) -> Notary {
        Notary { keys }
    }

    /// A record that the store is to seal and write with what it records.
    pub fn note(&self, record: AuditRecord) -> Note {
        Note { record, keys: self.keys.clone() }
    }

    /// The keys, for a chain of one's own.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }
}

/// A record that is not sealed yet: its place in the chain is known only inside the transaction.
#[derive(Clone, Debug)]
pub struct Note {
    record: AuditRecord,
    keys: KeyRing,
}

impl Note {
    /// What is recorded.
    pub fn record(&self) -> &AuditRecord {
        &self.record
    }

    /// The record as the next one after `head`, and the head then.
    pub fn seal(&self, head: Head) -> (Sealed, Head) {
        let mut chain = Chain::resume(CONTROL, self.keys.clone(), head);
        let sealed = chain.seal(self.record.clone());
        (sealed, chain.head())
    }
}
