//! Throwaway admins: one for each set of grants that a case needs.

use std::collections::BTreeMap;

use policy::ids::{AdminId, SessionId};
use policy::mapping::rollout::percentile;
use workbench::verify::{Holding, LAST_PERCENTILE, Plan, Who};

use crate::store::people::NewPerson;
use crate::store::{SharedStore, StoreError};

/// What the ids and groups of throwaway people begin with.
const PREFIX: &str = "gate-verify-";

/// Those of one run.
pub(super) struct People {
    by_holding: BTreeMap<Holding, NewPerson>,
}

impl People {
    /// Adds them, and removes what an earlier run may have left.
    pub(super) async fn make(
        store: &SharedStore,
        plan: &Plan<'_>,
        keeps_sessions: bool,
    ) -> Result<People, StoreError> {
        store.remove_people(PREFIX).await?;
        let run = uuid::Uuid::now_v7().simple().to_string();
        let mut by_holding = BTreeMap::new();
        for case in &plan.cases {
            if let Who::Admin(holding) = &case.who
                && !by_holding.contains_key(holding)
            {
                let number = by_holding.len();
                by_holding.insert(holding.clone(), person(&run, number, holding, keeps_sessions));
            }
        }
        let people = People { by_holding };
        if let Err(error) = people.add(store).await {
            let _ = people.remove(store).await;
            return Err(error);
        }
        Ok(people)
    }

    async fn add(&self, store: &SharedStore) -> Result<(), StoreError> {
        for (holding, person) in &self.by_holding {
            let roles: Vec<&str> = holding.roles.iter().map(AsRef::as_ref).collect();
            for group in &person.groups {
                store.add_group(group, &roles).await?;
            }
        }
        let people: Vec<NewPerson> = self.by_holding.values().cloned().collect();
        store.add_people(&people, "console-gate verify").await
    }

    /// Takes them away again.
    pub(super) async fn remove(&self, store: &SharedStore) -> Result<u64, StoreError> {
        store.remove_people(PREFIX).await
    }

    pub(super) fn with(&self, holding: &Holding) -> Option<&NewPerson> {
        self.by_holding.get(holding)
    }
}

fn person(run: &str, number: usize, holding: &Holding, keeps_sessions: bool) -> NewPerson {
    let name = format!("{PREFIX}{run}-{number}");
    // An id that is in no cohort's share of all admins, so that the mode of each row is known.
    let id = (0_u32..)
        .map(|attempt| format!("{name}-{attempt}"))
        .find(|id| percentile(id) == LAST_PERCENTILE)
        .unwrap_or_else(|| name.clone());
    NewPerson {
        session: keeps_sessions.then(|| SessionId::new(id.as_str())),
        id: AdminId::new(id),
        legacy: holding.legacy.iter().cloned().collect(),
        groups: if holding.roles.is_empty() { Vec::new() } else { vec![name] },
    }
}
