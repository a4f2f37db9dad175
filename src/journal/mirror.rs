//! Delivers the rows that wait for Console's own audit table, behind the answers.
//!
//! Console's table never delays a denial: the row is tried after a savepoint of the same transaction, and a row that is
//! not accepted waits as an id.

use std::time::Duration;

use anyhow::Context as _;
use metrics::gauge;
use store::console::mirror::{Delivered, MirrorError};
use store::{SharedStore, StoreError};
use tokio::time::{MissedTickBehavior, interval};

/// The interval between looks for waiting rows.
const LOOK: Duration = Duration::from_secs(1);

/// At the start, checks whether Console's table accepts what the settings send it.
///
/// # Errors
///
/// All mistakes in the settings together. An unavailable database or a locked table is not a mistake: rows wait then.
pub async fn ready(store: &SharedStore) -> anyhow::Result<()> {
    match store.check_mirror().await {
        Ok(()) => Ok(()),
        Err(error @ MirrorError::Unsound(_)) => Err(error).context("Console's own audit table"),
        Err(MirrorError::Store(error)) => {
            tracing::warn!(%error, "Console's own audit table could not be read; rows for it wait");
            Ok(())
        }
    }
}

/// Delivers for as long as the task runs.
pub async fn follow(store: SharedStore) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    match store.retry_refused().await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "rows that Console's audit table refused are tried again"),
        Err(error) => tracing::warn!(%error, "rows that Console's audit table refused are not tried again"),
    }
    let mut was_waiting = false;
    loop {
        ticks.tick().await;
        was_waiting = report(store.deliver_mirror().await, was_waiting);
    }
}

/// Counts and logs the outcome of a delivery. Returns whether rows still wait.
fn report(outcome: Result<Delivered, StoreError>, was_waiting: bool) -> bool {
    let delivered = match outcome {
        Ok(delivered) => delivered,
        Err(error) => {
            tracing::debug!(%error, "rows for Console's audit table wait");
            return was_waiting;
        }
    };
    gauge!("gate_audit_mirror_waiting").set(delivered.waiting as f64);
    gauge!("gate_audit_mirror_refused").set(delivered.refused as f64);
    let is_waiting = delivered.waiting > 0;
    match (&delivered.problem, was_waiting, is_waiting) {
        (Some(problem), false, _) => {
            tracing::warn!(%problem, waiting = delivered.waiting, "rows for Console's audit table wait");
        }
        (_, true, false) => tracing::info!("no row waits for Console's audit table any more"),
        _ => {}
    }
    is_waiting
}
