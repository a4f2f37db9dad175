//! Sessions that the gate begins itself: their tokens, and how an admin proved to be that admin.
//!
//! ```text
//! token = base64url(32 random bytes, 16 bytes of HMAC-SHA-256 over them)      stored: SHA-256(token)
//! ```
//!
//! The HMAC makes a token that was never given out cost nothing: it is refused without a look at the database.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::itsdangerous::CookieError;
use super::session_key::SessionKey;

/// The random bytes of a token.
pub const RANDOM_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// The characters of a token.
const TOKEN_LENGTH: usize = 64;

/// The keys of tokens: the first one signs, and what any of them has signed is accepted, so that keys can be rotated gate by
/// gate.
pub struct TokenKeys(Vec<Hmac<Sha256>>);

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeys({})", self.0.len())
    }
}

impl TokenKeys {
    /// Keys for tokens, derived from keys that serve other purposes too.
    pub fn derived<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> TokenKeys {
        let derived = |key: &[u8]| {
            let mut tag = Hmac::<Sha256>::new_from_slice(key).ok()?;
            tag.update(b"console-gate session token 1");
            Hmac::<Sha256>::new_from_slice(&tag.finalize().into_bytes()).ok()
        };
        TokenKeys(keys.into_iter().filter_map(derived).collect())
    }

    /// The token of these random bytes; `None` without a key.
    pub fn token(&self, random: &[u8; RANDOM_BYTES]) -> Option<Zeroizing<String>> {
        let tag = tag(self.0.first()?, random);
        let whole = Zeroizing::new([&random[..], &tag[..TAG_BYTES]].concat());
        Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(&*whole)))
    }

    /// Verifies the value of a cookie.
    ///
    /// # Errors
    ///
    /// No key of these has made it: it names no session.
    pub fn verify(&self, cookie: &str) -> Result<SessionKey, CookieError> {
        if cookie.len() != TOKEN_LENGTH {
            return Err(CookieError::MalformedToken);
        }
        let whole = URL_SAFE_NO_PAD.decode(cookie).map_err(|_| CookieError::MalformedToken)?;
        let (random, given) = whole.split_at(RANDOM_BYTES);
        let is_ours = self.0.iter().any(|key| bool::from(tag(key, random)[..TAG_BYTES].ct_eq(given)));
        if is_ours { Ok(SessionKey::of_gate(cookie)) } else { Err(CookieError::BadSignature) }
    }
}

fn tag(key: &Hmac<Sha256>, random: &[u8]) -> [u8; 32] {
    let mut tag = key.clone();
    tag.update(random);
    tag.finalize().into_bytes().into()
}

/// How an admin proved to be that admin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    pub kind: MethodKind,
    /// The id of the passkey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey: Option<String>,
    pub at: DateTime<Utc>,
}

/// A way of proving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodKind {
    /// A passkey, with the person verified by it.
    Passkey,
    /// A code that an operator gave.
    Invitation,
    /// A backup code.
    Backup,
}

/// What a session may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that its admin may.
    Full,
    /// To register a first passkey.
    Enrol,
    /// To register a passkey after the others were lost.
    Recovery,
}

impl Scope {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Scope::Full => "full",
            Scope::Enrol => "enrol",
            Scope::Recovery => "recovery",
        }
    }

    /// The scope of a word.
    pub fn of(word: &str) -> Option<Scope> {
        [Scope::Full, Scope::Enrol, Scope::Recovery].into_iter().find(|scope| scope.word() == word)
    }
}

/// How, and when, the admin of a session of the gate's own logged in.
#[derive(Debug)]
pub struct Login {
    pub methods: Vec<Method>,
    /// When a passkey of this session last signed.
    pub stepped_up_at: Option<DateTime<Utc>>,
    /// When the idle end was moved last, or is about to be, in seconds since 1970.
    slid_at: AtomicI64,
}

impl Login {
    /// A login that was last used at `used`.
    pub fn new(methods: Vec<Method>, stepped_up_at: Option<DateTime<Utc>>, used: DateTime<Utc>) -> Login {
        Login { methods, stepped_up_at, slid_at: AtomicI64::new(used.timestamp()) }
    }

    /// The level of assurance (NIST 800-63B-4): 2 for a passkey that verified the person, else 1. It follows from the
    /// methods, so that nothing stored can claim more.
    pub fn level(&self) -> u8 {
        if self.methods.iter().any(|method| method.kind == MethodKind::Passkey) { 2 } else { 1 }
    }

    /// The methods in the words of RFC 8176.
    pub fn amr(&self) -> impl Iterator<Item = &'static str> {
        let words = |method: &Method| match method.kind {
            MethodKind::Passkey => ["hwk", "user"].as_slice(),
            MethodKind::Invitation | MethodKind::Backup => ["otp"].as_slice(),
        };
        let mut all: Vec<&str> = self.methods.iter().flat_map(words).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// When the admin proved to be that admin: the last time.
    pub fn auth_time(&self) -> Option<DateTime<Utc>> {
        self.methods.iter().map(|method| method.at).chain(self.stepped_up_at).max()
    }

    /// Whether a passkey signed in this session not longer than `age` ago. One that signed in the future did not.
    pub fn is_fresh(&self, age: Duration, now: DateTime<Utc>) -> bool {
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        self.stepped_up_at.is_some_and(|at| (TimeDelta::zero()..=age).contains(&(now - at)))
    }

    /// Whether the idle end is to be moved: of all who ask within `every`, one is told so.
    pub fn slides(&self, now: DateTime<Utc>, every: TimeDelta) -> bool {
        let (now, slid) = (now.timestamp(), self.slid_at.load(Ordering::Relaxed));
        now - slid >= every.num_seconds()
            && self.slid_at.compare_exchange(slid, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl PartialEq for Login {
    /// Two logins are equal whenever they were used.
    fn eq(&self, other: &Login) -> bool {
        self.methods == other.methods && self.stepped_up_at == other.stepped_up_at
    }
}

impl Eq for Login {}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&[u8]]) -> TokenKeys {
        TokenKeys::derived(keys.iter().copied())
    }

    #[test]
    fn only_what_a_key_has_made_is_a_token() {
        let token = keys(&[b"one"]).token(&[7; RANDOM_BYTES]).unwrap();
        assert_eq!(token.len(), TOKEN_LENGTH);
        let found = keys(&[b"two", b"one"]).verify(&token).unwrap();
        assert_eq!(found, keys(&[b"one"]).verify(&token).unwrap());
        assert!(keys(&[b"two"]).verify(&token).is_err());
        for place in 0..TOKEN_LENGTH {
            let mut other = token.to_string();
            let letter = if &other[place..=place] == "A" { "B" } else { "A" };
            other.replace_range(place..=place, letter);
            assert!(keys(&[b"one"]).verify(&other).is_err(), "{place}");
        }
        for other in
            ["", &token[1..], &format!("{}A", *token), &format!("{}=", &token[1..]), &"\u{e9}".repeat(32)]
        {
            assert!(keys(&[b"one"]).verify(other).is_err(), "{other}");
        }
        assert!(keys(&[]).token(&[7; RANDOM_BYTES]).is_none());
    }

    #[test]
    fn freshness_is_of_a_passkey_and_not_of_the_session() {
        let at = |seconds: i64| DateTime::from_timestamp(1_795_255_200 + seconds, 0).unwrap();
        let login = |stepped_up| Login::new(Vec::new(), stepped_up, at(0));
        let quarter = Duration::from_secs(900);
        for (stepped_up, now, fresh) in [
            (None, 0, false),
            (Some(at(0)), 0, true),
            (Some(at(0)), 900, true),
            (Some(at(0)), 901, false),
            (Some(at(1)), 0, false),
        ] {
            assert_eq!(login(stepped_up).is_fresh(quarter, at(now)), fresh, "{stepped_up:?} {now}");
        }
    }

    #[test]
    fn the_level_follows_from_the_methods() {
        let at = DateTime::UNIX_EPOCH;
        let method = |kind| Method { kind, passkey: None, at };
        for (methods, level) in [
            (vec![], 1),
            (vec![method(MethodKind::Invitation)], 1),
            (vec![method(MethodKind::Backup)], 1),
            (vec![method(MethodKind::Backup), method(MethodKind::Passkey)], 2),
        ] {
            assert_eq!(Login::new(methods, None, at).level(), level);
        }
    }

    #[test]
    fn an_end_is_moved_once_in_its_time() {
        let at = |seconds: i64| DateTime::from_timestamp(1_795_255_200 + seconds, 0).unwrap();
        let login = Login::new(Vec::new(), None, at(0));
        let slides = |seconds| login.slides(at(seconds), TimeDelta::seconds(60));
        assert_eq!([0, 59, 60, 61, 119, 120].map(slides), [false, false, true, false, false, true]);
    }
}
