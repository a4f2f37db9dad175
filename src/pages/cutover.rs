//! The clusters between the legacy gate and V2: what each needs next, and its turn to another mode. A turn ends on a page
//! that shows its exact effect; the way back from it is one click.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::template::render;
use super::words::{counted, exact, name, part, place, short};
use super::{Outcome, PREFIX, Shown, effect};
use crate::rbac_api::local::{Call, Local};
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

const MODES: [&str; 3] = ["legacy", "shadow", "v2"];

#[derive(Deserialize)]
struct Clusters {
    mapping_sha256: String,
    may_turn: bool,
    clusters: Vec<Cluster>,
}

/// A cluster as the API has it.
#[derive(Deserialize)]
struct Cluster {
    cluster: String,
    mode: String,
    rollout: String,
    blueprints: Vec<String>,
    rows: usize,
    undecided: usize,
    refused: u64,
    next: String,
    missing: Vec<String>,
    terms: Terms,
    shadow: Option<Soak>,
    refusals: Vec<Refusals>,
    back: Option<Back>,
}

#[derive(Deserialize)]
struct One {
    #[serde(flatten)]
    cluster: Cluster,
    drift: Vec<Drift>,
    mapping_sha256: String,
    may_turn: bool,
    writes_file: bool,
}

#[derive(Deserialize)]
struct Terms {
    shadow_days: u32,
    quiet_hours: u32,
    requests: u64,
}

#[derive(Deserialize)]
struct Soak {
    since_utc: DateTime<Utc>,
    days: u32,
    quiet_hours: u32,
    unexplained: usize,
    signed_off: usize,
    requests: u64,
}

#[derive(Deserialize)]
struct Refusals {
    route: String,
    gate: String,
    status: u16,
    count: u64,
    last_seen_at_utc: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Drift {
    route: String,
    actor_kind: String,
    actor_id: String,
    direction: String,
    reason: String,
    count: i64,
    last_seen_at_utc: DateTime<Utc>,
    explained: bool,
}

#[derive(Deserialize)]
struct Back {
    mode: String,
    by: String,
    at_utc: DateTime<Utc>,
    what: Option<String>,
}

/// What every gate runs.
#[derive(Deserialize)]
pub(super) struct Fleet {
    pub(super) gates: Vec<Gate>,
    pub(super) mapping_sha256: Option<String>,
    pub(super) since_utc: Option<DateTime<Utc>>,
    pub(super) rollback: Option<Rollback>,
}

#[derive(Deserialize)]
pub(super) struct Gate {
    pub(super) gate: String,
    pub(super) mapping_sha256: String,
    pub(super) rolled_back: bool,
    pub(super) problem: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Rollback {
    pub(super) sha256: String,
    pub(super) by: String,
}

/// What a turn would do.
#[derive(Deserialize)]
struct Preview {
    before: String,
    patch: String,
    writes_file: bool,
    undecided: usize,
    soak: Verdict,
    impact: Value,
    preview_sha256: String,
    from_sha256: String,
}

#[derive(Deserialize)]
struct Verdict {
    missing: Vec<String>,
}

#[derive(Template)]
#[template(path = "pages/cutover.html")]
struct CutoverPage {
    clusters: Vec<Cluster>,
    of_v2: usize,
    rows: usize,
    etag: String,
    may_turn: bool,
    rollback: Option<String>,
    token: String,
}

#[derive(Template)]
#[template(path = "pages/cluster.html")]
struct ClusterPage {
    one: One,
    sentence: String,
    others: Vec<&'static str>,
    token: String,
}

#[derive(Template)]
#[template(path = "pages/turn.html")]
struct TurnPage {
    cluster: String,
    to: String,
    reason: String,
    preview: Preview,
    effect: String,
    gates: String,
    strip: Option<&'static str>,
    key: String,
    token: String,
}

impl Fleet {
    /// `2 gates serve 3fa1c2d4, since 5 Nov 2026 22:13 UTC`.
    pub(super) fn line(&self) -> String {
        let serve = if self.gates.len() == 1 { "serves" } else { "serve" };
        let gates = counted(self.gates.len(), "gate");
        match (&self.mapping_sha256, self.since_utc) {
            (Some(sha256), Some(since)) => {
                format!("{gates} {serve} {}, since {}", short(sha256), exact(since))
            }
            (Some(sha256), None) => format!("{gates} {serve} {}", short(sha256)),
            (None, _) if self.gates.is_empty() => "No gate has reported".to_owned(),
            (None, _) => format!("{gates} serve different mappings"),
        }
    }

    /// What everybody who opens a page has to know first.
    pub(super) fn strips(&self) -> Vec<String> {
        let rollback = self.rollback.as_ref().map(|rollback| {
            let held: Vec<&str> =
                self.gates.iter().filter(|gate| gate.rolled_back).map(|gate| gate.gate.as_str()).collect();
            let (to, by) = (short(&rollback.sha256), name(&rollback.by));
            format!(
                "A rollback is in force: {} run {to}, chosen by {by}, whatever the file has.",
                held.join(", ")
            )
        });
        let differ = (self.mapping_sha256.is_none() && !self.gates.is_empty()).then(|| {
            let runs = |gate: &Gate| format!("{} runs {}", gate.gate, short(&gate.mapping_sha256));
            let gates: Vec<String> = self.gates.iter().map(runs).collect();
            format!("The gates run different mappings: {}.", gates.join(", "))
        });
        let refused = self.gates.iter().filter_map(|gate| {
            let why = gate.problem.as_deref()?.lines().next()?;
            Some(format!("{} does not run what it should: {why}", gate.gate))
        });
        rollback.into_iter().chain(differ).chain(refused).collect()
    }
}

pub(super) async fn list(local: &Local<'_>) -> Outcome {
    let Clusters { mapping_sha256, may_turn, clusters } = local.get("/api/rbac/clusters").await?;
    let fleet: Fleet = local.get("/api/rbac/fleet").await?;
    let is_v2 = |one: &&Cluster| one.mode == "v2";
    let page = CutoverPage {
        of_v2: clusters.iter().filter(is_v2).map(|one| one.rows - one.undecided).sum(),
        rows: clusters.iter().map(|one| one.rows).sum(),
        clusters,
        etag: quoted(&mapping_sha256),
        may_turn: may_turn && may_send(local),
        rollback: fleet.rollback.map(|rollback| rollback.by),
        token: local.csrf_token(),
    };
    Ok(Shown::page("Cutover", render(&page)))
}

pub(super) async fn cluster(local: &Local<'_>, cluster: &str) -> Outcome {
    let mut one: One = local.get(&api(cluster)).await?;
    let fleet: Fleet = local.get("/api/rbac/fleet").await?;
    one.may_turn &= may_send(local);
    let page = ClusterPage {
        sentence: sentence(&one, &fleet),
        others: MODES.into_iter().filter(|mode| *mode != one.cluster.mode).collect(),
        token: local.csrf_token(),
        one,
    };
    Ok(Shown::page(format!("Cluster {}", name(cluster)), render(&page)))
}

/// The page that shows what a turn would do.
pub(super) async fn review(local: &Local<'_>, cluster: &str) -> Outcome {
    let form = local.form(&["mode", "reason"])?;
    reviewed(local, cluster, &form, None).await
}

/// Makes a turn, if it still does what was shown.
pub(super) async fn confirm(local: &Local<'_>, cluster: &str) -> Outcome {
    let form = local.form(&["mode", "reason", "seen", "etag", "key"])?;
    let text = |name: &str| form.get(name).filter(|text| !text.is_empty());
    let target = format!("{}/mode?expect={}", api(cluster), part(text("seen").unwrap_or("nothing")));
    let body = json!({ "mode": form.get("mode"), "reason": form.get("reason") });
    let (if_match, key) = (Some(text("etag").unwrap_or("\"\"")), text("key"));
    let call = Call { method: "POST", body: Some(&body), if_match, key, ..Call::get(&target) };
    match local.send(call).await {
        Ok(_) => Ok(Shown::See(place("cutover", cluster))),
        Err(problem) if problem.status == 412 => {
            let strip = "This changed while you were reading. Nothing was changed. Look at it again.";
            reviewed(local, cluster, &form, Some(strip)).await
        }
        Err(problem) => Err(problem),
    }
}

/// Undoes the last turn, of the file that was shown.
pub(super) async fn back(local: &Local<'_>, cluster: &str) -> Outcome {
    let form = local.form(&["mode", "etag"])?;
    let (mode, target) = (form.get("mode").unwrap_or_default(), format!("{}/mode", api(cluster)));
    let body = json!({ "mode": mode, "reason": format!("back to {mode}") });
    let if_match = form.get("etag").filter(|etag| !etag.is_empty()).or(Some("\"\""));
    local.send(Call { method: "POST", body: Some(&body), if_match, ..Call::get(&target) }).await?;
    Ok(Shown::See(place("cutover", cluster)))
}

async fn reviewed(local: &Local<'_>, cluster: &str, form: &Query, strip: Option<&'static str>) -> Outcome {
    let text = |name: &str| form.get(name).unwrap_or_default().trim().to_owned();
    let (to, reason) = (text("mode"), text("reason"));
    let target = format!("{}/mode?dry_run=true", api(cluster));
    let body = json!({ "mode": to, "reason": reason });
    let call = Call { method: "POST", body: Some(&body), ..Call::get(&target) };
    let answer = local.send(call).await?.body.unwrap_or_default();
    let preview: Preview = serde_json::from_value(answer).map_err(|error| Problem::unavailable(&error))?;
    let gates = match local.may("GET", "/api/rbac/fleet") {
        true => local.get::<Fleet>("/api/rbac/fleet").await?.line(),
        false => String::new(),
    };
    let title = format!("Turn {} to {to}", name(cluster));
    let page = TurnPage {
        cluster: cluster.to_owned(),
        to,
        reason,
        effect: effect::table(&preview.impact),
        preview,
        gates,
        strip,
        key: uuid::Uuid::new_v4().to_string(),
        token: local.csrf_token(),
    };
    let status = if strip.is_some() { 412 } else { 200 };
    Ok(Shown::Page { status, title, main: render(&page) })
}

fn api(cluster: &str) -> String {
    format!("/api/rbac/clusters/{}", part(cluster))
}

fn may_send(local: &Local<'_>) -> bool {
    local.may("POST", "/api/rbac/clusters/any/mode")
}

fn quoted(sha256: &str) -> String {
    format!("\"{sha256}\"")
}

/// `S2 is on v2 in both gates since 5 Nov 2026 22:13:02 UTC.`
fn sentence(one: &One, fleet: &Fleet) -> String {
    let (cluster, rollout) = (name(&one.cluster.cluster), &one.cluster.rollout);
    let follow = fleet.gates.iter().filter(|gate| gate.mapping_sha256 == one.mapping_sha256).count();
    let place = match (follow, fleet.gates.len()) {
        (1, 1) => "the only gate".to_owned(),
        (2, 2) => "both gates".to_owned(),
        (some, all) if some == all => format!("all {all} gates"),
        (some, all) => {
            let other = fleet.gates.iter().filter(|gate| gate.mapping_sha256 != one.mapping_sha256);
            let other: Vec<String> =
                other.map(|gate| format!("{} runs {}", gate.gate, short(&gate.mapping_sha256))).collect();
            return format!("{cluster} is on {rollout} in {some} of {all} gates: {}.", other.join(", "));
        }
    };
    let since = fleet.since_utc.filter(|_| one.cluster.back.is_some());
    let since = since.map(|since| format!(" since {}", since.format("%H:%M:%S UTC"))).unwrap_or_default();
    format!("{cluster} is on {rollout} in {place}{since}.")
}
