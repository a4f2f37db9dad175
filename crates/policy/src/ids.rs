//! Newtype identifiers: an admin's id cannot be passed where a session's is expected.

use std::fmt;
use std::sync::Arc;

use uuid::fmt::Hyphenated;

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text unchanged; the store decides whether it names anything.
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
    /// One `rollback` or `rollback --release`; empty before the first of either.
    PinId
);
text_id!(
    /// The SHA-256 of a mapping file, as 64 lower-case hexadecimal digits.
    MappingSha256
);

impl MappingSha256 {
    /// The digits that are shown to people and that people enter.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// The id of one request: a UUID of version 7 that the gate made, so that ids sort by time, or the one that a proxy in
/// front gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Spelling);

/// Stored inline, so that an id is copied and never shared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Spelling {
    Made(uuid::Uuid),
    Given { bytes: [u8; RequestId::MOST_BYTES], length: u8 },
}

impl RequestId {
    /// The longest id that is accepted from outside.
    pub const MOST_BYTES: usize = 128;

    /// The id for this UUID.
    pub fn new(id: uuid::Uuid) -> Self {
        RequestId(Spelling::Made(id))
    }

    /// The id for this text: visible ASCII, at most [`RequestId::MOST_BYTES`] long.
    pub fn given(text: &[u8]) -> Option<RequestId> {
        let is_visible = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        let mut bytes = [0; RequestId::MOST_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let length = u8::try_from(text.len()).ok()?;
        is_visible.then_some(RequestId(Spelling::Given { bytes, length }))
    }

    /// The id as text; `room` holds the text of an id that is not stored as text.
    pub fn text<'t>(&'t self, room: &'t mut [u8; Hyphenated::LENGTH]) -> &'t str {
        match &self.0 {
            Spelling::Made(id) => id.hyphenated().encode_lower(room),
            Spelling::Given { bytes, length } => {
                let text = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(text).unwrap_or_default()
            }
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; Hyphenated::LENGTH]))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_from_somebody_else_if_it_is_visible_ascii_of_a_sound_length() {
        let longest = "x".repeat(RequestId::MOST_BYTES);
        for text in ["7", "a/b\"{}~!", "01890c5c-1111-7000-8000-000000000000", &longest] {
            assert_eq!(RequestId::given(text.as_bytes()).map(|id| id.to_string()).as_deref(), Some(text));
        }
        let too_long = "x".repeat(RequestId::MOST_BYTES + 1);
        for text in ["", "a b", "a\tb", "a\nb", "\u{fc}", "a\u{7f}", &too_long, &"x".repeat(300)] {
            assert_eq!(RequestId::given(text.as_bytes()), None, "{text:?}");
        }
    }
}
