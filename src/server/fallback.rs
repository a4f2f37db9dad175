//! Clusters that are on V2 in the mapping but decided by their legacy gate: because `FLAG_RBAC_V2` is off, or was not
//! promoted to production. It is reported in the log and as a metric.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use policy::decision::Control;
use policy::mapping::{ClusterMode, Mapping};
use store::SharedStore;
use tokio::time::{MissedTickBehavior, interval};

use crate::activation::MappingHolder;
use crate::freshness::{AccessResolver, Posture};

const LOOK: Duration = Duration::from_secs(5);

/// Why clusters that are on V2 are not decided by it.
const REASONS: [&str; 2] = ["flag_off", "not_promoted"];

/// Looks until the task is dropped.
pub(super) async fn follow(
    store: SharedStore,
    mappings: Arc<MappingHolder>,
    access: Arc<AccessResolver>,
    posture: Posture,
) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: BTreeMap<String, &'static str> = BTreeMap::new();
    let mut switches = None;
    loop {
        ticks.tick().await;
        // While the database is unavailable nothing is decided by a role anyway, and readiness reports it.
        let Ok(row) = store.control().await else { continue };
        access.saw(&row);
        let control = posture.control(&row);
        let Control { rbac_v2, may_enforce, .. } = control;
        if switches.replace((rbac_v2, may_enforce)) != Some((rbac_v2, may_enforce)) {
            tracing::info!(
                rbac_v2,
                may_enforce,
                "FLAG_RBAC_V2, and whether V2 may decide in this environment"
            );
        }
        let fallen = fallen_back(&mappings.running(), &control);
        report(&known, &fallen);
        known = fallen;
    }
}

/// The clusters and their reasons.
pub(crate) fn fallen_back(mapping: &Mapping, control: &Control) -> BTreeMap<String, &'static str> {
    let reason = match (control.rbac_v2, control.may_enforce) {
        (false, _) => "flag_off",
        (true, false) => "not_promoted",
        (true, true) => return BTreeMap::new(),
    };
    let on_v2 = mapping.clusters().iter().filter(|(_, rollout)| rollout.mode == ClusterMode::V2);
    on_v2.map(|(name, _)| (name.to_string(), reason)).collect()
}

fn report(known: &BTreeMap<String, &'static str>, fallen: &BTreeMap<String, &'static str>) {
    for cluster in known.keys().chain(fallen.keys()) {
        for reason in REASONS {
            let holds = fallen.get(cluster) == Some(&reason);
            gauge!("gate_cluster_fallback", "cluster" => cluster.clone(), "reason" => reason).set(if holds {
                1.0
            } else {
                0.0
            });
        }
    }
    if known == fallen {
        return;
    }
    let clusters: Vec<&str> = fallen.keys().map(String::as_str).collect();
    let clusters = clusters.join(", ");
    match fallen.values().next() {
        Some(&"not_promoted") => tracing::warn!(
            %clusters,
            "these clusters are on V2, and their legacy gate decides: FLAG_RBAC_V2 is not promoted to production \
             (`console-gate promote --environment production`)"
        ),
        Some(_) => tracing::warn!(
            %clusters,
            "these clusters are on V2, and their legacy gate decides: FLAG_RBAC_V2 is off (`console-gate flag rbac-v2 on`)"
        ),
        None => tracing::info!("every cluster that is on V2 is decided by V2"),
    }
}

#[cfg(test)]
mod tests {
    use policy::ids::Epoch;

    use super::*;

    #[test]
    fn clusters_on_v2_fall_back_for_a_reason() {
        let text = "version = 1\n[clusters]\nA = \"v2\"\nB = \"shadow\"\nC = \"legacy\"\n";
        let mapping = Mapping::parse("routes.toml", text).unwrap();
        for (rbac_v2, may_enforce, expected) in [
            (true, true, None),
            (true, false, Some("not_promoted")),
            (false, true, Some("flag_off")),
            (false, false, Some("flag_off")),
        ] {
            let control = Control { epoch: Epoch(1), rbac_v2, may_enforce };
            let expected: BTreeMap<_, _> =
                expected.map(|reason| ("A".to_owned(), reason)).into_iter().collect();
            assert_eq!(fallen_back(&mapping, &control), expected);
        }
    }
}
