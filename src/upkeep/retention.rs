//! Records past their retention period (RBAC V2 design, section 9.1), deleted by the gate or by `console-gate
//! retention`.
//!
//! A serving role that does not own the tables may not delete from the grants audit, and should not: the log then
//! reports it.

use chrono::{DateTime, Months, TimeDelta, Utc};
use ledger::{AuditEvent, Notary};
use store::retention::{Cutoffs, Expired};
use store::{SharedStore, StoreError};

/// The retention periods of the RBAC V2 design, section 9.1.
const GRANTS_AUDIT: Months = Months::new(7 * 12);
const TICKET_GRANTS: Months = Months::new(2 * 12);

/// The ends of the periods at `now`, if drift is kept for `drift_days`.
pub fn cutoffs(drift_days: u32, now: DateTime<Utc>) -> Cutoffs {
    Cutoffs {
        grants_audit: now - GRANTS_AUDIT,
        ticket_grants: now - TICKET_GRANTS,
        drift: now - TimeDelta::days(i64::from(drift_days)),
    }
}

/// Deletes the counted records, with an audit record.
///
/// # Errors
///
/// The database did not do it, or the count has changed. In both cases nothing was deleted.
pub async fn apply(
    store: &SharedStore,
    notary: &Notary,
    (cutoffs, expired): (&Cutoffs, Expired),
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let event = AuditEvent::RetentionApplied {
        grants_audit: expired.grants_audit,
        ticket_grants: expired.ticket_grants,
        drift: expired.drift,
        by: by.to_owned(),
    };
    store.apply_retention(cutoffs, expired, now, &notary.note(event.into_record(now))).await
}

/// Deletes records past their period, as far as this gate's role may.
pub(super) async fn by_gate(
    store: &SharedStore,
    notary: &Notary,
    drift_days: u32,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let cutoffs = cutoffs(drift_days, now);
    let expired = store.expired(&cutoffs).await?;
    if expired == Expired::default() {
        return Ok(());
    }
    match apply(store, notary, (&cutoffs, expired), "console-gate", now).await {
        Ok(()) => {
            tracing::info!(
                expired.grants_audit,
                expired.ticket_grants,
                expired.drift,
                "records past their period were deleted"
            );
            Ok(())
        }
        // A role with only a serving gate's rights may not delete: the owner of the database runs the command.
        Err(StoreError::Forbidden(_)) => {
            tracing::warn!(
                expired.grants_audit,
                expired.ticket_grants,
                expired.drift,
                "records past their retention period wait: this role may not delete them, so run `console-gate retention` as \
                 the owner of the tables, and set `daily = false` in [retention]"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}
