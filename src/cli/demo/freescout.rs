//! A stand-in for FreeScout, the help desk that owns the tickets: three open tickets, the documented answers of its
//! REST API, and a signed webhook to the gate when a ticket changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::Sha1;

use crate::outbound::freescout::MOST_ANSWER_BYTES;
use crate::outbound::{Outbound, Request, Url};
use crate::settings::secrets::Secrets;

/// The mailbox that its tickets are in.
pub(super) const MAILBOX: u64 = 3;

struct Desk {
    secrets: Secrets,
    webhook: Url,
    outbound: Outbound,
    /// Each ticket's status, by its number.
    tickets: Mutex<BTreeMap<u64, String>>,
}

/// The one field of `PUT /api/conversations/{id}` that the stand-in accepts; FreeScout accepts more.
#[derive(Deserialize)]
struct Update {
    status: String,
}

/// Serves until the demo ends, and sends webhooks to the gate's admin address.
pub(super) async fn serve(
    listener: tokio::net::TcpListener,
    secrets: Secrets,
    admin: SocketAddr,
) -> anyhow::Result<()> {
    let tickets = [41, 42, 43].map(|id| (id, "active".to_owned())).into();
    let webhook = Url::parse(&format!("http://{admin}/api/v1/freescout"))?;
    let outbound = Outbound::new(Vec::new(), Duration::from_secs(5), MOST_ANSWER_BYTES)?;
    let desk = Desk { secrets, webhook, outbound, tickets: Mutex::new(tickets) };
    let router = Router::new()
        .route("/api/conversations/{id}", get(conversation).put(update))
        .with_state(Arc::new(desk));
    axum::serve(listener, router).await?;
    Ok(())
}

async fn conversation(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    if !desk.is_authentic(&headers) {
        return Err(error(StatusCode::UNAUTHORIZED, "Invalid API key"));
    }
    desk.conversation(id).map(Json).ok_or_else(not_found)
}

async fn update(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
    Json(update): Json<Update>,
) -> Result<StatusCode, Response> {
    if !desk.is_authentic(&headers) {
        return Err(error(StatusCode::UNAUTHORIZED, "Invalid API key"));
    }
    if !matches!(update.status.as_str(), "active" | "pending" | "closed" | "spam") {
        return Err(error(StatusCode::BAD_REQUEST, "Invalid status"));
    }
    {
        let mut tickets = desk.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        *tickets.get_mut(&id).ok_or_else(not_found)? = update.status;
    }
    // As FreeScout does: the answer does not wait for the webhook.
    tokio::spawn(async move { desk.announce(id).await });
    Ok(StatusCode::NO_CONTENT)
}

impl Desk {
    fn is_authentic(&self, headers: &HeaderMap) -> bool {
        let key = headers.get("x-freescout-api-key").map(axum::http::HeaderValue::as_bytes);
        matches!((&self.secrets.freescout_key, key), (Some(own), Some(key)) if own.expose() == key)
    }

    fn conversation(&self, id: u64) -> Option<Value> {
        let status = self.tickets.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?.clone();
        Some(json!({
            "id": id, "number": id, "threadsCount": 1, "type": "email", "status": status, "state": "published",
            "subject": "Where is my refund?", "mailboxId": MAILBOX, "updatedAt": chrono::Utc::now().to_rfc3339(),
        }))
    }

    /// Sends the webhook of a changed ticket. If it is lost, the gate asks FreeScout itself on the next request.
    async fn announce(&self, id: u64) {
        let (Some(conversation), Some(secret)) = (self.conversation(id), &self.secrets.freescout_webhook)
        else {
            return;
        };
        let body = conversation.to_string();
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.expose()) else { return };
        mac.update(body.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let headers = [("x-freescout-event", "convo.status"), ("x-freescout-signature", signature.as_str())];
        let request = Request::Post { body: body.as_bytes() };
        if let Err(error) = self.outbound.send(&self.webhook, request, &headers).await {
            tracing::warn!(%error, "the demo's FreeScout could not send its webhook");
        }
    }
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "Conversation not found")
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
