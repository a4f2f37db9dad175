//! The people that probes state: one for each set of grants that a case needs. No database contains them.

use std::collections::BTreeMap;

use policy::identity::Stated;
use policy::mapping::rollout::percentile;
use workbench::verify::{Holding, LAST_PERCENTILE, Plan, Who};

/// The people of one run.
pub(super) struct People {
    by_holding: BTreeMap<Holding, Stated>,
}

impl People {
    /// Creates one person for each set of grants.
    pub(super) fn of(plan: &Plan<'_>) -> People {
        let run = uuid::Uuid::now_v7().simple().to_string();
        let mut by_holding = BTreeMap::new();
        for case in &plan.cases {
            if let Who::Admin(holding) = &case.who
                && !by_holding.contains_key(holding)
            {
                let number = by_holding.len();
                by_holding.insert(holding.clone(), person(&run, number, holding));
            }
        }
        People { by_holding }
    }

    pub(super) fn with(&self, holding: &Holding) -> Option<&Stated> {
        self.by_holding.get(holding)
    }
}

fn person(run: &str, number: usize, holding: &Holding) -> Stated {
    let name = format!("{}{run}-{number}", Stated::PREFIX);
    // An id outside of every cohort that is a share of all admins, so that the mode of each row is known.
    let id = (0_u32..)
        .map(|attempt| format!("{name}-{attempt}"))
        .find(|id| percentile(id) == LAST_PERCENTILE)
        .unwrap_or(name);
    Stated {
        id,
        legacy: holding.legacy.iter().map(|role| role.as_str().to_owned()).collect(),
        groups: std::collections::BTreeSet::new(),
        roles: holding.roles.iter().map(ToString::to_string).collect(),
    }
}
