//! The chain that commands share, as a gate sees it: checkpoints of it at the gate's own pace, and an alarm if it went
//! back.
//!
//! Commands keep checkpoints of their own records, if they can; gates record activations and erasures. A gate cannot
//! prove the chain while it runs, but it remembers what it last saw.

use std::time::Duration;

use clock::SharedClock;
use ledger::checkpoint::Checkpoint;
use ledger::event::ChainHead;
use ledger::keys::KeyRing;
use metrics::counter;
use store::audit::ControlChain;
use store::{SharedStore, StoreError};

use super::checkpoints::Checkpoints;

/// The interval between looks: a gate's own chain has checkpoints as often.
const LOOK: Duration = Duration::from_secs(60);

/// A gate's watch over the chain.
pub struct ControlWatch {
    store: SharedStore,
    keys: KeyRing,
    clock: SharedClock,
    checkpoints: Option<Checkpoints>,
    last: Option<ChainHead>,
}

impl ControlWatch {
    /// A watch that hands a checkpoint of each new head to `checkpoints`, if there are places for them.
    pub fn new(
        store: SharedStore,
        keys: KeyRing,
        clock: SharedClock,
        checkpoints: Option<Checkpoints>,
    ) -> ControlWatch {
        ControlWatch { store, keys, clock, checkpoints, last: None }
    }

    /// Looks for as long as the task runs.
    pub async fn follow(mut self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the audit chain of commands cannot be checked");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Checks once, and returns the chain's fault.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn look(&mut self) -> Result<Option<&'static str>, StoreError> {
        let now = self.store.control_chain().await?;
        let problem = problem(self.last.as_ref(), &now);
        if let Some(problem) = problem {
            counter!("gate_audit_control_changed_total").increment(1);
            tracing::error!(
                problem,
                "the audit chain of commands was changed outside the gate: run `console-gate audit verify \
                 --checkpoints ...`"
            );
        }
        let Some(end) = now.end.filter(|end| self.last.as_ref() != Some(end)) else { return Ok(problem) };
        let is_taken = match (&self.checkpoints, Checkpoint::of(&self.keys, &end, self.clock.now())) {
            (Some(checkpoints), Some(checkpoint)) => checkpoints.offer(&checkpoint),
            _ => true,
        };
        // A checkpoint that was not accepted is offered again at the next check.
        if is_taken {
            self.last = Some(end);
        }
        Ok(problem)
    }
}

/// The fault of the present chain, given that it ended at `last` before. A head that advanced over resealed rows is
/// found by the checkpoint of the old one.
fn problem(last: Option<&ChainHead>, now: &ControlChain) -> Option<&'static str> {
    let end = now.end.as_ref();
    if let Some(last) = last {
        match end {
            None => return Some("its rows are missing"),
            Some(end) if end.sequence < last.sequence => return Some("its last rows are missing"),
            Some(end) if end.sequence == last.sequence && end.mac != last.mac => {
                return Some("its last row is a different one");
            }
            Some(_) => {}
        }
    }
    match (&now.head, end) {
        (None, _) => Some("gate_audit_control has no row"),
        (Some(head), None) if head.sequence != 0 => {
            Some("gate_audit_control names a row that does not exist")
        }
        (Some(head), Some(end)) if head != end => Some("gate_audit_control does not name the last row"),
        (Some(_), _) => None,
    }
}

/// The checkpoint of the chain's present end; `None` while it has no row.
///
/// # Errors
///
/// The database did not answer.
pub async fn checkpoint<S>(
    store: &S,
    keys: &KeyRing,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Option<Checkpoint>, StoreError>
where
    S: store::AuditStore + ?Sized + Sync,
{
    let end = store.control_chain().await?.end;
    Ok(end.and_then(|end| Checkpoint::of(keys, &end, now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::chain::CONTROL;

    fn named(sequence: i64, mac: &str) -> Option<ChainHead> {
        Some(ChainHead { chain: CONTROL.to_owned(), sequence, mac: mac.to_owned() })
    }

    #[test]
    fn a_chain_that_went_back_is_a_problem() {
        let table = [
            (None, named(0, "0"), None, None),
            (None, named(3, "c"), named(3, "c"), None),
            (named(3, "c"), named(3, "c"), named(3, "c"), None),
            (named(3, "c"), named(5, "e"), named(5, "e"), None),
            (named(3, "c"), named(2, "b"), named(2, "b"), Some("its last rows are missing")),
            (named(3, "c"), named(3, "x"), named(3, "x"), Some("its last row is a different one")),
            (named(3, "c"), named(0, "0"), None, Some("its rows are missing")),
            (None, None, named(3, "c"), Some("gate_audit_control has no row")),
            (None, named(3, "c"), None, Some("gate_audit_control names a row that does not exist")),
            (None, named(2, "b"), named(3, "c"), Some("gate_audit_control does not name the last row")),
        ];
        for (last, head, end, expected) in table {
            let now = ControlChain { head, end };
            assert_eq!(problem(last.as_ref(), &now), expected, "{last:?} {now:?}");
        }
    }
}
