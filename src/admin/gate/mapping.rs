//! `GET /api/gate/mapping`: the running mapping, row by row, and the switches above it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use policy::mapping::effective::EffectiveRow;
use policy::mapping::{Mapping, RowKind, Unmapped, V2Gate};
use serde::Serialize;

use super::unavailable;
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;

/// The mapping as it decides.
#[derive(Serialize)]
struct Running<'m> {
    sha256: &'m str,
    /// What becomes of a path without a row: `deny` or `forward`.
    unmapped: &'static str,
    /// Paths without a row that are answered 404.
    quiet: &'m BTreeSet<String>,
    /// `FLAG_RBAC_V2` as it is now; off, every row is on its legacy gate.
    rbac_v2: bool,
    /// Whether V2 may be enforced here (RBAC V2 design, I-11).
    may_enforce: bool,
    clusters: Vec<ClusterState<'m>>,
    rows: Vec<EffectiveRow<'m>>,
}

#[derive(Serialize)]
struct ClusterState<'m> {
    name: &'m str,
    mode: &'static str,
    /// The mode with its cohort, in words.
    rollout: String,
    rows: usize,
    /// Rows whose V2 role no operator has decided: they stay on their legacy gate.
    undecided: usize,
}

pub(super) async fn get(State(state): State<AdminState>, _caller: ApiCaller) -> Result<Response, Problem> {
    let moment = state.gate.moment().await.map_err(|error| unavailable(&error))?;
    let mapping: &Mapping = &moment.mapping;
    let running = Running {
        sha256: mapping.sha256().as_str(),
        unmapped: match mapping.unmapped() {
            Unmapped::Deny => "deny",
            Unmapped::Forward => "forward",
            Unmapped::Quiet => "quiet",
        },
        quiet: mapping.quiet(),
        rbac_v2: moment.control.rbac_v2,
        may_enforce: moment.control.may_enforce,
        clusters: mapping.clusters().keys().map(|name| cluster(mapping, name)).collect(),
        rows: mapping.effective(),
    };
    Ok((StatusCode::OK, Json(running)).into_response())
}

fn cluster<'m>(mapping: &'m Mapping, name: &'m Arc<str>) -> ClusterState<'m> {
    let rows = || mapping.rows().iter().filter(|row| row.cluster.as_ref() == Some(name));
    let is_undecided = |kind: &RowKind| matches!(kind, RowKind::Gated { v2: V2Gate::Undecided { .. }, .. });
    let rollout = &mapping.clusters()[name];
    ClusterState {
        name,
        mode: rollout.mode.as_str(),
        rollout: rollout.to_string(),
        rows: rows().count(),
        undecided: rows().filter(|row| is_undecided(&row.kind)).count(),
    }
}
