//! Memberships from the legacy roles: holders of `superadmin` are added to the groups to which `superadmin` is mapped.
//!
//! The plan is computed first, reviewed as a file, and applied exactly as written there, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ledger::Notary;
use policy::mapping::parse::sha256_of;
use serde::{Deserialize, Serialize};
use store::SharedStore;
use store::rbac_changes::RbacChange;
use workbench::impact::LegacyAs;

use super::plan::{Plan, Terms, plan};
use super::record::{ActorKind, customers_events};
use super::state::{AdminTable, State};
use super::{By, PeopleError, TRIES, apply_with};

/// The version of the file.
const VERSION: u32 = 1;

/// The memberships to add, as a file that can be reviewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    pub version: u32,
    /// The digest of the access state from which this was computed.
    pub state_sha256: String,
    /// Legacy roles and the groups that their holders join.
    pub map: BTreeMap<String, BTreeSet<String>>,
    pub add: Vec<Membership>,
    /// Admins whose legacy roles are mapped to no group: under V2 they hold only the roles of their groups.
    pub without_group: BTreeSet<String>,
}

/// A membership to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    pub admin: String,
    pub group: String,
    /// The legacy roles that cause the membership.
    pub because: BTreeSet<String>,
}

/// The result of applying a plan.
pub enum Applied {
    Now(Box<(State, Plan)>),
    /// Every membership of the plan already exists.
    Before,
}

impl Backfill {
    /// Computes the memberships that follow from `map`.
    pub fn of(state: &State, map: &LegacyAs) -> Backfill {
        let mut add: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        let mut without_group = BTreeSet::new();
        let joined = state.joined();
        for person in state.admins() {
            let mut is_mapped = false;
            for role in person.legacy.iter() {
                for group in map.get(role).into_iter().flatten() {
                    is_mapped = true;
                    if !joined.contains(&person.id, group) {
                        let key = (person.id.to_string(), group.to_string());
                        add.entry(key).or_default().insert(role.as_str().to_owned());
                    }
                }
            }
            if !is_mapped && !person.legacy.is_empty() {
                without_group.insert(person.id.to_string());
            }
        }
        Backfill {
            version: VERSION,
            state_sha256: fingerprint(state),
            map: map
                .iter()
                .map(|(role, groups)| {
                    (role.as_str().to_owned(), groups.iter().map(ToString::to_string).collect())
                })
                .collect(),
            add: add
                .into_iter()
                .map(|((admin, group), because)| Membership { admin, group, because })
                .collect(),
            without_group,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It is not a plan, or it has another version.
    pub fn parse(text: &str) -> Result<Backfill, PeopleError> {
        let plan: Backfill = serde_json::from_str(text)
            .map_err(|error| PeopleError::Plan(format!("the file is not a backfill plan: {error}")))?;
        if plan.version != VERSION {
            return Err(PeopleError::Plan(format!(
                "the plan has version {}, and this release reads version {VERSION}: compute it anew",
                plan.version
            )));
        }
        Ok(plan)
    }

    /// The changes of the plan.
    pub fn changes(&self) -> Vec<RbacChange> {
        let join = |one: &Membership| RbacChange::Join { admin: one.admin.clone(), group: one.group.clone() };
        self.add.iter().map(join).collect()
    }

    fn is_there(&self, state: &State) -> bool {
        let joined = state.joined();
        self.add.iter().all(|one| joined.contains(&one.admin, &one.group))
    }

    /// Adds all memberships with their audit rows, or none.
    ///
    /// # Errors
    ///
    /// The access state has changed since the plan was computed, and the plan is not applied already.
    pub async fn apply(
        &self,
        store: &SharedStore,
        notary: &Notary,
        by: By<'_>,
    ) -> Result<Applied, PeopleError> {
        let changes = self.changes();
        for _ in 0..TRIES {
            let state = State::read(store, &changes, by.now).await?;
            if self.is_there(&state) {
                return Ok(Applied::Before);
            }
            if fingerprint(&state) != self.state_sha256 {
                return Err(PeopleError::Plan(
                    "admins, legacy roles, memberships or roles have changed since the plan was computed: compute it \
                     anew with `--map` and review the difference"
                        .into(),
                ));
            }
            let terms = Terms { admins: AdminTable::Console, unknown_admins: false };
            let plan = plan(&state, &changes, terms)?;
            let events = customers_events(notary, &plan, by, ActorKind::System, None);
            if apply_with(store, notary, &state, &plan, by, (&events, None)).await? {
                return Ok(Applied::Now(Box::new((state, plan))));
            }
        }
        Err(PeopleError::Changing)
    }
}

/// The admins with their legacy roles, the members of each group, and the roles of groups: everything that a plan rests
/// on.
fn fingerprint(state: &State) -> String {
    let mut text = String::new();
    for person in state.admins() {
        let legacy: Vec<&str> = person.legacy.iter().map(policy::rbac::LegacyRole::as_str).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "admin {:?} {legacy:?}", person.id);
    }
    let members: BTreeSet<(&str, &str)> =
        state.memberships.iter().map(|one| (&*one.group, &*one.admin)).collect();
    let catalog = &state.registry.catalog;
    let _ = writeln!(text, "members {members:?}");
    let _ = writeln!(text, "groups {:?} {:?}", catalog.groups, catalog.group_roles);
    let _ = writeln!(text, "roles {:?} {:?}", catalog.inherits, catalog.role_permissions);
    sha256_of(&text).to_string()
}
