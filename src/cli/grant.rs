//! `console-gate grant list|end`

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use grants::held::starts_later;
use policy::rbac::grant::Origin;
use store::access_grants::{AccessGrant, GrantsOf};
use store::rbac_changes::RbacChange;

use super::help::Examples;
use super::people::{self, How};
use super::{Common, Ended, TextOrJson, with_store};

pub(super) const EXAMPLES: Examples = &[
    ("grant", &["console-gate --config gate.toml grant list --of admin-07"]),
    ("grant list", &["console-gate --config gate.toml grant list --group night-shift --all"]),
    (
        "grant end",
        &["console-gate --config gate.toml grant end 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10 --reason 'done'"],
    ),
];

/// List every grant with its origin and end, and end one early
#[derive(Debug, Args)]
pub(super) struct Grant {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List grants: memberships, memberships until a time, roles for a ticket, break-glass sessions
    List {
        /// Only those of this admin
        #[arg(id = "of_admin", long = "of", value_name = "ADMIN")]
        admin: Option<String>,
        /// Only those of this group
        #[arg(long)]
        group: Option<String>,
        /// Also those that are over
        #[arg(long)]
        all: bool,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// End a membership until a time; when this returns, no gate lets its admin in by it any more. Other grants of the same
    /// group stay
    End {
        /// The grant's id, as `grant list` shows it
        id: String,
        #[command(flatten)]
        how: How,
    },
}

impl Grant {
    pub(super) fn only_reads(&self) -> bool {
        match &self.action {
            Action::List { .. } => true,
            Action::End { how, .. } => how.only_reads(),
        }
    }
}

pub(super) fn run(command: &Grant, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::List { admin, group, all, format } => {
            let wanted = GrantsOf { admin: admin.as_deref(), of: group.as_deref() };
            list(common, wanted, *all, *format)
        }
        Action::End { id, how } => {
            let timed = with_store(&common.settings()?, async |store| Ok(store.timed_grants().await?))?;
            let Some(grant) = timed.into_iter().find(|grant| grant.id == *id) else {
                anyhow::bail!(
                    "there is no membership until a time with the id `{id}`, or it was ended already: `console-gate grant \
                     list --all` shows the grants; a membership without an end is ended with `console-gate group remove`"
                );
            };
            let end = RbacChange::EndGrant { id: grant.id, admin: grant.admin, group: grant.group };
            people::run(common, how, &[end], true)
        }
    }
}

fn list(common: &Common, wanted: GrantsOf<'_>, all: bool, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let now = Utc::now();
        let mut grants = store.access_grants(wanted).await?;
        grants.retain(|grant| all || grant.is_live(now));
        if format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&grants)?);
            return Ok(Ended::Clean);
        }
        for grant in &grants {
            println!("{}", in_words(grant));
        }
        if grants.is_empty() {
            println!("no grants");
        }
        Ok(Ended::Clean)
    })
}

/// How a grant came about and ends, as text that follows the grant and its holder: `, granted by anna`,
/// `, timed until ..., id ...`.
pub(super) fn in_short(grant: &AccessGrant, now: DateTime<Utc>) -> String {
    let by = grant.granted_by.as_deref().unwrap_or("unknown");
    if grant.origin == Origin::Direct {
        return format!(", granted by {by}");
    }
    let ticket = grant.ticket.as_ref().map_or_else(String::new, |ticket| {
        let customer = grant.customer.map_or_else(|| "?".to_owned(), |customer| customer.to_string());
        format!(" {ticket} and customer {customer}")
    });
    let later = match grant.starts.filter(|_| starts_later(grant, now)) {
        Some(starts) => format!(" from {}", minutes(starts)),
        None => String::new(),
    };
    let until = grant.ends.map_or_else(String::new, |ends| format!(" until {}", minutes(ends)));
    let origin = grant.origin.word().replace('_', "-");
    let id = grant.id.as_deref().unwrap_or_default();
    format!(", {origin}{ticket}{later}{until}, granted by {by}, id {id}")
}

fn minutes(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

pub(super) fn in_words(grant: &AccessGrant) -> String {
    let what = grant.group.as_ref().or(grant.role.as_ref()).map_or("", |what| what.as_str());
    let mut line = format!("{}  {}  {what}", grant.admin, grant.origin);
    let time = minutes;
    let ticket = grant.ticket.as_ref().map(|ticket| format!("ticket {ticket}"));
    let customer = grant.customer.map(|customer| format!("customer {customer}"));
    let starts = grant.starts.map(|starts| format!("from {}", time(starts)));
    let ends = grant.ends.map(|ends| format!("until {}", time(ends)));
    let by = grant.granted_by.as_ref().map(|by| format!("by {by}"));
    let revoked = grant.revoked_at.map(|at| {
        let by = grant.revoked_by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
        format!("revoked {}{by}", time(at))
    });
    let id = grant.id.as_ref().map(|id| format!("id {id}"));
    for part in [ticket, customer, starts, ends, by, revoked, id].into_iter().flatten() {
        line.push_str("  ");
        line.push_str(&part);
    }
    line
}
