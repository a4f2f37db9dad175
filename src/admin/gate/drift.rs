//! `GET /api/gate/drift?cluster=S3&direction=would_newly_deny&all=true`: where the two gates disagreed in shadow mode,
//! as `console-gate drift --format json` reports it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use grants::registry::Registry;
use policy::decision::Direction;
use serde::{Deserialize, Serialize};
use workbench::drift::{Disagreement, Situation};
use workbench::soak::Overflow;

use super::{bad_query, unavailable};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;
use crate::facts;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DriftQuery {
    cluster: Option<String>,
    direction: Option<String>,
    /// Signed-off disagreements, too.
    #[serde(default)]
    all: bool,
}

/// The requested disagreements.
#[derive(Serialize)]
pub(super) struct Drift {
    disagreements: Vec<Disagreement>,
    overflow: Vec<Overflow>,
    /// Of those that were asked for: how many are signed off, listed or not.
    signed_off: usize,
    /// Of which times something is missing, a phrase each.
    evidence_lost: Vec<String>,
}

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<DriftQuery>, QueryRejection>,
) -> Result<Json<Drift>, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let direction = match &asked.direction {
        Some(word) => Some(Direction::parse(word).ok_or_else(|| {
            Problem::bad_request("`direction` must be would_newly_deny or would_newly_allow")
        })?),
        None => None,
    };
    let moment = state.gate.moment().await.map_err(|error| unavailable(&error))?;
    let now = state.gate.clock.now();
    let registry = Registry::read(&state.store, now).await.map_err(|error| unavailable(&error))?;
    let evidence_lost = facts::evidence_lost(&state.store, &moment.mapping, now, asked.cluster.as_deref())
        .await
        .map_err(|error| unavailable(&error))?;
    let situation = Situation::new(&moment.mapping, &registry.catalog, &registry.people);
    let report = facts::drift(&state.store, &situation).await.map_err(|error| unavailable(&error))?;
    let wanted = |cluster: &str, which: Direction| {
        asked.cluster.as_ref().is_none_or(|wanted| wanted == cluster)
            && direction.is_none_or(|wanted| wanted == which)
    };
    let mut disagreements = report.disagreements;
    disagreements.retain(|one| wanted(&one.cluster, one.key.direction));
    let signed_off = disagreements.iter().filter(|one| one.is_explained()).count();
    disagreements.retain(|one| asked.all || !one.is_explained());
    let mut overflow = report.overflow;
    overflow.retain(|one| wanted(&one.cluster, one.direction));
    Ok(Json(Drift { disagreements, overflow, signed_off, evidence_lost }))
}
