//! `GET /api/gate/history?limit=20`: activated and refused mappings, the latest first.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::{bad_query, unavailable};
use crate::api::AdminState;
use crate::api::problem::Problem;
use crate::api::service::ApiCaller;
use crate::store::mappings::StoredActivation;

/// The most rows of one answer.
const MOST: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default = "usual")]
    limit: u32,
}

fn usual() -> u32 {
    20
}

#[derive(Serialize)]
pub(super) struct History {
    activations: Vec<StoredActivation>,
}

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let activations = state.store.activations(asked.limit.min(MOST)).await;
    Ok(Json(History { activations: activations.map_err(|error| unavailable(&error))? }))
}
