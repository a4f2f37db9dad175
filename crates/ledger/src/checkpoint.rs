//! Checkpoints: signed notes of where a chain ended, stored in a second place, so that a cut tail is found.
//!
//! One line of JSON each:
//!
//! ```text
//! {"at":"2026-11-21T04:41:45.000000Z","chain":"...","key":"k1","mac":"...","sequence":1000,"signature":"...","v":1}
//! ```
//!
//! The signature is an HMAC-SHA-256 over the canonical form of everything except the signature, after a prefix of its
//! own: no row's mac is ever a checkpoint's signature.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::canonical::{Object, VERSION, write_time};
use super::chain::Head;
use super::event::ChainHead;
use super::hexadecimal;
use super::keys::KeyRing;

const PREFIX: &[u8] = b"console-gate/audit/checkpoint/v1\0";

/// A signed head of a chain at a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    v: i64,
    chain: String,
    sequence: i64,
    mac: String,
    at: String,
    key: String,
    signature: String,
}

/// Why a line is not a checkpoint of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not the JSON of a checkpoint.
    #[error("it is not a checkpoint")]
    Malformed,
    /// It has a version that this program does not know.
    #[error("its version is {0}, expected {VERSION}")]
    Version(i64),
    /// Signed with a key that is not in the ring.
    #[error("its key `{0}` is unknown")]
    UnknownKey(String),
    /// The signature does not match its values.
    #[error("its signature is invalid")]
    Signature,
}

impl Checkpoint {
    /// Signs `head` as the end of `chain` at `at`.
    pub fn make(keys: &KeyRing, chain: &str, head: Head, at: DateTime<Utc>) -> Checkpoint {
        let mut time = String::new();
        write_time(at, &mut time);
        let key = keys.sealing();
        let mut checkpoint = Checkpoint {
            v: VERSION,
            chain: chain.to_owned(),
            sequence: head.sequence,
            mac: hexadecimal::encode(&head.mac),
            at: time,
            key: key.id().to_owned(),
            signature: String::new(),
        };
        let signature = key.mac(&[PREFIX, checkpoint.written(false).as_bytes()]);
        checkpoint.signature = hexadecimal::encode(&signature);
        checkpoint
    }

    /// Signs a head as events name it; `None` if its mac is malformed.
    pub fn of(keys: &KeyRing, head: &ChainHead, at: DateTime<Utc>) -> Option<Checkpoint> {
        let found = Head::from_columns(head.sequence, &head.mac)?;
        Some(Checkpoint::make(keys, &head.chain, found, at))
    }

    /// The name of the chain, and its number of rows.
    pub fn reach(&self) -> (&str, i64) {
        (&self.chain, self.sequence)
    }

    /// When it was made, as stated.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// The line, without its line break.
    pub fn to_line(&self) -> String {
        self.written(true)
    }

    /// Reads a line. A readable line proves nothing; see [`Checkpoint::check`].
    ///
    /// # Errors
    ///
    /// It is not a checkpoint, or it has another version.
    pub fn parse(line: &str) -> Result<Checkpoint, CheckpointError> {
        let checkpoint: Checkpoint = serde_json::from_str(line).map_err(|_| CheckpointError::Malformed)?;
        if checkpoint.v != VERSION {
            return Err(CheckpointError::Version(checkpoint.v));
        }
        Ok(checkpoint)
    }

    /// The fact that the checkpoint proves: the chain's name, and a head that it had.
    ///
    /// # Errors
    ///
    /// It was not signed with a key of the ring, or it was changed afterwards.
    pub fn check(&self, keys: &KeyRing) -> Result<(&str, Head), CheckpointError> {
        let key = keys.find(&self.key).ok_or_else(|| CheckpointError::UnknownKey(self.key.clone()))?;
        let right = key.mac(&[PREFIX, self.written(false).as_bytes()]);
        let given: [u8; 32] = hexadecimal::decode(&self.signature).ok_or(CheckpointError::Signature)?;
        if !bool::from(right.ct_eq(&given)) {
            return Err(CheckpointError::Signature);
        }
        // The signed head was made here, so this does not fail; a head of no rows proves nothing.
        let mac = hexadecimal::decode(&self.mac).ok_or(CheckpointError::Malformed)?;
        Ok((&self.chain, Head { sequence: self.sequence, mac }))
    }

    fn written(&self, is_signed: bool) -> String {
        let mut out = String::new();
        let mut object = Object::begin(&mut out);
        object.text("at", Some(&self.at));
        object.text("chain", Some(&self.chain));
        object.text("key", Some(&self.key));
        object.text("mac", Some(&self.mac));
        object.integer("sequence", Some(self.sequence));
        object.text("signature", is_signed.then_some(self.signature.as_str()));
        object.integer("v", Some(self.v));
        object.end();
        out
    }
}

/// When the next checkpoint is due: a minute or 1,000 rows after the last, whichever comes first, and never for a head
/// that already has one.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rows: i64,
    interval: Duration,
    last: (i64, DateTime<Utc>),
}

impl Pace {
    /// The pace specified in the documents.
    pub fn new(head: Head, now: DateTime<Utc>) -> Pace {
        Pace { rows: 1000, interval: Duration::from_secs(60), last: (head.sequence, now) }
    }

    /// Whether a checkpoint of `head` is due.
    pub fn is_due(&self, head: Head, now: DateTime<Utc>) -> bool {
        let rows = head.sequence - self.last.0;
        // A clock that was turned back must not delay the checkpoint.
        let is_late = (now - self.last.1).to_std().map_or(true, |age| age >= self.interval);
        rows >= self.rows || (rows > 0 && is_late)
    }

    /// Records that a checkpoint of `head` is in its second place.
    pub fn taken(&mut self, head: Head, now: DateTime<Utc>) {
        self.last = (head.sequence, now);
    }
}
