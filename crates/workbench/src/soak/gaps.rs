//! Where evidence is missing, and how long that holds a cluster back.
//!
//! The missing part may have contained an unexplained disagreement. So it blocks the cluster as one would: for its
//! quiet hours, and at least an hour.

use chrono::{DateTime, TimeDelta, Utc};
use policy::mapping::rollout::SoakTerms;
use serde::Serialize;

/// The most gaps that are listed one by one; there may be one per minute.
const MOST_LISTED: usize = 3;

/// A period with missing evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub since_utc: DateTime<Utc>,
    pub until_utc: DateTime<Utc>,
    /// `None` if it may affect any cluster.
    pub cluster: Option<String>,
    pub lost: Lost,
    /// The gate, by host and process id.
    pub gate: String,
}

/// The lost evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// This many disagreements were not recorded.
    Disagreements(u64),
    /// This many requests were not counted.
    Decisions(u64),
    /// The gate stopped, or was cut off, before it had written its last observations.
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

/// The gaps that hold a cluster back, the latest first.
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

/// The gaps for an operator, one phrase each.
pub fn phrases(gaps: &[Gap], terms: &SoakTerms) -> Vec<String> {
    let mut phrases: Vec<String> = gaps.iter().take(MOST_LISTED).map(|gap| gap.phrase(terms)).collect();
    if gaps.len() > MOST_LISTED {
        phrases.push(format!("{} more period(s) with lost evidence", gaps.len() - MOST_LISTED));
    }
    phrases
}
