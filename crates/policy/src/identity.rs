//! A request's credential: the identity that a caller claims, once the claim has been verified.
//!
//! Nothing here looks anything up: a credential is proved by its signature or named by its hash, and the store later
//! decides whether it is still valid.

pub mod flask_cookie;
pub mod itsdangerous;
pub mod login;
pub mod machine_token;
pub mod msgpack;
mod python_base64;
pub mod session_key;
pub mod session_payload;
pub mod tagged_json;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ids::{AdminId, MachineTokenId, SessionId};
use machine_token::TokenDigest;
use session_key::SessionKey;

/// The subject of an access lookup; also the key of the access cache.
///
/// Never the bytes of a cookie or token: several spellings of one cookie verify (the last base64 character,
/// padding, the alphabet), and a revoked session must not live on under another spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The admin of a verified session cookie.
    Admin { id: AdminId, session: Option<SessionId> },
    /// The admin of the session that Console keeps under this key.
    Session(SessionKey),
    /// The machine token with this hash.
    Machine(TokenDigest),
    /// The machine token with this id: not a credential, only a name for asking about it.
    Enrolled(MachineTokenId),
    /// A person that a probe describes.
    Stated(Arc<Stated>),
}

/// A person that a probe describes, with its roles and groups. No row of any table is about such a person, and only a
/// probe, which is never forwarded, can come from one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stated {
    pub id: String,
    pub legacy: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    /// Roles that are held directly; inherited roles are added.
    pub roles: BTreeSet<String>,
}

/// The id by which drift names every machine that the gate does not know.
pub const NOT_ENROLLED: &str = "not enrolled";

impl Stated {
    /// The prefix of the ids of persons that probes describe, so that no audit row names a real admin for the action of
    /// a probe.
    pub const PREFIX: &str = "gate-verify-";
}

impl Subject {
    /// The same subject as the key of a cache, without the credential.
    #[must_use]
    pub fn without_credential(&self) -> Subject {
        match self {
            Subject::Session(key) => Subject::Session(key.without_credential()),
            Subject::Admin { .. } | Subject::Machine(_) | Subject::Enrolled(_) | Subject::Stated(_) => {
                self.clone()
            }
        }
    }
}

/// The principal of a request, once the store has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A logged-in admin.
    Admin { id: AdminId, session: Option<SessionId> },
    /// An enrolled machine.
    Machine { id: MachineTokenId },
}

impl Principal {
    /// `admin` or `machine`, as audit rows and assertions name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Principal::Admin { .. } => "admin",
            Principal::Machine { .. } => "machine",
        }
    }

    /// The id of the admin or token.
    pub fn id(&self) -> &str {
        match self {
            Principal::Admin { id, .. } => id.as_str(),
            Principal::Machine { id } => id.as_str(),
        }
    }

    /// The session, if the cookie names one.
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Principal::Admin { session, .. } => session.as_ref(),
            Principal::Machine { .. } => None,
        }
    }
}
