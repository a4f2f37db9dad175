//! `console-gate group create|add|remove|grant-role|revoke-role|list|show`

use anyhow::Context as _;
use chrono::Utc;
use clap::{Args, Subcommand};
use policy::diagnostic::closest;
use policy::rbac::grant::Origin;
use serde_json::json;

use super::people::{self, How};
use super::time::{Until, until};
use super::{Common, Ended, TextOrJson, with_store};
use crate::store::rbac_changes::{RbacChange, TimedGrant};

/// Create groups, put admins into them and take them out, and say which roles a group holds
#[derive(Debug, Args)]
pub(super) struct Group {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a group
    Create {
        /// The name
        group: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// A role that its members hold; may be repeated
        #[arg(long = "role")]
        roles: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Add admins to a group
    Add {
        /// The group
        group: String,
        /// The admins' ids
        #[arg(required = true)]
        admins: Vec<String>,
        /// When the membership ends: `8h`, `7d`, a date or a time; without it, when somebody ends it
        #[arg(long, value_parser = until)]
        until: Option<Until>,
        /// Accept ids that the gate does not know
        #[arg(long)]
        unknown: bool,
        #[command(flatten)]
        how: How,
    },
    /// Remove admins from a group; when this returns, no gate lets them in by it any more. Memberships until a time are ended
    /// with `console-gate grant end`
    Remove {
        /// The group
        group: String,
        /// The admins' ids
        #[arg(required = true)]
        admins: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Grant a role to the members of a group
    GrantRole {
        /// The group
        group: String,
        /// The role
        role: String,
        #[command(flatten)]
        how: How,
    },
    /// Revoke a role from the members of a group
    RevokeRole {
        /// The group
        group: String,
        /// The role
        role: String,
        #[command(flatten)]
        how: How,
    },
    /// List groups with their roles and the number of their members
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Show the members and roles of a group, and how they came about
    Show {
        /// The group
        group: String,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

impl Group {
    pub(super) fn only_reads(&self) -> bool {
        match &self.action {
            Action::Create { how, .. }
            | Action::Add { how, .. }
            | Action::Remove { how, .. }
            | Action::GrantRole { how, .. }
            | Action::RevokeRole { how, .. } => how.only_reads(),
            Action::List { .. } | Action::Show { .. } => true,
        }
    }
}

pub(super) fn run(command: &Group, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Create { group, description, roles, how } => {
            let create = RbacChange::CreateGroup { group: group.clone(), description: description.clone() };
            let grant = |role: &String| RbacChange::GrantRole { group: group.clone(), role: role.clone() };
            let wanted: Vec<_> = std::iter::once(create).chain(roles.iter().map(grant)).collect();
            people::run(common, how, &wanted, false)
        }
        Action::Add { group, admins, until: Some(until), unknown, how } => {
            let now = Utc::now();
            let ends = until.from(now).context("`--until` is too far away")?;
            let grant = |admin: &String| RbacChange::GrantUntil {
                grant: TimedGrant {
                    id: uuid::Uuid::new_v4().to_string(),
                    admin: admin.clone(),
                    group: group.clone(),
                    origin: Origin::Timed,
                    request: None,
                    starts: now,
                    ends,
                },
            };
            people::run(common, how, &admins.iter().map(grant).collect::<Vec<_>>(), *unknown)
        }
        Action::Add { group, admins, until: None, unknown, how } => {
            let join = |admin: &String| RbacChange::Join { admin: admin.clone(), group: group.clone() };
            people::run(common, how, &admins.iter().map(join).collect::<Vec<_>>(), *unknown)
        }
        Action::Remove { group, admins, how } => {
            let leave = |admin: &String| RbacChange::Leave { admin: admin.clone(), group: group.clone() };
            people::run(common, how, &admins.iter().map(leave).collect::<Vec<_>>(), false)
        }
        Action::GrantRole { group, role, how } => {
            let grant = RbacChange::GrantRole { group: group.clone(), role: role.clone() };
            people::run(common, how, &[grant], false)
        }
        Action::RevokeRole { group, role, how } => {
            let revoke = RbacChange::RevokeRole { group: group.clone(), role: role.clone() };
            people::run(common, how, &[revoke], false)
        }
        Action::List { format } => list(common, *format),
        Action::Show { group, format } => show(common, group, *format),
    }
}

fn list(common: &Common, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let (catalog, memberships) = (store.catalog().await?, store.memberships().await?);
        let mut groups = Vec::new();
        for group in &catalog.groups {
            let members = memberships.iter().filter(|one| *one.group == **group).count();
            let roles: Vec<&str> =
                catalog.group_roles.get(group).into_iter().flatten().map(AsRef::as_ref).collect();
            match format {
                TextOrJson::Json => {
                    groups.push(json!({ "group": &**group, "members": members, "roles": roles }));
                }
                TextOrJson::Text => {
                    println!("{group}  {members} member(s)  roles: {}", people::or_none(&roles));
                }
            }
        }
        if format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&groups)?);
        }
        Ok(Ended::Clean)
    })
}

fn show(common: &Common, group: &str, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let catalog = store.catalog().await?;
        if !catalog.groups.contains(group) {
            let near = closest(group, catalog.groups.iter().map(AsRef::as_ref));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            anyhow::bail!("there is no group `{group}`{near}");
        }
        let mut members = store.memberships().await?;
        members.retain(|membership| membership.group == group);
        let direct: Vec<&str> =
            catalog.group_roles.get(group).into_iter().flatten().map(AsRef::as_ref).collect();
        let roles: Vec<String> = catalog.roles_of_group(group).iter().map(ToString::to_string).collect();
        let grants = store.grants_audit(None, Some(group), people::SHOWN).await?;
        let writes = store.rbac_writes(Some(group), people::SHOWN).await?;
        if format == TextOrJson::Json {
            let report = json!({
                "group": group, "members": members, "roles": direct, "roles_with_inherited": roles,
                "grants_audit": grants, "other_writes": writes,
            });
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(Ended::Clean);
        }
        println!("{group}");
        println!("  roles: {}", people::or_none(&direct));
        println!("  with what they inherit: {}", people::or_none(&roles));
        for member in &members {
            let by = member.granted_by.as_deref().unwrap_or("unknown");
            println!("  member {}, granted by {by}", member.admin);
        }
        people::print_history(&grants, &writes);
        Ok(Ended::Clean)
    })
}
