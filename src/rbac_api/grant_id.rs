//! Ids of grants. A membership without an end has no row of its own to be named by: its id says whose it is of which
//! group, and is never stored.
//!
//! The same membership granted again has the same id; `rbac_grants_audit` has a row for each.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What an id names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GrantId {
    /// A row of `rbac_user_groups`.
    Direct { user: String, group: String },
    /// A row with an id of its own, in the form in which ids are written.
    Stored(String),
}

impl GrantId {
    /// The id of a membership.
    pub(super) fn direct(user: &str, group: &str) -> String {
        format!("direct.{}.{}", URL_SAFE_NO_PAD.encode(user), URL_SAFE_NO_PAD.encode(group))
    }

    /// What a text names; `None` where it is no id.
    pub(super) fn parse(text: &str) -> Option<GrantId> {
        let Some(rest) = text.strip_prefix("direct.") else {
            return Some(GrantId::Stored(uuid::Uuid::try_parse(text).ok()?.to_string()));
        };
        let decoded = |part: &str| {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
            (!text.is_empty() && !text.contains('\0')).then_some(text)
        };
        let (user, group) = rest.split_once('.')?;
        Some(GrantId::Direct { user: decoded(user)?, group: decoded(group)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_what_it_was_made_of() {
        for (user, group) in [("anna", "ops-admins"), ("a.b/c", "g\u{e4}ste"), ("1", "x")] {
            let named = GrantId::Direct { user: user.into(), group: group.into() };
            assert_eq!(GrantId::parse(&GrantId::direct(user, group)), Some(named));
        }
        let id = "6F9619FF-8B86-4011-B42D-00CF4FC964FF";
        assert_eq!(GrantId::parse(id), Some(GrantId::Stored(id.to_lowercase())));
        for text in [
            "",
            "direct.",
            "direct.YQ",
            "direct.YQ.",
            "direct..Zw",
            "direct.YQ.Zw.x",
            "direct.YQ=.Zw",
            "x",
            "direct.AA.Zw",
        ] {
            assert_eq!(GrantId::parse(text), None, "{text}");
        }
    }
}
