//! `POST /api/v1/audit/events`: services report what happened to customers' data (Queue SC-A3).
//!
//! A service token, which is looked at before the body is; a rate for each of them, events that are known by their id,
//! and rows in the same chain as the gate's own. An answer of 201 means that every event is durable.
//!
//! A membership concerns no customer, so its row has the tenant `platform`, which services must not use.

mod event;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clock::SharedClock;
use ledger::Draft;
use ledger::customer::CustomerEvent;
use metrics::counter;
use serde_json::{Value, json};
use store::SharedStore;

use super::AdminState;
use super::problem::Problem;
use super::service::Services;
use crate::journal::AuditWriter;

/// The most events in one request.
const MOST_EVENTS: usize = 100;
/// The most bytes of one request.
pub const MOST_BYTES: usize = 1024 * 1024;

/// What the endpoint needs.
pub struct Ingest {
    sources: Services,
    audit: AuditWriter,
    store: SharedStore,
    clock: SharedClock,
}

impl Ingest {
    /// Takes events from `sources`, and spends one of their rate for each.
    pub fn new(sources: Services, audit: AuditWriter, store: SharedStore, clock: SharedClock) -> Ingest {
        Ingest { sources, audit, store, clock }
    }

    /// Whether any service may report.
    pub fn is_open(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Writes those events that are new. All are durable when this returns.
    async fn write(&self, source: &str, events: Vec<CustomerEvent>) -> Result<usize, Problem> {
        let mut drafts = Vec::new();
        // Of several events with one id in a request, the first is written; the others count as known.
        let mut of_request: HashMap<uuid::Uuid, String> = HashMap::new();
        for event in events {
            match of_request.entry(event.id) {
                Entry::Occupied(first) if *first.get() == event.tenant_id => continue,
                Entry::Occupied(_) => return Err(conflict(event.id)),
                Entry::Vacant(vacant) => drop(vacant.insert(event.tenant_id.clone())),
            }
            match self.store.by_id(event.id).await {
                Ok(None) => drafts.push(Draft::of_customer(event, self.clock.now())),
                Ok(Some(known)) => {
                    let names_source = known.actor_id.as_deref() == Some(source);
                    let tenant = known.detail.as_ref().and_then(|detail| detail.0.get("tenant").cloned());
                    if !names_source || tenant != Some(json!(event.tenant_id)) {
                        return Err(conflict(event.id));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "reported events could not be looked up");
                    return Err(unavailable());
                }
            }
        }
        let count = drafts.len();
        let writes = drafts.into_iter().map(|draft| self.audit.write_draft(draft));
        for outcome in futures::future::join_all(writes).await {
            if let Err(error) = outcome {
                tracing::error!(%error, "reported events could not be made durable");
                return Err(unavailable());
            }
        }
        Ok(count)
    }

    async fn take(&self, source: String, body: &[u8]) -> Result<Response, Problem> {
        let body: Value =
            serde_json::from_slice(body).map_err(|_| Problem::bad_request("the body is not valid JSON"))?;
        let events = match body.get("events") {
            Some(Value::Array(events)) if events.len() <= MOST_EVENTS => events.as_slice(),
            Some(Value::Array(_)) => return Err(too_large()),
            _ => std::slice::from_ref(&body),
        };
        let prefix = |place: usize| match body.get("events") {
            Some(_) => format!("/events/{place}"),
            None => String::new(),
        };
        self.sources.spend(&source, events.len())?;
        let mut faults = Vec::new();
        let mut read = Vec::new();
        for (place, value) in events.iter().enumerate() {
            match event::read(value, &source, self.clock.now()) {
                Ok(event) => read.push(event),
                Err(found) => faults.extend(found.into_iter().map(|fault| {
                    json!({ "pointer": format!("{}{}", prefix(place), fault.pointer), "detail": fault.detail })
                })),
            }
        }
        if !faults.is_empty() {
            return Err(unsound(faults));
        }
        let reported = read.len();
        let written = self.write(&source, read).await?;
        counter!("gate_ingested_events_total", "source" => source).increment(written as u64);
        let answer = json!({ "accepted": written, "known_already": reported - written });
        Ok((StatusCode::CREATED, Json(answer)).into_response())
    }
}

/// A service that may report events. It is identified before the body is read, so no other caller's body is read.
pub struct Source(String);

impl FromRequestParts<AdminState> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Source, Problem> {
        state.ingest.sources.identify(&parts.headers).await.map(Source)
    }
}

/// The endpoint.
pub async fn post(
    State(state): State<AdminState>,
    Source(source): Source,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = match body {
        Ok(body) => state.ingest.take(source, &body).await,
        Err(rejection) => Err(Problem::of_body(&rejection, limit())),
    };
    outcome.unwrap_or_else(Problem::into_response)
}

fn too_large() -> Problem {
    Problem::too_large(limit())
}

fn limit() -> String {
    format!("at most {MOST_EVENTS} events and {MOST_BYTES} bytes per request")
}

/// 422 with the mistakes, by field (a JSON pointer, RFC 6901).
fn unsound(errors: Vec<Value>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid events", "no event was accepted")
        .with_errors(errors)
}

fn conflict(id: uuid::Uuid) -> Problem {
    Problem::new(StatusCode::CONFLICT, "Conflict", format!("the id {id} already belongs to another event"))
}

fn unavailable() -> Problem {
    Problem::unavailable("the events could not be made durable; send them again")
}
