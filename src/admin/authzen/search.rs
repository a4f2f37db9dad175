//! Searches (Authorization API 1.0, section 8): the subjects, resources or actions that would be permitted.
//!
//! Each candidate is asked about as an evaluation asks, so that a search never reveals more than the evaluation of its results.
//! Candidates are looked at in the order of their names, a page at a time; a page ends early where there are very many, and
//! its `next_token` goes on from there.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grants::registry::Registry;
use policy::method::Method;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::CallerKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::question::{Kind, Names, Parts};
use super::{Body, answered, in_time, parsed};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;

/// Results of a page, where the caller does not say how many, and the most.
const USUAL_PAGE: usize = 100;
const MOST_PAGE: usize = 1_000;
/// Candidates that are looked at for a page, and how many of them are paid for as one question.
const MOST_LOOKED_AT: usize = 5_000;
const PER_QUESTION: usize = 50;

/// The part of a question that is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sought {
    Subject,
    Resource,
    Action,
}

/// `POST /access/v1/search/subject`.
pub(super) async fn subject(
    State(state): State<AdminState>,
    caller: ApiCaller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    search(&state, caller, body, Sought::Subject).await
}

/// `POST /access/v1/search/resource`.
pub(super) async fn resource(
    State(state): State<AdminState>,
    caller: ApiCaller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    search(&state, caller, body, Sought::Resource).await
}

/// `POST /access/v1/search/action`.
pub(super) async fn action(
    State(state): State<AdminState>,
    caller: ApiCaller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    search(&state, caller, body, Sought::Action).await
}

#[derive(Deserialize)]
struct Query {
    #[serde(flatten)]
    parts: Parts,
    #[serde(default)]
    page: Option<PageQuery>,
}

#[derive(Default, Deserialize)]
struct PageQuery {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

/// Where a search goes on: behind a candidate, in the same search with the same limit. It opens nothing, so it is not signed.
#[derive(Serialize, Deserialize)]
struct Place {
    after: String,
    limit: usize,
    /// A hash of the question.
    search: String,
}

impl Place {
    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Where the search goes on, or begins.
    fn of(page: Option<PageQuery>, search: String) -> Result<Place, Problem> {
        let PageQuery { token, limit } = page.unwrap_or_default();
        let wanted = limit.map(|limit| limit.min(MOST_PAGE));
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(Place { after: String::new(), limit: wanted.unwrap_or(USUAL_PAGE), search });
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let place: Option<Place> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        place
            .filter(|place| place.search == search && wanted.is_none_or(|limit| limit == place.limit))
            .filter(|place| place.limit <= MOST_PAGE)
            .ok_or_else(|| {
                Problem::bad_request("`page.token` is of another search: repeat that one without changes")
            })
    }
}

async fn search(
    state: &AdminState,
    ApiCaller(caller): ApiCaller,
    body: Body,
    sought: Sought,
) -> Result<Json<Value>, Problem> {
    let Query { parts, page } = parsed(body)?;
    let names = &state.names;
    let parts = without_id(parts, sought);
    parts.check(sought != Sought::Action, sought == Sought::Subject, sought == Sought::Resource)?;
    let digest = Sha256::digest(format!("{sought:?}{}", json!(parts)));
    let mut place = Place::of(page, URL_SAFE_NO_PAD.encode(&digest[..16]))?;
    let candidates = candidates(state, &parts, names, sought).await?;
    let ahead: Vec<&String> = candidates.iter().filter(|one| **one > place.after).collect();
    // The first one is paid for.
    state.callers.spend(&caller, ahead.len().min(MOST_LOOKED_AT) / PER_QUESTION)?;
    // A page that is not full after half of the time goes on with the next.
    let limit: Duration = state.gate.options.decision_time;
    let until = Instant::now() + limit / 2;
    let asked = async {
        let moment = state.gate.moment().await?;
        let (mut results, mut has_more) = (Vec::new(), false);
        for (looked_at, candidate) in ahead.iter().enumerate() {
            if looked_at == MOST_LOOKED_AT || (looked_at > 0 && Instant::now() >= until) {
                has_more = true;
                break;
            }
            let (one, result) = found(&parts, sought, candidate);
            if let Ok(question) = one.question(names)
                && answered(&state.gate, &moment, &question).await?.decision
            {
                if results.len() == place.limit {
                    has_more = true;
                    break;
                }
                results.push(result);
            }
            place.after.clone_from(candidate);
        }
        Ok((results, has_more))
    };
    let (results, has_more) = in_time(&state.gate, asked).await?;
    let next = if has_more { place.token() } else { String::new() };
    Ok(Json(json!({ "page": { "next_token": next, "count": results.len() }, "results": results })))
}

/// The question without the id of the sought part, which has no meaning.
fn without_id(mut parts: Parts, sought: Sought) -> Parts {
    match sought {
        Sought::Subject => parts.set_subject(None),
        Sought::Resource => parts.set_resource(None),
        Sought::Action => parts.set_action(None),
    }
    parts
}

/// The question about one candidate, and the result that it is if the answer is yes.
fn found(parts: &Parts, sought: Sought, candidate: &str) -> (Parts, Value) {
    let mut one = parts.clone();
    let result = match sought {
        Sought::Subject => {
            one.set_subject(Some(candidate));
            json!({ "type": parts.subject_type(), "id": candidate })
        }
        Sought::Resource => {
            one.set_resource(Some(candidate));
            json!({ "type": parts.resource_type(), "id": candidate })
        }
        Sought::Action => {
            one.set_action(Some(candidate));
            json!({ "name": candidate })
        }
    };
    (one, result)
}

/// Everything that a result could be, in order.
async fn candidates(
    state: &AdminState,
    parts: &Parts,
    names: &Names,
    sought: Sought,
) -> Result<BTreeSet<String>, Problem> {
    let away = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a search failed");
        Problem::unavailable("the gate cannot check access right now")
    };
    let kind = names.resource(parts.resource_type());
    Ok(match sought {
        Sought::Subject => {
            let Some(kind) = names.subject(parts.subject_type()) else { return Ok(BTreeSet::new()) };
            let registry = Registry::read(&state.store, state.gate.clock.now()).await;
            let people = registry.map_err(|error| away(&error))?.people;
            let is_admin = kind == "admin";
            let of_kind = people.iter().filter(|one| (one.kind == CallerKind::Admin) == is_admin);
            of_kind.map(|person| person.id.to_string()).collect()
        }
        Sought::Resource => match kind {
            None => BTreeSet::new(),
            Some(Kind::Role | Kind::Permission) => {
                let Catalog { roles, permissions, .. } =
                    state.store.catalog().await.map_err(|error| away(&error))?;
                let named = if matches!(kind, Some(Kind::Role)) { roles } else { permissions };
                named.iter().map(ToString::to_string).collect()
            }
            // The paths of a row with variables are not known.
            Some(Kind::Route) => literal_paths(state).collect(),
            Some(Kind::Named(resource)) => {
                literal_paths(state).filter_map(|path| resource.id_of(&path)).collect()
            }
        },
        Sought::Action => match kind {
            None => BTreeSet::new(),
            Some(Kind::Role | Kind::Permission) => ["hold".to_owned()].into(),
            Some(Kind::Route) => Method::ALL.into_iter().map(|method| method.as_str().to_owned()).collect(),
            Some(Kind::Named(resource)) => resource.actions.keys().cloned().collect(),
        },
    })
}

/// The paths of rows without variables.
fn literal_paths(state: &AdminState) -> impl Iterator<Item = String> {
    let mapping = state.gate.mappings.running();
    let paths = mapping.rows().iter().filter_map(|row| {
        let (_, path) = row.route.split_once(' ')?;
        (!path.contains(['<', '*'])).then(|| path.to_owned())
    });
    paths.collect::<Vec<String>>().into_iter()
}
