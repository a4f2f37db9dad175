//! The finding about sessions whose end the gate cannot see.

use std::path::Path;

use policy::mapping::{Mapping, Row};
use policy::method::Method;
use workbench::report::{Finding, rules};

use crate::settings::{Identity, Session, SessionKind};

/// Sessions that Console can end without the gate seeing it.
pub(super) fn findings(file: &Path, session: &Session) -> Vec<Finding> {
    if session.kind != SessionKind::Flask || session.session_id_key.is_some() {
        return Vec::new();
    }
    let message = format!(
        "{}: the gate sees no session's end: one that Console revokes keeps passing until its cookie is {} seconds \
         old or the secret key changes",
        file.display(),
        session.flask_max_age().as_secs(),
    );
    let fix = "if Console keeps a row for each session, set `session_id_key` in [session] to the key of its id, or \
               `kind` if the cookie holds only a token; if it keeps none, shorten `max_age_seconds` there and in \
               Flask (docs/sessions.md)";
    let suggestion = Some(fix.to_owned());
    vec![Finding { suggestion, ..Finding::new("revoked-sessions-pass", None, message) }]
}

/// What the mapping and the gate's own login lack of each other.
pub(super) fn logins(file: &Path, identity: Option<&Identity>, mapping: &Mapping) -> Vec<Finding> {
    let finding = |id: &'static str, message: String| {
        let suggestion = rules::rule(id).map(|rule| rule.help.to_owned());
        Finding { suggestion, ..Finding::new(id, None, format!("{}: {message}", file.display())) }
    };
    let Some(identity) = identity else {
        let asking = mapping.rows().iter().find(|row| row.step_up.is_some());
        let message =
            |row: &Row| format!("`{}` asks for a passkey, and there is no [identity] to ask it", row.route);
        return asking.map(|row| finding("step-up-without-login", message(row))).into_iter().collect();
    };
    let login = format!("{}/login", identity.path);
    let leads = mapping.find(&login, Method::Get).row().is_some_and(Row::is_identity);
    let message = format!("no row with `identity = true` leads to `{login}`, so no one can log in there");
    if leads { Vec::new() } else { vec![finding("login-without-row", message)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_without_a_row_is_found() {
        let found = |section: &str| findings(Path::new("gate.toml"), &toml::from_str(section).unwrap()).len();
        assert_eq!(found(""), 1);
        assert_eq!(found("max_age_seconds = 60"), 1);
        assert_eq!(found("session_id_key = \"sid\""), 0);
        assert_eq!(found("kind = \"opaque\""), 0);
        assert_eq!(found("kind = \"gate\""), 0);
        assert_eq!(found("kind = \"signed\"\nsalt = \"x\""), 0);
    }

    #[test]
    fn a_login_needs_its_row_and_a_step_up_its_login() {
        let found = |row: &str, identity: Option<&Identity>| {
            let text = format!("version = 1\nblueprints.b.routes.{row}\n");
            let mapping = Mapping::parse("routes.toml", &text).unwrap();
            logins(Path::new("gate.toml"), identity, &mapping).first().map(|finding| finding.id)
        };
        let (login, identity) = ("\"GET /auth/login\" = { identity = true }", Identity::default());
        assert_eq!(found(login, Some(&identity)), None);
        assert_eq!(
            found("\"GET /auth/login\" = { public = true }", Some(&identity)),
            Some("login-without-row")
        );
        assert_eq!(found(login, None), None);
        let asking = "\"GET /x\" = { session = true, step_up = \"15m\" }";
        assert_eq!(found(asking, None), Some("step-up-without-login"));
    }
}
