//! `[clusters]` and `[soak]`: the rollout of each cluster, and when the cluster is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::order::{self, Order};
use super::reader::Reader;
use super::rollout::{ClusterMode, Cohort, Rollout, SoakTerms};
use super::table::SoakTable;
use crate::diagnostic::{Diagnostic, closest};
use crate::span::Unit;

pub(super) const CLUSTER_KEYS: [&str; 6] = ["mode", "groups", "percent", "after", "soaked_hours", "override"];
pub(super) const SOAK_KEYS: [&str; 4] = ["shadow_days", "quiet_hours", "requests", "admins"];

pub(super) type Clusters = BTreeMap<Arc<str>, Rollout>;

/// Every cluster that the file names, valid or not, so that the blueprints of an invalid one are not reported as well.
pub(super) fn clusters(reader: &mut Reader, root: &DeTable<'_>) -> Clusters {
    let mut clusters = Clusters::new();
    let Some(value) = root.get("clusters") else { return clusters };
    let Some(table) = reader.table(value, "clusters") else { return clusters };
    for (name, value) in table.iter() {
        let rollout = rollout(reader, value).unwrap_or(Rollout::LEGACY);
        clusters.insert(Arc::from(name.get_ref().as_ref()), rollout);
    }
    clusters
}

/// The order in which clusters may be flipped to V2.
pub(super) fn orders(reader: &mut Reader, root: &DeTable<'_>) -> BTreeMap<Arc<str>, Order> {
    let mut orders = BTreeMap::new();
    // A value that is not a table has already been reported with the rollouts.
    let Some(DeValue::Table(table)) = root.get("clusters").map(Spanned::get_ref) else { return orders };
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if let Some(order) = order::order(reader, name, key.span(), value, table) {
            orders.insert(Arc::from(name), order);
        }
    }
    order::circles(reader, &orders);
    orders
}

/// `"v2"`, or `{ mode = "v2", groups = ["ops-admins"], percent = 10 }`.
fn rollout(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Rollout> {
    let DeValue::Table(table) = value.get_ref() else {
        return Some(Rollout::everybody(reader.word(value, "a cluster", &ClusterMode::WORDS)?));
    };
    reader.no_unknown_keys(table, &CLUSTER_KEYS, "a cluster");
    let Some(word) = table.get("mode") else {
        reader.report(Diagnostic::new("missing-key", value.span(), "a cluster must name its `mode`"));
        return None;
    };
    let mode = reader.word(word, "mode", &ClusterMode::WORDS)?;
    let groups = match table.get("groups") {
        Some(groups) => {
            reader.strings(groups, "groups")?.into_iter().map(|name| name.into_inner().into()).collect()
        }
        None => BTreeSet::new(),
    };
    let percent = match table.get("percent") {
        Some(percent) => u8::try_from(reader.integer(percent, "percent", 0..=100)?).ok()?,
        None => 0,
    };
    let is_cohort = table.contains_key("groups") || table.contains_key("percent");
    if is_cohort && mode != ClusterMode::V2 {
        reader.report(
            Diagnostic::new("contradiction", value.span(), "`groups` and `percent` select who gets V2 first")
                .suggest("write `mode = \"v2\"`: everyone else stays in shadow"),
        );
        return None;
    }
    if is_cohort && groups.is_empty() && percent == 0 {
        reader.report(
            Diagnostic::new("empty-cohort", value.span(), "the cohort is empty")
                .suggest("write `\"shadow\"`, or name groups or a percentage"),
        );
        return None;
    }
    Some(Rollout { mode, cohort: is_cohort.then_some(Cohort { groups, percent }) })
}

/// `[soak]` for all, `[soak.S3]` for one cluster: thresholds that it leaves out are as for all.
pub(super) fn soak(reader: &mut Reader, root: &DeTable<'_>, clusters: &Clusters) -> SoakTable {
    let mut soak = SoakTable::default();
    let Some(value) = root.get("soak") else { return soak };
    let Some(table) = reader.table(value, "soak") else { return soak };
    soak.of_all = terms(reader, table, SoakTerms::default());
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if SOAK_KEYS.contains(&name) {
            continue;
        }
        if !clusters.contains_key(name) {
            let known = SOAK_KEYS.into_iter().chain(clusters.keys().map(AsRef::as_ref));
            let finding = Diagnostic::new(
                "unknown-key",
                key.span(),
                format!("`{name}` is neither a threshold nor a cluster"),
            );
            reader.report(match closest(name, known) {
                Some(near) => finding.suggest(format!("did you mean `{near}`?")),
                None => finding.suggest(format!("the thresholds are {}", SOAK_KEYS.join(", "))),
            });
            continue;
        }
        let Some(of_cluster) = reader.table(value, "the thresholds of a cluster") else { continue };
        reader.no_unknown_keys(of_cluster, &SOAK_KEYS, "the thresholds of a cluster");
        let terms = terms(reader, of_cluster, soak.of_all);
        soak.of_clusters.insert(name.into(), terms);
    }
    soak
}

fn terms(reader: &mut Reader, table: &DeTable<'_>, otherwise: SoakTerms) -> SoakTerms {
    let mut number = |key: &str, unit: Option<Unit>, most: u32, otherwise: u32| {
        let read = |value| match unit {
            Some(unit) => reader.time(value, key, unit, 0..=most),
            None => reader.integer(value, key, 0..=most),
        };
        table.get(key).and_then(read).unwrap_or(otherwise)
    };
    // Ten years, longer than any real soak.
    const DAYS: u32 = 3_650;
    SoakTerms {
        shadow_days: number("shadow_days", Some(Unit::Days), DAYS, otherwise.shadow_days),
        quiet_hours: number("quiet_hours", Some(Unit::Hours), DAYS * 24, otherwise.quiet_hours),
        requests: number("requests", None, u32::MAX, otherwise.requests),
        admins: number("admins", None, u32::MAX, otherwise.admins),
    }
}
