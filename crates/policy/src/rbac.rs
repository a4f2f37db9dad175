//! Users, groups, roles, permissions: what a principal holds, and whether it is enough.
//!
//! The path of every permission is user -> groups -> roles -> inherited roles -> permissions (invariant I-3 of the
//! RBAC V2 design). Two grants are direct: a live break-glass session, and a live grant of a role for a ticket, which
//! counts only in requests that name its ticket and its customer ([`ticket`](crate::decision::ticket)). Pure: the facts
//! come from the store.

pub mod break_glass;
pub mod catalog;
pub mod census;
pub mod flaw;
pub mod grant;
pub mod seed;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::identity::login::Login;
use crate::ids::{AdminId, Epoch, SessionId};
use flaw::Flaw;

/// One of the flat roles that Console's `@require_role` requires: any word that Console uses. They are a set without
/// hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegacyRole(Arc<str>);

impl LegacyRole {
    /// The most characters in a role.
    pub const MAX_LENGTH: usize = 64;

    /// The form of a role, for messages.
    pub const FORM: &str = "a role is 1 to 64 characters without white space, commas and quotes";

    /// Parses a role; `None` if the text does not have its [form](LegacyRole::FORM).
    pub fn parse(word: &str) -> Option<LegacyRole> {
        let fits = |character: char| {
            !(character.is_whitespace()
                || character.is_control()
                || matches!(character, ',' | '"' | '\'' | '`'))
        };
        let is_short = word.chars().nth(LegacyRole::MAX_LENGTH).is_none();
        (!word.is_empty() && is_short && word.chars().all(fits)).then(|| LegacyRole(word.into()))
    }

    /// The role for a word in the program itself: for the demo and tests.
    ///
    /// # Panics
    ///
    /// If the word does not have the [form](LegacyRole::FORM) of a role.
    pub fn literal(word: &'static str) -> LegacyRole {
        LegacyRole::parse(word).expect("a literal has the form of a role")
    }

    /// The role as Console writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for LegacyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LegacyRole {
    type Err = NoLegacyRole;

    fn from_str(word: &str) -> Result<LegacyRole, NoLegacyRole> {
        LegacyRole::parse(word).ok_or_else(|| NoLegacyRole(word.to_owned()))
    }
}

/// A text that cannot be a legacy role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a legacy role: {}", on_one_line(.0), LegacyRole::FORM)]
pub struct NoLegacyRole(String);

fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { one.escape_default().to_string() } else { one.to_string() })
        .collect()
}

/// A requirement of V2: a role or a permission, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Requirement {
    /// A role, held through a group, inheritance or a live temporary grant.
    Role(Arc<str>),
    /// A permission of one of the roles held.
    Permission(Arc<str>),
}

impl Requirement {
    /// The name of the role or permission.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Requirement::Role(name) | Requirement::Permission(name) => name,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Requirement::Role(name) => write!(f, "role {name}"),
            Requirement::Permission(name) => write!(f, "permission {name}"),
        }
    }
}

/// Whether the credential still identifies a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A known, enabled admin with a live session, or a live machine token.
    Active,
    /// There is no principal with that id, or no such token.
    Unknown,
    /// The admin was disabled, the token revoked or expired.
    Disabled,
    /// The session was revoked, has expired or was never recorded.
    SessionEnded,
}

/// Everything that one principal holds, as of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The epoch of the snapshot that this was read in.
    pub epoch: Epoch,
    pub standing: Standing,
    /// The name of a machine token; `None` for an admin.
    pub token: Option<TokenIdentity>,
    /// The holder of the session, if the credential names only the session.
    pub session: Option<SessionHolder>,
    pub legacy: BTreeSet<LegacyRole>,
    pub groups: BTreeSet<Arc<str>>,
    /// Includes every inherited role.
    pub roles: BTreeSet<Arc<str>>,
    pub permissions: BTreeSet<Arc<str>>,
    /// The earliest moment at which something in here ends; `None` if nothing ends by itself.
    pub valid_until: Option<DateTime<Utc>>,
    /// The principal's unusable rows, which grant nothing.
    pub flaws: Vec<Flaw>,
    /// The live break-glass sessions, with what the principal would hold without them.
    pub break_glass: Option<Arc<BreakGlassPart>>,
}

/// The part of a principal's access that rests on break-glass sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlassPart {
    /// The ids of the sessions.
    pub sessions: BTreeSet<Arc<str>>,
    pub roles_without: BTreeSet<Arc<str>>,
    pub permissions_without: BTreeSet<Arc<str>>,
}

/// The identity of a machine token. Never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIdentity {
    pub id: Arc<str>,
    pub name: Arc<str>,
}

/// The holder of the session with a given session key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHolder {
    pub admin: AdminId,
    /// The session's id in records; never the credential.
    pub id: SessionId,
    /// The row that the session was read from, identified by the key under which a change of it is listed; `None` if
    /// that is not known.
    pub row: Option<RowDigest>,
    /// How the admin logged in, where the gate itself began the session.
    pub login: Option<Arc<Login>>,
}

impl Access {
    /// How the caller logged in, where the gate itself began the session.
    pub fn login(&self) -> Option<&Arc<Login>> {
        self.session.as_ref()?.login.as_ref()
    }
}

/// The SHA-256 of a row's key, which may be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowDigest([u8; 32]);

impl RowDigest {
    /// The digest of a key as text.
    pub fn of(key: &str) -> RowDigest {
        RowDigest(Sha256::digest(key).into())
    }
}

impl Access {
    /// The access of an unknown caller: nothing.
    pub fn nothing(epoch: Epoch) -> Access {
        Access {
            epoch,
            standing: Standing::Unknown,
            token: None,
            session: None,
            legacy: BTreeSet::new(),
            groups: BTreeSet::new(),
            roles: BTreeSet::new(),
            permissions: BTreeSet::new(),
            valid_until: None,
            flaws: Vec::new(),
            break_glass: None,
        }
    }

    /// What the principal would hold without break-glass; `None` if there is no session.
    pub fn without_break_glass(&self) -> Option<Access> {
        let part = self.break_glass.as_ref()?;
        Some(Access {
            roles: part.roles_without.clone(),
            permissions: part.permissions_without.clone(),
            break_glass: None,
            ..self.clone()
        })
    }

    /// Whether the requirement is held.
    pub fn meets(&self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::Role(name) => self.roles.contains(name),
            Requirement::Permission(name) => self.permissions.contains(name),
        }
    }

    /// Whether one of `roles` is held: `require_role(*roles)`.
    pub fn holds_any(&self, roles: &BTreeSet<LegacyRole>) -> bool {
        !self.legacy.is_disjoint(roles)
    }

    /// Whether a time-limited part of this has ended by `now`, which is called only if there is such a part.
    pub fn has_lapsed(&self, now: impl FnOnce() -> DateTime<Utc>) -> bool {
        self.valid_until.is_some_and(|end| end <= now())
    }
}

#[cfg(test)]
mod tests;
