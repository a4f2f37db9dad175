//! Newtype identifiers: an admin's id cannot be handed where a session's is wanted.

use std::fmt;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text as it is; whether it names anything is for the store to say.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                $name(text.into())
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, shared.
            pub fn shared(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// The primary key of `admins`.
    AdminId
);
text_id!(
    /// The primary key of `admin_sessions`, as the session cookie names it.
    SessionId
);
text_id!(
    /// The primary key of `gate_machine_tokens`. Never the token itself.
    MachineTokenId
);
text_id!(
    /// One process of the gate: the primary key of `gate_instances` and of `gate_running`.
    InstanceId
);
text_id!(
    /// One `rollback` or `rollback --release`; empty where nobody has said either yet.
    PinId
);
text_id!(
    /// The SHA-256 of a mapping file, as 64 lower-case hexadecimal digits.
    MappingSha256
);

impl MappingSha256 {
    /// As many digits as people are shown and asked for.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// The id of one request: a UUID of version 7, so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// The id that this UUID is.
    pub fn new(id: uuid::Uuid) -> Self {
        RequestId(id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of committed changes to the access tables (`gate_epoch`). It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
