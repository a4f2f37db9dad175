//! What somebody holds: section 3.4 of the RBAC V2 design, step by step.

use std::collections::BTreeSet;

use crate::format::Need;
use crate::world::{Admin, Token, World};

/// The group that a live break-glass session grants (RBAC V2 design, sections 3.2 and 6).
const BREAK_GLASS: usize = 0;

/// What an admin or a machine holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub legacy: BTreeSet<&'static str>,
    /// The groups that it is a member of. A break-glass session grants a group's roles and makes nobody a member.
    pub groups: BTreeSet<usize>,
    pub roles: BTreeSet<usize>,
    pub permissions: BTreeSet<usize>,
}

impl Holding {
    pub fn has(&self, need: Need) -> bool {
        match need {
            Need::Role(role) => self.roles.contains(&role),
            Need::Permission(permission) => self.permissions.contains(&permission),
            Need::Both(one, other) => {
                [one, other].iter().all(|permission| self.permissions.contains(permission))
            }
        }
    }
}

/// What an admin holds. A disabled admin holds nothing, and is for the decision to refuse.
pub fn of_admin(world: &World, admin: &Admin) -> Holding {
    // Break-glass is never an ordinary working role (I-4): who is in its group may have a session, and holds its roles by
    // that alone. Nobody else in these worlds may have one (section 6).
    let mut granting = admin.groups.clone();
    let may_have_one = granting.remove(&BREAK_GLASS);
    if may_have_one && admin.break_glass.iter().any(|term| term.lives()) {
        granting.insert(BREAK_GLASS);
    }
    // Step 2 counts a ticket-scoped grant for a request that names its ticket: none here does.
    resolve(world, &admin.groups, &granting, &admin.legacy)
}

/// What a machine holds through the groups that its token is enrolled in (cutover design, open question 6).
pub fn of_token(world: &World, token: &Token) -> Holding {
    let granting = token.groups.iter().copied().filter(|group| *group != BREAK_GLASS).collect();
    resolve(world, &token.groups, &granting, &token.legacy)
}

/// What a member of this group, and of no other, holds; of the group of break-glass, while a session lives.
pub fn of_group(world: &World, group: usize) -> Holding {
    let one = BTreeSet::from([group]);
    resolve(world, &one, &one, &BTreeSet::new())
}

/// What somebody holds who has a legacy role and is in no group.
pub fn of_legacy_role(role: &'static str) -> Holding {
    Holding { legacy: BTreeSet::from([role]), ..Holding::default() }
}

/// Steps 3 to 5.
fn resolve(
    world: &World,
    groups: &BTreeSet<usize>,
    granting: &BTreeSet<usize>,
    legacy: &BTreeSet<&'static str>,
) -> Holding {
    // 3. The roles of the groups.
    let mut roles: BTreeSet<usize> = world
        .group_roles
        .iter()
        .filter(|(group, _)| granting.contains(group))
        .map(|(_, role)| *role)
        .collect();
    // 4. Each role's ancestors, until a pass over all edges adds nothing.
    loop {
        let ancestors: BTreeSet<usize> = world
            .inherits
            .iter()
            .filter(|(child, parent)| roles.contains(child) && !roles.contains(parent))
            .map(|(_, parent)| *parent)
            .collect();
        if ancestors.is_empty() {
            break;
        }
        roles.extend(ancestors);
    }
    // 5. The permissions of all of them.
    let permissions = world
        .role_permissions
        .iter()
        .filter(|(role, _)| roles.contains(role))
        .map(|(_, permission)| *permission)
        .collect();
    Holding { legacy: legacy.clone(), groups: groups.clone(), roles, permissions }
}
