//! What every gate of a database runs, and the mappings that they ran before.

use chrono::{DateTime, Utc};
use serde::Serialize;
use store::mappings::{Pin, StoredActivation};
use store::running::RunningGate;
use store::{SharedStore, StoreError};

/// What every gate runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fleet {
    pub gates: Vec<GateState>,
    /// The mapping that all of them run; `None` if they differ or there is none.
    pub mapping_sha256: Option<String>,
    /// Since when all of them run it, if it is the one that was activated last.
    pub since_utc: Option<DateTime<Utc>>,
    /// The rollback that decides in at least one gate, whatever its file is.
    pub rollback: Option<Rollback>,
}

/// Activated and refused mappings, the latest first, with what every gate runs now.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    pub activations: Vec<StoredActivation>,
    /// The mapping that was rolled back to, unless it was released since.
    pub rollback: Option<Rollback>,
    pub gates: Vec<GateState>,
}

/// A rollback that was not released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rollback {
    pub sha256: String,
    pub by: String,
    pub at_utc: DateTime<Utc>,
}

/// What one gate runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateState {
    pub gate: String,
    pub mapping_sha256: String,
    /// `null`: it cannot be read.
    pub file_sha256: Option<String>,
    /// Whether the rollback rules there, and not the file.
    pub rolled_back: bool,
    /// Why what should run does not.
    pub problem: Option<String>,
}

impl From<RunningGate> for GateState {
    fn from(RunningGate { name, runs, .. }: RunningGate) -> Self {
        GateState {
            gate: name,
            mapping_sha256: runs.mapping.as_str().to_owned(),
            file_sha256: runs.file.map(|file| file.as_str().to_owned()),
            rolled_back: runs.is_held,
            problem: runs.problem,
        }
    }
}

impl Rollback {
    fn of(pin: Pin) -> Option<Rollback> {
        let sha256 = pin.sha256?.as_str().to_owned();
        Some(Rollback { sha256, by: pin.by, at_utc: pin.at })
    }
}

/// What every gate runs now.
///
/// # Errors
///
/// The database is away.
pub async fn fleet(store: &SharedStore) -> Result<Fleet, StoreError> {
    let gates: Vec<GateState> = store.running_gates().await?.into_iter().map(Into::into).collect();
    let first = gates.first().map(|gate| gate.mapping_sha256.clone());
    let mapping_sha256 = first.filter(|first| gates.iter().all(|gate| gate.mapping_sha256 == *first));
    let latest = store.latest_activation().await?;
    let since_utc = latest
        .filter(|latest| Some(&latest.sha256) == mapping_sha256.as_ref())
        .map(|one| one.activated_at_utc);
    let rollback = match gates.iter().any(|gate| gate.rolled_back) {
        true => Rollback::of(store.pin().await?),
        false => None,
    };
    Ok(Fleet { gates, mapping_sha256, since_utc, rollback })
}

/// The latest `limit` activations and refusals, and what every gate runs.
///
/// # Errors
///
/// The database is away.
pub async fn history(store: &SharedStore, limit: u32) -> Result<History, StoreError> {
    Ok(History {
        activations: store.activations(limit).await?,
        rollback: Rollback::of(store.pin().await?),
        gates: store.running_gates().await?.into_iter().map(GateState::from).collect(),
    })
}
