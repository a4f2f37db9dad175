//! The session cookie: nobody without the key makes one, however it is spelled.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::identity::flask_cookie::{CookieLimits, CookieVerifier, SigningKeys};
use sha1::Sha1;

/// The key of the vectors in the corpus.
const SECRET: &[u8] = b"s3cret";
/// The moment of most of those vectors.
pub const NOW: i64 = 1_790_000_060;

static VERIFIER: LazyLock<CookieVerifier> = LazyLock::new(|| verifier(SECRET));
/// Its key has signed nothing that is in the corpus.
static STRANGER: LazyLock<CookieVerifier> = LazyLock::new(|| verifier(b"another key"));

fn verifier(secret: &[u8]) -> CookieVerifier {
    let keys = SigningKeys::new(secret, [""; 0]).expect("the secret is not empty");
    CookieVerifier::new(keys, CookieLimits::default())
}

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("a moment in range")
}

/// The bytes are the value of a session cookie.
pub fn cookie(data: &[u8]) -> bool {
    std::str::from_utf8(data).is_ok_and(check_cookie)
}

/// What holds for every cookie; `true` for one that is good.
pub fn check_cookie(cookie: &str) -> bool {
    assert!(STRANGER.verify(cookie, now()).is_err(), "a forged cookie: {cookie}");
    let Ok(session) = VERIFIER.verify(cookie, now()) else { return false };
    assert!(cookie.len() <= CookieLimits::default().max_cookie_bytes);
    assert!(session.issued_at <= now());
    let (signed, signature) = cookie.rsplit_once('.').expect("an accepted cookie has parts");
    assert_eq!(read_signature(signature).as_deref(), Some(sign(signed.as_bytes()).as_slice()), "{cookie}");
    // Other spellings of the signature are no other session: they share its cache entry and are revoked with it.
    let swapped = signature.replace('-', "+").replace('_', "/");
    for respelled in [format!("{cookie}="), format!("{cookie}!"), format!("{signed}.{swapped}")] {
        if let Ok(other) = VERIFIER.verify(&respelled, now()) {
            assert_eq!(other.digest, session.digest, "{respelled}");
        }
    }
    // Once it is older than its age allows, it identifies nobody.
    let later = now() + chrono::Duration::seconds(32 * 24 * 60 * 60);
    assert!(VERIFIER.verify(cookie, later).is_err());
    true
}

/// What `verify` says under the corpus' key.
pub fn verify(
    cookie: &str,
) -> Result<policy::identity::flask_cookie::VerifiedSession, policy::identity::flask_cookie::CookieError> {
    VERIFIER.verify(cookie, now())
}

/// itsdangerous' signature: HMAC-SHA1 under a key that is derived from the secret by HMAC-SHA1 of the salt.
pub fn sign(signed: &[u8]) -> Vec<u8> {
    hmac_sha1(&hmac_sha1(SECRET, b"cookie-session"), signed)
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("hmac takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Python's lenient reading: both alphabets, anything else passed over, whatever is in the spare bits, and nothing
/// behind padding that completes a group of four.
fn read_signature(text: &str) -> Option<Vec<u8>> {
    let mut digits = String::new();
    let mut padding = 0;
    for character in text.chars() {
        match character {
            '=' if digits.len() % 4 >= 2 => {
                padding += 1;
                if digits.len() % 4 + padding == 4 {
                    break;
                }
            }
            '+' | '-' => digits.push('-'),
            '/' | '_' => digits.push('_'),
            _ if character.is_ascii_alphanumeric() => digits.push(character),
            _ => continue,
        }
        padding = if character == '=' { padding } else { 0 };
    }
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&URL_SAFE, lenient).decode(digits).ok()
}
