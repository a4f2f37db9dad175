//! `GET /api/gate/explain?method=GET&path=/console/audit&as=anna`: as `console-gate explain --format json` tells it, of the
//! mapping that runs here. Instead of `as`: `group` or `legacy_role`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::LegacyRole;
use policy::rbac::census::CallerKind;
use serde::Deserialize;
use workbench::explanation::{Asker, Explanation, Facts, explain};

use super::{bad_query, unavailable};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;
use crate::facts::registry::Registry;

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
    let moment = state.gate.moment().await.map_err(|error| unavailable(&error))?;
    let registry =
        Registry::read(&state.store, state.gate.clock.now()).await.map_err(|error| unavailable(&error))?;
    let access = match &asked.admin {
        Some(id) if id.contains('\0') => {
            return Err(Problem::bad_request("`as` must be an id without U+0000"));
        }
        Some(id) => {
            let subject = Subject::Admin { id: AdminId::new(id.as_str()), session: None };
            let access = state.gate.access.resolve(&subject, moment.control.epoch).await;
            Some(access.map_err(|error| unavailable(&error))?)
        }
        None => None,
    };
    let asker = match (&asked.admin, &access, &asked.group, &asked.legacy_role) {
        (None, _, None, None) => None,
        (Some(id), Some(access), None, None) => {
            let is_asked = |kind, of: &str| kind == CallerKind::Admin && of == id;
            let person = registry.people.iter().find(|person| is_asked(person.kind, &person.id));
            let break_glass = person.is_some_and(|person| person.break_glass);
            Some(Asker::Admin { id, access, break_glass, closest: None })
        }
        (None, _, Some(group), None) if registry.catalog.groups.contains(group.as_str()) => {
            Some(Asker::Group(group))
        }
        (None, _, Some(_), None) => return Err(Problem::bad_request("there is no such group")),
        (None, _, None, Some(role)) => {
            let roles = registry.legacy_roles(&[&moment.mapping]);
            let known = LegacyRole::parse(role).and_then(|role| roles.get(&role).copied());
            Some(Asker::LegacyRole(
                known.ok_or_else(|| Problem::bad_request("there is no such legacy role"))?,
            ))
        }
        _ => return Err(Problem::bad_request("give one of `as`, `group` and `legacy_role`")),
    };
    let facts = Facts {
        mapping: &moment.mapping,
        file: "the running mapping",
        policy: &state.gate.policy,
        control: &moment.control,
        catalog: &registry.catalog,
    };
    Ok(Json(explain(&asked.method, &asked.path, &facts, asker.as_ref())))
}
