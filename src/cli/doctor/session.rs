//! A session cookie: the principal that it identifies, or why it identifies none.

use policy::identity::Subject;
use policy::identity::flask_cookie::VerifiedSession;
use policy::identity::itsdangerous::CookieError;
use policy::identity::tagged_json::Value;
use policy::ids::{AdminId, SessionId};
use policy::rbac::{Access, Standing};
use store::SharedStore;

use super::report::Report;
use crate::ruling::SessionCredential;
use crate::server::credentials;
use crate::settings::Settings;
use crate::settings::secrets::Secrets;

const SUBJECT: &str = "session cookie";

pub(super) async fn examine(
    settings: &Settings,
    secrets: Option<&Secrets>,
    store: Option<&SharedStore>,
    cookie: Option<&str>,
    report: &mut Report,
) {
    let Some(cookie) = cookie else {
        return report.skip(
            SUBJECT,
            "log in to Console and give the cookie's value by `--cookie`: this says whose it is, or why it is nobody's",
        );
    };
    let Some(secrets) = secrets else { return report.skip(SUBJECT, "the secrets come first") };
    let credential = match credentials(settings, secrets) {
        Ok(credential) => credential,
        Err(error) => return report.fail(SUBJECT, format!("{error:#}"), "correct [session]"),
    };
    let Some(value) = value_of(cookie, settings.session.cookie()) else {
        let found = format!("there is no cookie `{}` in what was given", settings.session.cookie());
        return report.fail(
            SUBJECT,
            found,
            "set `cookie_name` in [session] to Console's SESSION_COOKIE_NAME",
        );
    };
    let now = chrono::Utc::now();
    let subject = match credential {
        SessionCredential::Token(_) | SessionCredential::Gate(_) => match credential.key_of(value, now) {
            Ok(key) => Subject::Session(key),
            Err(error) => return report.fail(SUBJECT, error.to_string(), remedy(error)),
        },
        SessionCredential::Flask(cookies) => match cookies.verify(value, now) {
            Ok(session) => match subject(&session, settings) {
                Ok(subject) => subject,
                Err((found, remedy)) => return report.fail(SUBJECT, found, remedy),
            },
            Err(error) => return report.fail(SUBJECT, error.to_string(), remedy(error)),
        },
    };
    let Some(store) = store else { return report.skip(SUBJECT, "it verifies; the database comes first") };
    match store.access(&subject, now).await {
        Ok(access) => who(&subject, &access, report),
        Err(error) => report.fail(SUBJECT, error.to_string(), "correct what the message names"),
    }
}

/// The cookie's value, from a `Cookie` field, a pair or a value alone.
fn value_of<'c>(given: &'c str, name: &str) -> Option<&'c str> {
    let given = given.trim().strip_prefix("Cookie:").unwrap_or(given).trim();
    let in_pairs = given.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let is_alone = !given.contains(';')
        && !given.split_once('=').is_some_and(|(name, rest)| {
            // Padding ends a value; a name before `=` makes it a pair.
            !rest.chars().all(|letter| letter == '=') && !name.contains('.')
        });
    let value = in_pairs.or(is_alone.then_some(given))?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

fn remedy(error: CookieError) -> &'static str {
    match error {
        CookieError::BadSignature => {
            "the gate's key is not Console's, or the app signs in another way: compare SECRET_KEY (`app.secret_key`), and \
             `salt`, `digest` and `key_derivation` in [session]"
        }
        CookieError::Expired { .. } => {
            "log in again; `max_age_seconds` in [session] is how long a session is valid"
        }
        CookieError::IssuedInFuture { .. } => "compare the clocks of this machine and of Console's",
        CookieError::MissingPart | CookieError::BadTimestamp | CookieError::MalformedToken => {
            "it is not the cookie of a session of the `kind` in [session]: see docs/sessions.md"
        }
        _ => "Console writes this session in a way that the gate cannot read: see docs/sessions.md",
    }
}

/// The admin that Flask's session names.
fn subject(session: &VerifiedSession, settings: &Settings) -> Result<Subject, (String, String)> {
    let key = &settings.session.admin_id_key;
    let names = match &session.payload {
        Value::Object(fields) => fields.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    };
    let holds = if names.is_empty() { "nothing".to_owned() } else { names };
    let Some(id) = session.field_as_id(key) else {
        return Err((
            format!("it verifies, and has no `{key}`, so it is nobody's; it has {holds}"),
            "log in first, or set `admin_id_key` in [session] to the key that holds the admin's id"
                .to_owned(),
        ));
    };
    let session_id = match settings.session.session_id_field() {
        None => None,
        Some(field) => match field.of(session) {
            Some(id) => Some(SessionId::new(id)),
            None => {
                return Err((
                    format!("it verifies, and has no `{}`, so it is nobody's; it has {holds}", field.key),
                    "correct or remove `session_id_key` in [session]".to_owned(),
                ));
            }
        },
    };
    Ok(Subject::Admin { id: AdminId::new(id), session: session_id })
}

fn who(subject: &Subject, access: &Access, report: &mut Report) {
    let name = match (subject, &access.session) {
        (Subject::Admin { id, .. }, _) => format!("admin `{id}`"),
        (_, Some(session)) => format!("admin `{}`", session.admin),
        _ => "nobody".to_owned(),
    };
    let listed = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let legacy = listed(access.legacy.iter().map(ToString::to_string).collect());
    let groups = listed(access.groups.iter().map(ToString::to_string).collect());
    match access.standing {
        Standing::Active => {
            report.good(SUBJECT, format!("{name}; legacy roles: {legacy}; groups: {groups}"));
        }
        Standing::Unknown => report.fail(
            SUBJECT,
            format!("it verifies and names {name}, whom the tables do not have"),
            "this makes a login loop: correct `admins` in [console], or `admin_id_key` in [session] if the id is another \
             thing, such as a user name",
        ),
        Standing::Disabled => report.fail(
            SUBJECT,
            format!("it verifies and names {name}, who is disabled"),
            "`console-gate admin enable`, or have them enabled in Console",
        ),
        Standing::SessionEnded => report.fail(
            SUBJECT,
            format!("it verifies, and its session ({name}) has ended or was never recorded"),
            "log in again; if that does not help, correct `sessions` in [console] and the session's key in [session]: its `id` \
             must be what the session is looked up by, and a table of hashes needs `session_id_hash` or `lookup`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::value_of;

    #[test]
    fn a_cookie_is_found_in_what_a_person_pastes() {
        for (given, expected) in [
            ("eyJh.YQ.sig", Some("eyJh.YQ.sig")),
            ("eyJh.YQ.sig==", Some("eyJh.YQ.sig==")),
            ("session=eyJh.YQ.sig", Some("eyJh.YQ.sig")),
            ("Cookie: a=b; session=eyJh.YQ.sig; c=d", Some("eyJh.YQ.sig")),
            ("session=\"eyJh.YQ.sig\"", Some("eyJh.YQ.sig")),
            ("other=eyJh.YQ.sig", None),
            ("a=b; c=d", None),
            ("0123456789abcdef", Some("0123456789abcdef")),
        ] {
            assert_eq!(value_of(given, "session"), expected, "{given}");
        }
    }
}
