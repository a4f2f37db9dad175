//! `POST /api/gate/diff?flag=on&legacy_as=superadmin=raxx-platform-admins`: who gains and who loses what if the mapping
//! in the body replaced the one that runs. The same report as `console-gate diff`; it changes nothing.
//!
//! A mapping that the gate would refuse is answered with 422 and its mistakes.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use grants::registry::{LegacyAsArgument, Registry, legacy_as};
use policy::diagnostic::{Diagnostics, Lines};
use policy::mapping::Mapping;
use policy::mapping::order::Untimely;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use workbench::impact::report::ImpactReport;
use workbench::impact::{Population, Switches, impact};
use workbench::report::Finding;

use super::{bad_query, unavailable};
use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::service::ApiCaller;
use crate::facts;

/// The most bytes of a candidate. The documents' mapping has 20 KB.
pub(super) const MOST_BYTES: usize = 1024 * 1024;

/// How findings name the candidate.
const CANDIDATE: &str = "candidate";

/// One comparison at a time: each keeps a processor busy that requests need.
static COMPARING: Semaphore = Semaphore::const_new(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    /// `FLAG_RBAC_V2` as it is taken to be.
    #[serde(default)]
    flag: Flag,
    /// `ROLE=GROUP`, separated by commas.
    #[serde(default)]
    legacy_as: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Flag {
    #[default]
    On,
    Off,
}

/// The changes, from which mapping to which.
#[derive(Serialize)]
struct DiffReport<'a> {
    from_sha256: &'a str,
    to_sha256: &'a str,
    #[serde(flatten)]
    report: ImpactReport,
    /// The clusters that go to V2 before their time, as of now.
    #[serde(skip_serializing_if = "<[Untimely]>::is_empty")]
    order: &'a [Untimely],
}

pub(super) async fn post(
    State(state): State<AdminState>,
    _caller: ApiCaller,
    asked: Result<Query<DiffQuery>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|rejection| bad_query(&rejection))?;
    let body =
        body.map_err(|rejection| Problem::of_body(&rejection, format!("at most {MOST_BYTES} bytes")))?;
    let source = String::from_utf8(body.into())
        .map_err(|_| Problem::bad_request("the candidate is not UTF-8 text"))?;
    let arguments: Vec<LegacyAsArgument> = asked
        .legacy_as
        .split(',')
        .filter(|argument| !argument.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|error: String| Problem::bad_request(format!("`legacy_as`: {error}")))?;
    let permit = COMPARING
        .try_acquire()
        .map_err(|_| Problem::unavailable("another comparison is in progress; try again"))?;
    let now = state.gate.steady_clock.now();
    let registry = Registry::read(&state.store, now).await.map_err(|error| unavailable(&error))?;
    let old = state.gate.mappings.running();
    // A mapping that cannot be read is refused by `compared`, with its findings.
    let order = match Mapping::parse(CANDIDATE, &source) {
        Ok(new) => {
            let untimely = facts::untimely(&state.store, &new, Some(&old), now).await;
            untimely.map_err(|error| unavailable(&error))?
        }
        Err(_) => Vec::new(),
    };
    let switches = Switches { rbac_v2: asked.flag == Flag::On };
    let comparing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        compared(&old, &source, &registry, &arguments, (switches, &order))
    });
    let report = comparing.await.map_err(|error| unavailable(&error))??;
    Ok((StatusCode::OK, Json(report)).into_response())
}

fn compared(
    old: &Arc<Mapping>,
    source: &str,
    registry: &Registry,
    arguments: &[LegacyAsArgument],
    (switches, order): (Switches, &[Untimely]),
) -> Result<Value, Problem> {
    let new = Mapping::parse(CANDIDATE, source).map_err(|mistakes| unsound(&mistakes, source))?;
    new.check_against(CANDIDATE, &registry.catalog).map_err(|mistakes| unsound(&mistakes, source))?;
    let legacy_as = legacy_as(arguments, registry, &[old, &new])
        .map_err(|error| Problem::bad_request(format!("`legacy_as`: {error}")))?;
    let population = Population::new(&registry.catalog, &registry.people, &legacy_as, &[old, &new]);
    let impact = impact(old, &new, &registry.catalog, &population, switches);
    let report = DiffReport {
        from_sha256: old.sha256().as_str(),
        to_sha256: new.sha256().as_str(),
        report: impact.report(),
        order,
    };
    serde_json::to_value(report).map_err(|error| unavailable(&error))
}

/// 422 with the findings that `console-gate check` would print.
fn unsound(mistakes: &Diagnostics, source: &str) -> Problem {
    let lines = Lines::new(source);
    let findings = mistakes.findings().iter().map(|found| Finding::in_file(CANDIDATE, &lines, found));
    let title = "Invalid mapping";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "the gate would refuse this mapping")
        .with_errors(findings.map(|finding| json!(finding)).collect())
}
