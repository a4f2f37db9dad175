//! Every stored disagreement, compared with its sign-off.

use policy::decision::Direction;
use policy::rbac::census::CallerKind;
use serde::Serialize;
use store::drift::StoredDrift;
use store::{SharedStore, StoreError};
use workbench::drift::{Disagreement, Key, Sighting, Situation};
use workbench::soak::Overflow;

/// The known drift.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriftReport {
    /// The most recently seen first.
    pub disagreements: Vec<Disagreement>,
    /// Disagreements that were too many to store one by one.
    pub overflow: Vec<Overflow>,
}

impl DriftReport {
    /// The disagreement with this id, which may be shortened as long as it stays unique.
    ///
    /// # Errors
    ///
    /// No id begins like this, or several do: a sentence for the operator who typed it.
    pub fn named(&self, id: &str) -> Result<&Disagreement, String> {
        let mut matching =
            self.disagreements.iter().filter(|drift| !id.is_empty() && drift.id.starts_with(id));
        match (matching.next(), matching.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => {
                Err(format!("more than one disagreement has an id that begins with `{id}`"))
            }
            (None, _) => Err(format!("there is no disagreement `{id}`; `drift --all` lists them")),
        }
    }
}

/// Reads the drift, and compares it with the requirements of the running mapping and with everybody's grants.
///
/// # Errors
///
/// The database is away or holds a broken row.
pub async fn drift(store: &SharedStore, situation: &Situation<'_>) -> Result<DriftReport, StoreError> {
    let rows = store.drift().await?;
    let (beyond, kept): (Vec<_>, Vec<_>) = rows.into_iter().partition(StoredDrift::is_overflow);
    let sightings = kept.into_iter().map(sighting).collect::<Result<_, _>>()?;
    let disagreements = situation.review(sightings, store.sign_offs().await?);
    Ok(DriftReport { disagreements, overflow: beyond.into_iter().map(overflow).collect::<Result<_, _>>()? })
}

fn overflow(row: StoredDrift) -> Result<Overflow, StoreError> {
    Ok(Overflow {
        direction: Direction::parse(&row.direction).ok_or_else(|| broken("direction"))?,
        cluster: row.cluster.unwrap_or_default(),
        count: row.count,
        first_seen_at_utc: row.first_seen_at_utc,
        last_seen_at_utc: row.last_seen_at_utc,
    })
}

fn sighting(row: StoredDrift) -> Result<Sighting, StoreError> {
    Ok(Sighting {
        key: Key {
            actor_kind: CallerKind::parse(&row.actor_kind).ok_or_else(|| broken("actor_kind"))?,
            direction: Direction::parse(&row.direction).ok_or_else(|| broken("direction"))?,
            route: row.route,
            actor_id: row.actor_id,
        },
        cluster: row.cluster.unwrap_or_default(),
        reason: row.reason,
        mapping_sha256: row.mapping_sha256,
        count: row.count,
        first_seen_at: row.first_seen_at_utc,
        last_seen_at: row.last_seen_at_utc,
    })
}

fn broken(what: &str) -> StoreError {
    StoreError::Broken(format!("gate_drift_events has an unknown {what}"))
}
