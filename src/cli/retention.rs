//! `console-gate retention`

use chrono::{Months, TimeDelta, Utc};
use clap::Args;
use ledger::AuditEvent;

use super::{Common, Ended, announce, operator, with_notary};
use crate::store::retention::Cutoffs;

/// The retention periods of the RBAC V2 design, section 9.1.
const GRANTS_AUDIT: Months = Months::new(7 * 12);
const TICKET_GRANTS: Months = Months::new(2 * 12);

/// Delete records past their retention period
///
/// Deletes grants audit rows after seven years, archives ticket-scoped grants two years after they ended, and deletes
/// drift after `retention.drift_days`. The deletion is recorded. Run it from a timer, as the owner of the tables.
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
        let drift = TimeDelta::days(i64::from(settings.retention.drift_days));
        let cutoffs = Cutoffs {
            grants_audit: now - GRANTS_AUDIT,
            ticket_grants: now - TICKET_GRANTS,
            drift: now - drift,
        };
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
            let event = AuditEvent::RetentionApplied {
                grants_audit: expired.grants_audit,
                ticket_grants: expired.ticket_grants,
                drift: expired.drift,
                by: operator(),
            };
            store.apply_retention(&cutoffs, expired, now, &notary.note(event.into_record(now))).await?;
        }
        Ok(Ended::Clean)
    })
}
