//! The registry of roles, groups and permissions, and what follows from its edges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Requirement;

type Names = BTreeSet<Arc<str>>;
type Edges = BTreeMap<Arc<str>, Names>;

/// What the RBAC tables define, apart from who is in which group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    pub groups: Names,
    pub roles: Names,
    pub permissions: Names,
    /// Child role -> the roles that it inherits.
    pub inherits: Edges,
    /// Group -> the roles that it holds directly.
    pub group_roles: Edges,
    /// Role -> its permissions.
    pub role_permissions: Edges,
}

impl Catalog {
    /// `roles` and everything that they inherit. Ends on a cyclic graph too.
    pub fn with_inherited(&self, roles: impl IntoIterator<Item = Arc<str>>) -> Names {
        let mut pending: Vec<Arc<str>> = roles.into_iter().collect();
        let mut closed = Names::new();
        while let Some(role) = pending.pop() {
            if closed.insert(role.clone()) {
                pending.extend(self.inherits.get(&role).into_iter().flatten().cloned());
            }
        }
        closed
    }

    /// The permissions of a set of roles, which already holds what they inherit.
    pub fn permissions_of(&self, roles: &Names) -> Names {
        roles.iter().filter_map(|role| self.role_permissions.get(role)).flatten().cloned().collect()
    }

    /// The roles of a group, inherited ones included.
    pub fn roles_of_group(&self, group: &str) -> Names {
        self.with_inherited(self.group_roles.get(group).into_iter().flatten().cloned())
    }

    /// Whether the requirement names something that exists.
    pub fn defines(&self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::Role(name) => self.roles.contains(name),
            Requirement::Permission(name) => self.permissions.contains(name),
        }
    }

    /// The groups whose members meet the requirement.
    pub fn groups_that_meet(&self, requirement: &Requirement) -> Names {
        let meets = |group: &&Arc<str>| {
            let roles = self.roles_of_group(group);
            match requirement {
                Requirement::Role(name) => roles.contains(name),
                Requirement::Permission(name) => self.permissions_of(&roles).contains(name),
            }
        };
        self.groups.iter().filter(meets).cloned().collect()
    }

    /// Whether letting `child` inherit `parent` would close a cycle.
    pub fn would_cycle(&self, child: &str, parent: &str) -> bool {
        self.with_inherited([Arc::from(parent)]).contains(child)
    }
}
