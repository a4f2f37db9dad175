//! `[alerts]`: the ways to the people on call.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::times;
use super::values::Millis;
use crate::outbound::Url;

/// Alerts. Each section below is a channel.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// For one attempt on one channel.
    pub deadline_ms: Millis,
    /// How long alerts are kept, accepted or not.
    #[serde(deserialize_with = "times::days")]
    #[schemars(with = "times::Time")]
    pub keep_days: u32,
    /// How often each channel gets a message that shows that it works; 0 sends none.
    #[serde(deserialize_with = "times::minutes")]
    #[schemars(with = "times::Time")]
    pub canary_minutes: u64,
    /// How long before its end the holder of a grant is reminded; 0 sends no reminders.
    #[serde(deserialize_with = "times::minutes")]
    #[schemars(with = "times::Time")]
    pub remind_minutes: u64,
    pub slack: Option<Slack>,
    pub smtp: Option<Smtp>,
    pub postmark: Option<Postmark>,
}

/// An incoming webhook of Slack's, whose address is the secret.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Slack {
    pub webhook_env: String,
    pub webhook_file: Option<PathBuf>,
}

/// A mail server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    /// Without it, 587 with STARTTLS, 465 with TLS, 25 in the clear.
    pub port: Option<u16>,
    pub security: MailSecurity,
    /// Without it, the gate does not log in.
    pub username: Option<String>,
    pub password_env: String,
    pub password_file: Option<PathBuf>,
    pub from: String,
    pub to: Vec<String>,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailSecurity {
    #[default]
    StartTls,
    Tls,
    /// For a server on the same machine alone.
    Plain,
}

/// Postmark.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Postmark {
    pub url: String,
    pub token_env: String,
    pub token_file: Option<PathBuf>,
    pub from: String,
    pub to: Vec<String>,
    pub message_stream: String,
}

impl Default for Alerts {
    fn default() -> Self {
        Alerts {
            deadline_ms: Millis(5_000),
            keep_days: 30,
            canary_minutes: 60,
            remind_minutes: 60,
            slack: None,
            smtp: None,
            postmark: None,
        }
    }
}

impl Default for Slack {
    fn default() -> Self {
        Slack { webhook_env: "CONSOLE_GATE_SLACK_WEBHOOK".into(), webhook_file: None }
    }
}

impl Default for Smtp {
    fn default() -> Self {
        Smtp {
            host: String::new(),
            port: None,
            security: MailSecurity::default(),
            username: None,
            password_env: "CONSOLE_GATE_SMTP_PASSWORD".into(),
            password_file: None,
            from: String::new(),
            to: Vec::new(),
        }
    }
}

impl Default for Postmark {
    fn default() -> Self {
        Postmark {
            url: "https://api.postmarkapp.com".into(),
            token_env: "CONSOLE_GATE_POSTMARK_TOKEN".into(),
            token_file: None,
            from: String::new(),
            to: Vec::new(),
            message_stream: "outbound".into(),
        }
    }
}

/// The deadlines that make sense: a person waits for a delivery.
const DEADLINE_MS: std::ops::RangeInclusive<u64> = 100..=30_000;
/// A reminder that is forgotten sooner would be sent again.
const LEAST_DAYS: u32 = 8;
/// A week.
const MOST_MINUTES: u64 = 7 * 24 * 60;

impl Alerts {
    /// The names of the channels.
    pub fn channels(&self) -> Vec<&'static str> {
        let channels = [
            ("slack", self.slack.is_some()),
            ("smtp", self.smtp.is_some()),
            ("postmark", self.postmark.is_some()),
        ];
        channels.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
    }

    /// The section's mistakes.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if !DEADLINE_MS.contains(&self.deadline_ms.0) {
            mistakes.push("`deadline_ms` must be from 100 to 30000".to_owned());
        }
        if !(LEAST_DAYS..=super::MAX_DAYS).contains(&self.keep_days) {
            mistakes.push(format!("`keep_days` must be from {LEAST_DAYS} to {}", super::MAX_DAYS));
        }
        for (key, minutes) in
            [("canary_minutes", self.canary_minutes), ("remind_minutes", self.remind_minutes)]
        {
            if minutes > MOST_MINUTES {
                mistakes.push(format!("`{key}` must be at most {MOST_MINUTES}; 0 turns it off"));
            }
        }
        if let Some(smtp) = &self.smtp {
            if smtp.host.is_empty() || smtp.host.contains(|c: char| c.is_whitespace() || c == '/') {
                mistakes.push("smtp: `host` must be the name of the mail server".to_owned());
            }
            if smtp.security == MailSecurity::Plain && !is_local(&smtp.host) {
                mistakes.push(
                    "smtp: `security = \"plain\"` is for a server on the same machine (`localhost`): use \"starttls\" or \
                     \"tls\""
                        .to_owned(),
                );
            }
            mistakes.extend(addresses("smtp", &smtp.from, &smtp.to));
        }
        if let Some(postmark) = &self.postmark {
            mistakes.extend(addresses("postmark", &postmark.from, &postmark.to));
            if !is_protected(&postmark.url) {
                mistakes.push("postmark: `url` must begin with `https://`".to_owned());
            }
        }
        mistakes
    }
}

fn addresses(channel: &str, from: &str, to: &[String]) -> Vec<String> {
    let is_mailbox = |text: &str| text.parse::<lettre::message::Mailbox>().is_ok();
    let mut mistakes = Vec::new();
    if !is_mailbox(from) {
        mistakes.push(format!("{channel}: `from` must be a mail address"));
    }
    if to.is_empty() || !to.iter().all(|address| is_mailbox(address)) {
        mistakes.push(format!("{channel}: `to` must name the mail addresses of the people on call"));
    }
    mistakes
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the way there cannot be read by others: TLS, or the same machine.
pub fn is_protected(url: &str) -> bool {
    if Url::parse(url).is_err() || url.starts_with("unix:") {
        return false;
    }
    url.strip_prefix("http://").is_none_or(|rest| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        is_local(authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']))
    })
}
