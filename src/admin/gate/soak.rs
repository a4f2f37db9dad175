//! `GET /api/gate/soak`: the state of every cluster's soak gate, as `console-gate soak --format json` reports it.

use axum::Json;
use axum::extract::State;
use workbench::soak::ClusterState;

use super::unavailable;
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;
use crate::facts;

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
) -> Result<Json<Vec<ClusterState>>, Problem> {
    let moment = state.gate.moment().await.map_err(|error| unavailable(&error))?;
    let states = facts::soak(&state.store, &moment.mapping, state.gate.clock.now()).await;
    Ok(Json(states.map_err(|error| unavailable(&error))?))
}
