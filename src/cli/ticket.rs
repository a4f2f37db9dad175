//! `console-gate ticket grant|end|list|check`

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use clock::SystemClock;
use serde_json::json;
use store::access_grants::GrantsOf;
use store::rbac_changes::{RbacChange, TicketEnd, TicketGrant};

use super::grant::in_words;
use super::help::Examples;
use super::people::{self, How};
use super::time::{Until, until};
use super::{Common, Ended, TextOrJson, announce, with_notary, with_store};
use crate::outbound::freescout::{FreeScout, TicketState};
use crate::server;
use crate::settings::Settings;
use crate::settings::secrets::freescout_key;
use crate::tickets::{Tickets, must_be_open};
use policy::rbac::grant::Origin;

pub(super) const EXAMPLES: Examples = &[
    ("ticket", &["console-gate --config gate.toml ticket list"]),
    (
        "ticket grant",
        &[
            "console-gate --config gate.toml ticket grant admin-07 customer-reader --ticket 4711 --customer 12 --until 8h",
        ],
    ),
    ("ticket end", &["console-gate --config gate.toml ticket end 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"]),
    ("ticket list", &["console-gate --config gate.toml ticket list --ticket 4711"]),
    ("ticket check", &["console-gate --config gate.toml ticket check --end"]),
];

/// Grant a role for one ticket and customer, and end such grants
///
/// A grant counts only for requests that name its ticket and its customer, on rows with `ticket`, and ends with the ticket.
#[derive(Debug, Args)]
pub(super) struct Ticket {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Grant a role for a ticket that is open
    Grant {
        /// The admin's id
        #[arg(id = "of_admin", value_name = "ADMIN")]
        admin: String,
        /// The role
        role: String,
        /// The number of the conversation in FreeScout
        #[arg(long)]
        ticket: String,
        /// The number of the customer
        #[arg(long)]
        customer: i64,
        /// When it ends at the latest: `8h`, `7d`, a date or a time; without it, with its ticket
        #[arg(long, value_parser = until)]
        until: Option<Until>,
        #[command(flatten)]
        how: How,
    },
    /// End a grant
    End {
        /// The grant's id, as `ticket list` shows it
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// List grants for tickets
    List {
        /// Only those of this admin
        #[arg(id = "of_admin", long = "of", value_name = "ADMIN")]
        admin: Option<String>,
        /// Only those for this ticket
        #[arg(long)]
        ticket: Option<String>,
        /// Also those that are over
        #[arg(long)]
        all: bool,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Ask FreeScout about every ticket with grants; exits with 1 if one is not open, or not known to be
    Check {
        /// End the grants that are over, as the gates do by themselves
        #[arg(long)]
        end: bool,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

impl Ticket {
    pub(super) fn only_reads(&self) -> bool {
        match &self.action {
            Action::Grant { how, .. } | Action::End { how, .. } => how.only_reads(),
            Action::List { .. } => true,
            Action::Check { end, .. } => !end,
        }
    }
}

pub(super) fn run(command: &Ticket, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Grant { admin, role, ticket, customer, until, how } => {
            let ends = until.map(|until| until.from(Utc::now()).context("`--until` is too far away"));
            let grant = TicketGrant {
                id: uuid::Uuid::new_v4().to_string(),
                admin: admin.clone(),
                role: role.clone(),
                ticket: ticket.clone(),
                customer: *customer,
                ends: ends.transpose()?,
            };
            let freescout = help_desk(&common.settings()?)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(must_be_open(&freescout, &grant.ticket))?;
            people::run(common, how, &[RbacChange::TicketGrant { grant }], false)
        }
        Action::End { id, how } => {
            let grants =
                with_store(&common.settings()?, async |store| Ok(store.ticket_grants(None).await?))?;
            let Some(grant) = grants.into_iter().find(|grant| grant.id == *id) else {
                anyhow::bail!(
                    "there is no grant for a ticket with the id `{id}`, or it has ended already: `console-gate ticket list \
                     --all` shows them"
                );
            };
            let grant = TicketGrant::from(&grant);
            people::run(common, how, &[RbacChange::EndTicketGrant { grant, reason: TicketEnd::Manual }], true)
        }
        Action::List { admin, ticket, all, format } => {
            list(common, admin.as_deref(), ticket.as_deref(), *all, *format)
        }
        Action::Check { end: false, format } => check(common, *format),
        Action::Check { end: true, format } => reconcile(common, *format),
    }
}

/// FreeScout, as the settings specify it.
fn help_desk(settings: &Settings) -> anyhow::Result<FreeScout> {
    let key = freescout_key(settings, |name| std::env::var(name).ok())?;
    let freescout = key.as_ref().map(|key| server::freescout(settings, key)).transpose()?.flatten();
    freescout.context("no FreeScout is configured: set `url` and `mailboxes` in [freescout]")
}

fn list(
    common: &Common,
    admin: Option<&str>,
    ticket: Option<&str>,
    all: bool,
    format: TextOrJson,
) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let now: DateTime<Utc> = Utc::now();
        let mut grants = store.access_grants(GrantsOf { admin, of: None }).await?;
        grants.retain(|grant| {
            grant.origin == Origin::Ticket
                && (all || grant.is_live(now))
                && ticket.is_none_or(|ticket| grant.ticket.as_deref() == Some(ticket))
        });
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

fn check(common: &Common, format: TextOrJson) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let freescout = help_desk(&settings)?;
    with_store(&settings, async |store| {
        let now = Utc::now();
        let grants = store.ticket_grants(None).await?;
        let live = grants.iter().filter(|grant| !grant.has_expired(now));
        let tickets: BTreeSet<&str> = live.map(|grant| grant.ticket.as_str()).collect();
        let mut found = Vec::new();
        for ticket in tickets {
            let state = match policy::decision::ticket::ticket_id(ticket) {
                None => Err("it is not the number of a ticket".to_owned()),
                Some(id) => freescout.ticket(&id).await.map_err(|error| error.to_string()),
            };
            found.push((ticket, state));
        }
        let is_clean = found.iter().all(|(_, state)| *state == Ok(TicketState::Open));
        let words = |state: &Result<TicketState, String>| match state {
            Ok(TicketState::Open) => "open".to_owned(),
            Ok(TicketState::Ended(fate)) => format!("over: {}", fate.in_words()),
            Err(error) => format!("unknown: {error}"),
        };
        if format == TextOrJson::Json {
            let tickets: Vec<_> = found
                .iter()
                .map(|(ticket, state)| json!({ "ticket": ticket, "state": words(state) }))
                .collect();
            println!("{}", serde_json::to_string_pretty(&tickets)?);
        } else if found.is_empty() {
            println!("no grants for tickets");
        } else {
            for (ticket, state) in &found {
                println!("ticket {}  {}", ticket.escape_debug(), words(state));
            }
        }
        Ok(if is_clean { Ended::Clean } else { Ended::Findings })
    })
}

fn reconcile(common: &Common, format: TextOrJson) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let freescout = help_desk(&settings)?;
    with_notary(&settings, async |store, notary| {
        let tickets = Tickets::new(store, notary, std::sync::Arc::new(SystemClock), freescout);
        let found = tickets.reconcile().await?;
        if format == TextOrJson::Json {
            announce(serde_json::to_string_pretty(&found)?);
        } else {
            announce(format_args!(
                "{} tickets with grants: {} grants ended, {} tickets unknown",
                found.tickets, found.ended, found.unknown
            ));
        }
        Ok(if found.unknown == 0 { Ended::Clean } else { Ended::Findings })
    })
}
