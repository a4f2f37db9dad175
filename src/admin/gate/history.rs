//! `GET /api/gate/history?limit=20`: activated and refused mappings, the latest first; the rollback in force, and what
//! every gate on the database runs.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use policy::ids::MappingSha256;
use serde::{Deserialize, Serialize};
use store::mappings::StoredActivation;
use store::running::RunningGate;
use store::{SharedStore, StoreError};

use super::{bad_query, unavailable};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;

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

#[derive(Serialize)]
pub(super) struct History {
    activations: Vec<StoredActivation>,
    /// The mapping that was rolled back to, unless it was released since.
    rollback: Option<Rollback>,
    gates: Vec<GateState>,
}

#[derive(Serialize)]
struct Rollback {
    sha256: String,
    by: String,
    at_utc: DateTime<Utc>,
}

#[derive(Serialize)]
struct GateState {
    gate: String,
    mapping_sha256: String,
    /// `null`: it cannot be read.
    file_sha256: Option<String>,
    /// Whether the rollback rules there, and not the file.
    rolled_back: bool,
    /// Why what should run does not.
    problem: Option<String>,
}

impl From<RunningGate> for GateState {
    fn from(RunningGate { name, runs, .. }: RunningGate) -> Self {
        GateState {
            gate: name,
            mapping_sha256: runs.mapping.as_str().to_owned(),
            file_sha256: runs.file.map(|file| file.as_str().to_owned()),
            rolled_back: runs.is_held,
            problem: runs.problem,
        }
    }
}

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let history = read(&state.store, asked.limit.min(MOST)).await;
    Ok(Json(history.map_err(|error| unavailable(&error))?))
}

async fn read(store: &SharedStore, limit: u32) -> Result<History, StoreError> {
    let pin = store.pin().await?;
    let rolled_back =
        |sha256: MappingSha256| Rollback { sha256: sha256.as_str().to_owned(), by: pin.by, at_utc: pin.at };
    Ok(History {
        activations: store.activations(limit).await?,
        rollback: pin.sha256.map(rolled_back),
        gates: store.running_gates().await?.into_iter().map(GateState::from).collect(),
    })
}
