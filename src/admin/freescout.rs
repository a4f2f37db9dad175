//! `POST /api/v1/freescout`: FreeScout's webhooks, by which grants end as soon as their ticket does.
//!
//! FreeScout signs the raw body: `X-FreeScout-Signature` is the base64 of its HMAC-SHA1, by a secret that FreeScout derives
//! from its own key. There is neither a time nor a number of the delivery in it. What makes a repeated message harmless:
//!
//! - It ends only grants that were given before the change of which it tells; any other end needs FreeScout's word now.
//! - One that is older than FreeScout's own repeats is not looked at; the look at all tickets has seen to it by then.
//! - A message is known by its bytes, and a repeat of one that was carried out is answered as it was.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit as _, Mac as _};
use metrics::counter;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use store::idempotency::{Once, OnceKey};

use super::AdminState;
use super::problem::Problem;
use crate::outbound::freescout::{Conversation, MOST_ANSWER_BYTES};
use crate::settings::secrets::Secret;
use crate::tickets::Tickets;

/// The most bytes of one message: a conversation with its threads.
pub const MOST_BYTES: usize = MOST_ANSWER_BYTES;
/// FreeScout repeats a message for two hours; the rest is for its clock.
const WINDOW: TimeDelta = TimeDelta::minutes(150);
const AHEAD: TimeDelta = TimeDelta::minutes(15);

/// What the endpoint needs.
pub struct Webhook {
    pub tickets: Arc<Tickets>,
    pub secret: Secret,
}

/// The endpoint.
pub async fn post(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(webhook) = &state.freescout else { return StatusCode::NOT_FOUND.into_response() };
    let outcome = match body {
        Ok(body) => webhook.take(&headers, &body).await,
        Err(rejection) => Err(Problem::of_body(&rejection, format!("at most {MOST_BYTES} bytes"))),
    };
    let word = match &outcome {
        Ok(_) => "taken",
        Err(_) => "refused",
    };
    counter!("gate_freescout_webhooks_total", "outcome" => word).increment(1);
    outcome.map_or_else(Problem::into_response, |answer| Json(answer).into_response())
}

impl Webhook {
    async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
        self.verify(headers, body)?;
        let event = single(headers, "x-freescout-event").unwrap_or_default();
        if !event.starts_with("convo.") {
            return Ok(json!({ "ignored": "not about a conversation" }));
        }
        let conversation: Conversation = serde_json::from_slice(body)
            .map_err(|_| Problem::bad_request("the body is not a conversation in JSON"))?;
        let now = self.tickets.now();
        if let Some(at) = conversation.changed_at() {
            if at < now - WINDOW {
                return Ok(json!({ "ignored": "older than FreeScout's own repeats" }));
            }
            if at > now + AHEAD {
                return Err(Problem::bad_request("the conversation is from the future: check the clocks"));
            }
        }
        let hex = |parts: &[&[u8]]| -> String {
            let digest = parts.iter().fold(Sha256::new(), Digest::chain_update).finalize();
            policy::hex::lower(digest)
        };
        let key = OnceKey {
            key_sha256: hex(&[b"freescout\0", event.as_bytes(), b"\0", body]),
            request_sha256: hex(&[body]),
        };
        let store = self.tickets.store();
        match store.begin_once(&key, now).await.map_err(|error| unavailable(&error))? {
            Once::Begun => {}
            Once::Answered(answer) => return Ok(serde_json::from_str(&answer).unwrap_or_else(|_| json!({}))),
            Once::UnderWay | Once::OfAnother => {
                return Err(Problem::unavailable("the same message is being carried out"));
            }
        }
        let is_gone = event == "convo.deleted_forever";
        match self.tickets.heard(&conversation, is_gone).await {
            Ok(ended) => {
                let answer = json!({ "ended": ended });
                let keep = (WINDOW + AHEAD).to_std().unwrap_or_default();
                let kept = store.answer_once(&key, &answer.to_string(), now + keep).await;
                kept.map_err(|error| unavailable(&error))?;
                Ok(answer)
            }
            Err(error) => {
                if let Err(error) = store.forget_once(&key).await {
                    tracing::warn!(%error, "a webhook that failed counts as under way for a while");
                }
                Err(unavailable(&error))
            }
        }
    }

    /// Checks the signature, in constant time.
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let detail = "X-FreeScout-Signature does not sign this body: check the secret in `[freescout]`";
        let refused = || Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail);
        let signature = single(headers, "x-freescout-signature").ok_or_else(refused)?;
        let signature = STANDARD.decode(signature).map_err(|_| refused())?;
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.expose()).map_err(|_| refused())?;
        mac.update(body);
        mac.verify_slice(&signature).map_err(|_| refused())
    }
}

/// The value of a field that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn unavailable(error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(%error, "a webhook of FreeScout's could not be carried out");
    Problem::unavailable("the message could not be carried out; send it again")
}
