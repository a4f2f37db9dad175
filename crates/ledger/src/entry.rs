//! A row of the audit with everything that belongs to it: the unit that is written, spooled and replayed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::chain::{Chain, Link, Sealed};
use super::customer::CustomerEvent;
use super::event::AuditRecord;

/// A row without a place in a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub record: AuditRecord,
    /// The customer's event whose twin is `record`.
    pub customer: Option<Box<CustomerEvent>>,
}

impl From<AuditRecord> for Draft {
    fn from(record: AuditRecord) -> Draft {
        Draft { record, customer: None }
    }
}

impl Draft {
    /// A customer's event and its twin. The event gets a fresh salt.
    pub fn of_customer(mut event: CustomerEvent, now: DateTime<Utc>) -> Draft {
        let twin = event.twin();
        Draft { record: twin.into_record(now), customer: Some(Box::new(event)) }
    }

    /// Gives it the next place in `chain`.
    pub fn seal(self, chain: &mut Chain) -> Entry {
        let Sealed { record, link } = chain.seal(self.record);
        Entry { record, link, customer: self.customer }
    }
}

/// A row with its place in a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub record: AuditRecord,
    pub link: Link,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Box<CustomerEvent>>,
}

impl Entry {
    /// The row without its place, for a row that was certainly not stored anywhere: it can be sealed again.
    pub fn unseal(self) -> Draft {
        Draft { record: self.record, customer: self.customer }
    }
}

impl From<Sealed> for Entry {
    fn from(Sealed { record, link }: Sealed) -> Entry {
        Entry { record, link, customer: None }
    }
}
