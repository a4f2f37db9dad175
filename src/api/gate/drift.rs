//! `GET /api/gate/drift?cluster=S3&direction=would_newly_deny&limit=1000`: where the two gates disagreed in shadow mode, the
//! latest first.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::{bad_query, unavailable};
use crate::api::AdminState;
use crate::api::problem::Problem;
use crate::api::service::ApiCaller;
use crate::decision::Direction;
use crate::store::drift::StoredDrift;

/// The most rows of one answer.
const MOST: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    cluster: Option<String>,
    direction: Option<Which>,
    #[serde(default = "usual")]
    limit: usize,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    WouldNewlyDeny,
    WouldNewlyAllow,
}

impl Which {
    fn word(self) -> &'static str {
        match self {
            Which::WouldNewlyDeny => Direction::WouldNewlyDeny.word(),
            Which::WouldNewlyAllow => Direction::WouldNewlyAllow.word(),
        }
    }
}

fn usual() -> usize {
    1_000
}

/// The disagreements, and how many there are of what was asked for.
#[derive(Serialize)]
pub(super) struct Drift {
    summary: Summary,
    drift: Vec<StoredDrift>,
}

#[derive(Serialize)]
struct Summary {
    would_newly_deny: usize,
    would_newly_allow: usize,
    callers: usize,
    requests: i64,
}

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Drift>, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let mut drift = state.store.drift().await.map_err(|error| unavailable(&error))?;
    drift.retain(|row| {
        asked.cluster.as_ref().is_none_or(|cluster| row.cluster.as_ref() == Some(cluster))
            && asked.direction.is_none_or(|direction| row.direction == direction.word())
    });
    let summary = summary(&drift);
    drift.truncate(asked.limit.min(MOST));
    Ok(Json(Drift { summary, drift }))
}

fn summary(drift: &[StoredDrift]) -> Summary {
    let count = |direction: Direction| drift.iter().filter(|row| row.direction == direction.word()).count();
    let callers: BTreeSet<_> = drift.iter().map(|row| (&row.actor_kind, &row.actor_id)).collect();
    Summary {
        would_newly_deny: count(Direction::WouldNewlyDeny),
        would_newly_allow: count(Direction::WouldNewlyAllow),
        callers: callers.len(),
        requests: drift.iter().map(|row| row.count).sum(),
    }
}
