//! `[identity]`: the gate logs people in. The section's presence switches it on.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BreakGlass;
use super::times;

/// The cookie of a session that the gate began. The prefix binds it to this host, over TLS (RFC 6265bis 4.1.3.2).
pub const COOKIE: &str = "__Host-gate";

/// The cookie that binds a login's challenge to the browser that asked for it.
pub const LOGIN_COOKIE: &str = "__Host-gate-login";

/// Sessions of the gate's own. The relying party of the passkeys is that of `[break_glass]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Where the pages are: `<path>/login` and beside it.
    pub path: String,
    /// How long a session lasts without a request.
    #[serde(deserialize_with = "times::minutes")]
    #[schemars(with = "times::Time")]
    pub idle_minutes: u64,
    /// How long a session lasts at most.
    #[serde(deserialize_with = "times::minutes")]
    #[schemars(with = "times::Time")]
    pub absolute_minutes: u64,
    /// The most live sessions of one admin: a further one ends the one that was used longest ago.
    pub sessions_per_admin: u16,
}

impl Default for Identity {
    fn default() -> Self {
        // NIST 800-63B-4, 2.2.3: AAL2 asks for a login each day, and after an hour without use.
        Identity { path: "/auth".into(), idle_minutes: 60, absolute_minutes: 24 * 60, sessions_per_admin: 10 }
    }
}

impl Identity {
    /// How long a session lasts without a request.
    pub fn idle(&self) -> TimeDelta {
        minutes(self.idle_minutes)
    }

    /// How long a session lasts at most.
    pub fn absolute(&self) -> TimeDelta {
        minutes(self.absolute_minutes)
    }

    /// What no single key can know, each with how to fix it.
    pub(super) fn mistakes(&self, break_glass: &BreakGlass) -> Vec<String> {
        let is_path = self.path.starts_with('/')
            && !self.path.ends_with('/')
            && self.path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
            && !self.path.contains("//")
            && !self.path.contains("/.");
        let wrong = [
            (!is_path, "`path` must be a path without a slash at its end, as \"/auth\""),
            (!(2..=24 * 60).contains(&self.idle_minutes), "`idle_minutes` must be from 2 to 1440"),
            (
                !(5..=30 * 24 * 60).contains(&self.absolute_minutes),
                "`absolute_minutes` must be from 5 to 43200: 30 days",
            ),
            (self.absolute_minutes < self.idle_minutes, "`absolute_minutes` is less than `idle_minutes`"),
            // More than 32 in one statement would concern everybody (migration 0400).
            (!(1..=32).contains(&self.sessions_per_admin), "`sessions_per_admin` must be from 1 to 32"),
            (
                break_glass.origin.is_none(),
                "`[break_glass] origin` is missing: the passkeys of logins are those of break-glass",
            ),
        ];
        wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, words)| words.to_owned()).collect()
    }
}

fn minutes(minutes: u64) -> TimeDelta {
    i64::try_from(minutes).ok().and_then(TimeDelta::try_minutes).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_message() {
        let mistakes = |section: &str| {
            let identity: Identity = toml::from_str(section).unwrap();
            let origin = Some("https://console.example.org".to_owned());
            identity.mistakes(&BreakGlass { origin, ..BreakGlass::default() })
        };
        for sound in ["", "idle_minutes = \"2m\"", "absolute_minutes = \"30d\"", "path = \"/gate/login\""] {
            assert_eq!(mistakes(sound), Vec::<String>::new(), "{sound}");
        }
        for (wrong, message) in [
            ("path = \"auth\"", "`path`"),
            ("path = \"/\"", "`path`"),
            ("path = \"/auth/\"", "`path`"),
            ("path = \"/a?b\"", "`path`"),
            ("idle_minutes = 1", "`idle_minutes`"),
            ("idle_minutes = \"25h\"\nabsolute_minutes = \"30h\"", "`idle_minutes`"),
            ("absolute_minutes = \"31d\"", "`absolute_minutes`"),
            ("absolute_minutes = 30", "`absolute_minutes` is less"),
            ("sessions_per_admin = 33", "`sessions_per_admin`"),
        ] {
            let mistakes = mistakes(wrong);
            assert!(mistakes.len() == 1 && mistakes[0].starts_with(message), "{wrong}: {mistakes:?}");
        }
        assert_eq!(Identity::default().mistakes(&BreakGlass::default()).len(), 1);
    }
}
