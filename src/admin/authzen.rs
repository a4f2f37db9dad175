//! OpenID AuthZEN Authorization API 1.0: other services ask the question that the gate asks.
//!
//! - `POST /access/v1/evaluation`: one question, `{"decision": true|false, "context": {...}}`.
//! - `POST /access/v1/evaluations`: at most [`MOST_QUESTIONS`] of them, which share the parts that they do not name.
//! - `POST /access/v1/search/subject`, `/resource`, `/action`: the subjects, resources or actions that would be permitted.
//! - `POST /access/v1/requests`, `GET /access/v1/requests/{id}`: requests for access, a draft ([`access_request`]).
//! - `GET /.well-known/authzen-configuration`: where those are.
//!
//! What can be asked is in [`question`]. The answers are those of [`crate::ruling::evaluation`]: as of a read that began after
//! the question arrived. Where that is not possible the answer is 503, never `true`.

mod access_request;
mod answer;
mod configuration;
mod question;
mod search;

use std::convert::Infallible;

use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use metrics::counter;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::AdminState;
use super::problem::Problem;
use super::service::ApiCaller;
use crate::freshness::AccessError;
use crate::ruling::Gate;
use crate::ruling::evaluation::Moment;
pub use access_request::EvaluationIds;
use answer::Decision;
pub use question::Names;
use question::{Parts, Question};

/// The most questions in one request.
const MOST_QUESTIONS: usize = 100;
/// The most bytes of one request.
const MOST_BYTES: usize = 256 * 1024;

/// The endpoints.
pub fn router() -> Router<AdminState> {
    Router::new()
        .route("/access/v1/evaluation", post(evaluation))
        .route("/access/v1/evaluations", post(evaluations))
        .route("/access/v1/requests", post(access_request::submit))
        .route("/access/v1/requests/{id}", get(access_request::status))
        .route("/access/v1/search/subject", post(search::subject))
        .route("/access/v1/search/resource", post(search::resource))
        .route("/access/v1/search/action", post(search::action))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .route("/.well-known/authzen-configuration", get(configuration::get))
        .layer(from_fn(with_request_id))
}

async fn evaluation(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    body: Body,
) -> Result<Json<Decision>, Problem> {
    let parts: Parts = parsed(body)?;
    let question = parts.question(&state.names).map_err(Problem::bad_request)?;
    Ok(Json(answered_with_hint(&state, &parts, &question).await?))
}

/// The answer to one question, with what can be asked for where it is no.
async fn answered_with_hint(
    state: &AdminState,
    parts: &Parts,
    question: &Question,
) -> Result<Decision, Problem> {
    let asked = async {
        let moment = state.gate.moment().await?;
        let decision = answered(&state.gate, &moment, question).await?;
        let hint = access_request::hint(state, &moment, parts, decision.denied_for()).await;
        Ok(decision.with_hint(hint))
    };
    in_time(&state.gate, asked).await
}

/// Several questions, or one in the form of several.
#[derive(Deserialize)]
struct Batch {
    #[serde(flatten)]
    defaults: Parts,
    #[serde(default)]
    evaluations: Vec<Value>,
    #[serde(default)]
    options: Options,
}

#[derive(Default, Deserialize)]
struct Options {
    #[serde(default)]
    evaluations_semantic: Semantic,
}

/// How many of the questions are answered.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    /// Whether this answer is the last one.
    fn ends_with(self, decision: bool) -> bool {
        match self {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !decision,
            Semantic::PermitOnFirstPermit => decision,
        }
    }
}

async fn evaluations(
    State(state): State<AdminState>,
    ApiCaller(caller): ApiCaller,
    body: Body,
) -> Result<Response, Problem> {
    let batch: Batch = parsed(body)?;
    if batch.evaluations.len() > MOST_QUESTIONS {
        return Err(too_large());
    }
    if batch.evaluations.is_empty() {
        let question = batch.defaults.question(&state.names).map_err(Problem::bad_request)?;
        return Ok(Json(answered_with_hint(&state, &batch.defaults, &question).await?).into_response());
    }
    // The first one is paid for.
    state.callers.spend(&caller, batch.evaluations.len() - 1)?;
    let decisions = in_time(&state.gate, all_answered(&state, &batch)).await?;
    Ok(Json(serde_json::json!({ "evaluations": decisions })).into_response())
}

/// The answers to a batch, all as of one moment, in the order of its questions.
async fn all_answered(state: &AdminState, batch: &Batch) -> Result<Vec<Decision>, AccessError> {
    let (gate, names) = (&*state.gate, &*state.names);
    let moment = gate.moment().await?;
    let mut decisions = Vec::new();
    for item in &batch.evaluations {
        let parts = Parts::deserialize(item).map_err(|error| error.to_string());
        let parts = parts.map(|parts| parts.or(&batch.defaults));
        let question = parts.and_then(|parts| Ok((parts.question(names)?, parts)));
        let decision = match question {
            Ok((question, parts)) => {
                let decision = answered(gate, &moment, &question).await?;
                let hint = access_request::hint(state, &moment, &parts, decision.denied_for()).await;
                decision.with_hint(hint)
            }
            Err(fault) => Decision::malformed(fault),
        };
        let is_last = batch.options.evaluations_semantic.ends_with(decision.decision);
        decisions.push(decision);
        if is_last {
            break;
        }
    }
    Ok(decisions)
}

async fn answered(gate: &Gate, moment: &Moment, question: &Question) -> Result<Decision, AccessError> {
    let decision = match question {
        Question::Route { subject, asked } => match asked.request(&gate.policy) {
            Err(refusal) => Decision::unanswerable(refusal.word()),
            Ok(request) => {
                let evaluation = gate.evaluate(moment, subject, &request, asked.body()).await?;
                Decision::of_route(evaluation, moment)
            }
        },
        Question::Holding { subject, requirement } => {
            let holding = gate.holding(moment, subject, requirement).await?;
            Decision::of_holding(holding, requirement, moment)
        }
        Question::Unknown(reason) => Decision::unanswerable(reason),
    };
    let word = if decision.decision { "true" } else { "false" };
    counter!("gate_evaluations_total", "decision" => word).increment(1);
    Ok(decision)
}

/// The bound that a request's decision has.
async fn in_time<T>(gate: &Gate, asked: impl Future<Output = Result<T, AccessError>>) -> Result<T, Problem> {
    let limit = gate.options.decision_time;
    timeout(limit, asked).await.unwrap_or(Err(AccessError::Late(limit))).map_err(|error| {
        tracing::error!(%error, "an access evaluation failed");
        counter!("gate_evaluations_total", "decision" => "unavailable").increment(1);
        Problem::unavailable("the gate cannot check access right now: treat this as a denial")
    })
}

/// The body of a question, which is JSON and declared as such.
struct Body {
    is_json: bool,
    bytes: Result<Bytes, BytesRejection>,
}

impl FromRequest<AdminState> for Body {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &AdminState) -> Result<Body, Infallible> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        let is_json = kind.trim().eq_ignore_ascii_case("application/json");
        Ok(Body { is_json, bytes: Bytes::from_request(request, state).await })
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(body: Body) -> Result<T, Problem> {
    let bytes = body.bytes.map_err(|rejection| Problem::of_body(&rejection, limit()))?;
    if !body.is_json {
        return Err(Problem::bad_request("send the body as `Content-Type: application/json`"));
    }
    serde_json::from_slice(&bytes).map_err(|error| Problem::bad_request(error.to_string()))
}

fn too_large() -> Problem {
    Problem::too_large(limit())
}

fn limit() -> String {
    format!("at most {MOST_QUESTIONS} evaluations and {MOST_BYTES} bytes per request")
}

/// The caller's X-Request-ID comes back with every answer (Authorization API 1.0, "Request Identification").
async fn with_request_id(request: Request, next: Next) -> Response {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let id = request.headers().get(&NAME).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(NAME, id);
    }
    response
}
