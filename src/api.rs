//! The admin address: health, readiness, metrics. Never to be reached from outside.

pub mod health;
pub mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::store::SharedStore;
use crate::upstream::Upstreams;

/// What the endpoints look at.
#[derive(Clone)]
pub struct AdminState {
    pub store: SharedStore,
    pub upstreams: Arc<Upstreams>,
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// The endpoints.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(state)
}
