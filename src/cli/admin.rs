//! `console-gate admin add|disable|enable|list|show`

use std::collections::BTreeMap;

use chrono::Utc;
use clap::{Args, Subcommand};
use grants::held::{Held, asked_for};
use policy::diagnostic::closest;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::Standing;
use policy::rbac::census::{CallerKind, Person};
use policy::rbac::grant::Origin;
use serde_json::json;
use store::access_grants::AccessGrant;
use store::rbac_changes::RbacChange;

use super::grant::in_short;
use super::help::Examples;
use super::people::{self, How};
use super::{Common, Ended, TextOrJson, with_store};

pub(super) const EXAMPLES: Examples = &[
    ("admin", &["console-gate --config gate.toml admin list"]),
    (
        "admin add",
        &[
            "console-gate --config gate.toml admin add admin-07 --email ann@example.org --group raxx-support-team",
        ],
    ),
    ("admin disable", &["console-gate --config gate.toml admin disable admin-07 --reason 'left'"]),
    ("admin enable", &["console-gate --config gate.toml admin enable admin-07"]),
    ("admin list", &["console-gate --config gate.toml admin list --format json"]),
    ("admin show", &["console-gate --config gate.toml admin show admin-07"]),
];

/// Add, disable, enable and show admins
///
/// Where Console keeps its own admins, `add` is refused, and `disable` blocks an admin at the gate, whatever Console says.
#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add an admin
    Add {
        /// The id, as Console's session carries it
        id: String,
        /// The mail address
        #[arg(long)]
        email: String,
        /// The name to show
        #[arg(long)]
        name: Option<String>,
        /// A group to add the admin to; may be repeated
        #[arg(long = "group")]
        groups: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Disable an admin; when this returns, no gate lets the admin in any more
    Disable {
        /// The id
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// Enable an admin again
    Enable {
        /// The id
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// List enabled admins with their groups
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Show what an admin holds, and how it came about
    Show {
        /// The id
        id: String,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

impl Admin {
    pub(super) fn only_reads(&self) -> bool {
        match &self.action {
            Action::Add { how, .. } | Action::Disable { how, .. } | Action::Enable { how, .. } => {
                how.only_reads()
            }
            Action::List { .. } | Action::Show { .. } => true,
        }
    }
}

pub(super) fn run(command: &Admin, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Add { id, email, name, groups, how } => {
            let add = RbacChange::AddAdmin { admin: id.clone(), email: email.clone(), name: name.clone() };
            let join = |group: &String| RbacChange::Join { admin: id.clone(), group: group.clone() };
            let wanted: Vec<_> = std::iter::once(add).chain(groups.iter().map(join)).collect();
            people::run(common, how, &wanted, false)
        }
        Action::Disable { id, how } => {
            people::run(common, how, &[RbacChange::DisableAdmin { admin: id.clone() }], false)
        }
        Action::Enable { id, how } => {
            people::run(common, how, &[RbacChange::EnableAdmin { admin: id.clone() }], false)
        }
        Action::List { format } => list(common, *format),
        Action::Show { id, format } => show(common, id, *format),
    }
}

fn list(common: &Common, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let now = Utc::now();
        let (census, held) = (store.census(now).await?, Held::read(&store, None, now).await?);
        let mut by_admin: BTreeMap<&str, Vec<&AccessGrant>> = BTreeMap::new();
        for grant in &held.grants {
            by_admin.entry(&grant.admin).or_default().push(grant);
        }
        let of = |person: &Person| by_admin.get(&*person.id).into_iter().flatten().copied();
        let admins = census.iter().filter(|person| person.kind == CallerKind::Admin);
        match format {
            TextOrJson::Json => {
                let admins: Vec<_> = admins
                    .map(|person| {
                        let legacy: Vec<&str> =
                            person.legacy.iter().map(policy::rbac::LegacyRole::as_str).collect();
                        let groups: Vec<&str> = person.groups.iter().map(AsRef::as_ref).collect();
                        json!({
                            "id": &*person.id, "legacy": legacy, "groups": groups,
                            "break_glass": person.break_glass, "grants": of(person).collect::<Vec<_>>(),
                        })
                    })
                    .collect();
                println!("{}", serde_json::to_string_pretty(&admins)?);
            }
            TextOrJson::Text => {
                for person in admins {
                    let legacy: Vec<&str> =
                        person.legacy.iter().map(policy::rbac::LegacyRole::as_str).collect();
                    // A timed membership is shown with its end, a permanent one without.
                    let ends = |group: &str| {
                        let live = of(person).filter(|grant| grant.is_live(now));
                        let ends = live
                            .filter(|grant| grant.group.as_deref() == Some(group))
                            .map(|grant| grant.ends);
                        ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max())
                    };
                    let groups = person.groups.iter().map(|group| match ends(group) {
                        Some(ends) => format!("{group} until {}", ends.format("%Y-%m-%d %H:%M UTC")),
                        None => group.to_string(),
                    });
                    let groups: Vec<String> = groups.collect();
                    let tickets = of(person).filter(|grant| grant.origin == Origin::Ticket).count();
                    let tickets = match tickets {
                        0 => String::new(),
                        tickets => format!("  grants for tickets: {tickets}"),
                    };
                    let glass = if person.break_glass { "  break-glass session" } else { "" };
                    println!(
                        "{}  groups: {}  legacy roles: {}{tickets}{glass}",
                        person.id,
                        people::or_none(&groups),
                        people::or_none(&legacy),
                    );
                }
            }
        }
        Ok(Ended::Clean)
    })
}

fn show(common: &Common, id: &str, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let subject = Subject::Admin { id: AdminId::new(id), session: None };
        let now = Utc::now();
        let access = store.access(&subject, now).await?;
        let held = Held::read(&store, Some(id), now).await?;
        if access.standing == Standing::Unknown && held.grants.is_empty() {
            let census = store.census(now).await?;
            let near = closest(id, census.iter().map(|person| &*person.id));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            anyhow::bail!("there is no admin `{id}`{near}");
        }
        let is_blocked = store.is_blocked(id).await?;
        let grants = store.grants_audit(Some(id), None, people::SHOWN).await?;
        let mut writes = store.rbac_writes(Some(id), people::SHOWN).await?;
        writes.retain(|write| write.relation == "rbac_user_groups");
        let names = |names: &std::collections::BTreeSet<std::sync::Arc<str>>| -> Vec<String> {
            names.iter().map(ToString::to_string).collect()
        };
        let legacy: Vec<&str> = access.legacy.iter().map(policy::rbac::LegacyRole::as_str).collect();
        if format == TextOrJson::Json {
            let (sessions, others): (Vec<_>, Vec<_>) =
                held.grants.iter().partition(|grant| grant.origin == Origin::BreakGlass);
            let (tickets, memberships): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|grant| grant.origin == Origin::Ticket);
            let report = json!({
                "id": id, "standing": access.standing, "blocked": is_blocked, "memberships": memberships,
                "ticket_grants": tickets, "break_glass_sessions": sessions, "requests": held.requests,
                "tokens": held.tokens,
                "legacy": legacy, "roles": names(&access.roles), "permissions": names(&access.permissions),
                "grants_audit": grants, "other_writes": writes,
            });
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(Ended::Clean);
        }
        let standing = match (access.standing, is_blocked) {
            (_, true) => "blocked at the gate",
            (Standing::Active, _) => "enabled",
            (Standing::Unknown, _) => "not there (yet)",
            (Standing::Disabled | Standing::SessionEnded, _) => "disabled",
        };
        println!("{id}: {standing}");
        for grant in &held.grants {
            let what = match (&grant.group, &grant.role) {
                (Some(_), _) if grant.origin == Origin::BreakGlass => "break-glass session".to_owned(),
                (Some(group), _) => format!("in {group}"),
                (None, role) => format!("role {}", role.as_deref().unwrap_or_default()),
            };
            println!("  {what}{}", in_short(grant, now));
        }
        for token in &held.tokens {
            println!("  created the token {}", token.name);
        }
        for request in &held.requests {
            println!("  requested: {} (request {})", asked_for(request), request.id);
        }
        println!("  legacy roles: {}", people::or_none(&legacy));
        println!("  roles: {}", people::or_none(&names(&access.roles)));
        println!("  permissions: {}", people::or_none(&names(&access.permissions)));
        people::print_history(&grants, &writes);
        Ok(Ended::Clean)
    })
}
