//! The admin address: health, readiness, metrics, the audit events that services report, and what programs may ask of the
//! gate. Never to be reached from outside.

pub mod authzen;
pub mod forward_auth;
pub mod freescout;
pub mod gate;
pub mod health;
pub mod ingest;
pub mod metrics;
pub mod problem;
pub mod service;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use store::SharedStore;

use crate::admin::authzen::{EvaluationIds, Names};
use crate::edge::listener::Listener;
use crate::edge::tls::CertificateHolder;
use crate::edge::upstream::Servers;
use crate::journal::AuditWriter;
use crate::ruling::Gate;
use crate::settings::Api;
use ledger::Notary;

/// What the endpoints need.
#[derive(Clone)]
pub struct AdminState {
    pub gate: Arc<Gate>,
    pub store: SharedStore,
    pub servers: Servers,
    pub audit: AuditWriter,
    pub ingest: Arc<ingest::Ingest>,
    /// Who may ask.
    pub callers: Arc<service::Services>,
    /// Who may report where Console's own checks disagree.
    pub drift_reporters: Arc<service::Services>,
    pub settings: Api,
    /// The names by which AuthZEN's callers ask.
    pub names: Arc<Names>,
    /// The ids of AuthZEN's evaluations, which requests for access name.
    pub evaluations: Arc<EvaluationIds>,
    pub notary: Notary,
    /// What takes FreeScout's webhooks; `None` where there is no secret for them.
    pub freescout: Option<Arc<freescout::Webhook>>,
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Whether the proxy accepts connections.
    pub listener: Listener,
    /// Where the gate ends TLS.
    pub certificates: Option<Arc<CertificateHolder>>,
}

/// The endpoints. Those that nobody may use are not there.
pub fn router(state: AdminState) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/errors", get(health::errors))
        .route("/metrics", get(metrics::metrics));
    if state.ingest.is_open() {
        let limit = DefaultBodyLimit::max(ingest::MOST_BYTES);
        router = router.route("/api/v1/audit/events", post(ingest::post).layer(limit));
    }
    if state.freescout.is_some() {
        let limit = DefaultBodyLimit::max(freescout::MOST_BYTES);
        router = router.route("/api/v1/freescout", post(freescout::post).layer(limit));
    }
    if !state.callers.is_empty() {
        router = router.merge(authzen::router()).merge(gate::router());
    }
    if !state.drift_reporters.is_empty() {
        router = router.merge(gate::reports());
    }
    if state.settings.forward_auth {
        router = router.route("/forward-auth", any(forward_auth::answer));
    }
    router.with_state(state)
}
