//! `POST /api/gate/drift`: where Console's own checks refused what the gate had let in, as Console's side reports it.
//!
//! The Python package does so with `CONSOLE_GATE_MODE=shadow`, in which both check. Each is a disagreement like those of
//! shadow mode: kept, listed by `drift` with the reason `console_refused`, and a cluster in shadow is not ready for V2 until
//! it is explained. A report must be about a row of the running mapping, so that a caller cannot fill the table with
//! arbitrary text.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use metrics::counter;
use policy::decision::{Direction, LetInBy};
use policy::ids::RequestId;
use policy::mapping::{Mapping, Row, RowKind};
use policy::method::Method;
use policy::rbac::census::CallerKind;
use serde::Deserialize;
use serde_json::json;

use super::unavailable;
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::journal::drift::DriftEvent;

/// The most bytes of one request.
pub(super) const MOST_BYTES: usize = 256 * 1024;
/// The most disagreements of one request; the package sends a hundred at a time.
const MOST: usize = 1_000;
/// The longest id of a caller.
const SUBJECT_BYTES: usize = 256;
/// Why the stricter side refuses: Console's own check did.
const REASON: &str = "console_refused";

#[derive(Deserialize)]
struct Reported {
    disagreements: Vec<Seen>,
}

/// One request that the gate let in and Console's own check did not. Other fields from the package are not needed.
#[derive(Deserialize)]
struct Seen {
    method: String,
    route: String,
    subject: String,
    kind: String,
    /// Which gate let it in.
    gate: String,
    mapping: String,
    #[serde(default)]
    request_id: String,
}

pub(super) async fn post(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let reporter = state.drift_reporters.identify(&headers).await?;
    let too_large =
        || Problem::too_large(format!("at most {MOST} disagreements and {MOST_BYTES} bytes per request"));
    let body = body.map_err(|_| too_large())?;
    let Reported { disagreements } = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!(
            "the body must be {{\"disagreements\": [...]}}, each as the package sends it: {error}"
        ))
    })?;
    if disagreements.len() > MOST {
        return Err(too_large());
    }
    state.drift_reporters.spend(&reporter, disagreements.len())?;
    let moment = state.gate.moment().await.map_err(|error| unavailable(&error))?;
    let rows: HashMap<&str, &Row> = moment.mapping.rows().iter().map(|row| (&*row.route, row)).collect();
    let mut accepted = 0;
    for seen in &disagreements {
        let event = event(seen, &moment.mapping, &rows, moment.control.epoch.0, state.gate.clock.now());
        if let Some(event) = event {
            state.gate.drift.report(&event);
            accepted += 1;
        }
    }
    let left_out = disagreements.len() - accepted;
    counter!("gate_console_drift_total", "outcome" => "accepted").increment(accepted as u64);
    counter!("gate_console_drift_total", "outcome" => "left out").increment(left_out as u64);
    Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": accepted, "left_out": left_out }))).into_response())
}

/// The disagreement; `None` for what the running mapping knows nothing of: another mapping, a row that is not there or asks
/// for no role, a word that is none.
fn event<'e>(
    seen: &'e Seen,
    mapping: &'e Arc<Mapping>,
    rows: &HashMap<&str, &'e Row>,
    epoch: i64,
    at: chrono::DateTime<chrono::Utc>,
) -> Option<DriftEvent<'e>> {
    if seen.mapping != mapping.sha256().as_str() {
        return None;
    }
    let row = *rows.get(seen.route.as_str())?;
    let is_gated = matches!(row.kind, RowKind::Gated { .. });
    let is_decided = [LetInBy::V2, LetInBy::Legacy].into_iter().any(|gate| gate.word() == seen.gate);
    let method = Method::parse(&seen.method)?;
    // A row serves HEAD with GET, and OPTIONS besides.
    let is_served = row.methods.contains(method)
        || method == Method::Options
        || method == Method::Head && row.methods.contains(Method::Get);
    let kind = CallerKind::parse(&seen.kind)?;
    let is_id = !seen.subject.is_empty()
        && seen.subject.len() <= SUBJECT_BYTES
        && !seen.subject.contains(char::is_control);
    // Console denies today; once its checks step back, the caller is let in.
    (is_gated && is_decided && is_served && is_id).then(|| DriftEvent {
        at,
        cluster: row.cluster.as_ref(),
        route: &row.route,
        method: method.as_str(),
        actor_kind: kind.word(),
        actor_id: &seen.subject,
        direction: Direction::WouldNewlyAllow.word(),
        legacy_answer: "deny",
        v2_answer: "allow",
        reason: REASON,
        mapping: mapping.sha256(),
        epoch,
        request_id: RequestId::given(seen.request_id.as_bytes())
            .unwrap_or_else(|| RequestId::new(uuid::Uuid::nil())),
    })
}
