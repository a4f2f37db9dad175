//! Flask's session cookie, verified without Flask.
//!
//! A cookie reads `payload.timestamp.signature`, each part in base64 (`itsdangerous.URLSafeTimedSerializer`
//! as set up by `flask.sessions.SecureCookieSessionInterface`). The signature is HMAC-SHA1 over everything
//! before the last `.`; the payload is [tagged JSON](super::tagged_json), compressed with zlib when it
//! begins with a `.` of its own.
//!
//! The gate accepts exactly the spellings that Flask accepts. Where Flask answers 500 (a valid signature over an
//! unreadable payload), the gate treats the caller as not logged in.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::ZlibEncoder;
use sha2::{Digest, Sha256};

pub use super::itsdangerous::{CookieError, SigningKeysError};
use super::itsdangerous::{
    DigestMethod, KeyDerivation, Keys, Signing, check_age, decode_payload, read_timestamp,
};
use super::tagged_json::Value;
use crate::hex;

/// `SecureCookieSessionInterface.salt`.
const SALT: &[u8] = b"cookie-session";

/// `SECRET_KEY` and `SECRET_KEY_FALLBACKS`, prepared for session cookies. Never printed.
pub struct SigningKeys(Keys);

impl SigningKeys {
    /// Derives the signing keys (itsdangerous' `hmac` derivation: HMAC-SHA1 of the salt under the secret). A
    /// secret that is text is given as its UTF-8 bytes.
    ///
    /// # Errors
    /// An empty secret or fallback: with it, anyone could sign a session.
    pub fn new<S: AsRef<[u8]>>(
        secret: &[u8],
        fallbacks: impl IntoIterator<Item = S>,
    ) -> Result<SigningKeys, SigningKeysError> {
        let signing =
            Signing { salt: SALT.to_vec(), digest: DigestMethod::Sha1, derivation: KeyDerivation::Hmac };
        Keys::new(&signing, secret, fallbacks).map(SigningKeys)
    }

    /// Writes a cookie that Flask accepts (`URLSafeTimedSerializer.dumps`), signed with the newest key. `payload` is
    /// written unchanged: the caller adds the tags. `issued_at` is cut to whole seconds; earlier than 1970 counts as
    /// 1970.
    pub fn sign(&self, payload: &serde_json::Value, issued_at: DateTime<Utc>) -> String {
        let json = payload.to_string();
        let mut compressed = Vec::new();
        ZlibEncoder::new(json.as_bytes(), Compression::default())
            .read_to_end(&mut compressed)
            .expect("compressing from memory into memory has no i/o that could fail");
        let mut cookie = if compressed.len() + 1 < json.len() {
            format!(".{}", URL_SAFE_NO_PAD.encode(&compressed))
        } else {
            URL_SAFE_NO_PAD.encode(&json)
        };
        let timestamp = u64::try_from(issued_at.timestamp()).unwrap_or(0);
        let leading_zeros = timestamp.leading_zeros() as usize / 8;
        cookie.push('.');
        URL_SAFE_NO_PAD.encode_string(&timestamp.to_be_bytes()[leading_zeros..], &mut cookie);
        let signature = self.0.sign(&cookie);
        cookie.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut cookie);
        cookie
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("keys", &self.0.count()).finish_non_exhaustive()
    }
}

/// The limits within which a cookie is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieLimits {
    /// How old a cookie may be, in whole seconds: Flask's `PERMANENT_SESSION_LIFETIME`, which it applies to
    /// every session, permanent or not.
    pub max_age: Duration,
    /// How far a timestamp may lie in the future, in whole seconds, if Console's clock and the gate's differ. Flask
    /// itself allows nothing.
    pub future_skew: Duration,
    /// The longest cookie value that is examined.
    pub max_cookie_bytes: usize,
    /// The largest payload, after decompression: two kilobytes of cookie can inflate to two megabytes.
    pub max_payload_bytes: usize,
    /// How deeply the payload's arrays and objects may nest; each tag counts as a level.
    pub max_depth: usize,
}

impl Default for CookieLimits {
    /// Flask's own lifetime (31 days, no skew), the longest cookie that browsers keep (RFC 6265bis section 5.6), and
    /// payloads far larger than a session is meant to have.
    fn default() -> CookieLimits {
        CookieLimits {
            max_age: Duration::from_secs(31 * 24 * 60 * 60),
            future_skew: Duration::ZERO,
            max_cookie_bytes: 4096,
            max_payload_bytes: 64 * 1024,
            max_depth: 32,
        }
    }
}

/// Verifies session cookies. Holds no state but its keys: its result depends on the cookie and
/// the clock.
#[derive(Debug)]
pub struct CookieVerifier {
    keys: SigningKeys,
    limits: CookieLimits,
}

/// The field of Flask's session that holds its own id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionIdField {
    pub key: String,
    /// Console's table has the id's SHA-256, as 64 lower-case hexadecimal digits.
    pub is_hashed: bool,
}

impl SessionIdField {
    /// The session's id as Console's table stores it; `None` where the session contains no id.
    pub fn of(&self, session: &VerifiedSession) -> Option<String> {
        let id = session.field_as_id(&self.key)?;
        Some(if self.is_hashed { hex::lower(Sha256::digest(id.as_bytes())) } else { id })
    }
}

/// A session that Console signed and that had not expired at the time of verification.
pub struct VerifiedSession {
    /// The content of the session; an object, unless something other than Flask wrote it.
    pub payload: Value,
    /// When the cookie was signed, in whole seconds.
    pub issued_at: DateTime<Utc>,
    /// SHA-256 over the timestamp and the decoded payload: the key for caches and revocations. The cookie's own bytes
    /// must not be that key: anyone can change its last base64 character, its padding and its alphabet without breaking
    /// the signature, and a revoked session would live on under another spelling.
    pub digest: [u8; 32],
}

impl VerifiedSession {
    /// The id in field `key`; see [`Value::field_as_id`].
    pub fn field_as_id(&self, key: &str) -> Option<String> {
        self.payload.field_as_id(key)
    }

    /// Whether field `key` is the id that is stored as `stored`; see [`Value::is_id`].
    pub fn field_is_id(&self, key: &str, stored: &str) -> bool {
        self.payload.field(key).is_some_and(|value| value.is_id(stored))
    }
}

impl fmt::Debug for VerifiedSession {
    /// Leaves the payload out: it is personal data, and this output goes to logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedSession").field("issued_at", &self.issued_at).finish_non_exhaustive()
    }
}

impl CookieVerifier {
    /// A verifier that accepts cookies signed with `keys`, within `limits`.
    pub fn new(keys: SigningKeys, limits: CookieLimits) -> CookieVerifier {
        CookieVerifier { keys, limits }
    }

    /// Writes a cookie that this verifier and Flask accept; see [`SigningKeys::sign`].
    pub fn sign(&self, payload: &serde_json::Value, issued_at: DateTime<Utc>) -> String {
        self.keys.sign(payload, issued_at)
    }

    /// Verifies the value of a session cookie, as it is in the header, without quotes (`URLSafeTimedSerializer.loads`).
    /// Nothing but the signature is examined before the signature has been verified.
    ///
    /// # Errors
    /// For every error, the cookie identifies no admin.
    pub fn verify(&self, cookie: &str, now: DateTime<Utc>) -> Result<VerifiedSession, CookieError> {
        if cookie.len() > self.limits.max_cookie_bytes {
            return Err(CookieError::TooLong { bytes: cookie.len(), limit: self.limits.max_cookie_bytes });
        }
        let signed = self.keys.0.unsign(cookie)?;
        let (payload, timestamp) = signed.rsplit_once('.').ok_or(CookieError::MissingPart)?;
        let issued_at = read_timestamp(timestamp).ok_or(CookieError::BadTimestamp)?;
        self.check_age(issued_at, now)?;
        let json = decode_payload(payload, self.limits.max_payload_bytes)?;
        let digest =
            Sha256::new().chain_update(issued_at.timestamp().to_be_bytes()).chain_update(&json).finalize();
        Ok(VerifiedSession {
            payload: Value::parse(&json, self.limits.max_depth)?,
            issued_at,
            digest: digest.into(),
        })
    }

    /// Whether a cookie that was signed at `issued_at` is accepted now. [`CookieVerifier::verify`] checks this for each
    /// cookie.
    ///
    /// # Errors
    /// It has expired, or lies in the future.
    pub fn check_age(&self, issued_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), CookieError> {
        check_age(issued_at, now, self.limits.max_age, self.limits.future_skew)
    }
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;
    use serde_json::json;

    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/flask_session_vectors.jsonl"));
    const NO_FALLBACKS: [&[u8]; 0] = [];

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn verifier(limits: CookieLimits) -> CookieVerifier {
        CookieVerifier::new(SigningKeys::new(b"s3cret", NO_FALLBACKS).unwrap(), limits)
    }

    /// The notation in which the vectors write what JSON has no word for.
    fn in_vector_notation(value: &Value) -> serde_json::Value {
        let list = |items: &Vec<Value>| items.iter().map(in_vector_notation).collect::<serde_json::Value>();
        match value {
            Value::Null => json!(null),
            Value::Bool(truth) => json!(truth),
            Value::Integer(number) => json!(number),
            Value::Float(number) => json!(number),
            Value::Text(text) | Value::IllFormedText(text) => json!(text),
            Value::List(items) => list(items),
            Value::Tuple(items) => json!({"__tuple__": list(items)}),
            Value::Markup(html) => json!({"__markup__": html}),
            Value::Uuid(bits) => json!({"__uuid__": format!("{bits:032x}")}),
            Value::Time(time) => json!({"__datetime__": time.to_rfc3339_opts(SecondsFormat::Secs, false)}),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (key.clone(), in_vector_notation(value))).collect()
            }
            Value::BigInteger(_) | Value::Bytes(_) => panic!("no vector has {value:?}"),
        }
    }

    #[test]
    fn says_of_every_vector_what_flask_says() {
        for line in VECTORS.lines() {
            // serde_json reads no unpaired surrogate; here it is read as what represents it in
            // `IllFormedText`.
            let vector: serde_json::Value =
                serde_json::from_str(&line.replace("\\ud800", "\u{fffd}")).unwrap();
            let secret = match vector["secret_b64"].as_str() {
                Some(secret) => base64::engine::general_purpose::STANDARD.decode(secret).unwrap(),
                None => vector["secret"].as_str().unwrap().as_bytes().to_vec(),
            };
            let fallbacks =
                vector["fallbacks"].as_array().into_iter().flatten().map(|key| key.as_str().unwrap());
            let max_age = Duration::from_secs(vector["max_age"].as_u64().unwrap());
            let keys = SigningKeys::new(&secret, fallbacks).unwrap();
            let verifier = CookieVerifier::new(keys, CookieLimits { max_age, ..CookieLimits::default() });

            let now = at(vector["now"].as_i64().unwrap());
            let verdict = verifier.verify(vector["cookie"].as_str().unwrap(), now);
            let note = &vector["note"];
            assert_eq!(verdict.is_ok(), vector["valid"] == true, "{note}: {verdict:?}");
            if let Ok(session) = verdict {
                assert_eq!(in_vector_notation(&session.payload), vector["payload"], "{note}");
                assert_eq!(Some(session.issued_at.timestamp()), vector["issued_at"].as_i64(), "{note}");
            }
        }
        assert_eq!(VECTORS.lines().count(), 52);
    }

    #[test]
    fn reads_what_it_signs() {
        let verifier = verifier(CookieLimits::default());
        let uuid = "12345678123412341234123456789abc";
        let long = json!({"user_id": 42, "team": {" u": uuid}, "notes": "again and ".repeat(50)});
        for (payload, compressed) in [(json!({"user_id": 42}), false), (long, true)] {
            let cookie = verifier.sign(&payload, at(1_790_000_000));
            assert_eq!(cookie.starts_with('.'), compressed);
            let session = verifier.verify(&cookie, at(1_790_000_060)).unwrap();
            assert_eq!(session.field_as_id("user_id").as_deref(), Some("42"));
            assert_eq!(session.field_is_id("team", uuid), compressed);
            assert_eq!(session.field_as_id("email"), None);
        }
    }

    /// What shrinks most of all leaves the decompressor in two pieces.
    #[test]
    fn reads_what_is_the_same_all_over() {
        let verifier = verifier(CookieLimits::default());
        for length in [30_000, 32_768, 60_000, 65_000] {
            let cookie =
                verifier.sign(&json!({"user_id": 42, "fill": "0".repeat(length)}), at(1_790_000_000));
            assert!(verifier.verify(&cookie, at(1_790_000_000)).is_ok(), "{length}");
        }
    }

    #[test]
    fn respelled_signatures_keep_the_digest() {
        let cookie = "eyJ1c2VyX2lkIjo0MiwiZW1haWwiOiJhbm5hQGV4YW1wbGUuY29tIiwiX2ZyZXNoIjp0cnVlfQ.arE7gA.xV4gsbiPLM-ZE7aj0TTT4FaStyg";
        let verifier = verifier(CookieLimits::default());
        let digest = |cookie: &str| verifier.verify(cookie, at(1_790_000_060)).unwrap().digest;
        let original = digest(cookie);
        let last_character = cookie.strip_suffix('g').unwrap().to_owned() + "h";
        for respelled in
            [last_character, cookie.replace("-ZE", "+ZE"), format!("{cookie}="), format!("{cookie}!!!!")]
        {
            assert_eq!(digest(&respelled), original, "{respelled}");
        }
        assert_ne!(digest(&verifier.sign(&json!({"user_id": 42}), at(1_790_000_000))), original);
    }

    #[test]
    fn bounds_hold_to_the_byte_and_second() {
        let issued = at(1_790_000_000);
        let defaults = CookieLimits::default();
        let payload = json!({"fill": "x".repeat(2000)});
        let cookie = verifier(defaults).sign(&payload, issued);
        let length = payload.to_string().len();
        let verdict = |limits, now: i64| verifier(limits).verify(&cookie, at(1_790_000_000 + now)).map(drop);

        let payload_limit = |max_payload_bytes| CookieLimits { max_payload_bytes, ..defaults };
        assert_eq!(verdict(payload_limit(length), 0), Ok(()));
        assert_eq!(
            verdict(payload_limit(length - 1), 0),
            Err(CookieError::PayloadTooLarge { limit: length - 1 })
        );
        let bytes = cookie.len();
        let cookie_limit = |max_cookie_bytes| CookieLimits { max_cookie_bytes, ..defaults };
        assert_eq!(verdict(cookie_limit(bytes), 0), Ok(()));
        assert_eq!(
            verdict(cookie_limit(bytes - 1), 0),
            Err(CookieError::TooLong { bytes, limit: bytes - 1 })
        );
        let skew = |seconds| CookieLimits { future_skew: Duration::from_secs(seconds), ..defaults };
        assert_eq!(verdict(skew(5), -5), Ok(()));
        assert_eq!(verdict(skew(4), -5), Err(CookieError::IssuedInFuture { ahead_seconds: 5 }));
        assert_eq!(verdict(CookieLimits { max_depth: 0, ..defaults }, 0).unwrap_err().word(), "bad-payload");
    }

    #[test]
    fn empty_secrets_are_refused_and_none_is_printed() {
        assert_eq!(SigningKeys::new(b"", NO_FALLBACKS).unwrap_err(), SigningKeysError::EmptySecret);
        let with_empty = SigningKeys::new(b"s3cret", ["old", ""]).unwrap_err();
        assert_eq!(with_empty, SigningKeysError::EmptyFallback { number: 2 });
        let printed = format!("{:?}", SigningKeys::new(b"s3cret", ["old"]).unwrap());
        assert_eq!(printed, "SigningKeys { keys: 2, .. }");
    }
}
