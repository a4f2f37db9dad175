//! `/api/gate/*`: what runs, what a change would do, what happened; as JSON, so that pages can be built on it.
//!
//! For the machine tokens of `[api] callers`: each handler takes an [`super::service::ApiCaller`]. Everything is read; the
//! gate is changed by its file and its commands alone. Only [`report`] takes something: what Console's side has seen.

mod diff;
mod drift;
mod explain;
mod history;
mod mapping;
mod refusals;
mod report;
mod soak;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::QueryRejection;
use axum::routing::{get, post};

use super::AdminState;
use super::problem::Problem;

/// The endpoints.
pub fn router() -> Router<AdminState> {
    Router::new()
        .route("/api/gate/mapping", get(mapping::get))
        .route("/api/gate/diff", post(diff::post).layer(DefaultBodyLimit::max(diff::MOST_BYTES)))
        .route("/api/gate/explain", get(explain::get))
        .route("/api/gate/drift", get(drift::get))
        .route("/api/gate/soak", get(soak::get))
        .route("/api/gate/history", get(history::get))
        .route("/api/gate/refusals", get(refusals::get))
}

/// Where Console's side reports. It is for the tokens of `[api] drift_reporters`.
pub fn reports() -> Router<AdminState> {
    let report = post(report::post).layer(DefaultBodyLimit::max(report::MOST_BYTES));
    Router::new().route("/api/gate/drift", report)
}

/// 400 for a parameter that is not one.
fn bad_query(rejection: &QueryRejection) -> Problem {
    Problem::bad_request(rejection.body_text())
}

/// 503, and a line in the log with the cause.
fn unavailable(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "an API request about the gate failed");
    Problem::unavailable("the database did not answer; try again")
}
