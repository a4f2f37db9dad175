//! Rows of the audit as they are read back.

use chrono::{DateTime, Utc};
use ledger::AuditRecord;
use ledger::chain::Link;
use ledger::customer::CustomerEvent;
use ledger::event::ChainHead;
use ledger::verify::{StoredCustomer, StoredGrant, StoredRow};
use sqlx::types::Json;

/// The chain that commands share, as of one moment. Both are the same, or both are nowhere in a new database, whose
/// `head` is of no rows, unless one of them was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlChain {
    /// The head in `gate_audit_control`; `None`: its row is gone.
    pub head: Option<ChainHead>,
    /// The last row; `None`: there is none.
    pub end: Option<ChainHead>,
}

/// What can be verified, in the order in which it is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// First, and once.
    ControlChain(ControlChain),
    /// Every row, all of a chain together and in the order of their sequence.
    Row(Box<StoredEvent>),
    /// Every customer's event with its twin's content; and for a twin without its event, only the twin's id.
    Customer(Box<StoredCustomerEvent>),
    /// Every row of a table of grants with its sealed row; and a sealed row without its row.
    Grant(Box<StoredGrant>),
}

impl From<StoredGrant> for Evidence {
    fn from(grant: StoredGrant) -> Evidence {
        Evidence::Grant(Box::new(grant))
    }
}

impl From<ControlChain> for Evidence {
    fn from(chain: ControlChain) -> Evidence {
        Evidence::ControlChain(chain)
    }
}

impl From<StoredEvent> for Evidence {
    fn from(row: StoredEvent) -> Evidence {
        Evidence::Row(Box::new(row))
    }
}

impl From<StoredCustomerEvent> for Evidence {
    fn from(row: StoredCustomerEvent) -> Evidence {
        Evidence::Customer(Box::new(row))
    }
}

/// An audit row as it is read back. Required columns are optional here: an attacker may have removed them.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, serde::Serialize)]
pub struct StoredEvent {
    pub id: String,
    pub event_type: String,
    pub occurred_at_utc: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub session_id: Option<String>,
    pub request_id: Option<String>,
    pub client_address: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub route: Option<String>,
    pub reason: Option<String>,
    pub required: Option<Json<serde_json::Value>>,
    pub held: Option<Json<serde_json::Value>>,
    pub mapping_sha256: Option<String>,
    pub epoch: Option<i64>,
    pub detail: Option<Json<serde_json::Value>>,
    pub chain_id: Option<String>,
    pub sequence: Option<i64>,
    pub key_id: Option<String>,
    pub personal_salt: Option<String>,
    pub personal_digest: Option<String>,
    pub content_hash: Option<String>,
    pub mac: Option<String>,
    pub erased_by: Option<String>,
    pub subject_id: Option<String>,
    pub note: Option<String>,
}

/// A customer's event as it is read back, and its twin's content. Where only one of them is there, the other's columns
/// are empty.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, serde::Serialize)]
pub struct StoredCustomerEvent {
    pub id: String,
    pub tenant_id: Option<String>,
    pub dimension: Option<String>,
    pub action: Option<String>,
    pub occurred_at_utc: Option<DateTime<Utc>>,
    pub source: Option<String>,
    pub actor_kind: Option<String>,
    pub actor_id: Option<String>,
    pub subject_id: Option<String>,
    pub request_id: Option<String>,
    pub detail: Option<Json<serde_json::Value>>,
    pub salt: Option<String>,
    pub erased_by: Option<String>,
    pub twin: Option<Json<serde_json::Value>>,
}

impl StoredEvent {
    /// The row as far as the chain is concerned. An id that is not a UUID as the gate writes it was edited, and reads as
    /// none: a lookup by id does not find the row either.
    pub fn into_row(self) -> StoredRow {
        let link = || {
            Some(Link {
                chain_id: self.chain_id?,
                sequence: self.sequence?,
                key_id: self.key_id?,
                personal_salt: self.personal_salt,
                personal_digest: self.personal_digest?,
                content_hash: self.content_hash?,
                mac: self.mac?,
            })
        };
        StoredRow {
            record: AuditRecord {
                id: parse_id(&self.id).unwrap_or_default(),
                event_type: self.event_type.into(),
                occurred_at: self.occurred_at_utc,
                actor_kind: self.actor_kind.into(),
                actor_id: self.actor_id,
                subject_id: self.subject_id,
                session_id: self.session_id,
                request_id: self.request_id,
                client_address: self.client_address,
                method: self.method.map(Into::into),
                path: self.path,
                route: self.route,
                reason: self.reason.map(Into::into),
                required: self.required.map(|json| json.0),
                held: self.held.map(|json| json.0),
                mapping_sha256: self.mapping_sha256,
                epoch: self.epoch,
                detail: self.detail.map(|json| json.0),
                note: self.note,
            },
            link: link(),
            erased_by: self.erased_by,
        }
    }
}

impl StoredCustomerEvent {
    /// The row and its twin, as far as the chain is concerned.
    pub fn into_row(mut self) -> StoredCustomer {
        let (id, erased_by) = (self.id.clone(), self.erased_by.take());
        let twin = self.twin.take().map(|twin| twin.0);
        StoredCustomer { id, event: self.into_event(), erased_by, twin }
    }

    fn into_event(self) -> Option<CustomerEvent> {
        Some(CustomerEvent {
            id: parse_id(&self.id)?,
            tenant_id: self.tenant_id?,
            dimension: self.dimension?,
            action: self.action?,
            occurred_at: self.occurred_at_utc?,
            source: self.source?,
            actor_kind: self.actor_kind?,
            actor_id: self.actor_id,
            subject_id: self.subject_id,
            request_id: self.request_id,
            detail: self.detail.map(|json| json.0),
            salt: self.salt,
        })
    }
}

/// A UUID in the one spelling that the gate writes. The parser takes others: capitals, braces, no hyphens.
fn parse_id(text: &str) -> Option<uuid::Uuid> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    (id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()) == text).then_some(id)
}
