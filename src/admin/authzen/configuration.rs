//! `GET /.well-known/authzen-configuration`: where the endpoints are. It reveals nothing else, and needs no authentication.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use super::access_request::CAPABILITY;
use crate::admin::AdminState;
use crate::admin::problem::Problem;

/// The metadata of the policy decision point (Authorization API 1.0, "Policy Decision Point Metadata").
#[derive(Serialize)]
pub(super) struct Configuration {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_resource_endpoint: String,
    search_action_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_request_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<&'static str>,
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
    let asks = state.settings.access_requests;
    Ok(Json(Configuration {
        access_request_endpoint: asks.then(|| format!("{base}/access/v1/requests")),
        capabilities: if asks { vec![CAPABILITY] } else { Vec::new() },
        access_evaluation_endpoint: format!("{base}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{base}/access/v1/evaluations"),
        search_subject_endpoint: format!("{base}/access/v1/search/subject"),
        search_resource_endpoint: format!("{base}/access/v1/search/resource"),
        search_action_endpoint: format!("{base}/access/v1/search/action"),
        policy_decision_point: base,
    }))
}
