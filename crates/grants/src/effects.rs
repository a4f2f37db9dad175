//! The routes that a change opens and closes for each caller: now, and once the clusters that are still on legacy are turned to V2. Most of what
//! a grant brings opens nothing while its cluster is on legacy, so one number would mislead an approver.

use std::collections::{BTreeMap, BTreeSet};

use policy::mapping::Mapping;
use policy::rbac::census::CallerKind;
use serde::Serialize;
use workbench::impact::{AccessChange, Impact, ProfileKind};

use crate::impact_of;
use crate::plan::Plan;
use crate::state::State;

/// The callers that gain or lose the same routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    pub change: AccessChange,
    pub who: Vec<Affected>,
    /// The routes that open or close at once.
    pub now: Vec<String>,
    /// Those that do so once every cluster is on V2.
    pub once_on_v2: Vec<String>,
}

/// A caller that gains or loses access.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Affected {
    pub kind: CallerKind,
    pub id: String,
}

/// Routes by caller and direction.
pub(super) type Routes = BTreeMap<(AccessChange, Affected), BTreeSet<String>>;

/// The effects of a plan under `mapping`, whose routes `now` are known, callers with equal ones together.
pub(super) fn effects(mapping: &Mapping, state: &State, plan: &Plan, now: &Routes) -> Vec<Effect> {
    let later = mapping.on_v2().map(|mapping| impact_of(mapping, state, plan, routes)).unwrap_or_default();
    together(now, &later)
}

/// The effects of a change of the mapping: each is at once.
pub fn effects_of_mapping(impact: &Impact<'_>) -> Vec<Effect> {
    together(&routes(impact), &Routes::new())
}

fn together(now: &Routes, later: &Routes) -> Vec<Effect> {
    let none = BTreeSet::new();
    let mut alike: BTreeMap<(AccessChange, BTreeSet<String>, BTreeSet<String>), Vec<Affected>> =
        BTreeMap::new();
    for key in now.keys().chain(later.keys()).collect::<BTreeSet<_>>() {
        let now = now.get(key).unwrap_or(&none);
        let once_on_v2 = later.get(key).unwrap_or(&none).difference(now).cloned().collect();
        alike.entry((key.0, now.clone(), once_on_v2)).or_default().push(key.1.clone());
    }
    let effect = |((change, now, once_on_v2), who): ((_, BTreeSet<String>, BTreeSet<String>), _)| Effect {
        change,
        who,
        now: now.into_iter().collect(),
        once_on_v2: once_on_v2.into_iter().collect(),
    };
    alike.into_iter().map(effect).collect()
}

/// The routes that each caller gains and loses.
pub(super) fn routes(impact: &Impact<'_>) -> Routes {
    let mut routes = Routes::new();
    for change in &impact.changes {
        let Some(row) = change.region.new.or(change.region.old) else { continue };
        for direction in [AccessChange::Gain, AccessChange::Loss] {
            for profile in impact.who(change, direction) {
                let kind = match profile.kind {
                    ProfileKind::Admin => CallerKind::Admin,
                    ProfileKind::Machine => CallerKind::Machine,
                    // Hypothetical callers.
                    ProfileKind::LegacyRole | ProfileKind::Group | ProfileKind::NoRole => continue,
                };
                for member in &profile.members {
                    let who = Affected { kind, id: member.to_string() };
                    routes.entry((direction, who)).or_default().insert(row.route.to_string());
                }
            }
        }
    }
    routes
}
