//! Records of commands and activations, each sealed inside the transaction of the recorded change.
//!
//! They share the chain [`CONTROL`], whose head is a row of the database: a writer holds it until the transaction ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};

use super::chain::{CONTROL, Chain, Head, Sealed};
use super::customer::CustomerEvent;
use super::entry::Draft;
use super::event::AuditRecord;
use super::keys::KeyRing;

/// Makes notes, with the keys of the chain.
#[derive(Clone, Debug)]
pub struct Notary {
    keys: KeyRing,
    has_news: Arc<AtomicBool>,
}

impl Notary {
    /// A notary that seals with the first of `keys`.
    pub fn new(keys: KeyRing) -> Notary {
        Notary { keys, has_news: Arc::default() }
    }

    /// A record that the store has to seal and write together with the recorded change.
    pub fn note(&self, record: AuditRecord) -> Note {
        self.has_news.store(true, Ordering::Relaxed);
        Note { record, customer: None, keys: self.keys.clone() }
    }

    /// The same for a customer's event: the note is its twin.
    pub fn note_of_customer(&self, event: CustomerEvent, now: DateTime<Utc>) -> Note {
        let Draft { record, customer } = Draft::of_customer(event, now);
        Note { customer, ..self.note(record) }
    }

    /// Whether a note was made since the last call: the chain may then have a head that no checkpoint names.
    pub fn take_news(&self) -> bool {
        self.has_news.swap(false, Ordering::Relaxed)
    }

    /// The keys, for the caller's own chain.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }
}

/// An unsealed record: its place in the chain is known only inside the transaction.
#[derive(Clone, Debug)]
pub struct Note {
    record: AuditRecord,
    customer: Option<Box<CustomerEvent>>,
    keys: KeyRing,
}

impl Note {
    /// The audit record.
    pub fn record(&self) -> &AuditRecord {
        &self.record
    }

    /// The customer's event whose twin is the record.
    pub fn customer(&self) -> Option<&CustomerEvent> {
        self.customer.as_deref()
    }

    /// The record as the next one after `head`, and the new head.
    pub fn seal(&self, head: Head) -> (Sealed, Head) {
        let mut chain = Chain::resume(CONTROL, self.keys.clone(), head);
        let sealed = chain.seal(self.record.clone());
        (sealed, chain.head())
    }
}
