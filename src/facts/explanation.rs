//! The facts for an explanation, all read as of one epoch.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use grants::registry::{Registry, RegistryError};
use policy::decision::Control;
use policy::diagnostic::closest;
use policy::firewall::Policy;
use policy::identity::Subject;
use policy::ids::{AdminId, MachineTokenId};
use policy::mapping::{Freshness, Mapping};
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::census::CallerKind;
use policy::rbac::{Access, LegacyRole, Standing};
use store::{SharedStore, StoreError};
use workbench::explanation::{Asker, Explanation, Facts, explain};

use crate::freshness::{AccessError, AccessResolver};

/// The caller that `explain` is asked about.
#[derive(Clone, Debug)]
pub enum CallerName {
    /// The admin with this id.
    Admin(String),
    /// A member of only this group.
    Group(String),
    /// A caller with this legacy role and no group.
    LegacyRole(LegacyRole),
    /// The machine with the token of this id.
    Machine(String),
    /// A caller without a session and without a token.
    Unauthenticated,
}

/// Why no explanation is possible.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no such group or legacy role.
    #[error("{0}")]
    Unknown(String),
    #[error("an id cannot contain U+0000")]
    NotAnId,
}

/// The facts in the database, as of one epoch.
pub struct Explainer {
    control: Control,
    registry: Registry,
    caller_name: Option<CallerName>,
    /// The grants of the admin or the machine in question.
    access: Option<Arc<Access>>,
    break_glass: BreakGlassRules,
}

impl Explainer {
    /// Reads the facts that an explanation by `mapping` needs about this caller; `now` determines what has ended.
    ///
    /// # Errors
    ///
    /// The database did not answer, or the tables changed each time while they were read; there is no such group or
    /// legacy role.
    pub async fn read(
        resolver: &AccessResolver,
        store: &SharedStore,
        mapping: &Mapping,
        now: DateTime<Utc>,
        caller_name: Option<CallerName>,
    ) -> Result<Explainer, ExplainError> {
        const TRIES: u32 = 5;
        let subject = match &caller_name {
            Some(CallerName::Admin(id) | CallerName::Machine(id)) if id.contains('\0') => {
                return Err(ExplainError::NotAnId);
            }
            Some(CallerName::Admin(id)) => {
                Some(Subject::Admin { id: AdminId::new(id.as_str()), session: None })
            }
            Some(CallerName::Machine(id)) => Some(Subject::Enrolled(MachineTokenId::new(id.as_str()))),
            _ => None,
        };
        for _ in 0..TRIES {
            let control = resolver.observe(Freshness::Strict).await?;
            let registry = Registry::read(store, now).await?;
            let access = match &subject {
                Some(subject) => Some(resolver.resolve(subject, control.epoch).await?),
                None => None,
            };
            if store.control_since(Some(control.epoch)).await?.only_sessions_changed_since(control.epoch) {
                check(&registry, mapping, caller_name.as_ref())?;
                let break_glass = store.break_glass_rules().clone();
                return Ok(Explainer { control, registry, caller_name, access, break_glass });
            }
        }
        Err(RegistryError::Changing.into())
    }

    /// Explains the request by `mapping`, under the name `file`.
    pub fn explain(
        &self,
        mapping: &Mapping,
        file: &str,
        policy: &Policy,
        method: &str,
        path: &str,
    ) -> Explanation {
        let (control, catalog) = (&self.control, &self.registry.catalog);
        let facts = Facts { mapping, file, policy, control, catalog, break_glass: &self.break_glass };
        explain(method, path, &facts, self.asker().as_ref())
    }

    fn asker(&self) -> Option<Asker<'_>> {
        match (self.caller_name.as_ref()?, &self.access) {
            (CallerName::Admin(id), Some(access)) => {
                let admins = || self.registry.people.iter().filter(|person| person.kind == CallerKind::Admin);
                let closest = match access.standing {
                    Standing::Unknown => closest(id, admins().map(|person| &*person.id)),
                    _ => None,
                };
                let break_glass =
                    admins().find(|person| *person.id == **id).is_some_and(|person| person.break_glass);
                Some(Asker::Admin { id, access, break_glass, closest })
            }
            (CallerName::Machine(id), Some(access)) => Some(Asker::Machine { id, access }),
            (CallerName::Admin(_) | CallerName::Machine(_), None) => None,
            (CallerName::Group(group), _) => Some(Asker::Group(group)),
            (CallerName::LegacyRole(role), _) => Some(Asker::LegacyRole(role)),
            (CallerName::Unauthenticated, _) => Some(Asker::Unauthenticated),
        }
    }
}

/// Checks that the group or the legacy role exists: an explanation for a misspelt name would be wrong.
fn check(
    registry: &Registry,
    mapping: &Mapping,
    caller_name: Option<&CallerName>,
) -> Result<(), ExplainError> {
    let hint =
        |meant: Option<&str>| meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    let unknown = match caller_name {
        Some(CallerName::Group(group)) if !registry.catalog.groups.contains(group.as_str()) => {
            let meant = closest(group, registry.catalog.groups.iter().map(AsRef::as_ref));
            format!("there is no group `{group}`{}", hint(meant))
        }
        Some(CallerName::LegacyRole(role)) => {
            let roles = registry.legacy_roles(&[mapping]);
            if roles.contains(role) {
                return Ok(());
            }
            let meant = closest(role.as_str(), roles.iter().map(|role| role.as_str()));
            format!("no row accepts the legacy role `{role}`, and no caller holds it{}", hint(meant))
        }
        Some(CallerName::Machine(id)) => {
            let mut machines = registry.people.iter().filter(|one| one.kind == CallerKind::Machine);
            if machines.any(|one| *one.id == **id) {
                return Ok(());
            }
            format!("no machine token has the id `{id}`, or it has ended")
        }
        _ => return Ok(()),
    };
    Err(ExplainError::Unknown(unknown))
}
