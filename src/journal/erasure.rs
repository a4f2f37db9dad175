//! Erasure (GDPR; RBAC V2 design 9.1): deletes personal data; the chain still verifies.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::SharedClock;
use ledger::event::AuditEvent;
use ledger::note::Notary;
use metrics::counter;
use store::{SharedStore, Store, StoreError};

/// The interval between looks for deleted admins.
const LOOK: Duration = Duration::from_secs(60);
/// Rows may be added during a count. The count is repeated at most this many times.
const TRIES: usize = 10;

/// The numbers of erased rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    pub rows: u64,
    pub customer_rows: u64,
}

/// Blanks the personal data of an actor in every row that names it. The event that accounts for it is sealed in the
/// same transaction, and does not name the actor either.
///
/// # Errors
///
/// The database did not do it, and nothing was changed.
pub async fn erase(
    store: &Store,
    notary: &Notary,
    actor_id: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Erased, StoreError> {
    let mut tries = 0;
    loop {
        let (rows, customer_rows) = store.traces_of(actor_id).await?;
        let event = AuditEvent::AdminErased { rows, customer_rows, by: by.to_owned() };
        match store.erase(actor_id, (rows, customer_rows), &notary.note(event.into_record(now))).await {
            Err(StoreError::Conflict(_)) if tries < TRIES => tries += 1,
            other => return other.map(|()| Erased { rows, customer_rows }),
        }
    }
}

/// Carries out the erasures that the database requests after an admin's row was deleted, for as long as the task runs.
pub async fn follow(store: SharedStore, notary: Notary, clock: SharedClock) {
    loop {
        if let Err(error) = carry_out(&store, &notary, &clock).await {
            tracing::warn!(%error, "erasures are delayed");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn carry_out(store: &SharedStore, notary: &Notary, clock: &SharedClock) -> Result<(), StoreError> {
    for actor in store.pending_erasures().await? {
        let erased = erase(store.as_ref(), notary, &actor, "gate", clock.now()).await?;
        counter!("gate_erasures_total").increment(1);
        tracing::info!(
            rows = erased.rows,
            customer_rows = erased.customer_rows,
            "an admin was erased from the audit"
        );
    }
    Ok(())
}
