//! Changes of group memberships, of the roles of groups, and of the inheritance and permissions of roles: computed
//! before they are made, for commands and the API alike.
//!
//! ```text
//! wanted -> plan (as of an epoch) -> impact, shown -> one transaction: sealed row, rbac_grants_audit, the change
//!                                                      \-> access has changed since: worked out again
//! ```

#![forbid(unsafe_code)]

pub mod alerts;
pub mod apart;
pub mod authority;
pub mod backfill;
pub mod break_glass;
pub mod effects;
pub mod held;
pub mod joined;
pub mod passkeys;
pub mod plan;
pub mod record;
pub mod registry;
pub mod requests;
pub mod reviews;
mod state;
pub mod uses;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ledger::event::Way;
use ledger::{AuditEvent, Notary, Note};
use policy::mapping::Mapping;
use serde_json::Value;
use store::idempotency::OnceAnswer;
use store::rbac_changes::{RbacChange, RbacWork};
use store::{SharedStore, StoreError};
use workbench::impact::{Granted, Impact, Population, Switches, impact, impact_of_grants};

pub use self::plan::{Plan, Terms};
pub use self::state::{AdminTable, State};
use crate::registry::{Registry, RegistryError};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the access tables kept changing while the change was worked out: try again")]
    Changing,
    #[error("there is no {kind} `{name}`{}", .near.as_ref().map_or_else(String::new, |near| format!("; did you mean `{near}`?")))]
    Unknown { kind: &'static str, name: String, near: Option<String> },
    #[error("{0}")]
    NoAdmin(String),
    #[error("there is a {kind} `{name}` already")]
    Exists { kind: &'static str, name: String },
    #[error("roles would inherit from each other in a cycle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    #[error(
        "`{0}` cannot be a name: a name is 1 to 200 characters, stands in an address as it is, and shows all that it \
         contains: no white space, control or invisible characters, commas, quotes, slashes, `%`, `?` and `#`"
    )]
    BadName(String),
    #[error("a grant that ends at {0} would never be active")]
    Ended(String),
    #[error("Console keeps its own admins: {0}")]
    OfConsole(&'static str),
    #[error("{0}")]
    Plan(String),
}

impl From<RegistryError> for PeopleError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Store(error) => PeopleError::Store(error),
            RegistryError::Changing => PeopleError::Changing,
        }
    }
}

/// The author of a change, for the audit.
#[derive(Clone, Copy, Debug)]
pub struct By<'b> {
    pub name: &'b str,
    pub reason: Option<&'b str>,
    pub way: Way,
    pub now: DateTime<Utc>,
}

/// How often a change is computed again if access changes at the same time.
const TRIES: usize = 5;

/// Computes what `wanted` would change.
///
/// # Errors
///
/// A name does not exist, or exists already; or the database did not answer.
pub async fn preview(
    store: &SharedStore,
    wanted: &[RbacChange],
    terms: Terms,
    now: DateTime<Utc>,
) -> Result<(State, Plan), PeopleError> {
    let state = State::read(store, wanted, now).await?;
    let plan = plan::plan(&state, wanted, terms)?;
    Ok((state, plan))
}

/// Computes what `wanted` changes and makes the change, with its audit rows, in one transaction.
///
/// # Errors
///
/// As for [`preview`], or access kept changing. Nothing is changed in that case.
pub async fn change(
    store: &SharedStore,
    notary: &Notary,
    wanted: &[RbacChange],
    terms: Terms,
    by: By<'_>,
) -> Result<(State, Plan), PeopleError> {
    change_with(store, notary, wanted, terms, by, |_| Vec::new()).await
}

/// Like [`change`], with the further notes that a plan requires, written in the transaction of the change.
///
/// # Errors
///
/// As for [`change`].
pub async fn change_with(
    store: &SharedStore,
    notary: &Notary,
    wanted: &[RbacChange],
    terms: Terms,
    by: By<'_>,
    further: impl Fn(&Plan) -> Vec<Note>,
) -> Result<(State, Plan), PeopleError> {
    for _ in 0..TRIES {
        let (state, plan) = preview(store, wanted, terms, by.now).await?;
        if apply_with(store, notary, &state, &plan, by, (&further(&plan), None)).await? {
            return Ok((state, plan));
        }
    }
    Err(PeopleError::Changing)
}

/// Applies a plan with further notes and the answer to the request's key, in one transaction. Returns `false` if access
/// has changed since the state was read; nothing is done in that case.
pub async fn apply_with(
    store: &SharedStore,
    notary: &Notary,
    state: &State,
    plan: &Plan,
    by: By<'_>,
    (further, answer): (&[Note], Option<OnceAnswer<'_>>),
) -> Result<bool, PeopleError> {
    if plan.changes.is_empty() {
        return Ok(true);
    }
    let event = AuditEvent::RbacChanged {
        changes: without_admins(&plan.changes),
        grants: plan.rows.iter().map(|row| row.id.to_string()).collect(),
        // If the change concerns people, the reason is in their rows, and is deleted with them.
        reason: by.reason.filter(|_| plan.rows.is_empty()).map(ToOwned::to_owned),
        way: by.way,
        by: by.name.to_owned(),
    };
    let work = RbacWork {
        changes: &plan.changes,
        rows: &plan.rows,
        as_of: state.epoch,
        by: by.name,
        way: by.way,
        notary,
        reason: by.reason,
        now: by.now,
        answer,
    };
    Ok(store.change_rbac_with(&work, &notary.note(event.into_record(by.now)), further).await?)
}

/// Changes in the form of the gate's audit: without the admins that they concern; changes that are then equal are
/// counted.
fn without_admins(changes: &[RbacChange]) -> Value {
    let mut counted: BTreeMap<String, (Value, u64)> = BTreeMap::new();
    for change in changes {
        let mut value = serde_json::to_value(change).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            for personal in ["admin", "email", "name"] {
                fields.remove(personal);
            }
        }
        counted.entry(value.to_string()).or_insert((value, 0)).1 += 1;
    }
    let merged = counted.into_values().map(|(mut value, count)| {
        if let Value::Object(fields) = &mut value
            && count > 1
        {
            fields.insert("count".to_owned(), count.into());
        }
        value
    });
    merged.collect()
}

/// Passes on which routes a plan opens and closes under `mapping`.
pub fn impact_of<T>(mapping: &Mapping, state: &State, plan: &Plan, with: impl FnOnce(&Impact<'_>) -> T) -> T {
    let (before, after) = (&state.registry, &plan.after);
    let [old, new] =
        Population::pair((&before.catalog, &before.people), (&after.catalog, &after.people), &[mapping]);
    let before = Granted { catalog: &before.catalog, population: &old };
    let after = Granted { catalog: &after.catalog, population: &new };
    with(&impact_of_grants(mapping, before, after, Switches { rbac_v2: true }))
}

/// The same as JSON, with what changes [apart](apart) from groups and the [effects](effects) by caller.
pub fn impact_in_json(mapping: &Mapping, state: &State, plan: &Plan) -> Value {
    let (mut impact, now) = impact_of(mapping, state, plan, |impact| {
        (serde_json::to_value(impact.report()).unwrap_or_default(), effects::routes(impact))
    });
    impact["apart"] = serde_json::to_value(apart::apart(mapping, state, plan)).unwrap_or_default();
    impact["effects"] =
        serde_json::to_value(effects::effects(mapping, state, plan, &now)).unwrap_or_default();
    impact
}

/// Passes on how moving every cluster to V2 affects people, with these grants.
pub fn impact_of_v2<T>(mapping: &Mapping, registry: &Registry, with: impl FnOnce(&Impact<'_>) -> T) -> T {
    let all = mapping.on_v2().unwrap_or(mapping);
    let none = Default::default();
    let population = Population::new(&registry.catalog, &registry.people, &none, &[mapping, all]);
    with(&impact(mapping, all, &registry.catalog, &population, Switches { rbac_v2: true }))
}
