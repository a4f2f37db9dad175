//! The registry of roles, groups and permissions, and what its edges imply.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Requirement;

type Names = BTreeSet<Arc<str>>;
type Edges = BTreeMap<Arc<str>, Names>;

/// The definitions in the RBAC tables, except who is in which group.
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

    /// The permissions of a set of roles, which already includes inherited roles.
    pub fn permissions_of(&self, roles: &Names) -> Names {
        roles.iter().filter_map(|role| self.role_permissions.get(role)).flatten().cloned().collect()
    }

    /// The roles of a group, including inherited ones.
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

    /// How the members of a group meet a requirement: a role that the group holds, then each role that the previous one
    /// inherits. The shortest way; of several, the first by name.
    pub fn way_to(&self, group: &str, requirement: &Requirement) -> Option<Vec<Arc<str>>> {
        let meets = |role: &Arc<str>| match requirement {
            Requirement::Role(name) => role == name,
            Requirement::Permission(name) => {
                self.role_permissions.get(role).is_some_and(|names| names.contains(name))
            }
        };
        let mut seen = Names::new();
        let direct = self.group_roles.get(group).into_iter().flatten();
        let mut ways: VecDeque<Vec<Arc<str>>> = direct.map(|role| vec![role.clone()]).collect();
        while let Some(way) = ways.pop_front() {
            let role = way.last()?;
            if meets(role) {
                return Some(way);
            }
            if seen.insert(role.clone()) {
                let further = self.inherits.get(role).into_iter().flatten();
                ways.extend(further.map(|next| way.iter().chain([next]).cloned().collect()));
            }
        }
        None
    }

    /// Whether letting `child` inherit `parent` would close a cycle.
    pub fn would_cycle(&self, child: &str, parent: &str) -> bool {
        self.with_inherited([Arc::from(parent)]).contains(child)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(pairs: &[(u8, u8)], from: &str, to: &str) -> Edges {
        let mut edges = Edges::new();
        for (one, other) in pairs {
            edges.entry(format!("{from}{one}").into()).or_default().insert(format!("{to}{other}").into());
        }
        edges
    }

    fn catalog(held: &[(u8, u8)], inherits: &[(u8, u8)], permits: &[(u8, u8)]) -> Catalog {
        let numbered = |kind: &str| (0..6).map(|number| format!("{kind}{number}").into()).collect();
        Catalog {
            groups: numbered("g"),
            roles: numbered("r"),
            permissions: numbered("p"),
            inherits: edges(inherits, "r", "r"),
            group_roles: edges(held, "g", "r"),
            role_permissions: edges(permits, "r", "p"),
        }
    }

    fn pairs() -> impl Strategy<Value = Vec<(u8, u8)>> {
        prop::collection::vec((0..6_u8, 0..6_u8), 0..14)
    }

    proptest! {
        /// There is a way exactly where the group meets the requirement, and each of its steps is an edge; on graphs
        /// with cycles too.
        #[test]
        fn a_way_is_there_where_it_leads_and_is_made_of_edges(
            held in pairs(), inherits in pairs(), permits in pairs(), group in 0..6_u8, wanted in 0..6_u8,
            is_role: bool,
        ) {
            let catalog = catalog(&held, &inherits, &permits);
            let group = format!("g{group}");
            let requirement = match is_role {
                true => Requirement::Role(format!("r{wanted}").into()),
                false => Requirement::Permission(format!("p{wanted}").into()),
            };
            let way = catalog.way_to(&group, &requirement);
            prop_assert_eq!(way.is_some(), catalog.groups_that_meet(&requirement).contains(group.as_str()));
            if let Some(way) = way {
                prop_assert!(catalog.group_roles[group.as_str()].contains(&way[0]));
                for step in way.windows(2) {
                    prop_assert!(catalog.inherits[&step[0]].contains(&step[1]));
                }
                let last = &way[way.len() - 1];
                match &requirement {
                    Requirement::Role(name) => prop_assert_eq!(last, name),
                    Requirement::Permission(name) => prop_assert!(catalog.role_permissions[last].contains(name)),
                }
            }
        }
    }
}
