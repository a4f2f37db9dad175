//! The soak gate of every cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{WorkbenchError, drift};
use crate::decision_log::DecisionRecord;
use crate::drift::Situation;
use crate::ids::MappingSha256;
use crate::mapping::{Mapping, Rollout};
use crate::registry::Registry;
use crate::soak::{Activation, ClusterState, Evidence, Flag, Use, is_in_shadow, shadow_since, states};
use crate::store::{SharedStore, StoreError};

/// The gate of every cluster that the running mapping names, as of `now`.
///
/// # Errors
///
/// The database is away or holds a broken row.
pub async fn soak(
    store: &SharedStore,
    mapping: &Mapping,
    now: DateTime<Utc>,
) -> Result<Vec<ClusterState>, WorkbenchError> {
    let flag = match store.rbac_v2_flip().await? {
        None => Flag::NeverFlipped,
        Some(flip) if flip.enabled => Flag::On { since: flip.changed_at_utc },
        Some(_) => Flag::Off,
    };
    let activations = activations(store, mapping).await?;
    let since: BTreeMap<Arc<str>, DateTime<Utc>> = mapping
        .clusters()
        .keys()
        .filter_map(|cluster| Some((cluster.clone(), shadow_since(cluster, &activations, flag)?)))
        .collect();
    let mut uses = BTreeMap::new();
    for (cluster, since) in &since {
        uses.insert(cluster.clone(), uses_of(store, cluster, *since).await?);
    }
    let registry = Registry::read(store, now).await?;
    let situation = Situation::new(mapping, &registry.catalog, &registry.people);
    let drift = drift(store, &situation).await?;
    Ok(states(&Evidence {
        mapping,
        shadow_since: &since,
        flag,
        disagreements: &drift.disagreements,
        overflow: &drift.overflow,
        uses: &uses,
        people: &registry.people,
        now,
    }))
}

/// The activations back to where no cluster that is in shadow now was in shadow without interruption.
async fn activations(store: &SharedStore, mapping: &Mapping) -> Result<Vec<Activation>, StoreError> {
    let mut unbroken: Vec<&Arc<str>> = mapping
        .clusters()
        .iter()
        .filter(|(_, rollout)| is_in_shadow(rollout))
        .map(|(name, _)| name)
        .collect();
    let mut known: HashMap<String, BTreeMap<Arc<str>, Rollout>> = HashMap::new();
    let mut activations = Vec::new();
    let stored = store.activations(u32::MAX).await?;
    for activation in stored.into_iter().filter(|activation| activation.outcome == "activated") {
        if unbroken.is_empty() {
            break;
        }
        if !known.contains_key(&activation.sha256) {
            let rollouts = rollouts(store, &activation.sha256).await?;
            known.insert(activation.sha256.clone(), rollouts);
        }
        let rollouts = known.get(&activation.sha256).cloned().unwrap_or_default();
        unbroken.retain(|cluster| rollouts.get(*cluster).is_some_and(is_in_shadow));
        activations.push(Activation { at: activation.activated_at_utc, rollouts });
    }
    Ok(activations)
}

/// None where the text is not kept, or was for an older version of the gate: nobody can tell then that it was shadow.
async fn rollouts(store: &SharedStore, sha256: &str) -> Result<BTreeMap<Arc<str>, Rollout>, StoreError> {
    let text = store.mapping_text(&MappingSha256::new(sha256)).await?.unwrap_or_default();
    Ok(Mapping::parse(sha256, &text).map_or_else(|_| BTreeMap::new(), |mapping| mapping.clusters().clone()))
}

async fn uses_of(store: &SharedStore, cluster: &str, since: DateTime<Utc>) -> Result<Vec<Use>, StoreError> {
    // Only what was judged in shadow is counted, so the hour in which shadow began counts too.
    let stored = store.judged_in_shadow(cluster, DecisionRecord::hour_of(since)).await?;
    let is_admin = |kind: &str| kind == crate::rbac::census::CallerKind::Admin.word();
    Ok(stored
        .into_iter()
        .map(|row| Use {
            route: row.route,
            requests: row.count.unsigned_abs(),
            admin: is_admin(&row.actor_kind).then_some(row.actor_id),
        })
        .collect())
}
