//! Rows past their retention period (RBAC V2 design, section 9.1).

use chrono::{DateTime, Utc};
use ledger::Note;

use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError};

/// The ends of the retention periods: older rows are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Grants audit: seven years. The database itself refuses to part with a younger row.
    pub grants_audit: DateTime<Utc>,
    /// Ticket-scoped grants that have ended: two years, then the archive.
    pub ticket_grants: DateTime<Utc>,
    /// Drift: as the settings say.
    pub drift: DateTime<Utc>,
}

/// How many rows are past their period, or were deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub grants_audit: u64,
    pub ticket_grants: u64,
    pub drift: u64,
}

impl Store {
    /// Counts the rows past their period, for as long as that takes.
    pub async fn expired(&self, cutoffs: &Cutoffs) -> Result<Expired, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut counts = [0; 3];
        for (count, (from, cutoff)) in counts.iter_mut().zip(tables(cutoffs)) {
            let rows = Statement::joined(&["SELECT COUNT(*) FROM ", from]).bind(cutoff);
            let (rows,): (i64,) = connection.one(rows).await?;
            *count = rows.unsigned_abs();
        }
        Ok(Expired::of(counts))
    }

    /// Removes and archives the expired rows, with `note` in the same transaction, for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when the count is no longer `expected`; nothing was changed.
    pub async fn apply_retention(
        &self,
        cutoffs: &Cutoffs,
        expected: Expired,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<(), StoreError> {
        self.long_change(note, async |change| {
            change.execute(sql(ARCHIVE).bind(cutoffs.ticket_grants).bind(now)).await?;
            let mut removed = [0; 3];
            for (count, (from, cutoff)) in removed.iter_mut().zip(tables(cutoffs)) {
                *count = change.execute(Statement::joined(&["DELETE FROM ", from]).bind(cutoff)).await?;
            }
            change.execute(sql(SIGN_OFFS)).await?;
            for statement in EVIDENCE {
                change.execute(sql(statement).bind(cutoffs.drift)).await?;
            }
            if Expired::of(removed) == expected {
                return Ok(());
            }
            change.undo();
            Err(StoreError::Conflict("rows were added or removed meanwhile".into()))
        })
        .await
    }
}

/// The tables with rows past their period, and the cutoff of each.
fn tables(cutoffs: &Cutoffs) -> [(&'static str, DateTime<Utc>); 3] {
    let ended = "rbac_ticket_grants WHERE COALESCE(revoked_at_utc, expires_at_utc) < $1";
    [
        ("rbac_grants_audit WHERE created_at_utc < $1", cutoffs.grants_audit),
        (ended, cutoffs.ticket_grants),
        ("gate_drift_events WHERE last_seen_at_utc < $1", cutoffs.drift),
    ]
}

impl Expired {
    /// From the numbers of the rows of [`tables`].
    fn of([grants_audit, ticket_grants, drift]: [u64; 3]) -> Expired {
        Expired { grants_audit, ticket_grants, drift }
    }
}

/// A disagreement that is forgotten has to be reviewed again when it comes back.
const SIGN_OFFS: &str = "
    DELETE FROM gate_drift_signoffs
     WHERE NOT EXISTS (SELECT 1 FROM gate_drift_events e
                        WHERE e.route = gate_drift_signoffs.route AND e.actor_kind = gate_drift_signoffs.actor_kind
                          AND e.actor_id = gate_drift_signoffs.actor_id AND e.direction = gate_drift_signoffs.direction)";

/// A gap, and the mark of a gate that has ended, are about drift of their time.
const EVIDENCE: [&str; 2] = [
    "DELETE FROM gate_evidence_gaps WHERE until_utc < $1",
    "DELETE FROM gate_evidence_marks WHERE complete_until_utc < $1",
];

const ARCHIVE: &str = "
    INSERT INTO rbac_ticket_grants_archive
    SELECT id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc, expires_at_utc, revoked_at_utc,
           revoke_reason, $2
      FROM rbac_ticket_grants WHERE COALESCE(revoked_at_utc, expires_at_utc) < $1";
