//! `GET /api/gate/explain?method=GET&path=/console/audit&as=anna`: what `console-gate explain --format json` prints, of the
//! mapping that runs here. Instead of `as`: `group` or `legacy_role`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use policy::rbac::LegacyRole;
use serde::Deserialize;
use workbench::explanation::Explanation;

use super::{bad_query, unavailable};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;
use crate::facts::explanation::{ExplainError, Explainer, Whom};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    method: String,
    /// As a client would send it.
    path: String,
    #[serde(rename = "as")]
    admin: Option<String>,
    group: Option<String>,
    legacy_role: Option<String>,
}

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Explanation>, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let caller = match (asked.admin, asked.group, asked.legacy_role) {
        (None, None, None) => None,
        (Some(id), None, None) => Some(Whom::Admin(id)),
        (None, Some(group), None) => Some(Whom::Group(group)),
        (None, None, Some(role)) => {
            let role = LegacyRole::parse(&role);
            Some(Whom::LegacyRole(role.ok_or_else(|| Problem::bad_request("there is no such legacy role"))?))
        }
        _ => return Err(Problem::bad_request("give one of `as`, `group` and `legacy_role`")),
    };
    let gate = &state.gate;
    let mapping = gate.mappings.running();
    let explainer = Explainer::read(&gate.access, &state.store, &mapping, gate.clock.now(), caller).await;
    let explainer = explainer.map_err(|error| match error {
        ExplainError::Unknown(_) | ExplainError::NotAnId => Problem::bad_request(error.to_string()),
        _ => unavailable(&error),
    })?;
    let explanation =
        explainer.explain(&mapping, "the running mapping", &gate.policy, &asked.method, &asked.path);
    Ok(Json(explanation))
}
