//! `/healthz`: the process runs. `/readyz`: it can decide and forward.

use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::AdminState;
use crate::audit::writer::AuditState;
use crate::tally::Progress;

/// What readiness rests on. The database decides: without it, routes that need access answer 503.
#[derive(Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    database: &'static str,
    /// Why the database does not answer: `unavailable`, `privilege`, `schema`, ... The log says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_problem: Option<&'static str>,
    upstream: &'static str,
    /// Where audit rows go: `database`, `spool`, or `nowhere`.
    audit: &'static str,
    /// Why rows do not go to the database, in the same words.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_problem: Option<&'static str>,
    /// Spools of other gates that cannot be read, so that their rows wait. They keep nobody from serving.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable_spools: Vec<PathBuf>,
    /// Where drift and decisions go: `database`, or `memory` while the database does not take them.
    evidence: &'static str,
    /// How many of them were lost since the gate started.
    evidence_lost: u64,
}

/// Evidence that was not written for so long waits for the database.
const WAITS: Duration = Duration::from_secs(30);

/// 200 while the process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 when the database answers and a server of Console's is up, 503 otherwise.
pub async fn readyz(State(state): State<AdminState>) -> (StatusCode, Json<Readiness>) {
    let database_problem = state.store.control().await.err().map(|error| error.kind());
    let database = database_problem.is_none();
    let upstream = state.upstreams.any_healthy();
    let word = |up: bool| if up { "up" } else { "down" };
    let audit = state.audit.state();
    // While the spool takes rows, denials go out; when it does not, each would be a 503.
    let ready = database && upstream && audit != AuditState::Nowhere;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let evidence: Vec<Progress> = state.gate.evidence().map(|(_, progress)| progress).collect();
    let waits = evidence.iter().any(|progress| progress.behind > WAITS);
    let readiness = Readiness {
        ready,
        database: word(database),
        database_problem,
        upstream: word(upstream),
        audit: audit.word(),
        evidence: if waits { "memory" } else { "database" },
        evidence_lost: evidence.iter().map(|progress| progress.lost).sum(),
        audit_problem: state.audit.problem(),
        unreadable_spools: state.audit.unreadable_spools(),
    };
    (status, Json(readiness))
}
