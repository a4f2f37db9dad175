//! What is old enough to go (RBAC V2 design, section 9.1).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledger::Note;

use super::{PostgresStore, SqliteStore, StoreError};

/// The ends of retention: what is from before goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Grants audit: seven years. The database itself refuses to part with a younger row.
    pub grants_audit: DateTime<Utc>,
    /// Ticket-scoped grants that have ended: two years, then the archive.
    pub ticket_grants: DateTime<Utc>,
    /// Drift: as the settings say.
    pub drift: DateTime<Utc>,
}

/// How many rows are old enough, or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub grants_audit: u64,
    pub ticket_grants: u64,
    pub drift: u64,
}

/// Finds and removes what is old enough.
#[async_trait]
pub trait RetentionStore {
    /// Counts.
    async fn expired(&self, cutoffs: &Cutoffs) -> Result<Expired, StoreError>;

    /// Removes it, and archives what is to be archived, with `note` in the same transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when it is not `expected` that is old enough any more; nothing was changed.
    async fn apply_retention(
        &self,
        cutoffs: &Cutoffs,
        expected: Expired,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<(), StoreError>;
}

/// What is old enough, by a cutoff.
const GRANTS_AUDIT: &str = "rbac_grants_audit WHERE created_at_utc < $1";
const TICKET_GRANTS: &str = "rbac_ticket_grants WHERE COALESCE(revoked_at_utc, expires_at_utc) < $1";
const DRIFT: &str = "gate_drift_events WHERE last_seen_at_utc < $1";

/// A disagreement that is forgotten has to be looked at anew when it comes back.
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

macro_rules! retention_store {
    ($store:ty) => {
        impl $store {
            async fn count(&self, from: &str, cutoff: DateTime<Utc>) -> Result<u64, StoreError> {
                let statement = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {from}"));
                let count: i64 = sqlx::query_scalar(statement).bind(cutoff).fetch_one(&self.pool).await?;
                Ok(count.unsigned_abs())
            }
        }

        #[async_trait]
        impl RetentionStore for $store {
            async fn expired(&self, cutoffs: &Cutoffs) -> Result<Expired, StoreError> {
                Ok(Expired {
                    grants_audit: self.count(GRANTS_AUDIT, cutoffs.grants_audit).await?,
                    ticket_grants: self.count(TICKET_GRANTS, cutoffs.ticket_grants).await?,
                    drift: self.count(DRIFT, cutoffs.drift).await?,
                })
            }

            async fn apply_retention(
                &self,
                cutoffs: &Cutoffs,
                expected: Expired,
                now: DateTime<Utc>,
                note: &Note,
            ) -> Result<(), StoreError> {
                let mut transaction = self.begin().await?;
                Self::enter(&mut transaction, note).await?;
                sqlx::query(ARCHIVE).bind(cutoffs.ticket_grants).bind(now).execute(&mut *transaction).await?;
                let mut gone = [0; 3];
                for (count, (from, cutoff)) in gone.iter_mut().zip([
                    (GRANTS_AUDIT, cutoffs.grants_audit),
                    (TICKET_GRANTS, cutoffs.ticket_grants),
                    (DRIFT, cutoffs.drift),
                ]) {
                    let statement = sqlx::AssertSqlSafe(format!("DELETE FROM {from}"));
                    *count =
                        sqlx::query(statement).bind(cutoff).execute(&mut *transaction).await?.rows_affected();
                }
                sqlx::query(SIGN_OFFS).execute(&mut *transaction).await?;
                for statement in EVIDENCE {
                    sqlx::query(statement).bind(cutoffs.drift).execute(&mut *transaction).await?;
                }
                let [grants_audit, ticket_grants, drift] = gone;
                if (Expired { grants_audit, ticket_grants, drift }) != expected {
                    transaction.rollback().await?;
                    return Err(StoreError::Conflict("rows were added or removed meanwhile".into()));
                }
                Ok(transaction.commit().await?)
            }
        }
    };
}

retention_store!(PostgresStore);
retention_store!(SqliteStore);
