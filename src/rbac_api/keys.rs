//! What the API signs: tokens against requests of other sites, and cursors.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::reply::Problem;
use crate::settings::secrets::NamedKey;
use crate::signed::Signer;

/// A signer for each purpose.
pub(super) struct Keys {
    csrf: Signer,
    cursors: Signer,
}

impl Keys {
    pub(super) fn new(keys: &[NamedKey]) -> Keys {
        let signer = |purpose| Signer::new(keys, purpose);
        Keys { csrf: signer("console-gate csrf token 1"), cursors: signer("console-gate cursor 1") }
    }

    /// The token that a page of this session sends with what it changes.
    pub(super) fn csrf_token(&self, session: &[u8]) -> Option<String> {
        self.csrf.signature(session)
    }

    /// Whether a token is of this session.
    pub(super) fn is_csrf_token(&self, session: &[u8], token: &[u8]) -> bool {
        self.csrf.is_signed(session, token)
    }

    /// A place in a list, for the client to give back. `list` is what it is a place in: the route and its filters.
    pub(super) fn cursor(&self, list: &str, place: &impl Serialize) -> Option<String> {
        self.cursors.seal(list, place)
    }

    /// The place that a cursor names.
    ///
    /// # Errors
    ///
    /// It is not one of this list.
    pub(super) fn place<T: DeserializeOwned>(&self, list: &str, cursor: &str) -> Result<T, Problem> {
        let refused = || Problem::new(400, "`cursor` is not a cursor of this list with these filters");
        self.cursors.open(list, cursor).ok_or_else(refused)
    }
}

/// A SHA-256 as hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    policy::hex::lower(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::settings::secrets::Secret;

    fn keys(bytes: &[u8]) -> Keys {
        let named = |byte: &u8| NamedKey { id: "k".into(), secret: Secret::new(vec![*byte; 32]) };
        Keys::new(&bytes.iter().map(named).collect::<Vec<_>>())
    }

    #[test]
    fn a_cursor_is_of_one_list_and_cannot_be_made() {
        let cursor = keys(&[1]).cursor("/grants?user=a", &("x", 7)).unwrap();
        assert_eq!(
            keys(&[2, 1]).place::<(String, i64)>("/grants?user=a", &cursor).unwrap(),
            ("x".to_owned(), 7)
        );
        assert!(keys(&[1]).place::<(String, i64)>("/grants?user=b", &cursor).is_err());
        assert!(keys(&[2]).place::<(String, i64)>("/grants?user=a", &cursor).is_err());
        let (_, tag) = cursor.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode("[\"y\",7]");
        for forged in [format!("{other}.{tag}"), format!("{other}."), other, String::new(), ".".to_owned()] {
            assert!(keys(&[1]).place::<(String, i64)>("/grants?user=a", &forged).is_err(), "{forged}");
        }
    }

    #[test]
    fn a_token_is_of_one_session() {
        let token = keys(&[1]).csrf_token(b"session").unwrap();
        assert!(keys(&[2, 1]).is_csrf_token(b"session", token.as_bytes()));
        assert!(!keys(&[1]).is_csrf_token(b"other", token.as_bytes()));
        assert!(!keys(&[1]).is_csrf_token(b"session", b""));
        let cursor = keys(&[1]).cursor("", &"session").unwrap();
        assert!(!keys(&[1]).is_csrf_token(b"session", cursor.as_bytes()));
    }
}
