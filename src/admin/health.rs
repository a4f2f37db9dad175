//! `/healthz`: the process runs. `/readyz`: it accepts connections, can decide and can forward. `/errors`: what it logged
//! as errors last.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use policy::identity::Subject;
use policy::ids::AdminId;
use serde::Serialize;
use store::console::mirror::Delivered;

use super::AdminState;
use crate::edge::listener::Phase;
use crate::edge::upstream::UpstreamState;
use crate::journal::tally::TallyProgress;
use crate::journal::writer::AuditState;
use crate::logged::{self, LoggedError};

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
    /// Why the database does not answer: `unavailable`, `privilege`, `schema`, ... The log has the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_problem: Option<&'static str>,
    /// Whether an address of Console's answered its last check: `up`, `down`, or `unresolved`.
    upstream: &'static str,
    /// The same of each server beside Console. The gate is ready without them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    upstreams: BTreeMap<String, &'static str>,
    /// While the mapping that should run does not: `refused`, `missing`, ... as in [`MappingProblem`]. The gate serves with
    /// the one that was activated last.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<&'static str>,
    /// The first mistakes in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping_problem: Option<String>,
    /// Where audit rows are written to: `database`, `spool`, or `nowhere`.
    audit: &'static str,
    /// Why rows do not go to the database, in the same words.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_problem: Option<&'static str>,
    /// Spools of other gates that cannot be read, so that their rows wait. The gate serves all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable_spools: Vec<PathBuf>,
    /// Console's own audit table, where denials are mirrored there.
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<MirrorReadiness>,
    /// Where drift and decisions go: `database`, or `memory` while the database does not take them.
    evidence: &'static str,
    /// How many of them were lost since the gate started.
    evidence_lost: u64,
}

/// Rows for Console's own audit table that are not in it. The gate serves all the same.
#[derive(Debug, Serialize)]
pub struct MirrorReadiness {
    /// Rows that are tried again every second.
    waiting: u64,
    /// Rows that the table refused for what they say. They are set aside until the gate starts again.
    refused: u64,
    /// Why, of one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<Delivered> for MirrorReadiness {
    fn from(delivered: Delivered) -> Self {
        let problem = delivered.problem.or(delivered.refusal);
        MirrorReadiness { waiting: delivered.waiting, refused: delivered.refused, problem }
    }
}

/// Evidence older than this counts as waiting for the database.
const WAITS: Duration = Duration::from_secs(30);

/// 200 while the process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The last different errors of the gate's log, the newest first.
pub async fn errors() -> Json<Vec<LoggedError>> {
    Json(logged::recent())
}

/// The id of an admin that exists in no Console, in a form that fits every type of id.
const NO_ADMIN: &str = "00000000-0000-0000-0000-000000000000";

/// Why no decision can be made from the database, if so: the control row and one real read of access, of an admin who
/// does not exist. A role that lacks SELECT on one table answers the first, and would answer every request with 503.
async fn database_problem(state: &AdminState) -> Option<&'static str> {
    let absent = Subject::Admin { id: AdminId::new(NO_ADMIN), session: None };
    let read = async {
        state.store.control().await?;
        state.store.access(&absent, state.gate.clock.now()).await
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
    let (mapping, mapping_problem) = match state.gate.mappings.problem() {
        None => (None, None),
        Some(problem) => (Some(problem.kind.word()), Some(problem.why.clone())),
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
        mapping,
        mapping_problem,
        audit: audit.word(),
        evidence: if waits { "memory" } else { "database" },
        evidence_lost: evidence.iter().map(|progress| progress.lost).sum(),
        audit_problem: state.audit.problem(),
        unreadable_spools: state.audit.unreadable_spools(),
        mirror: state.store.mirror_delivered().map(MirrorReadiness::from),
    };
    (status, Json(readiness))
}
