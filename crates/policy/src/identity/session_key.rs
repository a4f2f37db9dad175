//! Sessions that the cookie only names: the cookie holds a token, plain or signed by itsdangerous, and the row of the
//! token is in Console's database.
//!
//! ```text
//! cookie --signature, age--> token --form--> parameter of the sessions SELECT: the token or its SHA-256,
//!                                            behind Console's prefix
//! ```
//!
//! A cookie that fails here costs no database query. A cookie that passes is still only a claim: the row states which
//! admin it belongs to.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::itsdangerous::{CookieError, Keys, check_age, decode_payload, read_timestamp};
use super::session_payload::PayloadReader;
use super::tagged_json::Value;
use crate::hex;
use crate::ids::SessionId;

/// The longest cookie that browsers keep (RFC 6265bis section 5.6).
const MAX_COOKIE_BYTES: usize = 4096;
/// The allowed lengths of a token. Django accepts none that is shorter.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 8..=512;
/// Digits of the SHA-256 that name a session in records.
const SHOWN_DIGITS: usize = 16;

/// The class of itsdangerous that signed the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerClass {
    Signer,
    TimestampSigner,
    UrlSafeSerializer,
    UrlSafeTimedSerializer,
}

impl SignerClass {
    /// Whether the cookie states when it was signed.
    pub const fn is_timed(self) -> bool {
        matches!(self, SignerClass::TimestampSigner | SignerClass::UrlSafeTimedSerializer)
    }

    const fn is_serializer(self) -> bool {
        matches!(self, SignerClass::UrlSafeSerializer | SignerClass::UrlSafeTimedSerializer)
    }
}

/// What the cookie contains.
#[derive(Debug)]
pub enum TokenForm {
    /// The token itself.
    Opaque,
    /// The token, signed.
    Signed {
        keys: Keys,
        class: SignerClass,
        max_age: Option<Duration>,
        /// How far a timestamp may lie in the future, where `max_age` bounds it.
        future_skew: Duration,
    },
}

/// How Console's table stores a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The token.
    Value,
    /// Its SHA-256, as 64 lower-case hexadecimal digits.
    Sha256Hex,
}

/// Verifies cookies that name a session.
#[derive(Debug)]
pub struct TokenVerifier {
    pub form: TokenForm,
    pub lookup: Lookup,
    /// The prefix that Console puts before the token or its digest.
    pub key_prefix: String,
    /// Reads the session's admin, if Console's table stores that only in a payload.
    pub payload: Option<Arc<PayloadReader>>,
}

impl TokenVerifier {
    /// Verifies the value of a session cookie, as it is in the header. Nothing but the signature is examined before it
    /// has been verified.
    ///
    /// # Errors
    /// For every error: the cookie identifies no admin, and there is nothing to look up.
    pub fn verify(&self, cookie: &str, now: DateTime<Utc>) -> Result<SessionKey, CookieError> {
        if cookie.len() > MAX_COOKIE_BYTES {
            return Err(CookieError::TooLong { bytes: cookie.len(), limit: MAX_COOKIE_BYTES });
        }
        let token = Zeroizing::new(match &self.form {
            TokenForm::Opaque => cookie.to_owned(),
            TokenForm::Signed { keys, class, max_age, future_skew } => {
                let ages = max_age.map(|max_age| (max_age, *future_skew));
                unsign(cookie, keys, *class, ages, now)?
            }
        });
        // Anyone can send anything, as often as they like: input that cannot be a token is not worth a database query.
        if !TOKEN_BYTES.contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CookieError::MalformedToken);
        }
        let key = Zeroizing::new(match self.lookup {
            Lookup::Value => format!("{}{}", self.key_prefix, *token),
            Lookup::Sha256Hex => {
                format!("{}{}", self.key_prefix, hex::lower(Sha256::digest(token.as_bytes())))
            }
        });
        let digest = Sha256::digest(key.as_bytes()).into();
        let credential = Credential { token, key, payload: self.payload.clone() };
        Ok(SessionKey { credential: Some(Arc::new(credential)), digest, keeper: Keeper::Console })
    }
}

fn unsign(
    cookie: &str,
    keys: &Keys,
    class: SignerClass,
    ages: Option<(Duration, Duration)>,
    now: DateTime<Utc>,
) -> Result<String, CookieError> {
    let mut value = keys.unsign(cookie)?;
    if class.is_timed() {
        let (before, timestamp) = value.rsplit_once('.').ok_or(CookieError::MissingPart)?;
        let issued_at = read_timestamp(timestamp).ok_or(CookieError::BadTimestamp)?;
        if let Some((max_age, future_skew)) = ages {
            check_age(issued_at, now, max_age, future_skew)?;
        }
        value = before;
    }
    if !class.is_serializer() {
        return Ok(value.to_owned());
    }
    let json = Zeroizing::new(decode_payload(value, MAX_COOKIE_BYTES)?);
    match Value::parse(&json, 0)? {
        Value::Text(token) => Ok(token),
        _ => Err(CookieError::NotText),
    }
}

/// Whose table has the session of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keeper {
    /// Console, or whoever `[console] sessions` reads from.
    Console,
    /// The gate, which began the session ([`super::login`]).
    Gate,
}

/// The lookup key of a session. It is a credential, because its holder has the session.
///
/// Two keys are equal if their digests are, so a cache can keep one [without the
/// credential](SessionKey::without_credential).
#[derive(Clone)]
pub struct SessionKey {
    credential: Option<Arc<Credential>>,
    digest: [u8; 32],
    keeper: Keeper,
}

struct Credential {
    token: Zeroizing<String>,
    key: Zeroizing<String>,
    payload: Option<Arc<PayloadReader>>,
}

impl SessionKey {
    /// The key of a session of the gate's own, by its token, which has been verified.
    pub(super) fn of_gate(token: &str) -> SessionKey {
        let key = Zeroizing::new(hex::lower(Sha256::digest(token.as_bytes())));
        let digest = Sha256::digest(key.as_bytes()).into();
        let credential = Credential { token: Zeroizing::new(token.to_owned()), key, payload: None };
        SessionKey { credential: Some(Arc::new(credential)), digest, keeper: Keeper::Gate }
    }

    /// Whose table has the session.
    pub fn keeper(&self) -> Keeper {
        self.keeper
    }

    /// The parameter for the sessions SELECT; `None` once the credential has been removed.
    pub fn expose(&self) -> Option<&str> {
        self.credential.as_ref().map(|credential| credential.key.as_str())
    }

    /// Reads the session's admin, if its row has a payload instead of the admin's id.
    pub fn payload(&self) -> Option<&PayloadReader> {
        self.credential.as_ref()?.payload.as_deref()
    }

    /// The same key for a cache, which can find the entry again without the credential.
    #[must_use]
    pub fn without_credential(&self) -> SessionKey {
        SessionKey { credential: None, digest: self.digest, keeper: self.keeper }
    }

    /// How records and assertions name the session whose row has the id `id`: by that id, unless it reveals the
    /// credential. In that case, and without an id, by the first digits of the key's SHA-256.
    pub fn shown_id(&self, id: Option<&str>) -> SessionId {
        let gives_away = |id: &&str| {
            // Without the credential there is nothing to compare the id with.
            self.credential.as_ref().is_none_or(|credential| {
                let Credential { token, key, .. } = &**credential;
                id.contains(token.as_str()) || id.contains(key.as_str())
            })
        };
        match id.filter(|id| !id.is_empty() && !gives_away(id)) {
            Some(id) => SessionId::new(id),
            None => SessionId::new(&hex::lower(self.digest)[..SHOWN_DIGITS]),
        }
    }
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &SessionKey) -> bool {
        self.digest == other.digest && self.keeper == other.keeper
    }
}

impl Eq for SessionKey {}

impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for SessionKey {
    /// Eight digits distinguish two keys in a log and are useless for anything else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({}...)", &hex::lower(self.digest)[..8])
    }
}

#[cfg(test)]
mod tests;
