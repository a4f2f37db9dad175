//! Since when each cluster of the order has been in its mode.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use policy::mapping::Mapping;
use policy::mapping::order::{ClusterHistory, History, Untimely};
use store::{SharedStore, StoreError};
use workbench::soak::{Activation, shadow_since, v2_since};

use super::soak::{flag, rollouts};

/// The number of activations to read. If they do not reach back far enough, a cluster appears to have been in its mode
/// for a shorter time than it has: it waits longer, and is never flipped too early.
const MOST_ACTIVATIONS: u32 = 1_000;

/// The clusters that a mapping would flip to V2 before their time. `running` is the mapping of the asking gate, if a
/// gate asks.
///
/// # Errors
///
/// The database is away.
pub async fn untimely(
    store: &SharedStore,
    mapping: &Mapping,
    running: Option<&Mapping>,
    now: DateTime<Utc>,
) -> Result<Vec<Untimely>, StoreError> {
    if mapping.ordered_clusters().is_empty() {
        return Ok(Vec::new());
    }
    Ok(mapping.untimely(running, &history(store, mapping).await?, now))
}

async fn history(store: &SharedStore, mapping: &Mapping) -> Result<History, StoreError> {
    let flag = flag(store).await?;
    let mut known = HashMap::new();
    let mut activations = Vec::new();
    let stored = store.activations(MOST_ACTIVATIONS).await?;
    for activation in stored.into_iter().filter(|activation| activation.outcome == "activated") {
        if !known.contains_key(&activation.sha256) {
            known.insert(activation.sha256.clone(), rollouts(store, &activation.sha256).await?);
        }
        let rollouts = known.get(&activation.sha256).cloned().unwrap_or_default();
        activations.push(Activation { at: activation.activated_at_utc, rollouts });
    }
    let of = |cluster: &str| ClusterHistory {
        latest: activations.first().and_then(|latest| latest.rollouts.get(cluster).cloned()),
        shadow_since: shadow_since(cluster, &activations, flag),
        v2_since: v2_since(cluster, &activations, flag),
    };
    Ok(mapping.ordered_clusters().into_iter().map(|cluster| (cluster.clone(), of(cluster))).collect())
}
