//! `GET /api/gate/explain?method=GET&path=/console/audit&as=anna`: what `console-gate explain --format json` prints, of the
//! mapping that runs here. Instead of `as`: `group`, `legacy_role`, `machine` or `unauthenticated=true`.

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
use crate::facts::explanation::{CallerName, ExplainError, Explainer};

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
    /// The id of a machine's token.
    machine: Option<String>,
    #[serde(default)]
    unauthenticated: bool,
}

pub(super) async fn get(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Explanation>, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let legacy_role = match asked.legacy_role.as_deref().map(LegacyRole::parse) {
        Some(None) => return Err(Problem::bad_request("there is no such legacy role")),
        role => role.flatten(),
    };
    let callers = [
        asked.admin.map(CallerName::Admin),
        asked.group.map(CallerName::Group),
        legacy_role.map(CallerName::LegacyRole),
        asked.machine.map(CallerName::Machine),
        asked.unauthenticated.then_some(CallerName::Unauthenticated),
    ];
    let mut callers = callers.into_iter().flatten();
    let (caller, None) = (callers.next(), callers.next()) else {
        let detail = "give one of `as`, `group`, `legacy_role`, `machine` and `unauthenticated`";
        return Err(Problem::bad_request(detail));
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
