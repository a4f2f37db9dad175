//! `console-gate flag rbac-v2|ticket-grants on|off|show`

use clap::{Args, ValueEnum};
use ledger::AuditEvent;

use super::settled::wait_and_report;
use super::{Common, Ended, announce, checkpoint, operator, with_notary, with_store};
use crate::settings::Settings;
use crate::store::control::RBAC_V2_FLAG;
use crate::store::tickets::TICKET_GRANTS_FLAG;

/// Show or set a kill-switch
///
/// A change takes effect at once, in every gate on this database.
#[derive(Debug, Args)]
pub(super) struct Flag {
    /// The flag
    #[arg(value_enum)]
    name: Name,
    /// Set it on or off, or show it
    #[arg(value_enum)]
    action: Action,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// FLAG_RBAC_V2: off returns every route to its legacy gate at once
    RbacV2,
    /// FLAG_TICKET_SCOPED_GRANTS: off denies every request that needs a grant for a ticket
    TicketGrants,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    On,
    Off,
    Show,
}

impl Flag {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::Show)
    }
}

pub(super) fn run(command: &Flag, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    match (command.name, command.action) {
        (name, Action::On) => set(&settings, name, true),
        (name, Action::Off) => set(&settings, name, false),
        (Name::TicketGrants, Action::Show) => with_store(&settings, async |store| {
            let state = match store.ticket_grants_flag().await? {
                None => "on: nobody has switched it off",
                Some(true) => "on",
                Some(false) => "off",
            };
            println!("{TICKET_GRANTS_FLAG}: {state}");
            Ok(Ended::Clean)
        }),
        (Name::RbacV2, Action::Show) => with_store(&settings, async |store| {
            let control = store.control().await?;
            let state = match control.rbac_v2 {
                None => "not set in the database",
                Some(true) => "on",
                Some(false) => "off",
            };
            let promoted = if control.promoted { "promoted" } else { "not promoted" };
            println!("{RBAC_V2_FLAG}: {state}; {promoted} to production; epoch {}", control.epoch);
            Ok(Ended::Clean)
        }),
    }
}

fn set(settings: &Settings, name: Name, enabled: bool) -> anyhow::Result<Ended> {
    with_notary(settings, async |store, notary| {
        let now = chrono::Utc::now();
        let (flag, off) = match name {
            Name::RbacV2 => (RBAC_V2_FLAG, "off: the legacy gate decides every route"),
            Name::TicketGrants => (TICKET_GRANTS_FLAG, "off: no grant for a ticket counts"),
        };
        let event = AuditEvent::FlagFlipped { name: flag, enabled, by: operator() };
        let note = notary.note(event.into_record(now));
        match name {
            Name::RbacV2 => store.set_rbac_v2(enabled, &operator(), now, &note).await?,
            Name::TicketGrants => store.set_ticket_grants_flag(enabled, &operator(), now, &note).await?,
        }
        checkpoint::keep(settings, &store, &notary).await;
        announce(format_args!("{flag} is {}", if enabled { "on" } else { off }));
        wait_and_report(store).await?;
        Ok(Ended::Clean)
    })
}
