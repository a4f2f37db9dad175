//! The running mapping with its findings, its history, and what another one would change.

use std::sync::Arc;

use grants::effects::{Effect, effects_of_mapping};
use grants::registry::Registry;
use policy::diagnostic::{Diagnostic, Lines};
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use policy::mapping::parse::sha256_of;
use serde::Deserialize;
use serde_json::{Value, json};
use similar::TextDiff;
use workbench::report::Finding;

use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::writes::body;
use super::{Caller, RbacApi};
use crate::facts::findings::{Known, findings_of, sorted};
use crate::facts::{self, WorkbenchError, compared};
use crate::ruling::own_routes::OwnRequest;

/// How findings and patches name the file: its place on the disk is the host's own.
pub(super) const FILE: &str = "routes.toml";
/// Rows of the history, where the client does not give a number, and the most.
const USUAL: u32 = 20;
const MOST: u32 = 500;
/// The fewest digits by which a mapping can be named.
const SHORTEST: usize = 6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    text: String,
}

impl RbacApi {
    /// The text of the running mapping, with its findings.
    pub(super) async fn mapping(&self, asked: &OwnRequest<'_>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let running = self.parts.mappings.running();
        let (findings, _) = self.findings(&running).await?;
        let tag = etag(running.source());
        let problem = self.parts.mappings.problem().map(|problem| problem.why.clone());
        let shown = json!({
            "sha256": running.sha256().as_str(), "text": &**running.source(), "rows": running.rows().len(),
            "findings": findings, "problem": problem,
        });
        Ok(Reply::ok(shown).with("etag", tag))
    }

    pub(super) async fn mapping_history(&self, asked: &OwnRequest<'_>) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["limit"])?;
        let limit = query.count("limit", USUAL, MOST)?;
        Ok(Reply::ok(json!(facts::history(&self.parts.store, limit).await?)))
    }

    /// The text of a mapping that was activated once.
    pub(super) async fn mapping_text(&self, asked: &OwnRequest<'_>, beginning: &str) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let (sha256, text) = self.stored(beginning).await?;
        let tag = etag(&text);
        Ok(Reply::ok(json!({ "sha256": sha256.as_str(), "text": text })).with("etag", tag))
    }

    /// What changes from one mapping to another: the text, and who gains and loses which routes by it today.
    pub(super) async fn mapping_diff(&self, asked: &OwnRequest<'_>) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["from", "to"])?;
        let missing =
            || Problem::new(400, "`from` and `to` name two mappings by the beginning of their SHA-256");
        let (from, old) = self.stored(query.get("from").ok_or_else(missing)?).await?;
        let (to, new) = self.stored(query.get("to").ok_or_else(missing)?).await?;
        let read = |sha256: &MappingSha256, text: &str| {
            let parsed = Mapping::parse(sha256.short(), text);
            parsed.map_err(|_| {
                Problem::new(422, format!("this version does not read the mapping {}", sha256.short()))
            })
        };
        let (before, after) = (Arc::new(read(&from, &old)?), read(&to, &new)?);
        let registry = self.everybody().await?;
        let (impact, _) = compare(&before, after, registry).await?;
        Ok(Reply::ok(json!({
            "from_sha256": from.as_str(), "to_sha256": to.as_str(), "patch": patch(&old, &new), "impact": impact,
        })))
    }

    /// The findings in a candidate, and what it would change; nothing is activated.
    pub(super) async fn compare_mapping(&self, asked: &OwnRequest<'_>, caller: &Caller) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        self.may_operate(caller)?;
        let Candidate { text } = body(asked)?;
        let running = self.parts.mappings.running();
        let patch = patch(running.source(), &text);
        let (findings, impact) = match Mapping::parse(FILE, &text) {
            Err(mistakes) => (shown(&text, &sorted(mistakes.findings().to_vec())), Value::Null),
            Ok(new) => {
                let (findings, registry) = self.findings(&new).await?;
                (findings, compare(&running, new, registry).await?.0)
            }
        };
        Ok(Reply::ok(json!({
            "from_sha256": running.sha256().as_str(), "patch": patch, "findings": findings, "impact": impact,
        })))
    }

    /// The findings in a mapping, as `check` has them, and the people that it was compared with.
    async fn findings(&self, mapping: &Mapping) -> Result<(Vec<Value>, Registry), Problem> {
        let (registry, file) = (self.everybody().await?, &self.parts.mapping_file);
        let running = self.parts.mappings.running();
        let now = self.parts.clock.now();
        let known = Known::read(&self.parts.store, mapping, &registry, &running, now).await?;
        let found = findings_of(FILE, mapping, Some(&known), (Some(&file.upstreams), &file.own_routes));
        Ok((shown(mapping.source(), &found), registry))
    }

    async fn everybody(&self) -> Result<Registry, Problem> {
        let registry = Registry::read(&self.parts.store, self.parts.clock.now()).await;
        Ok(registry.map_err(WorkbenchError::from)?)
    }

    /// An activated mapping, by the beginning of its SHA-256.
    async fn stored(&self, beginning: &str) -> Result<(MappingSha256, String), Problem> {
        let is_sha256 = beginning.len() >= SHORTEST
            && beginning.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_sha256 {
            let detail =
                format!("a mapping is named by at least {SHORTEST} digits of its SHA-256, in lower case");
            return Err(Problem::new(400, detail));
        }
        let none = || Problem::new(404, "no activated mapping has this SHA-256");
        let sha256 = match self.parts.store.activated_beginning(beginning).await?.as_slice() {
            [one] => one.clone(),
            [] => return Err(none()),
            _ => return Err(Problem::new(400, "more than one mapping begins like this: give more digits")),
        };
        let text = self.parts.store.mapping_text(&sha256).await?.ok_or_else(none)?;
        Ok((sha256, text))
    }
}

fn shown(source: &str, found: &[Diagnostic]) -> Vec<Value> {
    let lines = Lines::new(source);
    found.iter().map(|found| json!(Finding::in_file(FILE, &lines, found))).collect()
}

/// The ETag of a mapping.
pub(super) fn etag(text: &str) -> String {
    format!("\"{}\"", sha256_of(text).as_str())
}

/// What `git apply` and `patch -p1` take.
pub(super) fn patch(old: &str, new: &str) -> String {
    let (before, after) = (format!("a/{FILE}"), format!("b/{FILE}"));
    TextDiff::from_lines(old, new).unified_diff().context_radius(3).header(&before, &after).to_string()
}

/// Who gains and loses which routes by another mapping, with the callers that do so alike.
pub(super) async fn compare(
    old: &Arc<Mapping>,
    new: Mapping,
    registry: Registry,
) -> Result<(Value, Vec<Effect>), Problem> {
    let old = old.clone();
    let compared = tokio::task::spawn_blocking(move || {
        compared(&old, &new, &registry, |impact| {
            let effects = effects_of_mapping(impact);
            let mut shown = serde_json::to_value(impact.report()).unwrap_or_default();
            shown["effects"] = json!(effects);
            (shown, effects)
        })
    });
    compared.await.map_err(|error| Problem::unavailable(&error))
}
