//! `console-gate flag rbac-v2|ticket-grants on|off|show`

use clap::{Args, ValueEnum};
use ledger::AuditEvent;
use serde_json::json;
use store::control::RBAC_V2_FLAG;
use store::tickets::TICKET_GRANTS_FLAG;

use super::help::Examples;
use super::settled::wait_and_report;
use super::{Common, Ended, TextOrJson, announce, checkpoint, operator, with_notary, with_store};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[(
    "flag",
    &[
        "console-gate --config gate.toml flag rbac-v2 show",
        "console-gate --config gate.toml flag rbac-v2 off",
    ],
)];

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
    /// The output format of `show`
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
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
        (name, Action::Show) => show(&settings, name, command.format),
    }
}

fn show(settings: &Settings, name: Name, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(settings, async |store| {
        let (shown, text) = match name {
            Name::TicketGrants => {
                let enabled = store.ticket_grants_flag().await?;
                let state = match enabled {
                    None => "on: nobody has switched it off",
                    Some(true) => "on",
                    Some(false) => "off",
                };
                let shown = json!({ "flag": TICKET_GRANTS_FLAG, "enabled": enabled.unwrap_or(true) });
                (shown, format!("{TICKET_GRANTS_FLAG}: {state}"))
            }
            Name::RbacV2 => {
                let control = store.control().await?;
                let state = match control.rbac_v2 {
                    None => "not set in the database",
                    Some(true) => "on",
                    Some(false) => "off",
                };
                let promoted = if control.promoted { "promoted" } else { "not promoted" };
                let shown = json!({
                    // `null` where nothing in the database sets it.
                    "flag": RBAC_V2_FLAG, "enabled": control.rbac_v2, "promoted_to_production": control.promoted,
                    "epoch": control.epoch.to_string(),
                });
                let epoch = control.epoch;
                (shown, format!("{RBAC_V2_FLAG}: {state}; {promoted} to production; epoch {epoch}"))
            }
        };
        match format {
            TextOrJson::Text => println!("{text}"),
            TextOrJson::Json => println!("{}", serde_json::to_string_pretty(&shown)?),
        }
        Ok(Ended::Clean)
    })
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
