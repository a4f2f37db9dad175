//! The finding about sessions whose end the gate cannot see.

use std::path::Path;

use workbench::report::Finding;

use crate::settings::{Session, SessionKind};

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
        assert_eq!(found("kind = \"signed\"\nsalt = \"x\""), 0);
    }
}
