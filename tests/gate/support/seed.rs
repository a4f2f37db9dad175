//! `rbac_seed.toml`, read by itself: who holds what, as the documents seed it.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::project_text;

/// The seed.
#[derive(Debug, Deserialize)]
pub struct Seed {
    #[serde(rename = "group")]
    groups: Vec<Group>,
    #[serde(rename = "role")]
    roles: Vec<Role>,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Role {
    name: String,
    #[serde(default)]
    inherits: Vec<String>,
    groups: Vec<String>,
}

impl Seed {
    pub fn read() -> Seed {
        toml::from_str(&project_text("tests/data/rbac_seed.toml")).expect("the seed is TOML")
    }

    /// The groups, in the order of the file.
    pub fn groups(&self) -> Vec<&str> {
        self.groups.iter().map(|group| group.name.as_str()).collect()
    }

    /// The roles, in the order of the file.
    pub fn roles(&self) -> Vec<&str> {
        self.roles.iter().map(|role| role.name.as_str()).collect()
    }

    /// A role and everything that it inherits.
    pub fn closure(&self, role: &str) -> BTreeSet<&str> {
        let found = self.roles.iter().find(|other| other.name == role);
        let found = found.unwrap_or_else(|| panic!("the seed has no role `{role}`"));
        let inherited = found.inherits.iter().flat_map(|parent| self.closure(parent));
        inherited.chain([found.name.as_str()]).collect()
    }

    /// Whether a group holds a role, directly or by inheritance.
    pub fn group_holds(&self, group: &str, role: &str) -> bool {
        let direct = self.roles.iter().filter(|held| held.groups.iter().any(|name| name == group));
        direct.into_iter().any(|held| self.closure(&held.name).contains(role))
    }

    /// Every role that does not bring `role` with it.
    pub fn all_but(&self, role: &str) -> Vec<&str> {
        self.roles().into_iter().filter(|other| !self.closure(other).contains(role)).collect()
    }
}
