//! `console-gate group create|add|remove|grant-role|revoke-role|list|show`

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::Utc;
use clap::{Args, Subcommand};
use grants::held::{Held, asked_for};
use policy::diagnostic::closest;
use policy::rbac::grant::Origin;
use serde_json::json;
use store::rbac_changes::{RbacChange, TimedGrant};

use super::grant::in_short;
use super::help::Examples;
use super::people::{self, How};
use super::time::{Until, until};
use super::{Common, Ended, TextOrJson, with_store};

pub(super) const EXAMPLES: Examples = &[
    ("group", &["console-gate --config gate.toml group list"]),
    ("group create", &["console-gate --config gate.toml group create night-shift --role console-user"]),
    (
        "group add",
        &["console-gate --config gate.toml group add night-shift admin-07 admin-12 --until 8h --dry-run"],
    ),
    ("group remove", &["console-gate --config gate.toml group remove night-shift admin-07"]),
    ("group grant-role", &["console-gate --config gate.toml group grant-role night-shift console-user"]),
    (
        "group revoke-role",
        &["console-gate --config gate.toml group revoke-role night-shift console-user --dry-run"],
    ),
    ("group list", &["console-gate --config gate.toml group list"]),
    ("group show", &["console-gate --config gate.toml group show night-shift"]),
];

/// Create groups, and change their members and roles
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
    /// Remove admins from a group, from every membership that they have of it; when this returns, no gate lets them in by it
    /// any more. Says what else brings them the group's roles; exits with 1 if one of them is a member still
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
            let leave =
                |admin: &String| RbacChange::LeaveWholly { admin: admin.clone(), group: group.clone() };
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
        let now = Utc::now();
        let (catalog, held) = (store.catalog().await?, Held::read(&store, None, now).await?);
        let mut groups = Vec::new();
        for group in &catalog.groups {
            let live = held.members(group).filter(|grant| grant.is_live(now));
            let live: Vec<_> = live.filter(|grant| grant.origin != Origin::BreakGlass).collect();
            let members: BTreeSet<&str> = live.iter().map(|grant| grant.admin.as_str()).collect();
            let timed: BTreeSet<&str> =
                live.iter().filter(|grant| grant.ends.is_some()).map(|grant| grant.admin.as_str()).collect();
            let (members, timed) = (members.len(), timed.len());
            let roles: Vec<&str> =
                catalog.group_roles.get(group).into_iter().flatten().map(AsRef::as_ref).collect();
            match format {
                TextOrJson::Json => {
                    groups.push(json!({
                        "group": &**group, "members": members, "until_a_time": timed, "roles": roles,
                    }));
                }
                TextOrJson::Text => {
                    let until = match timed {
                        0 => String::new(),
                        timed => format!(", {timed} until a time"),
                    };
                    println!("{group}  {members} member(s){until}  roles: {}", people::or_none(&roles));
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
        let now = Utc::now();
        let catalog = store.catalog().await?;
        if !catalog.groups.contains(group) {
            let near = closest(group, catalog.groups.iter().map(AsRef::as_ref));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            anyhow::bail!("there is no group `{group}`{near}");
        }
        let held = Held::read(&store, None, now).await?;
        let members: Vec<_> = held.members(group).collect();
        let requests: Vec<_> = held.requests_for(group).collect();
        let census = store.census(now).await?;
        let is_in = |id: &str| census.iter().any(|one| *one.id == *id && one.groups.contains(group));
        let tokens: Vec<_> = held.tokens.iter().filter(|token| is_in(&token.id)).collect();
        let direct: Vec<&str> =
            catalog.group_roles.get(group).into_iter().flatten().map(AsRef::as_ref).collect();
        let roles: Vec<String> = catalog.roles_of_group(group).iter().map(ToString::to_string).collect();
        let grants = store.grants_audit(None, Some(group), people::SHOWN).await?;
        let writes = store.rbac_writes(Some(group), people::SHOWN).await?;
        if format == TextOrJson::Json {
            let report = json!({
                "group": group, "members": members, "requests": requests, "tokens": tokens,
                "roles": direct, "roles_with_inherited": roles,
                "grants_audit": grants, "other_writes": writes,
            });
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(Ended::Clean);
        }
        println!("{group}");
        println!("  roles: {}", people::or_none(&direct));
        println!("  with what they inherit: {}", people::or_none(&roles));
        for member in members {
            println!("  member {}{}", member.admin, in_short(member, now));
        }
        for token in tokens {
            println!("  token {}, created by {}", token.name, token.created_by);
        }
        for request in requests {
            println!("  requested: {} (request {})", asked_for(request), request.id);
        }
        people::print_history(&grants, &writes);
        Ok(Ended::Clean)
    })
}
