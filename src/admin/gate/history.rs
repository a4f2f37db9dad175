//! `GET /api/gate/history?limit=20`: activated and refused mappings, the latest first; the rollback in force, and what
//! every gate on the database runs.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::{bad_query, unavailable};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;
use crate::facts::{self, History};

/// The most rows of one answer.
const MOST: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    #[serde(default = "usual")]
    limit: u32,
}

fn usual() -> u32 {
    20
}

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let history = facts::history(&state.store, asked.limit.min(MOST)).await;
    Ok(Json(history.map_err(|error| unavailable(&error))?))
}
