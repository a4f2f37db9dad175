//! Where each cluster is between the legacy gate and V2, and the next step for it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use grants::registry::Registry;
use policy::ids::MappingSha256;
use policy::mapping::{ClusterMode, Mapping, Row, RowKind, V2Gate, turned};
use serde::Serialize;
use store::{SharedStore, StoreError};
use workbench::impact::{Impact, Population, Switches, impact};
use workbench::soak::{ClusterState, Readiness};

use super::{WorkbenchError, soak};

/// How many activations are searched for the turn that brought the running file. Beyond them it is too old to be undone in
/// one step.
const RECENT: u32 = 200;
/// How an activation names who turned a cluster.
const TURN_BY: &str = "turn by ";

/// A cluster of the running mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cutover {
    #[serde(flatten)]
    pub state: ClusterState,
    pub mode: &'static str,
    /// The blueprints whose rows it has, in the order of the file.
    pub blueprints: Vec<Arc<str>>,
    pub rows: usize,
    /// Rows whose V2 role no operator has decided: they stay on their legacy gate.
    pub undecided: usize,
    /// Recent refusals of Console of requests that V2 had let in.
    pub refused: u64,
    pub next: Step,
    /// What undoes the turn that brought the running file, if that turned this cluster.
    pub back: Option<Back>,
}

/// The next step of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Rows have no V2 role yet.
    Decide,
    /// To shadow.
    Shadow,
    /// Disagreements are to be explained.
    Drift,
    /// Time or traffic is missing.
    Wait,
    /// To V2.
    V2,
    /// Console refuses what V2 lets in.
    Refusals,
    /// A cohort has V2; its share is in the file.
    Cohort,
    /// Nothing: V2 decides.
    Done,
}

/// The way back from the last turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Back {
    pub mode: &'static str,
    /// Who made the turn, and when.
    pub by: String,
    pub at_utc: DateTime<Utc>,
    /// The turn and its reason.
    pub what: Option<String>,
}

/// Every cluster of the running mapping, as of `now`.
///
/// # Errors
///
/// The database is away or holds a broken row.
pub async fn cutover(
    store: &SharedStore,
    mapping: &Mapping,
    now: DateTime<Utc>,
) -> Result<Vec<Cutover>, WorkbenchError> {
    let back = back(store, mapping).await?;
    let states = soak(store, mapping, now).await?.into_iter();
    Ok(states.map(|state| of_state(mapping, state, back.as_ref())).collect())
}

/// The cluster that the last turn turned, with the way back; `None` if the running file is not of a turn to a stricter mode.
async fn back(store: &SharedStore, mapping: &Mapping) -> Result<Option<(Arc<str>, Back)>, StoreError> {
    let mut recent = store.activations(RECENT).await?.into_iter();
    let is_turn = |by: &str| by.starts_with(TURN_BY);
    let turn = recent.find(|one| {
        one.sha256 == mapping.sha256().as_str() && is_turn(&one.activated_by) && one.outcome == "activated"
    });
    let Some(turn) = turn else { return Ok(None) };
    let Some(previous) = turn.previous_sha256.map(MappingSha256::new) else { return Ok(None) };
    let Some(text) = store.mapping_text(&previous).await? else { return Ok(None) };
    let Ok(before) = Mapping::parse(previous.as_str(), &text) else { return Ok(None) };
    let found = mapping.clusters().iter().find_map(|(cluster, now)| {
        let was = before.clusters().get(cluster)?.mode;
        // The whole file before, and not only this word of it.
        let is_undone = turned(mapping.source(), cluster, was).is_ok_and(|undone| undone == text);
        (is_undone && rank(was) < rank(now.mode)).then(|| (cluster.clone(), was))
    });
    Ok(found.map(|(cluster, was)| {
        let by = turn.activated_by.strip_prefix(TURN_BY).unwrap_or_default().to_owned();
        (cluster, Back { mode: was.as_str(), by, at_utc: turn.activated_at_utc, what: turn.diagnostics })
    }))
}

fn rank(mode: ClusterMode) -> u8 {
    match mode {
        ClusterMode::Legacy => 0,
        ClusterMode::Shadow => 1,
        ClusterMode::V2 => 2,
    }
}

fn of_state(mapping: &Mapping, state: ClusterState, back: Option<&(Arc<str>, Back)>) -> Cutover {
    let cluster = state.cluster.as_str();
    let rows: Vec<&Row> =
        mapping.rows().iter().filter(|row| row.cluster.as_deref() == Some(cluster)).collect();
    let mut blueprints: Vec<Arc<str>> = rows.iter().map(|row| row.blueprint.clone()).collect();
    blueprints.dedup();
    let is_undecided = |row: &&&Row| matches!(row.kind, RowKind::Gated { v2: V2Gate::Undecided { .. }, .. });
    let undecided = rows.iter().filter(is_undecided).count();
    let rollout = &mapping.clusters()[cluster];
    let of_v2 = state.refusals.iter().filter(|one| one.gate == "v2");
    Cutover {
        mode: rollout.mode.as_str(),
        blueprints,
        rows: rows.len(),
        undecided,
        refused: of_v2.map(|one| one.count).sum(),
        next: next(&state, rollout.mode, rollout.cohort.is_some(), undecided),
        back: back.filter(|(turned, _)| **turned == *cluster).map(|(_, back)| back.clone()),
        state,
    }
}

fn next(state: &ClusterState, mode: ClusterMode, is_cohort: bool, undecided: usize) -> Step {
    let unexplained = state.shadow.as_ref().map_or(0, |shadow| shadow.unexplained);
    match mode {
        ClusterMode::V2 if state.verdict == Readiness::Refused => Step::Refusals,
        ClusterMode::V2 if is_cohort => Step::Cohort,
        ClusterMode::V2 => Step::Done,
        _ if undecided > 0 => Step::Decide,
        ClusterMode::Legacy => Step::Shadow,
        ClusterMode::Shadow if unexplained > 0 => Step::Drift,
        ClusterMode::Shadow if state.verdict == Readiness::Ready => Step::V2,
        ClusterMode::Shadow => Step::Wait,
    }
}

/// Compares two mappings for everybody in the registry, with V2 in force, and passes on the impact.
pub fn compared<T>(
    old: &Mapping,
    new: &Mapping,
    registry: &Registry,
    with: impl FnOnce(&Impact<'_>) -> T,
) -> T {
    let population = Population::new(&registry.catalog, &registry.people, &Default::default(), &[old, new]);
    with(&impact(old, new, &registry.catalog, &population, Switches { rbac_v2: true }))
}
