//! The rollout of a cluster: `legacy`, `shadow` or `v2`, which callers V2 decides first, and when the cluster is ready.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// How a cluster is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClusterMode {
    /// The legacy roles decide.
    Legacy,
    /// The legacy roles decide; V2 is computed too, and disagreements are recorded.
    Shadow,
    /// V2 decides.
    V2,
}

impl ClusterMode {
    /// The words of `[clusters]`.
    pub const WORDS: [(&'static str, ClusterMode); 3] =
        [("legacy", ClusterMode::Legacy), ("shadow", ClusterMode::Shadow), ("v2", ClusterMode::V2)];

    /// The word that the file uses.
    pub fn as_str(self) -> &'static str {
        match self {
            ClusterMode::Legacy => "legacy",
            ClusterMode::Shadow => "shadow",
            ClusterMode::V2 => "v2",
        }
    }
}

/// A cluster's mode, and the cohort for which V2 is enforced before it is enforced for everyone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rollout {
    pub mode: ClusterMode,
    /// Only with [`ClusterMode::V2`]: callers outside the cohort are in shadow.
    pub cohort: Option<Cohort>,
}

impl Rollout {
    /// The rollout of a row without a cluster.
    pub const LEGACY: Rollout = Rollout { mode: ClusterMode::Legacy, cohort: None };

    /// The rollout of a row that only V2 can decide.
    pub const V2: Rollout = Rollout { mode: ClusterMode::V2, cohort: None };

    /// The same mode for everyone.
    pub const fn everybody(mode: ClusterMode) -> Rollout {
        Rollout { mode, cohort: None }
    }

    /// The mode for a caller with this id in these groups.
    pub fn mode_for(&self, id: &str, groups: &BTreeSet<Arc<str>>) -> ClusterMode {
        match &self.cohort {
            Some(cohort) => self.mode_at(groups, (cohort.percent > 0).then(|| percentile(id))),
            None => self.mode,
        }
    }

    /// The mode for a caller at this [`percentile`]. Without one, only the groups count, or a share of 100 %.
    pub fn mode_at(&self, groups: &BTreeSet<Arc<str>>, percentile: Option<u64>) -> ClusterMode {
        match &self.cohort {
            Some(cohort) if !cohort.holds(groups, percentile) => ClusterMode::Shadow,
            _ => self.mode,
        }
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mode.as_str())?;
        let Some(cohort) = &self.cohort else { return Ok(()) };
        let groups = cohort.groups.iter().map(ToString::to_string);
        let share = (cohort.percent > 0).then(|| format!("{} % of admins", cohort.percent));
        let all: Vec<String> = groups.chain(share).collect();
        write!(f, " for {}, shadow for the rest", all.join(" and "))
    }
}

/// The callers for which V2 is enforced first: the members of some groups, and a share of all callers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cohort {
    pub groups: BTreeSet<Arc<str>>,
    /// 0 to 100. An admin within 10 % is within 20 % too, in every cluster and every gate.
    pub percent: u8,
}

impl Cohort {
    fn holds(&self, groups: &BTreeSet<Arc<str>>, percentile: Option<u64>) -> bool {
        self.percent >= 100
            || !self.groups.is_disjoint(groups)
            || percentile.is_some_and(|place| place < u64::from(self.percent))
    }
}

/// The position of an id among a hundred equal shares, 0 to 99: always the same for the same id.
pub fn percentile(id: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(id.as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 100
}

/// The conditions for flipping a cluster to V2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The clusters that V2 has to decide first.
    pub after: BTreeSet<Arc<str>>,
    /// The minimum time: for the clusters in `after` with V2, and for the cluster itself in shadow.
    pub soaked_hours: u32,
    /// Why it may be flipped too early.
    pub excuse: Option<Excuse>,
    /// The place in the file where the cluster is named.
    pub(super) place: std::ops::Range<usize>,
}

/// `override = { reason = "...", ref = "..." }`: why a cluster may be flipped to V2 too early.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Excuse {
    pub reason: String,
    /// Where the reason is recorded.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// When a cluster in shadow is ready for V2 (product: "its soak gate").
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SoakTerms {
    /// Uninterrupted days in shadow.
    pub shadow_days: u32,
    /// Hours since the last unexplained disagreement.
    pub quiet_hours: u32,
    /// Requests that both gates decided.
    pub requests: u32,
    /// Different admins of each legacy role that the cluster's rows name; all of them, for a role with fewer holders.
    pub admins: u32,
}

impl Default for SoakTerms {
    fn default() -> Self {
        SoakTerms { shadow_days: 7, quiet_hours: 48, requests: 1_000, admins: 3 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn groups(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn cohort(names: &[&str], percent: u8) -> Rollout {
        Rollout { mode: ClusterMode::V2, cohort: Some(Cohort { groups: groups(names), percent }) }
    }

    #[test]
    fn a_cohort_is_its_groups_and_its_share_and_the_rest_is_in_shadow() {
        let by_group = cohort(&["ops-admins"], 0);
        assert_eq!(by_group.mode_for("anna", &groups(&["ops-admins", "x"])), ClusterMode::V2);
        assert_eq!(by_group.mode_for("anna", &groups(&["x"])), ClusterMode::Shadow);
        assert_eq!(cohort(&[], 100).mode_for("anna", &groups(&[])), ClusterMode::V2);
        assert_eq!(cohort(&[], 100).mode_at(&groups(&[]), None), ClusterMode::V2);
        assert_eq!(cohort(&[], 99).mode_at(&groups(&[]), None), ClusterMode::Shadow);
        assert_eq!(Rollout::everybody(ClusterMode::V2).mode_for("anna", &groups(&[])), ClusterMode::V2);
        assert_eq!(Rollout::LEGACY.mode_for("anna", &groups(&["ops-admins"])), ClusterMode::Legacy);
        let words = cohort(&["ops-admins"], 10).to_string();
        assert_eq!(words, "v2 for ops-admins and 10 % of admins, shadow for the rest");
    }

    #[test]
    fn a_share_of_ten_in_a_hundred_is_about_that() {
        let share = cohort(&[], 10);
        let none = groups(&[]);
        let enforced =
            (0..10_000).filter(|id| share.mode_for(&format!("admin-{id}"), &none) == ClusterMode::V2).count();
        assert!((900..1_100).contains(&enforced), "{enforced} of 10,000");
    }

    proptest! {
        /// Widening a cohort takes nobody out of it.
        #[test]
        fn an_admin_in_a_small_share_is_in_every_larger_one(id in ".{0,20}", small in 0..=100_u8, more in 0..=100_u8) {
            let none = groups(&[]);
            let large = small.max(more);
            if cohort(&[], small).mode_for(&id, &none) == ClusterMode::V2 {
                prop_assert_eq!(cohort(&[], large).mode_for(&id, &none), ClusterMode::V2);
            }
        }
    }
}
