//! `[reviews]`: reviews of access.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::reviews::Overdue;

use super::times;

/// Reviews of access.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reviews {
    /// How often one is opened; 0: only by `console-gate review open`.
    #[serde(deserialize_with = "times::days")]
    #[schemars(with = "times::Time")]
    pub period_days: u32,
    /// For how long its items can be decided.
    #[serde(deserialize_with = "times::days")]
    #[schemars(with = "times::Time")]
    pub due_days: u32,
    /// What happens to items undecided by then.
    pub overdue: Overdue,
    /// The same for single groups.
    pub groups: BTreeMap<String, Overdue>,
}

impl Default for Reviews {
    fn default() -> Self {
        Reviews { period_days: 0, due_days: 14, overdue: Overdue::Keep, groups: BTreeMap::new() }
    }
}

impl Reviews {
    /// The section's mistakes.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if !(1..=365).contains(&self.due_days) {
            mistakes.push("`due_days` must be from 1 to 365".to_owned());
        }
        if self.period_days > 3_650 || (self.period_days > 0 && self.period_days < self.due_days) {
            mistakes.push("`period_days` must be from `due_days` to 3650; 0 opens none".to_owned());
        }
        mistakes
    }
}
