//! `console-gate flag rbac-v2 on|off|show`

use clap::{Args, ValueEnum};
use ledger::AuditEvent;

use super::settled::wait_and_report;
use super::{Common, Ended, announce, checkpoint, operator, with_notary, with_store};
use crate::settings::Settings;
use crate::store::control::RBAC_V2_FLAG;

/// Show or set the kill-switch
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
    let Name::RbacV2 = command.name;
    match command.action {
        Action::On => set(&settings, true),
        Action::Off => set(&settings, false),
        Action::Show => with_store(&settings, async |store| {
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

fn set(settings: &Settings, enabled: bool) -> anyhow::Result<Ended> {
    with_notary(settings, async |store, notary| {
        let now = chrono::Utc::now();
        let event = AuditEvent::FlagFlipped { name: RBAC_V2_FLAG, enabled, by: operator() };
        store.set_rbac_v2(enabled, &operator(), now, &notary.note(event.into_record(now))).await?;
        checkpoint::keep(settings, &store, &notary).await;
        let state = if enabled { "on" } else { "off: the legacy gate decides every route" };
        announce(format_args!("{RBAC_V2_FLAG} is {state}"));
        wait_and_report(store).await?;
        Ok(Ended::Clean)
    })
}
