//! Who may make which change: nobody gives themselves what they do not hold (RBAC V2 design, I-7), and nobody gives others
//! what they do not hold, unless a permission says so. Pure; what counts is the state that the change is worked out from,
//! and the change is made only while that state is current.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::decision::{LetInBy, Permit};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person};

use super::readers::person;
use super::reply::Problem;
use super::views::lasting_groups;
use crate::people::{Plan, State};
use crate::store::rbac_changes::RbacChange;

type Names = BTreeSet<Arc<str>>;

/// Who makes a change.
#[derive(Clone, Copy)]
pub(super) struct Actor<'a> {
    pub(super) kind: CallerKind,
    pub(super) id: &'a str,
    pub(super) permit: &'a Permit,
    /// The permission that lets its holders grant to others what they do not hold.
    pub(super) grant_any: Option<&'a str>,
}

/// Refuses a change that its actor may not make.
pub(super) fn check(actor: Actor<'_>, state: &State, plan: &Plan) -> Result<(), Problem> {
    let before = &state.registry.catalog;
    let gone = || Problem::new(403, "you no longer hold what this request requires");
    let person = person(state, actor.kind, actor.id).ok_or_else(gone)?;
    if !still_passes(actor.permit, person, before) {
        return Err(gone());
    }
    check_held((actor.kind, actor.id), actor.grant_any, state, plan)
}

/// Refuses a change that somebody may not make, whatever request it comes with: one who gains by it, or gives by it what it
/// does not hold.
pub(super) fn check_held(
    actor: (CallerKind, &str),
    grant_any: Option<&str>,
    state: &State,
    plan: &Plan,
) -> Result<(), Problem> {
    let before = &state.registry.catalog;
    let gone = || Problem::new(403, "there is no such admin or machine any more");
    let person = person(state, actor.0, actor.1).ok_or_else(gone)?;
    let own = Held::of(person, state);
    let gained = gained_by_actor(actor, person, state, plan, &own);
    if !gained.is_empty() {
        let detail = format!("you cannot grant yourself what you do not hold: {}", gained.in_words());
        return Err(gained.named(Problem::new(403, detail)));
    }
    let grants_any = grant_any.is_some_and(|name| {
        before.permissions_of(&person.roles(before)).iter().any(|permission| **permission == *name)
    });
    if grants_any {
        return Ok(());
    }
    let mut missing = Missing::default();
    for change in &plan.changes {
        missing.add(&own, &given(change, &plan.after.catalog));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let detail = format!("you cannot grant what you do not hold yourself: {}", missing.in_words());
    Err(missing.named(Problem::new(403, detail)))
}

/// What somebody holds through memberships without an end. What ends by itself, as a break-glass session, is nothing to
/// make lasting grants from.
struct Held {
    roles: Names,
    permissions: Names,
}

impl Held {
    fn of(person: &Person, state: &State) -> Held {
        let catalog = &state.registry.catalog;
        let groups = lasting_groups(state, person);
        let roles: Names = groups.into_iter().flat_map(|group| catalog.roles_of_group(group)).collect();
        Held { permissions: catalog.permissions_of(&roles), roles }
    }
}

/// Roles and permissions.
#[derive(Default)]
struct Missing {
    roles: Names,
    permissions: Names,
}

impl Missing {
    /// Adds what is `given` and not held.
    fn add(&mut self, own: &Held, given: &Missing) {
        self.roles.extend(given.roles.difference(&own.roles).cloned());
        self.permissions.extend(given.permissions.difference(&own.permissions).cloned());
    }

    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.permissions.is_empty()
    }

    fn in_words(&self) -> String {
        let names = |kind: &str, names: &Names| -> Option<String> {
            let list: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            (!list.is_empty()).then(|| format!("{kind} {}", list.join(", ")))
        };
        let parts = [names("role", &self.roles), names("permission", &self.permissions)];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn named(&self, problem: Problem) -> Problem {
        let list = |names: &Names| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
        problem.with("missing_roles", list(&self.roles)).with("missing_permissions", list(&self.permissions))
    }
}

/// What a change gives to whoever it is about, with all that comes with it.
fn given(change: &RbacChange, after: &Catalog) -> Missing {
    let with = |roles: Names| Missing { permissions: after.permissions_of(&roles), roles };
    match change {
        RbacChange::Join { group, .. } => with(after.roles_of_group(group)),
        RbacChange::GrantUntil { grant } => with(after.roles_of_group(&grant.group)),
        RbacChange::TicketGrant { grant } => with(after.with_inherited([Arc::from(grant.role.as_str())])),
        RbacChange::GrantRole { role, .. } => with(after.with_inherited([Arc::from(role.as_str())])),
        RbacChange::Inherit { parent, .. } => with(after.with_inherited([Arc::from(parent.as_str())])),
        RbacChange::Permit { permission, .. } => {
            Missing { roles: Names::new(), permissions: [Arc::from(permission.as_str())].into() }
        }
        // An admin who is enabled again holds what it held, and a name by itself grants nothing.
        RbacChange::AddAdmin { .. }
        | RbacChange::DisableAdmin { .. }
        | RbacChange::EnableAdmin { .. }
        | RbacChange::BlockAdmin { .. }
        | RbacChange::UnblockAdmin { .. }
        | RbacChange::CreateGroup { .. }
        | RbacChange::CreateRole { .. }
        | RbacChange::CreatePermission { .. }
        | RbacChange::Leave { .. }
        | RbacChange::EndGrant { .. }
        | RbacChange::EndTicketGrant { .. }
        | RbacChange::EndBreakGlass { .. }
        | RbacChange::RevokeRole { .. }
        | RbacChange::Disinherit { .. }
        | RbacChange::Forbid { .. } => Missing::default(),
    }
}

/// What the actor itself would come to hold: by a grant to itself, or by an edit of what its own groups and roles bring.
fn gained_by_actor(
    (kind, id): (CallerKind, &str),
    was: &Person,
    state: &State,
    plan: &Plan,
    own: &Held,
) -> Missing {
    let (before, after) = (&state.registry.catalog, &plan.after.catalog);
    let mut gained = Missing::default();
    let is_own = |change: &&RbacChange| kind == CallerKind::Admin && change.admin() == Some(id);
    for change in plan.changes.iter().filter(is_own) {
        gained.add(own, &given(change, after));
    }
    let later = plan.after.people.iter().find(|one| one.kind == kind && *one.id == *id);
    let Some(later) = later else { return gained };
    let (had, has) = (was.roles(before), later.roles(after));
    let all = |roles: &Names, catalog: &Catalog| Missing {
        permissions: catalog.permissions_of(roles),
        roles: roles.clone(),
    };
    let (had, has) = (all(&had, before), all(&has, after));
    gained.roles.extend(has.roles.difference(&had.roles).cloned());
    gained.permissions.extend(has.permissions.difference(&had.permissions).cloned());
    gained
}

/// Whether what let the request in is still held in this state.
fn still_passes(permit: &Permit, person: &Person, catalog: &Catalog) -> bool {
    let roles = person.roles(catalog);
    let permissions = catalog.permissions_of(&roles);
    let mut used = permit.roles_used().iter();
    match permit.let_in_by() {
        LetInBy::V2 => used.all(|name| roles.contains(name) || permissions.contains(name)),
        LetInBy::Legacy => used.any(|name| person.legacy.iter().any(|role| *role.as_str() == **name)),
        LetInBy::Session => true,
        LetInBy::Public | LetInBy::Machine | LetInBy::Upstream | LetInBy::Unmapped => false,
    }
}
