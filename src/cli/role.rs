//! `console-gate role create|inherit|disinherit|permit|forbid|list`

use clap::{Args, Subcommand};
use serde_json::json;
use store::rbac_changes::RbacChange;

use super::help::Examples;
use super::people::{self, How};
use super::{Common, Ended, TextOrJson, with_store};

pub(super) const EXAMPLES: Examples = &[
    ("role", &["console-gate --config gate.toml role list"]),
    (
        "role create",
        &["console-gate --config gate.toml role create refunder --inherits console-user --permission refund"],
    ),
    ("role inherit", &["console-gate --config gate.toml role inherit refunder console-user"]),
    ("role disinherit", &["console-gate --config gate.toml role disinherit refunder console-user --dry-run"]),
    ("role permit", &["console-gate --config gate.toml role permit refunder refund --create"]),
    ("role forbid", &["console-gate --config gate.toml role forbid refunder refund"]),
    ("role list", &["console-gate --config gate.toml role list"]),
];

/// Create roles, and say what they inherit and permit
#[derive(Debug, Args)]
pub(super) struct Role {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a role
    Create {
        /// The name
        role: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// A role that it inherits; may be repeated
        #[arg(long = "inherits", value_name = "ROLE")]
        parents: Vec<String>,
        /// A permission that it has; may be repeated
        #[arg(long = "permission")]
        permissions: Vec<String>,
        /// A group that holds it; may be repeated
        #[arg(long = "group")]
        groups: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Let a role inherit another: who holds ROLE then holds PARENT too
    Inherit {
        /// The role that inherits
        role: String,
        /// The role that is inherited
        parent: String,
        #[command(flatten)]
        how: How,
    },
    /// Stop a role from inheriting another
    Disinherit {
        /// The role that inherits
        role: String,
        /// The role that is inherited
        parent: String,
        #[command(flatten)]
        how: How,
    },
    /// Give a role a permission
    Permit {
        /// The role
        role: String,
        /// The permission
        permission: String,
        /// Create the permission
        #[arg(long)]
        create: bool,
        #[command(flatten)]
        how: How,
    },
    /// Take a permission from a role
    Forbid {
        /// The role
        role: String,
        /// The permission
        permission: String,
        #[command(flatten)]
        how: How,
    },
    /// List roles with what they inherit and permit, and who holds them
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

impl Role {
    pub(super) fn only_reads(&self) -> bool {
        match &self.action {
            Action::Create { how, .. }
            | Action::Inherit { how, .. }
            | Action::Disinherit { how, .. }
            | Action::Permit { how, .. }
            | Action::Forbid { how, .. } => how.only_reads(),
            Action::List { .. } => true,
        }
    }
}

pub(super) fn run(command: &Role, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Create { role, description, parents, permissions, groups, how } => {
            let create = RbacChange::CreateRole { role: role.clone(), description: description.clone() };
            let inherit =
                |parent: &String| RbacChange::Inherit { role: role.clone(), parent: parent.clone() };
            let permit = |permission: &String| RbacChange::Permit {
                role: role.clone(),
                permission: permission.clone(),
            };
            let grant = |group: &String| RbacChange::GrantRole { group: group.clone(), role: role.clone() };
            let wanted: Vec<_> = std::iter::once(create)
                .chain(parents.iter().map(inherit))
                .chain(permissions.iter().map(permit))
                .chain(groups.iter().map(grant))
                .collect();
            people::run(common, how, &wanted, false)
        }
        Action::Inherit { role, parent, how } => {
            let inherit = RbacChange::Inherit { role: role.clone(), parent: parent.clone() };
            people::run(common, how, &[inherit], false)
        }
        Action::Disinherit { role, parent, how } => {
            let end = RbacChange::Disinherit { role: role.clone(), parent: parent.clone() };
            people::run(common, how, &[end], false)
        }
        Action::Permit { role, permission, create, how } => {
            let create = create.then(|| RbacChange::CreatePermission { permission: permission.clone() });
            let permit = RbacChange::Permit { role: role.clone(), permission: permission.clone() };
            people::run(common, how, &create.into_iter().chain([permit]).collect::<Vec<_>>(), false)
        }
        Action::Forbid { role, permission, how } => {
            let forbid = RbacChange::Forbid { role: role.clone(), permission: permission.clone() };
            people::run(common, how, &[forbid], false)
        }
        Action::List { format } => list(common, *format),
    }
}

fn list(common: &Common, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let catalog = store.catalog().await?;
        let mut roles = Vec::new();
        for role in &catalog.roles {
            let names =
                |edges: &std::collections::BTreeMap<_, std::collections::BTreeSet<_>>| -> Vec<String> {
                    let found = edges.get(role).into_iter().flatten();
                    found.map(|name: &std::sync::Arc<str>| name.to_string()).collect()
                };
            let (inherits, permissions) = (names(&catalog.inherits), names(&catalog.role_permissions));
            let held_by: Vec<&str> = catalog
                .groups
                .iter()
                .filter(|group| catalog.roles_of_group(group).contains(role))
                .map(AsRef::as_ref)
                .collect();
            match format {
                TextOrJson::Json => roles.push(json!({
                    "role": &**role, "inherits": inherits, "permissions": permissions, "held_by": held_by,
                })),
                TextOrJson::Text => {
                    println!("{role}");
                    println!("    inherits: {}", people::or_none(&inherits));
                    println!("    permissions: {}", people::or_none(&permissions));
                    println!("    held by: {}", people::or_none(&held_by));
                }
            }
        }
        if format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&roles)?);
        }
        Ok(Ended::Clean)
    })
}
