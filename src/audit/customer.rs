//! Events of customers' data that services report (Queue SC-A3): one row of `customer_audit_events` each, and a twin in
//! the chain that commits to it.

use chrono::{DateTime, SubsecRound as _, Utc};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::canonical::Object;
use super::entry::Draft;
use super::event::AuditEvent;
use super::hexadecimal;
use super::storable::{clean_json, clean_text};

/// A row of `customer_audit_events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomerEvent {
    /// The reporting service's own: a repeat is known by it.
    pub id: uuid::Uuid,
    pub tenant_id: String,
    /// `operator_interaction`, ...
    pub dimension: String,
    /// `operator.rbac.grant`, ...
    pub action: String,
    pub occurred_at: DateTime<Utc>,
    /// The name of the service token that reported it.
    pub source: String,
    /// `admin`, `customer`, `service` or `system`.
    pub actor_kind: String,
    /// Erasable, as the salt is.
    pub actor_id: Option<String>,
    /// What was acted on.
    pub subject_id: Option<String>,
    pub request_id: Option<String>,
    pub detail: Option<Value>,
    /// 16 random bytes in hexadecimal.
    pub salt: Option<String>,
}

impl CustomerEvent {
    /// The row and its twin, ready for the writer. The event gets a fresh salt.
    pub fn into_draft(mut self, now: DateTime<Utc>) -> Draft {
        self.make_storable();
        let mut salt = [0; 16];
        rand::rng().fill_bytes(&mut salt);
        self.salt = Some(hexadecimal::encode(&salt));
        let twin = AuditEvent::CustomerEvent {
            id: self.id,
            source: self.source.clone(),
            tenant: self.tenant_id.clone(),
            commitment: self.commitment(),
        };
        Draft { record: twin.into_record(now), customer: Some(Box::new(self)) }
    }

    /// What both databases give back as it went in (see [`super::storable`]).
    fn make_storable(&mut self) {
        let texts = [&mut self.tenant_id, &mut self.dimension, &mut self.action, &mut self.source]
            .into_iter()
            .chain(&mut self.actor_id)
            .chain(&mut self.subject_id)
            .chain(&mut self.request_id);
        for text in texts {
            clean_text(text);
        }
        if self.detail == Some(Value::Null) {
            self.detail = None;
        }
        if let Some(detail) = &mut self.detail {
            clean_json(detail, 0);
        }
        self.occurred_at = self.occurred_at.trunc_subsecs(6);
    }

    /// SHA-256 of the salt and the canonical row, in hexadecimal: what the twin keeps of it. Without the salt, which
    /// erasure takes, nobody can try actors against it.
    pub fn commitment(&self) -> String {
        let mut text = String::new();
        let mut object = Object::begin(&mut text);
        object.text("action", Some(&self.action));
        object.text("actor_id", self.actor_id.as_deref());
        object.text("actor_kind", Some(&self.actor_kind));
        object.json("detail", self.detail.as_ref());
        object.text("dimension", Some(&self.dimension));
        object.text("id", Some(&self.id.to_string()));
        object.time("occurred_at", self.occurred_at);
        object.text("request_id", self.request_id.as_deref());
        object.text("source", Some(&self.source));
        object.text("subject_id", self.subject_id.as_deref());
        object.text("tenant_id", Some(&self.tenant_id));
        object.end();
        let salt = self.salt.as_deref().unwrap_or_default();
        hexadecimal::encode(&Sha256::new().chain_update(salt).chain_update(text).finalize())
    }

    /// Whether the twin's detail commits to this row.
    pub fn is_committed_to_by(&self, twin: &Value) -> bool {
        twin.get("commitment") == Some(&json!(self.commitment()))
    }
}
