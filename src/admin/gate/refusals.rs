//! `GET /api/gate/refusals`: what the firewall of this gate refused since it started, by reason, with the last requests of
//! each.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::admin::AdminState;
use crate::admin::service::ApiCaller;
use crate::journal::refused::RefusedForReason;

#[derive(Serialize)]
pub(super) struct Refusals {
    since_utc: DateTime<Utc>,
    reasons: Vec<RefusedForReason>,
}

pub(super) async fn get(State(state): State<AdminState>, _caller: ApiCaller) -> Json<Refusals> {
    let refused = &state.gate.refused;
    Json(Refusals { since_utc: refused.since(), reasons: refused.list() })
}
