//! The part of a session that Console keeps in its database: the admin, read from JSON, MessagePack or Django's signed
//! form.
//!
//! Payloads are never unpickled, because unpickling runs a program. An unreadable payload identifies no admin.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use super::itsdangerous::{CookieError, Keys, decode_payload};
use super::msgpack::{self, MsgpackError};
use super::tagged_json::{TaggedJsonError, Value};
use crate::ids::AdminId;

/// The largest payload that is read, both as stored and after decompression.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// How deeply arrays and objects may nest.
const MAX_DEPTH: usize = 32;

/// The format of a payload.
#[derive(Debug)]
pub enum PayloadFormat {
    /// JSON, as Python reads it.
    Json,
    /// MessagePack, the default of Flask-Session.
    Msgpack,
    /// `django.core.signing.dumps` with the secret key, in `django_session.session_data`.
    Django(Keys),
}

/// Reads the admin of a session from its payload.
#[derive(Debug)]
pub struct PayloadReader {
    pub format: PayloadFormat,
    /// The key of the payload that holds the admin's id.
    pub admin_id_key: String,
}

/// Why a payload cannot be read. Contains no byte of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PayloadError {
    #[error("the payload has more than {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    #[error("the payload is not text")]
    NotText,
    #[error("the payload is not `value:timestamp:signature`")]
    MissingPart,
    #[error("the payload's signature does not match any known key")]
    BadSignature,
    #[error(transparent)]
    Encoding(CookieError),
    #[error(transparent)]
    Json(#[from] TaggedJsonError),
    #[error(transparent)]
    Msgpack(#[from] MsgpackError),
}

impl PayloadError {
    /// The reason in one word, as a metric label.
    pub const fn word(self) -> &'static str {
        match self {
            PayloadError::TooLarge => "too-large",
            PayloadError::NotText => "not-text",
            PayloadError::MissingPart => "missing-part",
            PayloadError::BadSignature => "bad-signature",
            PayloadError::Encoding(error) => error.word(),
            PayloadError::Json(_) | PayloadError::Msgpack(_) => "bad-payload",
        }
    }
}

impl PayloadReader {
    /// The session's admin; `None` for a session without a login.
    ///
    /// # Errors
    /// The payload cannot be read. Such a session identifies no admin.
    pub fn admin_id(&self, payload: &[u8]) -> Result<Option<AdminId>, PayloadError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadError::TooLarge);
        }
        let value = match &self.format {
            PayloadFormat::Json => Value::parse_untagged(text(payload)?, MAX_DEPTH)?,
            PayloadFormat::Msgpack => msgpack::parse(payload, MAX_DEPTH)?,
            PayloadFormat::Django(keys) => {
                let json = django_unsign(text(payload)?, keys)?;
                // `JSONSerializer.loads` decodes Latin-1, in which every byte is a character.
                let json: String = json.into_iter().map(char::from).collect();
                Value::parse_untagged(&json, MAX_DEPTH)?
            }
        };
        Ok(value.field_as_id(&self.admin_id_key).map(AdminId::new))
    }
}

fn text(payload: &[u8]) -> Result<&str, PayloadError> {
    std::str::from_utf8(payload).map_err(|_| PayloadError::NotText)
}

/// `TimestampSigner.unsign_object`, without a maximum age: Django sets none for sessions; they end at `expire_date`.
fn django_unsign(data: &str, keys: &Keys) -> Result<Vec<u8>, PayloadError> {
    let (signed, signature) = data.rsplit_once(':').ok_or(PayloadError::MissingPart)?;
    // Django compares the spelled signatures, not the bytes that they encode.
    let spell = |mac: Vec<u8>| URL_SAFE_NO_PAD.encode(mac).into_bytes();
    if !keys.accept_as(signed, signature.as_bytes(), spell) {
        return Err(PayloadError::BadSignature);
    }
    let (value, timestamp) = signed.rsplit_once(':').ok_or(PayloadError::MissingPart)?;
    if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(PayloadError::MissingPart);
    }
    decode_payload(value, MAX_PAYLOAD_BYTES).map_err(PayloadError::Encoding)
}

#[cfg(test)]
mod tests;
