//! Events about customers' data that services report (Queue SC-A3): for each, one row of `customer_audit_events`, and a
//! twin in the chain that commits to it.

use chrono::{DateTime, SubsecRound as _, Utc};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::canonical::Object;
use super::event::AuditEvent;
use super::hexadecimal;
use super::storable::{clean_json, clean_text};

/// A row of `customer_audit_events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomerEvent {
    /// The reporting service's own id, by which a repetition is recognised.
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
    /// Erasable, like the salt.
    pub actor_id: Option<String>,
    /// The object of the action.
    pub subject_id: Option<String>,
    pub request_id: Option<String>,
    pub detail: Option<Value>,
    /// 16 random bytes in hexadecimal.
    pub salt: Option<String>,
}

impl CustomerEvent {
    /// Gives the event a fresh salt, and the form in which both databases return it; returns the event of its twin.
    pub(super) fn twin(&mut self) -> AuditEvent {
        self.make_storable();
        let mut salt = [0; 16];
        rand::rng().fill_bytes(&mut salt);
        self.salt = Some(hexadecimal::encode(&salt));
        AuditEvent::CustomerEvent {
            id: self.id,
            source: self.source.clone(),
            tenant: self.tenant_id.clone(),
            personal_digest: self.personal_digest(),
            commitment: self.commitment(&self.personal_digest()),
        }
    }

    /// Converts the event to a form that both databases return unchanged (see [`super::storable`]).
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

    /// SHA-256 of the salt and the actor, in hexadecimal. Without the salt, which an erasure removes, actors cannot be
    /// tested against it.
    fn personal_digest(&self) -> String {
        let mut text = String::new();
        let mut object = Object::begin(&mut text);
        object.text("actor_id", self.actor_id.as_deref());
        object.end();
        self.salted(&text)
    }

    /// SHA-256 of the canonical row in hexadecimal, with the digest in the actor's place. The twin stores it, and it
    /// still proves the row after the actor is erased.
    fn commitment(&self, personal_digest: &str) -> String {
        let mut text = String::new();
        self.write(Actor::Digest(personal_digest), &mut text);
        hexadecimal::encode(&Sha256::digest(text))
    }

    /// The commitment in twins from before there was the digest: it proves nothing about an erased row.
    fn first_commitment(&self) -> String {
        let mut text = String::new();
        self.write(Actor::Id(self.actor_id.as_deref()), &mut text);
        self.salted(&text)
    }

    fn salted(&self, text: &str) -> String {
        let salt = self.salt.as_deref().unwrap_or_default();
        hexadecimal::encode(&Sha256::new().chain_update(salt).chain_update(text).finalize())
    }

    fn write(&self, actor: Actor<'_>, out: &mut String) {
        let mut object = Object::begin(out);
        object.text("action", Some(&self.action));
        if let Actor::Id(id) = actor {
            object.text("actor_id", id);
        }
        object.text("actor_kind", Some(&self.actor_kind));
        object.json("detail", self.detail.as_ref());
        object.text("dimension", Some(&self.dimension));
        object.text("id", Some(&self.id.to_string()));
        object.time("occurred_at", self.occurred_at);
        if let Actor::Digest(digest) = actor {
            object.text("personal_digest", Some(digest));
        }
        object.text("request_id", self.request_id.as_deref());
        object.text("source", Some(&self.source));
        object.text("subject_id", self.subject_id.as_deref());
        object.text("tenant_id", Some(&self.tenant_id));
        object.end();
    }

    /// Whether the row is the one from which its twin was made.
    pub fn is_committed_to_by(&self, twin: &Value) -> bool {
        let commitment = match twin.get("personal_digest") {
            None => self.first_commitment(),
            Some(digest) if *digest == self.personal_digest() => self.commitment(&self.personal_digest()),
            Some(_) => return false,
        };
        twin.get("commitment") == Some(&json!(commitment))
    }

    /// Whether the row is the one from which its twin was made, except for the actor and the salt, which are erased.
    pub fn is_what_erasure_left_of(&self, twin: &Value) -> bool {
        let Some(digest) = twin.get("personal_digest") else { return true };
        let commitment = self.commitment(digest.as_str().unwrap_or_default());
        twin.get("commitment") == Some(&json!(commitment))
    }
}

/// How a canonical row names the actor.
#[derive(Clone, Copy)]
enum Actor<'a> {
    Id(Option<&'a str>),
    Digest(&'a str),
}
