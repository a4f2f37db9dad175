//! `console-gate retention`

use chrono::Utc;
use clap::Args;

use super::help::Examples;
use super::{Common, Ended, announce, operator, with_notary};
use crate::upkeep::retention;

pub(super) const EXAMPLES: Examples =
    &[("retention", &["console-gate --config gate.toml retention --dry-run"])];

/// Delete records past their retention period
///
/// Deletes grants audit rows after seven years, archives ticket-scoped grants two years after they ended, and deletes
/// drift after `retention.drift_days`. The deletion is recorded. A gate whose role owns the tables does this every day by
/// itself; elsewhere run it from a timer, as their owner.
#[derive(Debug, Args)]
pub(super) struct Retention {
    /// Only report what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(command: &Retention, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    with_notary(&settings, async |store, notary| {
        let now = Utc::now();
        let cutoffs = retention::cutoffs(settings.retention.drift_days, now);
        let expired = store.expired(&cutoffs).await?;
        let would = if command.dry_run { "would be " } else { "" };
        announce(format_args!(
            "{} row(s) of the grants audit from before {} {would}deleted",
            expired.grants_audit,
            cutoffs.grants_audit.date_naive()
        ));
        announce(format_args!(
            "{} ticket grant(s) that ended before {} {would}archived",
            expired.ticket_grants,
            cutoffs.ticket_grants.date_naive()
        ));
        announce(format_args!(
            "{} row(s) of drift from before {} {would}deleted",
            expired.drift,
            cutoffs.drift.date_naive()
        ));
        if !command.dry_run && expired != Default::default() {
            retention::apply(&store, &notary, (&cutoffs, expired), &operator(), now).await?;
        }
        Ok(Ended::Clean)
    })
}
