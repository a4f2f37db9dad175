//! `[freescout]`: the help desk whose tickets grants are for.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::times;
use super::values::Millis;
use crate::outbound::Url;

/// The help desk. Without `url`, rows for a ticket let in only those who need none.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FreeScout {
    /// `https://help.example.org`: what precedes `/api`.
    pub url: Option<String>,
    /// The variable that holds the API key.
    pub key_env: String,
    /// The file that holds it instead.
    pub key_file: Option<PathBuf>,
    /// The numbers of the mailboxes whose conversations count.
    pub mailboxes: Vec<u64>,
    /// For one question. It has to fit into the time of a decision.
    pub deadline_ms: Millis,
    /// How often all tickets with grants are looked at, once across all gates.
    #[serde(deserialize_with = "times::seconds")]
    #[schemars(with = "times::Time")]
    pub poll_seconds: u64,
    /// The variable that holds the secret of webhooks; not set means that webhooks are not taken.
    pub webhook_secret_env: String,
    /// The file that holds it instead.
    pub webhook_secret_file: Option<PathBuf>,
}

impl Default for FreeScout {
    fn default() -> Self {
        FreeScout {
            url: None,
            key_env: "CONSOLE_GATE_FREESCOUT_KEY".into(),
            key_file: None,
            mailboxes: Vec::new(),
            deadline_ms: Millis(1_500),
            poll_seconds: 120,
            webhook_secret_env: "CONSOLE_GATE_FREESCOUT_WEBHOOK_SECRET".into(),
            webhook_secret_file: None,
        }
    }
}

impl FreeScout {
    /// The section's mistakes; `decision_ms` is the time of a decision.
    pub(super) fn mistakes(&self, decision_ms: u64) -> Vec<String> {
        let mut mistakes = Vec::new();
        let Some(url) = &self.url else {
            if !self.mailboxes.is_empty() {
                mistakes.push("`url` is missing".to_owned());
            }
            return mistakes;
        };
        if Url::parse(url).is_err() || url.starts_with("unix:") || url.contains(['?', '#']) {
            mistakes.push(
                "`url` must begin with `https://` or `http://`, without a user name and a query".to_owned(),
            );
        }
        if self.mailboxes.is_empty() || self.mailboxes.contains(&0) {
            mistakes
                .push("`mailboxes` must name the mailboxes whose tickets count, by their numbers".to_owned());
        }
        if self.deadline_ms.0 == 0 || self.deadline_ms.0 > decision_ms {
            mistakes.push(format!(
                "`deadline_ms` must be from 1 to {decision_ms}, the time of a decision (`timeout_ms` of [database] and \
                 [audit])"
            ));
        }
        if !(10..=3_600).contains(&self.poll_seconds) {
            mistakes.push("`poll_seconds` must be from 10 to 3600".to_owned());
        }
        mistakes
    }
}
