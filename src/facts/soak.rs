//! The soak gate of every cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use grants::registry::Registry;
use policy::ids::MappingSha256;
use policy::mapping::{Mapping, Rollout};
use store::decisions::DecisionRecord;
use store::evidence::{EvidenceKind, SilentGate, StoredGap};
use store::{SharedStore, StoreError};
use workbench::drift::Situation;
use workbench::soak::gaps::phrases;
use workbench::soak::refusals::time_held;
use workbench::soak::{
    Activation, ClusterState, Evidence, Flag, Gap, Lost, Refusals, Use, is_in_shadow, shadow_since, states,
};

use super::{WorkbenchError, drift};

/// A gate reports its progress three times a minute. A gate that has been silent for this long has ended without its
/// final report, or has lost the database; in both cases its latest evidence is missing.
const SILENT: TimeDelta = TimeDelta::minutes(2);

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
    let flag = flag(store).await?;
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
    let gaps = match since.values().min() {
        Some(oldest) => gaps(store, *oldest, now).await?,
        None => Vec::new(),
    };
    let registry = Registry::read(store, now).await?;
    let situation = Situation::new(mapping, &registry.catalog, &registry.people);
    let drift = drift(store, &situation).await?;
    Ok(states(&Evidence {
        mapping,
        shadow_since: &since,
        flag,
        disagreements: &drift.disagreements,
        overflow: &drift.overflow,
        gaps: &gaps,
        refusals: &refusals(store, mapping, now).await?,
        uses: &uses,
        people: &registry.people,
        now,
    }))
}

/// The times of lost evidence, which a list of disagreements cannot show, as long as they hold a cluster: of one
/// cluster, or of all.
///
/// # Errors
///
/// As [`soak`].
pub async fn evidence_lost(
    store: &SharedStore,
    mapping: &Mapping,
    now: DateTime<Utc>,
    cluster: Option<&str>,
) -> Result<Vec<String>, WorkbenchError> {
    let mut lost = Vec::new();
    for state in soak(store, mapping, now).await? {
        if cluster.is_none_or(|wanted| wanted == state.cluster)
            && let Some(shadow) = &state.shadow
        {
            lost.extend(phrases(&shadow.evidence_lost, &state.terms));
        }
    }
    // Lost evidence about every cluster is reported once.
    lost.sort();
    lost.dedup();
    Ok(lost)
}

/// The evidence that was lost since, and the gates that have gone silent since.
async fn gaps(store: &SharedStore, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<Vec<Gap>, StoreError> {
    let mut gaps: Vec<Gap> = store.gaps(since).await?.into_iter().map(recorded).collect();
    let mut silent: BTreeMap<String, Gap> = BTreeMap::new();
    for gate in store.silent_gates(since - SILENT, now - SILENT).await? {
        // Its silence concerns drift and decisions alike: one gap.
        let gap = silenced(gate);
        silent
            .entry(gap.gate.clone())
            .and_modify(|known| known.until_utc = known.until_utc.max(gap.until_utc))
            .or_insert(gap);
    }
    gaps.extend(silent.into_values());
    Ok(gaps)
}

/// Console's recent refusals, for as long as they may hold a cluster.
async fn refusals(
    store: &SharedStore,
    mapping: &Mapping,
    now: DateTime<Utc>,
) -> Result<Vec<Refusals>, StoreError> {
    let held = |cluster: &Arc<str>| time_held(&mapping.soak_terms(cluster));
    let Some(longest) = mapping.clusters().keys().map(held).max() else { return Ok(Vec::new()) };
    let stored = store.refusals(now - longest).await?;
    Ok(stored
        .into_iter()
        .map(|row| Refusals {
            cluster: row.cluster,
            route: row.route,
            gate: row.gate,
            status: u16::try_from(row.status).unwrap_or(403),
            count: row.count.unsigned_abs(),
            last_seen_at_utc: row.last_seen_at_utc,
        })
        .collect())
}

fn recorded(row: StoredGap) -> Gap {
    let count = row.occurrences.unsigned_abs();
    let is_drift = row.kind == EvidenceKind::Drift.word();
    Gap {
        since_utc: row.since_utc,
        until_utc: row.until_utc,
        cluster: Some(row.cluster),
        lost: if is_drift { Lost::Disagreements(count) } else { Lost::Decisions(count) },
        gate: row.gate,
    }
}

fn silenced(gate: SilentGate) -> Gap {
    Gap {
        since_utc: gate.complete_until_utc,
        until_utc: gate.complete_until_utc + SILENT,
        cluster: None,
        lost: Lost::LastSeconds,
        gate: gate.gate,
    }
}

/// The activations that cover the uninterrupted time in shadow of every cluster that is in shadow now.
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

/// The state of `FLAG_RBAC_V2`.
pub(super) async fn flag(store: &SharedStore) -> Result<Flag, StoreError> {
    Ok(match store.rbac_v2_flip().await? {
        None => Flag::NeverFlipped,
        Some(flip) if flip.enabled => Flag::On { since: flip.changed_at_utc },
        Some(_) => Flag::Off,
    })
}

/// Empty if the text is not stored, or was for an older version of the gate: nothing then shows that it was shadow.
pub(super) async fn rollouts(
    store: &SharedStore,
    sha256: &str,
) -> Result<BTreeMap<Arc<str>, Rollout>, StoreError> {
    let text = store.mapping_text(&MappingSha256::new(sha256)).await?.unwrap_or_default();
    Ok(Mapping::parse(sha256, &text).map_or_else(|_| BTreeMap::new(), |mapping| mapping.clusters().clone()))
}

async fn uses_of(store: &SharedStore, cluster: &str, since: DateTime<Utc>) -> Result<Vec<Use>, StoreError> {
    // Only requests judged in shadow are counted, so the hour in which shadow began counts too.
    let stored = store.judged_in_shadow(cluster, DecisionRecord::hour_of(since)).await?;
    let is_admin = |kind: &str| kind == policy::rbac::census::CallerKind::Admin.word();
    Ok(stored
        .into_iter()
        .map(|row| Use {
            route: row.route,
            requests: row.count.unsigned_abs(),
            admin: is_admin(&row.actor_kind).then_some(row.actor_id),
        })
        .collect())
}
