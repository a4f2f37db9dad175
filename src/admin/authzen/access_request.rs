//! The core of AuthZEN's Access Request and Approval Profile, a draft (`[api] access_requests`): a denial states that access can be
//! asked for, a service asks for the subject, and reads the status of the request. After an approval it evaluates again; no answer here is
//! access.
//!
//! Nothing is kept of an evaluation. Its id is a MAC over what was asked and until when that can be asked for, so any gate can
//! tell whether a request is of the evaluation that it names.
//!
//! Off by default: a caller that may only ask questions may with it ask for others' access.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use grants::requests::{self, NewRequest, RequestError, opening};
use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::decision::Reason;
use policy::span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use store::access_requests::{AccessRequest, RequestState};

use super::question::{Names, Parts, Question};
use super::{Body, parsed};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;
use crate::ruling::evaluation::Moment;
use crate::settings::secrets::NamedKey;

/// How long a denial can be answered with a request.
const ASKABLE: TimeDelta = TimeDelta::minutes(10);
const ERROR: &str = "urn:openid:authzen:access-request:error:";
/// What the metadata say of it.
pub(super) const CAPABILITY: &str = "urn:openid:authzen:capability:access-request";

/// Makes ids of evaluations, and checks them.
pub struct EvaluationIds(Vec<Hmac<Sha256>>);

impl EvaluationIds {
    /// With keys that are derived from `keys`; makes with the first, and accepts those of all.
    pub fn new(keys: &[NamedKey]) -> EvaluationIds {
        let derived = |key: &NamedKey| {
            let mut derived = Hmac::<Sha256>::new_from_slice(key.secret.expose()).ok()?;
            derived.update(b"console-gate evaluation id 1");
            Hmac::new_from_slice(&derived.finalize().into_bytes()).ok()
        };
        EvaluationIds(keys.iter().filter_map(derived).collect())
    }

    fn id(&self, asked: &str, until: DateTime<Utc>) -> Option<String> {
        let until = until.timestamp().to_be_bytes();
        let nonce = uuid::Uuid::new_v4();
        let head = [&until[..], nonce.as_bytes()].concat();
        let mut mac = self.0.first()?.clone();
        mac.update(&head);
        mac.update(asked.as_bytes());
        Some(URL_SAFE_NO_PAD.encode([&head[..], &mac.finalize().into_bytes()].concat()))
    }

    /// Until when the evaluation with this id can be answered with a request; `None` where it is not one of `asked`.
    fn until(&self, id: &str, asked: &str) -> Option<DateTime<Utc>> {
        let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
        let (head, tag) = bytes.split_at_checked(24)?;
        let is_own = self.0.iter().any(|key| {
            let mut mac = key.clone();
            mac.update(head);
            mac.update(asked.as_bytes());
            mac.verify_slice(tag).is_ok()
        });
        let seconds = head.first_chunk::<8>().copied().map(i64::from_be_bytes).filter(|_| is_own)?;
        DateTime::from_timestamp(seconds, 0)
    }
}

/// The hint in a denial that access can be requested.
#[derive(Debug, Serialize)]
pub(super) struct Requestable {
    /// The group that would be asked for.
    template: String,
    expires_at: DateTime<Utc>,
}

/// The members of a denial's context, where access can be asked for.
pub(super) struct Hint {
    pub(super) evaluation_id: String,
    pub(super) evaluated_at: DateTime<Utc>,
    pub(super) requestable: Requestable,
}

/// What can be asked for where `reason` is why the gate said no.
pub(super) async fn hint(
    state: &AdminState,
    moment: &Moment,
    parts: &Parts,
    reason: Option<&'static str>,
) -> Option<Hint> {
    let is_held = [Reason::MissingRole, Reason::MissingPermission].map(Reason::word);
    if !state.settings.access_requests || !reason.is_some_and(|reason| is_held.contains(&reason)) {
        return None;
    }
    let (_, group) = group_for(state, moment, parts, &state.names).await.ok().flatten()?;
    let now = state.gate.clock.now();
    let until = (now + ASKABLE).trunc_subsecs(0);
    let evaluation_id = state.evaluations.id(&parts.bound(), until)?;
    let requestable = Requestable { template: group, expires_at: until };
    Some(Hint { evaluation_id, evaluated_at: now, requestable })
}

/// The admin and the group that would permit the request; `None` where no such group can be asked for.
async fn group_for(
    state: &AdminState,
    moment: &Moment,
    parts: &Parts,
    names: &Names,
) -> Result<Option<(String, String)>, Problem> {
    let mapping = &moment.mapping;
    if mapping.approvals().is_empty() || !moment.control.rbac_v2 {
        return Ok(None);
    }
    let Ok(Question::Route { subject, asked }) = parts.question(names) else { return Ok(None) };
    let policy::identity::Subject::Admin { id, .. } = subject else { return Ok(None) };
    let Ok(request) = asked.request(&state.gate.policy) else { return Ok(None) };
    let Some(row) = mapping.find(request.target().path(), request.method()).row() else { return Ok(None) };
    let required: Vec<_> = row.kind.requirements().into_iter().cloned().collect();
    if required.is_empty() {
        return Ok(None);
    }
    let catalog = state.store.catalog().await.map_err(|error| unavailable(&error))?;
    let group = opening(mapping, &catalog, &required).into_iter().next();
    Ok(group.map(|group| (id.as_str().to_owned(), group.to_string())))
}

#[derive(Deserialize)]
struct Submission {
    #[serde(flatten)]
    parts: Parts,
    denial: Option<Denial>,
    #[serde(default)]
    requested_access: Option<RequestedAccess>,
    #[serde(default)]
    items: Option<Value>,
}

#[derive(Deserialize)]
struct Denial {
    #[serde(default)]
    evaluation_id: Option<String>,
}

#[derive(Deserialize)]
struct RequestedAccess {
    #[serde(default)]
    requested_until: Option<DateTime<Utc>>,
}

/// `POST /access/v1/requests`.
pub(super) async fn submit(
    State(state): State<AdminState>,
    ApiCaller(caller): ApiCaller,
    body: Body,
) -> Result<Response, Problem> {
    is_on(&state)?;
    let Submission { parts, denial, requested_access, items } = parsed(body)?;
    let unbound = |detail: &str| problem(StatusCode::BAD_REQUEST, "invalid_denial_binding", detail);
    if items.is_some() {
        return Err(Problem::bad_request("`items` is not supported: send one request for each"));
    }
    parts.question(&state.names).map_err(Problem::bad_request)?;
    let id = denial.and_then(|denial| denial.evaluation_id);
    let id = id.ok_or_else(|| unbound("`denial.evaluation_id` is missing"))?;
    let until = state.evaluations.until(&id, &parts.bound());
    let until = until.ok_or_else(|| unbound("`denial.evaluation_id` is not of this question"))?;
    let now = state.gate.clock.now();
    if until <= now {
        return Err(problem(StatusCode::GONE, "expired_denial", "evaluate again, and ask then"));
    }
    let moment = state.gate.moment().await.map_err(|error| unavailable(&error))?;
    let not_requestable =
        || problem(StatusCode::BAD_REQUEST, "not_requestable", "no group that can be asked for opens this");
    let (admin, group) =
        group_for(&state, &moment, &parts, &state.names).await?.ok_or_else(not_requestable)?;
    let rule = moment.mapping.approval(&group).ok_or_else(not_requestable)?;
    let wanted = requested_access.and_then(|wanted| wanted.requested_until);
    // From the approval on, so it may end later than what was asked for by as much as that takes.
    let span = wanted.map_or(rule.longest, |until| until - now).min(rule.longest);
    if span < TimeDelta::minutes(1) {
        return Err(Problem::bad_request("`requested_access.requested_until` is not in the future"));
    }
    let wanted = NewRequest {
        admin,
        requested_by: caller.clone(),
        group,
        span,
        reason: parts.justification().unwrap_or_else(|| format!("asked for by {caller}")),
        ticket: None,
        route: None,
        extends: None,
    };
    let (store, notary) = (&state.store, &state.notary);
    let request = match requests::ask(store, notary, &moment.mapping, wanted, now).await {
        Ok(request) => request,
        // A repeat of the same, as its own Idempotency-Key would say.
        Err(RequestError::Pending { id, .. }) => task(&state, &caller, &id).await?,
        Err(RequestError::People(grants::PeopleError::Store(error))) => {
            return Err(unavailable(&error));
        }
        Err(RequestError::TooMany) => return Err(Problem::too_many_pending()),
        Err(error) => return Err(Problem::bad_request(error.to_string())),
    };
    let shown = shown(&state, &request, now);
    let mut response = (StatusCode::ACCEPTED, Json(shown.clone())).into_response();
    let place = shown["task"]["status_endpoint"].as_str().and_then(|place| HeaderValue::from_str(place).ok());
    if let Some(place) = place {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// `GET /access/v1/requests/{id}`.
pub(super) async fn status(
    State(state): State<AdminState>,
    ApiCaller(caller): ApiCaller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    is_on(&state)?;
    let request = task(&state, &caller, &id).await?;
    Ok(Json(shown(&state, &request, state.gate.clock.now())))
}

/// A request that this service has made.
async fn task(state: &AdminState, caller: &str, id: &str) -> Result<AccessRequest, Problem> {
    let unknown = || problem(StatusCode::NOT_FOUND, "unknown_task", "there is no such task of yours");
    let id = uuid::Uuid::try_parse(id).map_err(|_| unknown())?.to_string();
    let request = state.store.access_request(&id).await.map_err(|error| unavailable(&error))?;
    request.filter(|request| request.edit.is_none() && request.requested_by == caller).ok_or_else(unknown)
}

fn shown(state: &AdminState, request: &AccessRequest, now: DateTime<Utc>) -> Value {
    let status = match request.state {
        RequestState::Pending if request.closes_at <= now => "expired",
        RequestState::Pending => "pending",
        RequestState::Approved => "approved",
        RequestState::Denied => "denied",
        RequestState::Withdrawn => "cancelled",
    };
    let base = state.settings.public_url.as_deref().unwrap_or_default();
    let lasts = span::in_words(TimeDelta::minutes(request.minutes));
    let mut shown = json!({ "task": {
        "id": request.id,
        "status": status,
        "status_endpoint": format!("{base}/access/v1/requests/{}", request.id),
        "expires_at": request.closes_at,
        "display": { "title": format!("Membership of {} for {lasts}", request.group) },
    }});
    if let (RequestState::Approved, Some(at)) = (request.state, request.closed_at) {
        let until = at + TimeDelta::minutes(request.minutes);
        shown["result"] = json!({
            "mode": "reevaluate",
            "approval": { "id": request.grant, "approved_at": at, "approved_until": until },
        });
    }
    shown
}

fn is_on(state: &AdminState) -> Result<(), Problem> {
    match state.settings.access_requests {
        true => Ok(()),
        false => Err(Problem::new(StatusCode::NOT_FOUND, "Not Found", "`[api] access_requests` is off")),
    }
}

fn problem(status: StatusCode, word: &str, detail: &str) -> Problem {
    let title = status.canonical_reason().unwrap_or("Error");
    Problem::new(status, title, detail).of_type(format!("{ERROR}{word}"))
}

fn unavailable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request for access could not be handled");
    Problem::unavailable("the gate cannot take requests right now; try again")
}

impl Parts {
    /// What an evaluation is of: what the gate's answer depends on, and nothing else of the context.
    fn bound(&self) -> String {
        let whole = json!(self);
        let context = |name: &str| whole["context"][name].clone();
        let parts = ["subject", "action", "resource"].map(|name| whole[name].clone());
        json!([parts, context("body"), context("form")]).to_string()
    }

    /// Why access is wanted.
    fn justification(&self) -> Option<String> {
        let whole = json!(self);
        let context: &Map<String, Value> = whole["context"].as_object()?;
        let text = context.get("business_justification").or(context.get("reason"))?.as_str()?;
        let is_sound = !text.trim().is_empty() && !text.contains('\0');
        is_sound.then(|| text.chars().take(2_000).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::secrets::Secret;

    #[test]
    fn an_id_is_of_one_question_and_of_the_gates_own() {
        let ids = |byte: u8| {
            EvaluationIds::new(&[NamedKey { id: "k".into(), secret: Secret::new(vec![byte; 32]) }])
        };
        let until = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let id = ids(1).id("anna GET /audit", until).unwrap();
        assert_eq!(ids(1).until(&id, "anna GET /audit"), Some(until));
        assert_eq!(ids(1).until(&id, "anna GET /secrets"), None);
        assert_eq!(ids(2).until(&id, "anna GET /audit"), None);
        let mut later = URL_SAFE_NO_PAD.decode(&id).unwrap();
        later[7] ^= 1;
        for forged in [URL_SAFE_NO_PAD.encode(later), String::new(), "AAAA".to_owned(), "*".to_owned()] {
            assert_eq!(ids(1).until(&forged, "anna GET /audit"), None, "{forged}");
        }
    }
}
