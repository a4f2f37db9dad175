//! FreeScout's REST API ("API & Webhooks" module): whether a conversation is open.
//!
//! ```text
//! GET {url}/api/conversations/{id}      X-FreeScout-API-Key: ...
//! 200 {"id":42,"status":"active","state":"published","mailboxId":3,...}
//! ```
//!
//! An answer counts only if it is about the requested ticket and in known words; an odd answer does not count. An HTML
//! error page is odd too, whatever its status, so that a wrong address ends no grant.

mod breaker;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::counter;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use self::breaker::Breaker;
use super::{Outbound, OutboundError, Reply, Request, Url};

const KEY_HEADER: &str = "x-freescout-api-key";
/// A conversation includes its threads, whose bodies are mails.
pub const MOST_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Concurrent questions: FreeScout is a PHP application with a few workers.
const MOST_QUESTIONS: usize = 16;
/// How often one question is sent: asking changes nothing, so it may be repeated.
const TRIES: usize = 2;
const PAUSE: Duration = Duration::from_millis(50);

/// The state of a ticket, as FreeScout reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketState {
    Open,
    Ended(TicketFate),
}

/// Why a ticket is no longer open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketFate {
    Closed,
    Spam,
    Deleted,
    /// To a mailbox that does not count.
    Moved,
}

impl TicketFate {
    /// In words, for the audit.
    pub const fn in_words(self) -> &'static str {
        match self {
            TicketFate::Closed => "the ticket was closed",
            TicketFate::Spam => "the ticket is spam",
            TicketFate::Deleted => "the ticket was deleted",
            TicketFate::Moved => "the ticket was moved to another mailbox",
        }
    }
}

/// Why the state is unknown. No variant contains the key or a mail.
#[derive(Debug, thiserror::Error)]
pub enum FreeScoutError {
    #[error("FreeScout: {0}")]
    Unreachable(OutboundError),
    #[error("FreeScout answered with status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    #[error("FreeScout's answer cannot be used: {0}")]
    Odd(&'static str),
    #[error("FreeScout did not answer within {0:?}")]
    Late(Duration),
    #[error("FreeScout failed {0} times in a row; it is asked again in a few seconds")]
    Resting(u32),
}

impl From<OutboundError> for FreeScoutError {
    fn from(error: OutboundError) -> Self {
        FreeScoutError::Unreachable(error)
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": check the key in `[freescout]`",
        429 => ": it is asked too often",
        _ => "",
    }
}

/// A conversation, as the API and webhooks present it.
#[derive(Debug, Deserialize)]
pub struct Conversation {
    pub id: u64,
    status: String,
    state: String,
    #[serde(rename = "mailboxId")]
    mailbox: u64,
    /// RFC 3339; when it last changed, by FreeScout's clock.
    #[serde(rename = "updatedAt")]
    updated_at: Option<String>,
    #[serde(rename = "closedAt")]
    closed_at: Option<String>,
}

impl Conversation {
    /// When it last changed, by FreeScout's clock.
    pub fn changed_at(&self) -> Option<DateTime<Utc>> {
        let time = |text: &String| Some(DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc));
        self.updated_at.as_ref().and_then(time).or_else(|| self.closed_at.as_ref().and_then(time))
    }

    /// Whether it is open, if only these mailboxes count; an error if its state or status is unknown.
    pub fn state(&self, mailboxes: &BTreeSet<u64>) -> Result<TicketState, FreeScoutError> {
        match (self.state.as_str(), self.status.as_str()) {
            ("deleted", _) => Ok(TicketState::Ended(TicketFate::Deleted)),
            ("published", _) if !mailboxes.contains(&self.mailbox) => {
                Ok(TicketState::Ended(TicketFate::Moved))
            }
            ("published", "active" | "pending") => Ok(TicketState::Open),
            ("published", "closed") => Ok(TicketState::Ended(TicketFate::Closed)),
            ("published", "spam") => Ok(TicketState::Ended(TicketFate::Spam)),
            _ => Err(FreeScoutError::Odd("its status or state is an unknown word")),
        }
    }
}

/// The settings.
pub struct FreeScoutOptions {
    pub url: Url,
    pub key: Zeroizing<String>,
    /// The mailboxes whose conversations count.
    pub mailboxes: BTreeSet<u64>,
    /// For one question, retries included.
    pub deadline: Duration,
}

/// Asks FreeScout.
pub struct FreeScout {
    outbound: Outbound,
    options: FreeScoutOptions,
    breaker: Breaker,
    questions: Semaphore,
}

impl FreeScout {
    /// Asks according to `options`, through `outbound`.
    pub fn new(outbound: Outbound, options: FreeScoutOptions) -> FreeScout {
        let questions = Semaphore::new(MOST_QUESTIONS);
        FreeScout { outbound, options, breaker: Breaker::default(), questions }
    }

    /// The mailboxes whose conversations count.
    pub fn mailboxes(&self) -> &BTreeSet<u64> {
        &self.options.mailboxes
    }

    /// Whether a ticket is open now.
    ///
    /// # Errors
    ///
    /// There is no answer in time, or none that states it.
    pub async fn ticket(&self, ticket: &str) -> Result<TicketState, FreeScoutError> {
        let outcome = self.asked(ticket).await;
        let word = match &outcome {
            Ok(TicketState::Open) => "open",
            Ok(TicketState::Ended(_)) => "ended",
            Err(FreeScoutError::Unreachable(_)) => "unreachable",
            Err(FreeScoutError::Status(_)) => "refused",
            Err(FreeScoutError::Odd(_)) => "odd",
            Err(FreeScoutError::Late(_)) => "late",
            Err(FreeScoutError::Resting(_)) => "resting",
        };
        counter!("gate_freescout_questions_total", "outcome" => word).increment(1);
        outcome
    }

    async fn asked(&self, ticket: &str) -> Result<TicketState, FreeScoutError> {
        let deadline = Instant::now() + self.options.deadline;
        let permit = self.breaker.may_ask(Instant::now()).map_err(FreeScoutError::Resting)?;
        let tries = async {
            // The semaphore is never closed, and a question that waits here too long is late.
            let _turn = self.questions.acquire().await;
            let mut outcome = self.once(ticket).await;
            for _ in 1..TRIES {
                if !outcome.as_ref().is_err_and(is_passing) {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
                outcome = self.once(ticket).await;
            }
            outcome
        };
        let late = Err(FreeScoutError::Late(self.options.deadline));
        let outcome = timeout_at(deadline, tries).await.unwrap_or(late);
        permit.end(outcome.is_ok() || matches!(outcome, Err(FreeScoutError::Status(429))));
        outcome
    }

    async fn once(&self, ticket: &str) -> Result<TicketState, FreeScoutError> {
        let url = self.options.url.join(&format!("api/conversations/{ticket}"));
        let headers = [(KEY_HEADER, self.options.key.as_str())];
        let reply = self.outbound.send(&url, Request::Get, &headers).await?;
        read(&reply, ticket, &self.options.mailboxes)
    }
}

/// Whether asking again may get another answer.
fn is_passing(error: &FreeScoutError) -> bool {
    match error {
        FreeScoutError::Unreachable(error) => !matches!(error, OutboundError::Late(_)),
        FreeScoutError::Status(status) => matches!(status, 500 | 502 | 503 | 504),
        FreeScoutError::Odd(_) | FreeScoutError::Late(_) | FreeScoutError::Resting(_) => false,
    }
}

fn read(reply: &Reply, ticket: &str, mailboxes: &BTreeSet<u64>) -> Result<TicketState, FreeScoutError> {
    match reply.status {
        200 => {
            let conversation: Conversation = serde_json::from_slice(&reply.body)
                .map_err(|_| FreeScoutError::Odd("it is not a conversation in JSON"))?;
            if conversation.id.to_string() != ticket {
                return Err(FreeScoutError::Odd("it is about another conversation"));
            }
            conversation.state(mailboxes)
        }
        // Deleted forever. The API reports that in JSON; an HTML page is some other server's.
        404 => match serde_json::from_slice(&reply.body) {
            Ok(Value::Object(_)) => Ok(TicketState::Ended(TicketFate::Deleted)),
            _ => Err(FreeScoutError::Odd("a page that was not found, and no conversation: check `url`")),
        },
        status => Err(FreeScoutError::Status(status)),
    }
}

impl fmt::Debug for FreeScout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreeScout").field("url", &self.options.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, fields: http::HeaderMap::new(), body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    #[test]
    fn only_a_conversation_in_known_words_counts() {
        use TicketFate::{Closed, Deleted, Moved, Spam};
        let mailboxes = [3, 4].into();
        let open = Some(TicketState::Open);
        let ended = |fate| Some(TicketState::Ended(fate));
        let of = |status: &str, state: &str, mailbox: &str| {
            format!(r#"{{"id":42,"number":7,"status":"{status}","state":"{state}","mailboxId":{mailbox}}}"#)
        };
        let table = [
            (200, of("active", "published", "3"), open),
            (200, of("pending", "published", "4"), open),
            (200, of("closed", "published", "3"), ended(Closed)),
            (200, of("spam", "published", "3"), ended(Spam)),
            (200, of("active", "deleted", "3"), ended(Deleted)),
            (200, of("active", "published", "5"), ended(Moved)),
            (200, of("closed", "published", "5"), ended(Moved)),
            (200, of("active", "draft", "3"), None),
            (200, of("Active", "published", "3"), None),
            (200, of("open", "published", "3"), None),
            (200, of("active", "published", "\"3\""), None),
            (200, of("active", "published", "null"), None),
            (200, r#"{"id":43,"status":"active","state":"published","mailboxId":3}"#.into(), None),
            (200, r#"{"id":42,"status":"active","state":"published"}"#.into(), None),
            (200, r#"[{"id":42,"status":"active","state":"published","mailboxId":3}]"#.into(), None),
            (200, "<!doctype html><title>FreeScout</title>".into(), None),
            (200, String::new(), None),
            (404, r#"{"message":"Conversation not found"}"#.into(), ended(Deleted)),
            (404, "<!doctype html><title>Not Found</title>".into(), None),
            (404, String::new(), None),
            (204, of("active", "published", "3"), None),
            (302, of("active", "published", "3"), None),
            (401, r#"{"message":"Invalid API key"}"#.into(), None),
            (429, "{}".into(), None),
            (500, of("active", "published", "3"), None),
        ];
        for (status, body, expected) in table {
            let state = read(&reply(status, &body), "42", &mailboxes);
            assert_eq!(state.ok(), expected, "{status} {body}");
        }
    }
}
