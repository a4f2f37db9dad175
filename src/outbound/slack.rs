//! Alerts to a Slack channel, by an incoming webhook.
//!
//! ```text
//! POST {webhook}   {"text":"*subject*\n..."}
//! 200 ok
//! ```
//!
//! The webhook's address is the secret: posting requires nothing else. Slack explains a refusal by a word in the body.

use std::fmt;

use grants::alerts::{Channel, ChannelError, Message};
use serde_json::json;

use super::{Outbound, OutboundError, Reply, Request, Url};

/// Slack answers with a word.
pub const MOST_ANSWER_BYTES: usize = 16 * 1024;
/// Slack truncates longer messages.
const MOST_CHARACTERS: usize = 3_000;
/// A name for the message, if Slack gives one.
const NAME_HEADER: &str = "x-slack-unique-id";

/// An incoming webhook.
pub struct Slack {
    outbound: Outbound,
    webhook: Url,
}

impl Slack {
    /// Posts to `webhook`, through `outbound`.
    pub fn new(outbound: Outbound, webhook: Url) -> Slack {
        Slack { outbound, webhook }
    }
}

#[async_trait::async_trait]
impl Channel for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    async fn send(&self, message: Message<'_>) -> Result<String, ChannelError> {
        let cut: String = message.text.chars().take(MOST_CHARACTERS).collect();
        let text = format!("*{}*\n{}", escaped(message.subject), escaped(&cut));
        let body = json!({ "text": text }).to_string();
        let reply = self.outbound.send(&self.webhook, Request::Post { body: body.as_bytes() }, &[]).await;
        read(&reply.map_err(unreachable)?)
    }
}

/// The address is a secret, so only errors that cannot contain it are passed on.
fn unreachable(error: OutboundError) -> ChannelError {
    match error {
        OutboundError::Late(limit) => ChannelError::Late(limit),
        OutboundError::Url(_) | OutboundError::Header(_) => {
            ChannelError::Refused("the webhook's address cannot be used".to_owned())
        }
        other => ChannelError::Unreachable(other.to_string()),
    }
}

fn read(reply: &Reply) -> Result<String, ChannelError> {
    let body = String::from_utf8_lossy(&reply.body);
    let word = body.trim();
    if reply.status == 200 {
        return if word == "ok" {
            let name = reply.fields.get(NAME_HEADER).and_then(|name| name.to_str().ok());
            Ok(name.map_or_else(|| "ok".to_owned(), |name| name.chars().take(100).collect()))
        } else {
            Err(ChannelError::Refused(
                "status 200, but not Slack's `ok`: check that the webhook is one of Slack's".to_owned(),
            ))
        };
    }
    let is_word = !word.is_empty()
        && word.len() <= 60
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'0'..=b'9'));
    let said =
        if is_word { format!("status {}, {word}", reply.status) } else { format!("status {}", reply.status) };
    match reply.status {
        429 => Err(ChannelError::Throttled { why: said, pause: super::retry_after(&reply.fields) }),
        500.. => Err(ChannelError::Deferred(said)),
        status => Err(ChannelError::Refused(format!("{said}{}", hint(status, word)))),
    }
}

/// What to do about a refusal.
fn hint(status: u16, word: &str) -> &'static str {
    match (status, word) {
        (403, "action_prohibited") => ": an administrator of the workspace has forbidden it",
        (410, _) | (404, "channel_not_found" | "channel_is_archived") => {
            ": the channel is archived or gone; make a webhook for another one"
        }
        (403 | 404, _) => ": make a new webhook; this one was revoked or its app removed",
        _ => "",
    }
}

/// Slack's own markup consists of three characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slack(hidden)")
    }
}
