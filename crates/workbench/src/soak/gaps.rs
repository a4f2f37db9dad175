//! Where evidence is missing, and for how long that holds a cluster back.
//!
//! The missing part may have been an unexplained disagreement. It blocks the cluster as one would: for its quiet hours,
//! and for an hour at least.

use chrono::{DateTime, TimeDelta, Utc};
use policy::mapping::rollout::SoakTerms;
use serde::Serialize;

/// Gaps that are listed one by one; there may be one a minute.
const MOST_LISTED: usize = 3;

/// A time of which something is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub since_utc: DateTime<Utc>,
    pub until_utc: DateTime<Utc>,
    /// `None`: it may be about any cluster.
    pub cluster: Option<String>,
    pub lost: Lost,
    /// The gate, by host and process id.
    pub gate: String,
}

/// What was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// This many disagreements were not kept.
    Disagreements(u64),
    /// This many requests were not counted.
    Decisions(u64),
    /// The gate ended, or was cut off, before it had written what it saw last.
    LastSeconds,
}

impl Gap {
    fn held_until(&self, terms: &SoakTerms) -> DateTime<Utc> {
        self.until_utc + TimeDelta::hours(i64::from(terms.quiet_hours.max(1)))
    }

    fn phrase(&self, terms: &SoakTerms) -> String {
        let time = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%SZ").to_string();
        let gate = &self.gate;
        let what = match self.lost {
            Lost::Disagreements(count) => format!("{count} disagreement(s) of {gate} were not recorded"),
            Lost::Decisions(count) => format!("{count} request(s) of {gate} were not counted"),
            Lost::LastSeconds => format!("{gate} stopped without reporting"),
        };
        format!(
            "evidence was lost between {} and {}: {what}; not ready until {}",
            time(self.since_utc),
            time(self.until_utc),
            self.held_until(terms).format("%Y-%m-%d %H:%MZ")
        )
    }
}

/// The gaps that hold a cluster, the latest first.
pub(super) fn holding(
    gaps: &[Gap],
    cluster: &str,
    shadow_since: DateTime<Utc>,
    terms: &SoakTerms,
    now: DateTime<Utc>,
) -> Vec<Gap> {
    let mut holding: Vec<Gap> = gaps
        .iter()
        .filter(|gap| gap.cluster.as_deref().is_none_or(|of| of == cluster))
        .filter(|gap| gap.until_utc >= shadow_since && now < gap.held_until(terms))
        .cloned()
        .collect();
    holding.sort_by_key(|gap| std::cmp::Reverse(gap.until_utc));
    holding
}

/// What they are to an operator, a phrase each.
pub fn phrases(gaps: &[Gap], terms: &SoakTerms) -> Vec<String> {
    let mut phrases: Vec<String> = gaps.iter().take(MOST_LISTED).map(|gap| gap.phrase(terms)).collect();
    if gaps.len() > MOST_LISTED {
        phrases.push(format!("{} more period(s) with lost evidence", gaps.len() - MOST_LISTED));
    }
    phrases
}
