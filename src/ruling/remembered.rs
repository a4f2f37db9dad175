//! Session cookies whose signatures were verified a short while ago.
//!
//! A browser sends the same cookie with each request. The same bytes are signed by the same key as before, and name the same
//! person; only their age has changed, and that is checked each time. Whether the session has ended is not in the cookie:
//! the database has it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use policy::identity::Subject;
use policy::identity::flask_cookie::{CookieError, CookieVerifier, VerifiedSession};

/// How many cookies are remembered. Each has one place, which it shares with others.
const PLACES: usize = 4_096;
/// The longest cookie that is remembered: all of them together take a few megabytes.
const MOST_BYTES: usize = 1_024;

/// A caller whose credential was verified.
#[derive(Clone)]
pub(super) struct Identified {
    pub(super) subject: Subject,
    /// The id of the session, or a digest of the cookie; audit rows have a keyed hash of it.
    pub(super) session: Option<Arc<str>>,
}

/// The cookies.
pub struct RememberedCookies {
    places: Box<[Mutex<Option<Remembered>>]>,
    hasher: RandomState,
}

struct Remembered {
    cookie: Box<str>,
    issued_at: DateTime<Utc>,
    identified: Identified,
}

impl Default for RememberedCookies {
    fn default() -> RememberedCookies {
        let places = (0..PLACES).map(|_| Mutex::new(None)).collect();
        RememberedCookies { places, hasher: RandomState::new() }
    }
}

impl RememberedCookies {
    /// The admin that a cookie identifies now: by `identify`, where its session was verified for the first time.
    ///
    /// # Errors
    ///
    /// As [`CookieVerifier::verify`].
    pub(super) fn identify(
        &self,
        cookies: &CookieVerifier,
        cookie: &str,
        now: DateTime<Utc>,
        identify: impl FnOnce(&VerifiedSession) -> Option<Identified>,
    ) -> Result<Option<Identified>, CookieError> {
        if let Some((issued_at, identified)) = self.recall(cookie) {
            cookies.check_age(issued_at, now)?;
            return Ok(Some(identified));
        }
        let session = cookies.verify(cookie, now)?;
        let identified = identify(&session);
        if let Some(identified) = &identified {
            self.remember(cookie, session.issued_at, identified);
        }
        Ok(identified)
    }

    /// The admin that exactly this cookie identifies, and when it was signed.
    fn recall(&self, cookie: &str) -> Option<(DateTime<Utc>, Identified)> {
        let place = self.place(cookie)?.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = place.as_ref().filter(|remembered| *remembered.cookie == *cookie)?;
        Some((remembered.issued_at, remembered.identified.clone()))
    }

    /// Remembers a cookie that was verified.
    fn remember(&self, cookie: &str, issued_at: DateTime<Utc>, identified: &Identified) {
        if cookie.len() <= MOST_BYTES
            && let Some(place) = self.place(cookie)
        {
            let remembered = Remembered { cookie: cookie.into(), issued_at, identified: identified.clone() };
            let before = place.lock().unwrap_or_else(PoisonError::into_inner).replace(remembered);
            drop(before);
        }
    }

    /// Where a cookie is, if anywhere. The hash is keyed, so that a client cannot choose whose place to take.
    fn place(&self, cookie: &str) -> Option<&Mutex<Option<Remembered>>> {
        let number = self.hasher.hash_one(cookie) % PLACES as u64;
        usize::try_from(number).ok().and_then(|number| self.places.get(number))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use policy::identity::flask_cookie::{CookieLimits, SigningKeys};
    use policy::ids::AdminId;

    use super::*;

    fn identified(id: &str) -> Identified {
        Identified { subject: Subject::Admin { id: AdminId::new(id), session: None }, session: None }
    }

    fn recalled(cookies: &RememberedCookies, cookie: &str) -> Option<Subject> {
        cookies.recall(cookie).map(|(_, identified)| identified.subject)
    }

    #[test]
    fn a_cookie_is_verified_once_and_its_age_each_time() {
        let cookies = RememberedCookies::default();
        let keys = SigningKeys::new::<[u8; 0]>(b"a secret", []).unwrap();
        let limits = CookieLimits::default();
        let verifier = CookieVerifier::new(keys, limits);
        let signed = DateTime::from_timestamp(1_795_255_200, 0).unwrap();
        let cookie = verifier.sign(&serde_json::json!({"admin_id": "anna"}), signed);
        let who = |at: DateTime<Utc>, times: &mut u32| {
            let found = cookies.identify(&verifier, &cookie, at, |session| {
                *times += 1;
                session.field_as_id("admin_id").map(|id| identified(&id))
            });
            found.map(|found| found.map(|identified| identified.subject))
        };
        let anna = Some(identified("anna").subject);
        let mut times = 0;
        assert_eq!((who(signed, &mut times), times), (Ok(anna.clone()), 1));
        let last = signed + TimeDelta::from_std(limits.max_age).unwrap();
        assert_eq!((who(last, &mut times), times), (Ok(anna), 1));
        let too_late = who(last + TimeDelta::seconds(1), &mut times);
        assert!(matches!(too_late, Err(CookieError::Expired { .. })), "{too_late:?}");
        let too_early = who(signed - TimeDelta::seconds(1), &mut times);
        assert!(matches!(too_early, Err(CookieError::IssuedInFuture { .. })), "{too_early:?}");
        assert_eq!(times, 1);
        // Another one is not that one: a byte of its signature is enough.
        let mut other = cookie.clone();
        let place = cookie.len() - 5;
        other.replace_range(place..=place, if &cookie[place..=place] == "A" { "B" } else { "A" });
        assert!(cookies.identify(&verifier, &other, signed, |_| None).is_err());
    }

    #[test]
    fn a_cookie_that_identifies_nobody_is_not_remembered() {
        let cookies = RememberedCookies::default();
        let keys = SigningKeys::new::<[u8; 0]>(b"a secret", []).unwrap();
        let verifier = CookieVerifier::new(keys, CookieLimits::default());
        let cookie = verifier.sign(&serde_json::json!({}), DateTime::UNIX_EPOCH);
        for _ in 0..2 {
            let mut times = 0;
            let found = cookies.identify(&verifier, &cookie, DateTime::UNIX_EPOCH, |_| {
                times += 1;
                None
            });
            assert!(found.is_ok_and(|found| found.is_none()) && times == 1);
        }
    }

    /// Far more of them than there are places: each one's place is another's before long.
    #[test]
    fn a_cookie_is_never_taken_for_another() {
        let cookies = RememberedCookies::default();
        for number in 0..4 * PLACES {
            let cookie = format!("payload.{number}.signature");
            assert_eq!(recalled(&cookies, &cookie), None);
            cookies.remember(&cookie, DateTime::UNIX_EPOCH, &identified(&cookie));
            assert_eq!(recalled(&cookies, &cookie), Some(identified(&cookie).subject));
        }
        let kept = (0..4 * PLACES).filter(|number| {
            let cookie = format!("payload.{number}.signature");
            let found = recalled(&cookies, &cookie);
            assert!(found.is_none() || found == Some(identified(&cookie).subject));
            found.is_some()
        });
        assert!((1..=PLACES).contains(&kept.count()));
    }

    #[test]
    fn a_long_one_is_verified_each_time() {
        let cookies = RememberedCookies::default();
        let long = "x".repeat(MOST_BYTES + 1);
        cookies.remember(&long, DateTime::UNIX_EPOCH, &identified("anna"));
        assert_eq!(recalled(&cookies, &long), None);
    }
}
