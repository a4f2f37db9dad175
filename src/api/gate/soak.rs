//! `GET /api/gate/soak`: the state of every cluster's soak gate, as `console-gate soak --format json` tells it.

use axum::Json;
use axum::extract::State;

use super::unavailable;
use crate::api::AdminState;
use crate::api::problem::Problem;
use crate::api::service::ApiCaller;
use crate::soak::ClusterState;
use crate::workbench;

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
) -> Result<Json<Vec<ClusterState>>, Problem> {
    let moment = state.gate.moment().await.map_err(|error| unavailable(&error))?;
    let states = workbench::soak(&state.store, &moment.mapping, state.gate.clock.now()).await;
    Ok(Json(states.map_err(|error| unavailable(&error))?))
}
