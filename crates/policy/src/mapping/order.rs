//! The order of the cutover: `S8 = { mode = "v2", after = ["S1", "S7"], soaked_hours = 24 }`.
//!
//! A file that flips a cluster to V2 too early is refused, unless the cluster has `override = { reason, ref }`. Pure:
//! the caller passes in the activations and their times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::Reader;
use super::rollout::{ClusterMode, Rollout};
pub use super::rollout::{Excuse, Order};
use super::table::Mapping;
use crate::diagnostic::{Diagnostic, closest};
use crate::span::Unit;

/// Ten years, longer than any real soak.
const MOST_HOURS: u32 = 3_650 * 24;
pub(super) const OVERRIDE_KEYS: [&str; 2] = ["reason", "ref"];

/// The history of one cluster in the activations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterHistory {
    /// Its rollout in the last activated mapping; `None` if that mapping does not contain it.
    pub latest: Option<Rollout>,
    /// When its current uninterrupted time in shadow began.
    pub shadow_since: Option<DateTime<Utc>>,
    /// When its current uninterrupted time with V2 for everyone began.
    pub v2_since: Option<DateTime<Utc>>,
}

/// The history of each cluster that is needed.
pub type History = BTreeMap<Arc<str>, ClusterHistory>;

/// A cluster that a mapping flips to V2 too early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Untimely {
    pub cluster: String,
    /// The unmet conditions, one phrase each.
    pub missing: Vec<String>,
    /// The override. Without one, the mapping is refused.
    #[serde(rename = "override")]
    pub excuse: Option<Excuse>,
    #[serde(skip)]
    place: std::ops::Range<usize>,
}

impl Untimely {
    /// The finding for the file: an error, or a note if there is an override.
    pub fn finding(&self) -> Diagnostic {
        let missing = self.missing.join("; ");
        let cluster = &self.cluster;
        match &self.excuse {
            None => Diagnostic::new(
                "out-of-order",
                self.place.clone(),
                format!("`{cluster}` cannot go to v2 yet: {missing}"),
            )
            .suggest("wait until that is met, or add `override = { reason = \"...\", ref = \"...\" }` to the cluster"),
            Some(Excuse { reason, reference }) => Diagnostic::new(
                "order-overridden",
                self.place.clone(),
                format!("`{cluster}` goes to v2 before its time ({missing}), by override: {reason} ({reference})"),
            ),
        }
    }
}

impl Mapping {
    /// The clusters whose history [`Mapping::untimely`] needs; empty if the file requires no order.
    pub fn ordered_clusters(&self) -> BTreeSet<&Arc<str>> {
        self.orders.iter().flat_map(|(cluster, order)| order.after.iter().chain([cluster])).collect()
    }

    /// The clusters that this mapping would flip to V2 too early, as of `now`. `running` is the mapping that this gate
    /// runs; a cluster that is in V2 there, or in the last activated mapping, is not being flipped.
    pub fn untimely(
        &self,
        running: Option<&Mapping>,
        history: &History,
        now: DateTime<Utc>,
    ) -> Vec<Untimely> {
        let orders = self.orders.iter().filter(|(cluster, _)| self.flips(cluster, running, history));
        let untimely = orders.filter_map(|(cluster, order)| {
            let missing = self.missing(cluster, order, history, now);
            let (excuse, place) = (order.excuse.clone(), order.place.clone());
            (!missing.is_empty()).then(|| Untimely { cluster: cluster.to_string(), missing, excuse, place })
        });
        untimely.collect()
    }

    /// Whether V2 decides the cluster for more callers than before: first for a cohort, then for everyone.
    fn flips(&self, cluster: &Arc<str>, running: Option<&Mapping>, history: &History) -> bool {
        let Some(new) = self.clusters.get(cluster).filter(|new| new.mode == ClusterMode::V2) else {
            return false;
        };
        let has_it =
            |old: &Rollout| old.mode == ClusterMode::V2 && (old.cohort.is_none() || new.cohort.is_some());
        let runs = running.and_then(|running| running.clusters.get(cluster));
        let latest = history.get(cluster).and_then(|history| history.latest.as_ref());
        !runs.into_iter().chain(latest).any(has_it)
    }

    fn missing(
        &self,
        cluster: &Arc<str>,
        order: &Order,
        history: &History,
        now: DateTime<Utc>,
    ) -> Vec<String> {
        let hours = order.soaked_hours;
        let mut missing = Vec::new();
        for earlier in &order.after {
            let rollout = self.clusters.get(earlier).unwrap_or(&Rollout::LEGACY);
            let since = history.get(earlier).and_then(|history| history.v2_since);
            if rollout.mode != ClusterMode::V2 || rollout.cohort.is_some() {
                missing.push(format!("`{earlier}` is {rollout} in this file"));
            } else {
                match since {
                    None => missing.push(format!("`{earlier}` is not in v2 yet")),
                    Some(since) => {
                        missing.extend(
                            short(since, hours, now)
                                .map(|time| format!("`{earlier}` has been in v2 for {time}")),
                        );
                    }
                }
            }
        }
        if hours > 0 {
            match history.get(cluster).and_then(|history| history.shadow_since) {
                None => missing.push(format!("`{cluster}` has been in shadow for 0 of {hours} hours")),
                Some(since) => {
                    missing.extend(
                        short(since, hours, now)
                            .map(|time| format!("`{cluster}` has been in shadow for {time}")),
                    );
                }
            }
        }
        missing
    }
}

/// How much of the time has passed, and when all of it will have; `None` once it has.
fn short(since: DateTime<Utc>, hours: u32, now: DateTime<Utc>) -> Option<String> {
    let end = since + TimeDelta::hours(i64::from(hours));
    let passed = (now - since).num_hours().max(0);
    (now < end).then(|| format!("{passed} of {hours} hours, until {}", end.format("%Y-%m-%d %H:%MZ")))
}

/// The order that a cluster's table requires; `None` if it requires none.
pub(super) fn order(
    reader: &mut Reader,
    name: &str,
    place: std::ops::Range<usize>,
    value: &Spanned<DeValue<'_>>,
    clusters: &DeTable<'_>,
) -> Option<Order> {
    let DeValue::Table(table) = value.get_ref() else { return None };
    let after = match table.get("after") {
        Some(after) => names(reader, name, after, clusters),
        None => BTreeSet::new(),
    };
    let soaked_hours = table
        .get("soaked_hours")
        .and_then(|hours| reader.time(hours, "soaked_hours", Unit::Hours, 1..=MOST_HOURS))
        .unwrap_or_default();
    let is_ordered = table.contains_key("after") || table.contains_key("soaked_hours");
    let excuse = table.get("override").and_then(|excuse| {
        if !is_ordered {
            reader.report(
                Diagnostic::new("contradiction", excuse.span(), "`override` has nothing to override")
                    .suggest("remove it, or say what it overrides: `after` or `soaked_hours`"),
            );
        }
        override_of(reader, excuse)
    });
    is_ordered.then_some(Order { after, soaked_hours, excuse, place })
}

/// The clusters of `after`: each must be in `[clusters]` and differ from the cluster itself.
fn names(
    reader: &mut Reader,
    own: &str,
    after: &Spanned<DeValue<'_>>,
    clusters: &DeTable<'_>,
) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    for name in reader.strings(after, "after").unwrap_or_default() {
        let (place, name) = (name.span(), name.into_inner());
        if name == own {
            let message = format!("`{own}` cannot come after itself");
            reader.report(Diagnostic::new("contradiction", place, message));
        } else if clusters.contains_key(name.as_str()) {
            names.insert(name.into());
        } else {
            let known = clusters.iter().map(|(key, _)| key.get_ref().as_ref()).filter(|known| *known != own);
            let near = closest(&name, known);
            let finding = Diagnostic::new(
                "unknown-cluster",
                place,
                format!("the cluster `{name}` is not in [clusters]"),
            );
            reader.report(match near {
                Some(near) => finding.suggest(format!("did you mean `{near}`?")),
                None => finding.suggest("name clusters of this file"),
            });
        }
    }
    names
}

fn override_of(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Excuse> {
    let table = reader.table(value, "override")?;
    reader.no_unknown_keys(table, &OVERRIDE_KEYS, "`override`");
    let mut needed = |key: &str| {
        let Some(text) = table.get(key) else {
            let message = format!("`override` must name its `{key}`");
            reader.report(Diagnostic::new("missing-key", value.span(), message));
            return None;
        };
        reader.string(text, key)
    };
    let (reason, reference) = (needed("reason"), needed("ref"));
    Some(Excuse { reason: reason?, reference: reference? })
}

/// Clusters that wait for each other: none of them could ever be flipped.
pub(super) fn circles(reader: &mut Reader, orders: &BTreeMap<Arc<str>, Order>) {
    for (cluster, order) in orders {
        let mut seen: BTreeSet<&Arc<str>> = BTreeSet::new();
        let mut pending: Vec<&Arc<str>> = order.after.iter().collect();
        while let Some(next) = pending.pop() {
            if seen.insert(next) {
                pending.extend(orders.get(next).into_iter().flat_map(|order| &order.after));
            }
        }
        if seen.contains(cluster) {
            let message =
                format!("`{cluster}` comes after itself, through others: none of them could go to v2");
            reader.report(Diagnostic::new("contradiction", order.place.clone(), message));
        }
    }
}

#[cfg(test)]
mod tests;
