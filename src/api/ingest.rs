//! `POST /api/v1/audit/events`: services report what happened to customers' data (Queue SC-A3).
//!
//! A service token, a rate for each of them, events that are known by their id, and rows in the same chain as the
//! gate's own. An answer of 201 means that every event is durable.

mod event;

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use metrics::counter;
use serde_json::{Value, json};

use super::AdminState;
use crate::access::AccessResolver;
use crate::audit::AuditWriter;
use crate::audit::customer::CustomerEvent;
use crate::clock::SharedClock;
use crate::identity::Subject;
use crate::identity::machine_token::{TokenDigest, bearer};
use crate::mapping::Freshness;
use crate::rbac::Standing;
use crate::store::SharedStore;

/// The most events in one request.
const MOST_EVENTS: usize = 100;
/// The most bytes of one request.
pub const MOST_BYTES: usize = 1024 * 1024;

/// What the endpoint needs.
pub struct Ingest {
    sources: Vec<String>,
    rate: DefaultKeyedRateLimiter<String>,
    access: Arc<AccessResolver>,
    audit: AuditWriter,
    store: SharedStore,
    clock: SharedClock,
}

impl Ingest {
    /// Takes events from the machine tokens called `sources`, from each at most `per_minute`.
    pub fn new(
        sources: &[String],
        per_minute: NonZeroU32,
        access: Arc<AccessResolver>,
        audit: AuditWriter,
        store: SharedStore,
        clock: SharedClock,
    ) -> Ingest {
        // A full minute's worth may come at once, so that a request of the largest size can.
        let quota = Quota::per_minute(per_minute);
        Ingest { sources: sources.to_vec(), rate: RateLimiter::keyed(quota), access, audit, store, clock }
    }

    /// The name of the token, if it is one that may report.
    async fn source(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(bearer)
            .ok_or_else(Problem::unauthorized)?;
        let subject = Subject::Machine(TokenDigest::of(token));
        let away = |error| {
            tracing::error!(%error, "a reporting service could not be looked up");
            Problem::unavailable()
        };
        let control = self.access.observe(Freshness::Strict).await.map_err(away)?;
        let access = self.access.resolve(&subject, control.epoch).await.map_err(away)?;
        let name = access.token.as_ref().map(|token| token.name.to_string());
        match name {
            Some(name) if access.standing == Standing::Active => {
                if self.sources.contains(&name) {
                    Ok(name)
                } else {
                    Err(Problem::forbidden())
                }
            }
            _ => Err(Problem::unauthorized()),
        }
    }

    fn within_rate(&self, source: &String, events: usize) -> Result<(), Problem> {
        let events = u32::try_from(events).ok().and_then(NonZeroU32::new);
        let Some(events) = events else { return Ok(()) };
        match self.rate.check_key_n(source, events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(wait)) => {
                Err(Problem::too_many(wait.wait_time_from(DefaultClock::default().now()).as_secs() + 1))
            }
            // More in one request than the rate ever allows.
            Err(_) => Err(Problem::too_many(60)),
        }
    }

    /// Writes those events that are new. All are durable when this returns.
    async fn write(&self, source: &str, events: Vec<CustomerEvent>) -> Result<usize, Problem> {
        let mut drafts = Vec::new();
        for event in events {
            match self.store.by_id(event.id).await {
                Ok(None) => drafts.push(event.into_draft(self.clock.now())),
                Ok(Some(known)) => {
                    let names_source = known.actor_id.as_deref() == Some(source);
                    let tenant = known.detail.as_ref().and_then(|detail| detail.0.get("tenant").cloned());
                    if !names_source || tenant != Some(json!(event.tenant_id)) {
                        return Err(Problem::conflict(event.id));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "reported events could not be looked up");
                    return Err(Problem::unavailable());
                }
            }
        }
        let count = drafts.len();
        let writes = drafts.into_iter().map(|draft| self.audit.write_draft(draft));
        for outcome in futures::future::join_all(writes).await {
            if let Err(error) = outcome {
                tracing::error!(%error, "reported events could not be made durable");
                return Err(Problem::unavailable());
            }
        }
        Ok(count)
    }

    async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Result<Response, Problem> {
        let source = self.source(headers).await?;
        let body: Value = serde_json::from_slice(body).map_err(|_| Problem::not_json())?;
        let events = match body.get("events") {
            Some(Value::Array(events)) if events.len() <= MOST_EVENTS => events.as_slice(),
            Some(Value::Array(_)) => return Err(Problem::too_large()),
            _ => std::slice::from_ref(&body),
        };
        let prefix = |place: usize| match body.get("events") {
            Some(_) => format!("/events/{place}"),
            None => String::new(),
        };
        self.within_rate(&source, events.len())?;
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
            return Err(Problem::unsound(faults));
        }
        let reported = read.len();
        let written = self.write(&source, read).await?;
        counter!("gate_ingested_events_total", "source" => source).increment(written as u64);
        let answer = json!({ "accepted": written, "known_already": reported - written });
        Ok((StatusCode::CREATED, Json(answer)).into_response())
    }
}

/// The endpoint.
pub async fn post(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = match body {
        Ok(body) => state.ingest.take(&headers, &body).await,
        Err(_) => Err(Problem::too_large()),
    };
    outcome.unwrap_or_else(Problem::into_response)
}

/// A refusal, as RFC 9457 has it.
struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// What is wrong with which field (a JSON pointer, RFC 6901).
    errors: Vec<Value>,
    retry_after: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, title, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    fn unauthorized() -> Problem {
        let detail = "a live service token is needed: Authorization: Bearer ...";
        Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail)
    }

    fn forbidden() -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "Forbidden", "this token may not report events")
    }

    fn too_many(seconds: u64) -> Problem {
        let detail = format!("this token has reported more than it may; wait for {seconds} s");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", detail);
        Problem { retry_after: Some(seconds), ..problem }
    }

    fn not_json() -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "Bad Request", "the body is no JSON")
    }

    fn too_large() -> Problem {
        let detail = format!("at most {MOST_EVENTS} events and {MOST_BYTES} bytes in one request");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large", detail)
    }

    fn unsound(errors: Vec<Value>) -> Problem {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Unsound events", "no event was taken");
        Problem { errors, ..problem }
    }

    fn conflict(id: uuid::Uuid) -> Problem {
        let detail = format!("the id {id} is another event's already");
        Problem::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    fn unavailable() -> Problem {
        let detail = "the events could not be made durable; send them again";
        Problem {
            retry_after: Some(1),
            ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", detail)
        }
    }

    fn into_response(self) -> Response {
        let mut body = json!({ "type": "about:blank", "title": self.title, "status": self.status.as_u16(), "detail": self.detail });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
