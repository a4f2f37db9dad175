//! A registry of roles as a file: the roles that migrations will seed, for reports without a database.

use serde::Deserialize;

use super::catalog::Catalog;

/// ```toml
/// [[group]]
/// name = "raxx-devops-team"
///
/// [[role]]
/// name = "console-manager"
/// migration = "0012"
/// inherits = ["console-flag-admin"]
/// groups = ["raxx-platform-admins"]
/// permissions = ["console:flags:write"]
/// ```
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedFile {
    #[serde(default)]
    group: Vec<GroupEntry>,
    #[serde(default)]
    role: Vec<RoleEntry>,
    /// The flat roles, for readers of the file.
    #[serde(rename = "legacy")]
    _legacy: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupEntry {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    name: String,
    #[serde(rename = "migration")]
    _migration: Option<String>,
    #[serde(default)]
    inherits: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

/// Why a seed was refused.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    #[error("the role `{role}` names the {kind} `{name}`, which the file does not have")]
    Missing { role: String, kind: &'static str, name: String },
}

impl Catalog {
    /// Reads a seed.
    ///
    /// # Errors
    ///
    /// It is not a seed file, or an edge leads to a role or group that it does not define.
    pub fn from_seed(text: &str) -> Result<Catalog, SeedError> {
        let file: SeedFile = toml::from_str(text)?;
        let mut catalog = Catalog {
            groups: file.group.into_iter().map(|group| group.name.into()).collect(),
            roles: file.role.iter().map(|role| role.name.as_str().into()).collect(),
            ..Catalog::default()
        };
        for entry in file.role {
            let missing = |kind, name: &str| SeedError::Missing {
                role: entry.name.clone(),
                kind,
                name: name.to_owned(),
            };
            if let Some(parent) = entry.inherits.iter().find(|name| !catalog.roles.contains(name.as_str())) {
                return Err(missing("role", parent));
            }
            if let Some(group) = entry.groups.iter().find(|name| !catalog.groups.contains(name.as_str())) {
                return Err(missing("group", group));
            }
            let role: std::sync::Arc<str> = entry.name.as_str().into();
            for group in entry.groups {
                catalog.group_roles.entry(group.into()).or_default().insert(role.clone());
            }
            catalog.permissions.extend(entry.permissions.iter().map(|name| name.as_str().into()));
            catalog
                .role_permissions
                .entry(role.clone())
                .or_default()
                .extend(entry.permissions.into_iter().map(Into::into));
            catalog.inherits.entry(role).or_default().extend(entry.inherits.into_iter().map(Into::into));
        }
        Ok(catalog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_becomes_the_registry_that_it_states() {
        let catalog = Catalog::from_seed(
            r#"
[[group]]
name = "team"
[[role]]
name = "reader"
permissions = ["x:read"]
[[role]]
name = "writer"
inherits = ["reader"]
groups = ["team"]
"#,
        )
        .unwrap();
        assert_eq!(
            Vec::from_iter(catalog.roles_of_group("team").iter().map(|role| &**role)),
            ["reader", "writer"]
        );
        assert!(catalog.permissions.contains("x:read"));
    }

    #[test]
    fn an_edge_to_nothing_is_refused() {
        let table = [
            ("[[role]]\nname = \"r\"\ngroups = [\"g\"]", "names the group `g`"),
            ("[[role]]\nname = \"r\"\ninherits = [\"s\"]", "names the role `s`"),
            ("[[rule]]\nname = \"r\"", "unknown field `rule`"),
        ];
        for (text, message) in table {
            let error = Catalog::from_seed(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
