//! `/healthz`: the process runs. `/readyz`: it can decide and forward.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::AdminState;
use crate::audit::writer::AuditState;

/// What readiness rests on. The database decides: without it, routes that need access answer 503.
#[derive(Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    database: &'static str,
    upstream: &'static str,
    /// Where audit rows go: `database`, `spool`, or `nowhere`.
    audit: &'static str,
}

/// 200 while the process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 when the database answers and a server of Console's is up, 503 otherwise.
pub async fn readyz(State(state): State<AdminState>) -> (StatusCode, Json<Readiness>) {
    let database = state.store.control().await.is_ok();
    let upstream = state.upstreams.any_healthy();
    let word = |up: bool| if up { "up" } else { "down" };
    let audit = state.audit.state();
    // While the spool takes rows, denials go out; when it does not, each would be a 503.
    let ready = database && upstream && audit != AuditState::Nowhere;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (
        status,
        Json(Readiness { ready, database: word(database), upstream: word(upstream), audit: audit.word() }),
    )
}
