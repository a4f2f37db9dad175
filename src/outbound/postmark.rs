//! Alerts by mail, through Postmark's REST API.
//!
//! ```text
//! POST {url}/email   X-Postmark-Server-Token: ...   {"From":"...","To":"...","Subject":"...","TextBody":"..."}
//! 200 {"ErrorCode":0,"Message":"OK","MessageID":"0a129aee-e1cd-480d-b08d-4f48548ff48d",...}
//! ```

use std::fmt;

use grants::alerts::{Channel, ChannelError, Message};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Outbound, OutboundError, Reply, Request, Url, one_line, retry_after};

const TOKEN_HEADER: &str = "x-postmark-server-token";
pub const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// The settings.
pub struct PostmarkOptions {
    /// `https://api.postmarkapp.com`
    pub url: Url,
    pub token: Zeroizing<String>,
    pub from: String,
    /// The people on call.
    pub to: Vec<String>,
    pub message_stream: String,
}

/// Sends mails through Postmark.
pub struct Postmark {
    outbound: Outbound,
    options: PostmarkOptions,
}

/// Postmark's answer, for both outcomes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    error_code: u32,
    #[serde(default)]
    message: String,
    #[serde(rename = "MessageID")]
    message_id: Option<String>,
}

impl Postmark {
    /// Sends according to `options`, through `outbound`.
    pub fn new(outbound: Outbound, options: PostmarkOptions) -> Postmark {
        Postmark { outbound, options }
    }
}

#[async_trait::async_trait]
impl Channel for Postmark {
    fn name(&self) -> &'static str {
        "postmark"
    }

    fn reaches_admins(&self) -> bool {
        true
    }

    async fn send(&self, message: Message<'_>) -> Result<String, ChannelError> {
        let PostmarkOptions { url, token, from, to, message_stream } = &self.options;
        let to = message.to.map_or_else(|| to.join(", "), ToOwned::to_owned);
        let body = json!({
            "From": from,
            "To": to,
            "Subject": one_line(message.subject),
            "TextBody": message.text,
            "MessageStream": message_stream,
            "TrackOpens": false,
            "TrackLinks": "None",
            "Headers": [{ "Name": "Auto-Submitted", "Value": "auto-generated" }],
        });
        let body = body.to_string();
        let headers = [(TOKEN_HEADER, token.as_str())];
        let reply =
            self.outbound.send(&url.join("email"), Request::Post { body: body.as_bytes() }, &headers).await;
        read(&reply.map_err(|error| match error {
            OutboundError::Late(limit) => ChannelError::Late(limit),
            other => ChannelError::Unreachable(other.to_string()),
        })?)
    }
}

fn read(reply: &Reply) -> Result<String, ChannelError> {
    let status = reply.status;
    let answer: Option<Answer> = serde_json::from_slice(&reply.body).ok();
    let said = match &answer {
        Some(answer) if answer.error_code != 0 => format!("status {status}, error {}", answer.error_code),
        _ => format!("status {status}"),
    };
    match (status, answer) {
        (200, Some(Answer { error_code: 0, message_id: Some(id), message })) if !id.is_empty() => {
            // The token `POSTMARK_API_TEST` accepts every mail and delivers none.
            if message.starts_with("Test job") {
                return Err(ChannelError::Refused(
                    "the token is Postmark's test token, which delivers nothing: set a server's token"
                        .to_owned(),
                ));
            }
            Ok(id.chars().take(100).collect())
        }
        (200, _) => Err(ChannelError::Refused(format!("{said}, but no message that was taken: check `url`"))),
        (429, _) => Err(ChannelError::Throttled { why: said, pause: retry_after(&reply.fields) }),
        (500.., _) => Err(ChannelError::Deferred(said)),
        (_, answer) => {
            Err(ChannelError::Refused(format!("{said}{}", hint(status, answer.map(|one| one.error_code)))))
        }
    }
}

/// What to do about a refusal (Postmark's API error codes).
fn hint(status: u16, code: Option<u32>) -> &'static str {
    match (status, code) {
        (401, _) | (_, Some(10)) => ": check the server token",
        (_, Some(300)) => ": check `from` and `to`",
        (_, Some(400 | 401)) => ": confirm the sender signature of `from` in Postmark",
        (_, Some(405)) => ": the account may send no more; look at its plan",
        (_, Some(406)) => ": a recipient has bounced before; activate it again in Postmark, or change `to`",
        (_, Some(412)) => ": the account is not approved yet and sends within its own domain only",
        (_, Some(1235)) => ": there is no such `message_stream`",
        _ => "",
    }
}

impl fmt::Debug for Postmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postmark").field("url", &self.options.url).finish_non_exhaustive()
    }
}
