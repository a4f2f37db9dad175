//! Sessions that do not identify a principal, and why: otherwise a wrong key or a wrong column shows only as a login page
//! that comes back for ever, without a reason.

use metrics::counter;
use policy::firewall::Request;
use policy::identity::Subject;
use policy::identity::itsdangerous::CookieError;
use policy::rbac::Standing;

use crate::journal::log_limit::LogLimit;

/// The most names of cookies that one line has.
const MOST_NAMES: usize = 8;

/// Logs why, at most once in some minutes for each cause.
#[derive(Default)]
pub struct Strangers {
    log: LogLimit,
}

impl Strangers {
    /// A session cookie does not verify.
    pub(super) fn unverified(&self, error: CookieError) {
        counter!("gate_cookies_refused_total", "reason" => error.word()).increment(1);
        // An old session is every day's.
        if matches!(error, CookieError::Expired { .. }) {
            return;
        }
        let Some(not_logged_before) = self.log.is_due(&error.word()) else { return };
        let look = match error {
            CookieError::BadSignature => {
                "compare the gate's session key with Console's SECRET_KEY, and `salt`, `digest`, `key_derivation` in [session]"
            }
            CookieError::IssuedInFuture { .. } => "compare the clocks of the gate's machine and of Console's",
            _ => "compare `kind` in [session] with how Console keeps sessions",
        };
        tracing::warn!(
            reason = error.word(),
            not_logged_before,
            "a session cookie does not verify, so its caller is sent to log in: {error}; {look}. `console-gate doctor --cookie` \
             examines one"
        );
    }

    /// A session cookie verifies, and has not the key that names the admin or the session.
    pub(super) fn without(&self, setting: &'static str, key: &str) {
        let reason = if setting == "admin_id_key" { "no-admin-id" } else { "no-session-id" };
        counter!("gate_cookies_refused_total", "reason" => reason).increment(1);
        // Console gives a session to people who are not logged in, too.
        let Some(not_logged_before) = self.log.is_due(&reason) else { return };
        tracing::warn!(
            reason,
            not_logged_before,
            "a session has no `{key}`, so its caller is sent to log in: if people are logged in then, correct `{setting}` in \
             [session]. `console-gate doctor --cookie` lists what a session has"
        );
    }

    /// There are cookies, and none has the session's name.
    pub(super) fn nameless(&self, request: &Request, name: &str) {
        let fields = request.fields().iter().filter(|(field, _)| *field == "cookie").map(|(_, value)| value);
        let looks_like_a_session = |value: &str| value.len() >= 20 && value.matches('.').count() == 2;
        let mut names = Vec::new();
        for field in fields {
            let pairs = std::str::from_utf8(field).unwrap_or_default().split(';');
            let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
            names.extend(
                pairs.filter(|(_, value)| looks_like_a_session(value)).map(|(name, _)| name.to_owned()),
            );
        }
        names.truncate(MOST_NAMES);
        if names.is_empty() {
            return;
        }
        counter!("gate_cookies_refused_total", "reason" => "other-name").increment(1);
        let Some(not_logged_before) = self.log.is_due(&"other-name") else { return };
        tracing::warn!(
            reason = "other-name",
            ?names,
            not_logged_before,
            "a caller has no cookie `{name}`, and others that look like a session, so it is sent to log in: compare \
             `cookie_name` in [session] with Console's SESSION_COOKIE_NAME"
        );
    }

    /// A session verifies, and the admin that it names is denied.
    pub(super) fn unknown(&self, subject: &Subject, standing: Standing) {
        let reason = match standing {
            Standing::Active => return,
            Standing::Unknown => "unknown-admin",
            Standing::Disabled => "disabled",
            Standing::SessionEnded => "session-ended",
        };
        let caller = match subject {
            Subject::Admin { id, .. } => format!("`{id}`"),
            Subject::Session(_) => "a session that is looked up".to_owned(),
            Subject::Machine(_) | Subject::Enrolled(_) | Subject::Stated(_) => return,
        };
        counter!("gate_sessions_refused_total", "reason" => reason).increment(1);
        if standing != Standing::Unknown {
            return;
        }
        let Some(not_logged_before) = self.log.is_due(&(reason, &caller)) else { return };
        tracing::warn!(
            reason,
            whom = caller,
            not_logged_before,
            "a session verifies, and the tables have no such admin, so its caller is sent to log in: correct `admins` in \
             [console], or `admin_id_key` in [session] if that is another thing than the id"
        );
    }
}
