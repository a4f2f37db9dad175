//! Values signed by itsdangerous, verified without Python: keys, signatures, timestamps and encoded payloads.
//!
//! Flask's cookie, Flask-Session's signed ids, and Django's session data are all made of these parts. No part of a
//! value is examined before its signature has been verified.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flate2::{Decompress, FlushDecompress, Status};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;
use zeroize::Zeroizing;

use super::python_base64::{URL_SAFE, decode_base64};
use super::tagged_json::TaggedJsonError;

/// The hash function of a signature: `digest_method` of a `Signer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestMethod {
    /// The default of itsdangerous.
    Sha1,
    Sha256,
    Sha512,
}

/// How the signing key is derived from the secret and the salt: `key_derivation` of a `Signer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDerivation {
    /// The hash of salt, `signer` and secret: the default of itsdangerous, and Django's method.
    DjangoConcat,
    /// The hash of salt and secret.
    Concat,
    /// The HMAC of the salt under the secret.
    Hmac,
    /// The secret itself.
    None,
}

/// How values are signed, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    pub salt: Vec<u8>,
    pub digest: DigestMethod,
    pub derivation: KeyDerivation,
}

/// A secret and its fallbacks, as HMAC states that are keyed once and cloned for each value.
///
/// Never printed; the states are overwritten on drop.
pub struct Keys {
    newest: Keyed,
    fallbacks: Vec<Keyed>,
}

/// Why a set of secrets is not a valid set of signing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SigningKeysError {
    #[error("the secret key is empty")]
    EmptySecret,
    #[error("fallback {number} of the secret key is empty")]
    EmptyFallback { number: usize },
}

impl Keys {
    /// Derives the signing keys. A secret that is text is given as its UTF-8 bytes.
    ///
    /// # Errors
    /// An empty secret or fallback: with it, anyone could sign a session.
    pub fn new<S: AsRef<[u8]>>(
        signing: &Signing,
        secret: &[u8],
        fallbacks: impl IntoIterator<Item = S>,
    ) -> Result<Keys, SigningKeysError> {
        let derive = |secret: &[u8]| (!secret.is_empty()).then(|| Keyed::derive(signing, secret));
        let newest = derive(secret).ok_or(SigningKeysError::EmptySecret)?;
        let fallbacks = (1..)
            .zip(fallbacks)
            .map(|(number, secret)| derive(secret.as_ref()).ok_or(SigningKeysError::EmptyFallback { number }))
            .collect::<Result<_, _>>()?;
        Ok(Keys { newest, fallbacks })
    }

    /// The signature of `signed` under the newest key.
    pub(super) fn sign(&self, signed: &str) -> Vec<u8> {
        self.newest.mac(signed)
    }

    /// Whether `signature`, as `spell` writes it, is that of `signed` under any key. Every key is tried, each in
    /// constant time, so that the duration reveals neither how much of a guess was right nor which key was near.
    pub(super) fn accept_as(
        &self,
        signed: &str,
        signature: &[u8],
        spell: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> bool {
        let mut accepted = Choice::from(0);
        for key in std::iter::once(&self.newest).chain(&self.fallbacks) {
            accepted |= spell(key.mac(signed)).as_slice().ct_eq(signature);
        }
        accepted.into()
    }

    /// `Signer.unsign`: the part before the last `.`, if the part after it is its signature.
    pub(super) fn unsign<'v>(&self, value: &'v str) -> Result<&'v str, CookieError> {
        let (signed, signature) = value.rsplit_once('.').ok_or(CookieError::MissingPart)?;
        let signature = decode_part(signature).ok_or(CookieError::BadSignature)?;
        if self.accept_as(signed, &signature, |mac| mac) {
            Ok(signed)
        } else {
            Err(CookieError::BadSignature)
        }
    }

    /// The number of keys, for `Debug`.
    pub(super) fn count(&self) -> usize {
        1 + self.fallbacks.len()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        for key in std::iter::once(&mut self.newest).chain(&mut self.fallbacks) {
            // The hash states can be overwritten only as a whole, by the state of a key that is not secret. The black
            // box keeps the compiler from removing the store as dead.
            *key = Keyed::new(key.digest(), &[]);
            std::hint::black_box(&*key);
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.count()).finish_non_exhaustive()
    }
}

/// An HMAC state. Boxed, because the largest is twice the size of the smallest.
enum Keyed {
    Sha1(Box<Hmac<Sha1>>),
    Sha256(Box<Hmac<Sha256>>),
    Sha512(Box<Hmac<Sha512>>),
}

const ANY_LENGTH: &str = "hmac takes keys of any length (RFC 2104 section 2)";

impl Keyed {
    fn new(digest: DigestMethod, key: &[u8]) -> Keyed {
        match digest {
            DigestMethod::Sha1 => Keyed::Sha1(Box::new(Hmac::new_from_slice(key).expect(ANY_LENGTH))),
            DigestMethod::Sha256 => Keyed::Sha256(Box::new(Hmac::new_from_slice(key).expect(ANY_LENGTH))),
            DigestMethod::Sha512 => Keyed::Sha512(Box::new(Hmac::new_from_slice(key).expect(ANY_LENGTH))),
        }
    }

    /// `Signer.derive_key`.
    fn derive(signing: &Signing, secret: &[u8]) -> Keyed {
        let Signing { salt, digest, derivation } = signing;
        let key = Zeroizing::new(match derivation {
            KeyDerivation::DjangoConcat => hash(*digest, &[salt, b"signer", secret]),
            KeyDerivation::Concat => hash(*digest, &[salt, secret]),
            KeyDerivation::Hmac => Keyed::new(*digest, secret).mac_of(salt),
            KeyDerivation::None => secret.to_vec(),
        });
        Keyed::new(*digest, &key)
    }

    fn digest(&self) -> DigestMethod {
        match self {
            Keyed::Sha1(_) => DigestMethod::Sha1,
            Keyed::Sha256(_) => DigestMethod::Sha256,
            Keyed::Sha512(_) => DigestMethod::Sha512,
        }
    }

    fn mac(&self, signed: &str) -> Vec<u8> {
        self.mac_of(signed.as_bytes())
    }

    fn mac_of(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Keyed::Sha1(key) => Hmac::clone(key).chain_update(message).finalize().into_bytes().to_vec(),
            Keyed::Sha256(key) => Hmac::clone(key).chain_update(message).finalize().into_bytes().to_vec(),
            Keyed::Sha512(key) => Hmac::clone(key).chain_update(message).finalize().into_bytes().to_vec(),
        }
    }
}

fn hash(digest: DigestMethod, parts: &[&[u8]]) -> Vec<u8> {
    fn of<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().fold(D::new(), D::chain_update).finalize().to_vec()
    }
    match digest {
        DigestMethod::Sha1 => of::<Sha1>(parts),
        DigestMethod::Sha256 => of::<Sha256>(parts),
        DigestMethod::Sha512 => of::<Sha512>(parts),
    }
}

/// Why a cookie is not valid. Contains no byte of the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CookieError {
    #[error("the cookie has {bytes} bytes, more than {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("the cookie does not consist of payload, timestamp and signature")]
    MissingPart,
    #[error("the signature does not match any known key")]
    BadSignature,
    #[error("the timestamp is not a base64-encoded number of seconds")]
    BadTimestamp,
    #[error("the cookie is {age_seconds} seconds old, more than {limit_seconds}")]
    Expired { age_seconds: u64, limit_seconds: u64 },
    #[error("the cookie was issued {ahead_seconds} seconds in the future")]
    IssuedInFuture { ahead_seconds: u64 },
    #[error("the payload is not base64")]
    BadEncoding,
    #[error("the payload is not zlib data")]
    BadCompression,
    #[error("the payload has more than {limit} bytes")]
    PayloadTooLarge { limit: usize },
    #[error(transparent)]
    BadPayload(#[from] TaggedJsonError),
    #[error("the payload is not a string")]
    NotText,
    #[error("the token is not 8 to 512 printable ASCII characters")]
    MalformedToken,
}

impl CookieError {
    /// The reason in one word, for logs and as a metric label.
    pub const fn word(self) -> &'static str {
        match self {
            CookieError::TooLong { .. } => "too-long",
            CookieError::MissingPart => "missing-part",
            CookieError::BadSignature => "bad-signature",
            CookieError::BadTimestamp => "bad-timestamp",
            CookieError::Expired { .. } => "expired",
            CookieError::IssuedInFuture { .. } => "issued-in-future",
            CookieError::BadEncoding => "bad-encoding",
            CookieError::BadCompression => "bad-compression",
            CookieError::PayloadTooLarge { .. } => "payload-too-large",
            CookieError::BadPayload(_) => "bad-payload",
            CookieError::NotText => "not-text",
            CookieError::MalformedToken => "malformed-token",
        }
    }
}

/// `TimestampSigner.unsign`: an age of exactly the limit is still valid; a negative one is not.
pub(super) fn check_age(
    issued_at: DateTime<Utc>,
    now: DateTime<Utc>,
    max_age: Duration,
    future_skew: Duration,
) -> Result<(), CookieError> {
    let age_seconds = now.timestamp() - issued_at.timestamp();
    match u64::try_from(age_seconds) {
        Ok(age_seconds) if age_seconds > max_age.as_secs() => {
            Err(CookieError::Expired { age_seconds, limit_seconds: max_age.as_secs() })
        }
        Err(_) if age_seconds.unsigned_abs() > future_skew.as_secs() => {
            Err(CookieError::IssuedInFuture { ahead_seconds: age_seconds.unsigned_abs() })
        }
        _ => Ok(()),
    }
}

/// `URLSafeSerializerMixin.load_payload`, bounded.
pub(super) fn decode_payload(payload: &str, limit: usize) -> Result<Vec<u8>, CookieError> {
    let json = match payload.strip_prefix('.') {
        Some(compressed) => inflate(&decode_part(compressed).ok_or(CookieError::BadEncoding)?, limit)?,
        None => decode_part(payload).ok_or(CookieError::BadEncoding)?,
    };
    if json.len() > limit { Err(CookieError::PayloadTooLarge { limit }) } else { Ok(json) }
}

/// `itsdangerous.encoding.base64_decode`: adds the padding that the length calls for, even if there is padding already.
pub(super) fn decode_part(part: &str) -> Option<Vec<u8>> {
    // Characters outside ASCII count as their UTF-8 bytes, as the cookie was encoded before it was split.
    decode_base64(part.as_bytes(), &URL_SAFE, part.len().wrapping_neg() % 4)
}

/// Seconds since 1970, big-endian, in at most eight bytes (`itsdangerous.encoding.bytes_to_int`).
pub(super) fn read_timestamp(part: &str) -> Option<DateTime<Utc>> {
    let decoded = decode_part(part)?;
    let mut bytes = [0; 8];
    bytes[8_usize.checked_sub(decoded.len())?..].copy_from_slice(&decoded);
    DateTime::from_timestamp(i64::try_from(u64::from_be_bytes(bytes)).ok()?, 0)
}

/// Python's `zlib.decompress`: one complete stream; anything after it is ignored. Stops as soon as the output exceeds
/// `limit`, so that a small cookie cannot take much memory or time.
fn inflate(compressed: &[u8], limit: usize) -> Result<Vec<u8>, CookieError> {
    let mut inflater = Decompress::new(true);
    let mut inflated = Vec::with_capacity(compressed.len().saturating_mul(4).min(limit));
    loop {
        if inflated.len() > limit {
            return Err(CookieError::PayloadTooLarge { limit });
        }
        if inflated.len() == inflated.capacity() {
            inflated.reserve(1);
        }
        let before = inflated.len();
        let consumed = usize::try_from(inflater.total_in()).map_err(|_| CookieError::BadCompression)?;
        let status = inflater
            .decompress_vec(&compressed[consumed..], &mut inflated, FlushDecompress::None)
            .map_err(|_| CookieError::BadCompression)?;
        if status == Status::StreamEnd {
            return Ok(inflated);
        }
        // There was room and no output, so the input ended before the stream did. Remaining room alone proves nothing:
        // the decompressor returns the data that it holds back in its window only on a later call.
        if inflated.len() == before && inflated.len() < inflated.capacity() {
            return Err(CookieError::BadCompression);
        }
    }
}
