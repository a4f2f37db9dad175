//! `GET /.well-known/authzen-configuration`: where the endpoints are. It says nothing else, and asks nobody who they are.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use crate::admin::AdminState;
use crate::admin::problem::Problem;

/// The metadata of the policy decision point (Authorization API 1.0, "Policy Decision Point Metadata").
#[derive(Serialize)]
pub(super) struct Configuration {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
}

/// The metadata, under the address that the settings state, or else the one that was asked.
pub(super) async fn get(
    State(state): State<AdminState>,
    headers: HeaderMap,
) -> Result<Json<Configuration>, Problem> {
    let base = match &state.settings.public_url {
        Some(url) => url.clone(),
        None => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            format!("http://{}", host.ok_or_else(|| Problem::bad_request("the Host header is missing"))?)
        }
    };
    Ok(Json(Configuration {
        access_evaluation_endpoint: format!("{base}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{base}/access/v1/evaluations"),
        policy_decision_point: base,
    }))
}
