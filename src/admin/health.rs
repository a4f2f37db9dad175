//! `/healthz`: the process runs. `/readyz`: it accepts connections, can decide and can forward.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use policy::identity::Subject;
use policy::ids::AdminId;
use serde::Serialize;

use super::AdminState;
use crate::edge::listener::Phase;
use crate::edge::upstream::UpstreamState;
use crate::journal::tally::TallyProgress;
use crate::journal::writer::AuditState;

/// What readiness rests on, in the order in which a request needs it.
#[derive(Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    /// Whether the proxy accepts connections: `opening`, `open`, `draining`, or `gone`.
    listener: &'static str,
    /// The gate's own: `valid`, `expired`, or `none` where it ends no TLS.
    certificate: &'static str,
    /// Without it, routes that need access answer 503.
    database: &'static str,
    /// Why the database does not answer: `unavailable`, `privilege`, `schema`, ... The log says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_problem: Option<&'static str>,
    /// Whether an address of Console's answered its last check: `up`, `down`, or `unresolved`.
    upstream: &'static str,
    /// The same of each server beside Console. The gate is ready without them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    upstreams: BTreeMap<String, &'static str>,
    /// `fallback` while the gate runs the mapping that was activated last, because its file could not be used when it
    /// started. It serves; the log and `gate_running` say why.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<&'static str>,
    /// Where audit rows are written to: `database`, `spool`, or `nowhere`.
    audit: &'static str,
    /// Why rows do not go to the database, in the same words.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_problem: Option<&'static str>,
    /// Spools of other gates that cannot be read, so that their rows wait. The gate serves all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable_spools: Vec<PathBuf>,
    /// Where drift and decisions go: `database`, or `memory` while the database does not take them.
    evidence: &'static str,
    /// How many of them were lost since the gate started.
    evidence_lost: u64,
}

/// Evidence older than this counts as waiting for the database.
const WAITS: Duration = Duration::from_secs(30);

/// 200 while the process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// An admin whom no Console has, in a form that an id of every type can have.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Why no decision can be made from the database, if so: the control row and one real read of access, of somebody who
/// does not exist. A role that lacks SELECT on one table answers the first, and would answer every request with 503.
async fn database_problem(state: &AdminState) -> Option<&'static str> {
    let nobody = Subject::Admin { id: AdminId::new(NOBODY), session: None };
    let read = async {
        state.store.control().await?;
        state.store.access(&nobody, state.gate.clock.now()).await
    };
    let error = read.await.err()?;
    tracing::debug!(%error, "access cannot be read: the gate is not ready");
    Some(error.kind())
}

/// 200 when requests are accepted, decided and forwarded; 503 otherwise.
pub async fn readyz(State(state): State<AdminState>) -> (StatusCode, Json<Readiness>) {
    let database_problem = database_problem(&state).await;
    let database = database_problem.is_none();
    let (listener, upstream, audit) =
        (state.listener.phase(), state.servers.console.state(), state.audit.state());
    // Clients refuse an expired certificate, as the gate does at its start.
    let expired = state.certificates.as_ref().is_some_and(|certificates| certificates.has_expired());
    // While the spool takes rows, denials go out; when it does not, each would be a 503.
    let ready = listener == Phase::Open
        && !expired
        && database
        && upstream == UpstreamState::Up
        && audit != AuditState::Nowhere;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let evidence: Vec<TallyProgress> = state.gate.evidence().map(|(_, progress)| progress).collect();
    let waits = evidence.iter().any(|progress| progress.behind > WAITS);
    let certificate = match (&state.certificates, expired) {
        (None, _) => "none",
        (Some(_), false) => "valid",
        (Some(_), true) => "expired",
    };
    let readiness = Readiness {
        ready,
        listener: listener.word(),
        certificate,
        database: if database { "up" } else { "down" },
        database_problem,
        upstream: upstream.word(),
        upstreams: state
            .servers
            .others
            .iter()
            .map(|(name, upstreams)| (name.clone(), upstreams.state().word()))
            .collect(),
        mapping: state.gate.mappings.is_fallback().then_some("fallback"),
        audit: audit.word(),
        evidence: if waits { "memory" } else { "database" },
        evidence_lost: evidence.iter().map(|progress| progress.lost).sum(),
        audit_problem: state.audit.problem(),
        unreadable_spools: state.audit.unreadable_spools(),
    };
    (status, Json(readiness))
}
