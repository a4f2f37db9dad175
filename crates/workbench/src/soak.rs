//! The soak gate of a cluster: whether the cluster has been in shadow for long enough, quietly enough and with enough
//! traffic to switch to V2. The thresholds are those of the running mapping: a change that promotes a cluster cannot
//! lower them first.

pub mod gaps;
pub mod refusals;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Sub;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use policy::mapping::rollout::SoakTerms;
use policy::mapping::{ClusterMode, Mapping, Rollout, Row, RowKind, V2Gate};
use policy::rbac::LegacyRole;
use policy::rbac::census::{CallerKind, Person};
use serde::Serialize;

pub use self::gaps::{Gap, Lost};
pub use self::refusals::Refusals;
use crate::drift::Disagreement;

/// A mapping that took effect.
#[derive(Clone, Debug)]
pub struct Activation {
    pub at: DateTime<Utc>,
    /// The rollout of each cluster; empty if the text can no longer be read.
    pub rollouts: BTreeMap<Arc<str>, Rollout>,
}

/// The value of `FLAG_RBAC_V2` in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It was never flipped: each gate has the value with which it was started.
    NeverFlipped,
    On {
        since: DateTime<Utc>,
    },
    Off,
}

/// How often both gates judged a caller on a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub route: String,
    /// `None` for a caller that is not an admin.
    pub admin: Option<String>,
    pub requests: u64,
}

/// Requests whose disagreements were not recorded individually, because there were too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overflow {
    pub cluster: String,
    pub direction: policy::decision::Direction,
    pub count: i64,
    pub first_seen_at_utc: DateTime<Utc>,
    pub last_seen_at_utc: DateTime<Utc>,
}

/// All known evidence, as of `now`.
pub struct Evidence<'e> {
    pub mapping: &'e Mapping,
    /// When each cluster's present time in shadow began: see [`shadow_since`].
    pub shadow_since: &'e BTreeMap<Arc<str>, DateTime<Utc>>,
    pub flag: Flag,
    pub disagreements: &'e [Disagreement],
    pub overflow: &'e [Overflow],
    /// The gaps in the recorded counts.
    pub gaps: &'e [Gap],
    /// Console's recent refusals of requests that either gate, V2 or legacy, had permitted.
    pub refusals: &'e [Refusals],
    /// For each cluster, since its present time in shadow began.
    pub uses: &'e BTreeMap<Arc<str>, Vec<Use>>,
    pub people: &'e [Person],
    pub now: DateTime<Utc>,
}

/// Whether a cluster may be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Nothing is missing.
    Ready,
    NotReady,
    /// It is on its legacy gate, and is not meant to be in shadow: there is no trial.
    Legacy,
    /// V2 already decides for everyone.
    Enforced,
    /// V2 decides for everyone, and Console refuses requests that V2 allows.
    Refused,
}

impl Readiness {
    /// The word for human readers.
    pub const fn word(self) -> &'static str {
        match self {
            Readiness::Ready => "ready",
            Readiness::NotReady => "not ready",
            Readiness::Legacy => "not in shadow",
            Readiness::Enforced => "enforced",
            Readiness::Refused => "refused by Console",
        }
    }
}

/// The gate of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterState {
    pub cluster: String,
    /// `shadow`, or `v2 for ops-admins, shadow for the rest`.
    pub rollout: String,
    pub verdict: Readiness,
    /// The unmet conditions, one phrase each.
    pub missing: Vec<String>,
    pub terms: SoakTerms,
    /// `None` if the cluster is not in shadow.
    pub shadow: Option<Shadow>,
    /// Recent answers of Console with 401, 403 or a redirect to its login page to requests that V2 or the legacy gate
    /// had permitted, the most frequent first. Only those to requests that V2 permitted hold the cluster back.
    pub refusals: Vec<Refusals>,
}

/// The observations since a cluster's present time in shadow began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shadow {
    pub since_utc: DateTime<Utc>,
    /// Whole days.
    pub days: u32,
    /// The last unexplained drift, or otherwise the beginning.
    pub quiet_since_utc: DateTime<Utc>,
    /// Whole hours.
    pub quiet_hours: u32,
    /// Unexplained disagreements, regardless of their age.
    pub unexplained: usize,
    /// Disagreements with a valid sign-off.
    pub signed_off: usize,
    /// Periods with missing evidence, the latest first, as long as they hold the cluster back.
    pub evidence_lost: Vec<Gap>,
    /// Requests that both gates judged on rows that the mapping still contains.
    pub requests: u64,
    /// One entry for each legacy role that the cluster's rows name.
    pub admins: Vec<RoleUse>,
    /// Rows that wait for an operator's decision: they stay on their legacy gate, and these observations do not include
    /// them.
    pub undecided_rows: usize,
}

/// How many holders of a legacy role were observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleUse {
    pub role: String,
    pub seen: usize,
    /// The threshold, or the number of holders of the role that are in shadow, whichever is lower.
    pub needed: usize,
}

/// Whether any caller is in shadow under this rollout: all callers, or all outside a cohort.
pub fn is_in_shadow(rollout: &Rollout) -> bool {
    rollout.mode == ClusterMode::Shadow || rollout.cohort.is_some()
}

/// When a cluster's present uninterrupted time in shadow began. `None` if it is not in shadow in the latest activation,
/// or the kill-switch is off. `activations` are sorted by time, the latest first.
pub fn shadow_since(cluster: &str, activations: &[Activation], flag: Flag) -> Option<DateTime<Utc>> {
    unbroken_since(cluster, activations, flag, is_in_shadow)
}

/// When a cluster's present uninterrupted time with V2 for everyone began; `None` as for [`shadow_since`].
pub fn v2_since(cluster: &str, activations: &[Activation], flag: Flag) -> Option<DateTime<Utc>> {
    let is_v2 = |rollout: &Rollout| rollout.mode == ClusterMode::V2 && rollout.cohort.is_none();
    unbroken_since(cluster, activations, flag, is_v2)
}

fn unbroken_since(
    cluster: &str,
    activations: &[Activation],
    flag: Flag,
    is_so: impl Fn(&Rollout) -> bool,
) -> Option<DateTime<Utc>> {
    let unbroken =
        activations.iter().take_while(|activation| activation.rollouts.get(cluster).is_some_and(&is_so));
    let since = unbroken.last()?.at;
    match flag {
        Flag::NeverFlipped => Some(since),
        // While it was off, V2 was not computed.
        Flag::On { since: flipped } => Some(since.max(flipped)),
        Flag::Off => None,
    }
}

/// The soak gate of every cluster that the mapping names, sorted by name.
pub fn states(evidence: &Evidence<'_>) -> Vec<ClusterState> {
    evidence.mapping.clusters().iter().map(|(cluster, rollout)| state(evidence, cluster, rollout)).collect()
}

fn state(evidence: &Evidence<'_>, cluster: &Arc<str>, rollout: &Rollout) -> ClusterState {
    let terms = evidence.mapping.soak_terms(cluster);
    let since = evidence.shadow_since.get(cluster).copied().filter(|_| is_in_shadow(rollout));
    let shadow = since.map(|since| shadow(evidence, cluster, rollout, &terms, since));
    let refusals = refusals::of_late(evidence.refusals, cluster, &terms, evidence.now);
    let refused = refusals::phrase(&refusals, &terms);
    let mut missing = match (&shadow, rollout.mode) {
        (Some(shadow), _) => missing(shadow, &terms),
        (None, ClusterMode::Legacy) => vec!["the cluster is in legacy mode".to_owned()],
        (None, _) if evidence.flag == Flag::Off => vec!["FLAG_RBAC_V2 is off".to_owned()],
        (None, ClusterMode::V2) if rollout.cohort.is_none() => Vec::new(),
        (None, _) => vec!["no gate has activated the cluster in shadow".to_owned()],
    };
    let is_enforced = missing.is_empty() && shadow.is_none();
    let is_refused = refused.is_some();
    missing.extend(refused);
    let verdict = match (missing.is_empty(), &shadow) {
        _ if is_enforced && is_refused => Readiness::Refused,
        (false, _) if !is_in_shadow(rollout) => Readiness::Legacy,
        (false, _) => Readiness::NotReady,
        (true, Some(_)) => Readiness::Ready,
        (true, None) => Readiness::Enforced,
    };
    ClusterState {
        cluster: cluster.to_string(),
        rollout: rollout.to_string(),
        verdict,
        missing,
        terms,
        shadow,
        refusals,
    }
}

fn shadow(
    evidence: &Evidence<'_>,
    cluster: &Arc<str>,
    rollout: &Rollout,
    terms: &SoakTerms,
    since: DateTime<Utc>,
) -> Shadow {
    let of_cluster = |row: &&Row| row.cluster.as_ref() == Some(cluster);
    let (decided, undecided): (Vec<&Row>, Vec<&Row>) =
        evidence.mapping.rows().iter().filter(of_cluster).filter(|row| is_gated(row)).partition(is_decided);
    let routes: BTreeSet<&str> = decided.iter().map(|row| &*row.route).collect();
    let uses: Vec<&Use> = evidence
        .uses
        .get(cluster)
        .into_iter()
        .flatten()
        .filter(|one| routes.contains(one.route.as_str()))
        .collect();
    let drift = || evidence.disagreements.iter().filter(|drift| drift.cluster == **cluster);
    let unexplained = || drift().filter(|drift| !drift.is_explained());
    let overflow = evidence.overflow.iter().filter(|overflow| overflow.cluster == **cluster);
    let last_unexplained = unexplained()
        .map(|drift| drift.last_seen_at_utc)
        .chain(overflow.map(|one| one.last_seen_at_utc))
        .max();
    let quiet_since = last_unexplained.map_or(since, |last| last.max(since));
    Shadow {
        since_utc: since,
        days: whole(evidence.now - since, TimeDelta::days(1)),
        quiet_since_utc: quiet_since,
        quiet_hours: whole(evidence.now - quiet_since, TimeDelta::hours(1)),
        unexplained: unexplained().count(),
        signed_off: drift().filter(|drift| drift.is_explained()).count(),
        evidence_lost: gaps::holding(evidence.gaps, cluster, since, terms, evidence.now),
        requests: uses.iter().map(|one| one.requests).sum(),
        admins: admins(evidence.people, rollout, terms, &decided, &uses),
        undecided_rows: undecided.len(),
    }
}

fn is_gated(row: &Row) -> bool {
    matches!(row.kind, RowKind::Gated { .. })
}

fn is_decided(row: &&Row) -> bool {
    matches!(row.kind, RowKind::Gated { v2: V2Gate::Requires { .. }, .. })
}

fn whole(time: TimeDelta, unit: TimeDelta) -> u32 {
    u32::try_from(time.num_seconds() / unit.num_seconds()).unwrap_or(0)
}

fn admins(
    people: &[Person],
    rollout: &Rollout,
    terms: &SoakTerms,
    rows: &[&Row],
    uses: &[&Use],
) -> Vec<RoleUse> {
    let named: BTreeSet<&LegacyRole> = rows
        .iter()
        .filter_map(|row| match &row.kind {
            RowKind::Gated { legacy, .. } => legacy.as_deref(),
            _ => None,
        })
        .flatten()
        .collect();
    let callers: BTreeSet<&str> = uses.iter().filter_map(|one| one.admin.as_deref()).collect();
    // V2 already decides for members of the cohort, so shadow mode cannot observe them.
    let in_shadow: Vec<&Person> = people
        .iter()
        .filter(|person| person.kind == CallerKind::Admin)
        .filter(|person| rollout.mode_for(&person.id, &person.groups) == ClusterMode::Shadow)
        .collect();
    let role_use = |role: &LegacyRole| {
        let holders: Vec<&&Person> = in_shadow.iter().filter(|person| person.legacy.contains(role)).collect();
        RoleUse {
            role: role.to_string(),
            seen: holders.iter().filter(|person| callers.contains(&*person.id)).count(),
            needed: holders.len().min(terms.admins as usize),
        }
    };
    named.into_iter().map(role_use).collect()
}

/// The missing number, with the present one: `46 more hours (2 of 48)`.
fn more<T: fmt::Display + Copy + PartialEq + From<u8> + Sub<Output = T>>(
    have: T,
    need: T,
    what: &str,
) -> String {
    let missing = need - have;
    let plural = if missing == T::from(1) { "" } else { "s" };
    format!("{missing} more {what}{plural} ({have} of {need})")
}

fn missing(shadow: &Shadow, terms: &SoakTerms) -> Vec<String> {
    let mut missing = Vec::new();
    let until = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%MZ");
    if shadow.days < terms.shadow_days {
        let end = shadow.since_utc + TimeDelta::days(i64::from(terms.shadow_days));
        missing.push(format!(
            "{} in shadow, until {}",
            more(shadow.days, terms.shadow_days, "day"),
            until(end)
        ));
    }
    if shadow.quiet_hours < terms.quiet_hours {
        let end = shadow.quiet_since_utc + TimeDelta::hours(i64::from(terms.quiet_hours));
        let hours = more(shadow.quiet_hours, terms.quiet_hours, "hour");
        missing.push(format!("{hours} without unexplained drift, until {}", until(end)));
    }
    missing.extend(gaps::phrases(&shadow.evidence_lost, terms));
    if shadow.requests < u64::from(terms.requests) {
        let requests = more(shadow.requests, u64::from(terms.requests), "request");
        missing.push(format!("{requests} that both gates decided"));
    }
    for RoleUse { role, seen, needed } in &shadow.admins {
        if seen < needed {
            missing.push(format!("{} with the legacy role {role}", more(*seen, *needed, "admin")));
        }
    }
    missing
}

#[cfg(test)]
mod tests;
