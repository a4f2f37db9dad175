//! The admin address: health, readiness, metrics, and the audit events that services report. Never to be reached from
//! outside.

pub mod health;
pub mod ingest;
pub mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::audit::AuditWriter;
use crate::store::SharedStore;
use crate::upstream::Upstreams;

/// What the endpoints look at.
#[derive(Clone)]
pub struct AdminState {
    pub store: SharedStore,
    pub upstreams: Arc<Upstreams>,
    pub audit: AuditWriter,
    pub ingest: Arc<ingest::Ingest>,
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// The endpoints.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/audit/events", post(ingest::post).layer(DefaultBodyLimit::max(ingest::MOST_BYTES)))
        .with_state(state)
}
