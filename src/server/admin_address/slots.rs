//! The number of connections at a time, and which one is closed when there is no slot for the next.
//!
//! Strangers can hold every slot by sending nothing. So the newest connection is accepted, and the one that has waited
//! longest without a request is closed, or else the one whose answer has been under way for longest. A client that
//! sends its request at once, as a scrape does, is answered; a request that is being handled is never dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::activity::{Activity, Phase};

/// The connections that are open at a time, at most `most` of them.
pub(super) struct ConnectionSlots {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// The number of the next one.
    next: u64,
    /// By their numbers, the oldest first.
    connections: BTreeMap<u64, Arc<Activity>>,
}

impl Taken {
    /// The connection to close for a new one; none while all requests are being handled.
    fn displaceable(&self) -> Option<u64> {
        let oldest = |goes: fn(Phase) -> bool| {
            self.connections.iter().find(|(_, activity)| goes(activity.phase())).map(|(number, _)| *number)
        };
        oldest(|phase| matches!(phase, Phase::Head(_) | Phase::Idle(_)))
            .or_else(|| oldest(|phase| matches!(phase, Phase::Answer(_))))
    }
}

impl ConnectionSlots {
    pub(super) fn new(most: usize) -> Arc<ConnectionSlots> {
        Arc::new(ConnectionSlots { most, taken: Mutex::default() })
    }

    /// Takes a slot, if necessary that of another connection. `None` while all requests are being handled.
    pub(super) fn take(self: &Arc<Self>, activity: Arc<Activity>) -> Option<ConnectionSlot> {
        let mut taken = self.taken();
        if taken.connections.len() >= self.most {
            let number = taken.displaceable()?;
            if let Some(other) = taken.connections.remove(&number) {
                other.displace();
            }
        }
        let number = taken.next;
        taken.next += 1;
        taken.connections.insert(number, activity);
        Some(ConnectionSlot { slots: self.clone(), number })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The value is whole after every statement, so a panic elsewhere does no harm.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot, until it is dropped or another connection has it.
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    number: u64,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.taken().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::server::admin_address::activity::Over;
    use crate::settings::Admin;

    fn is_displaced(activity: &Activity) -> bool {
        activity.over(&Admin::default()).now_or_never() == Some(Over::Displaced)
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_longest_goes_and_no_request_does() {
        let slots = ConnectionSlots::new(3);
        let connect = || {
            let activity = Arc::new(Activity::default());
            (slots.take(activity.clone()), activity)
        };
        let (_first_slot, first) = connect();
        let (_second_slot, second) = connect();
        let (_third_slot, third) = connect();
        let first_asked = first.begin_request();
        let second_asked = second.begin_request();
        second_asked.answers();
        // One is being handled, one is being answered: the third, which is younger, goes.
        let (_fourth_slot, fourth) = connect();
        assert!(is_displaced(&third) && !is_displaced(&first) && !is_displaced(&second));
        let _fourth_asked = fourth.begin_request();
        // Then the answer that takes its time.
        let (_fifth_slot, fifth) = connect();
        assert!(is_displaced(&second));
        let _fifth_asked = fifth.begin_request();
        // All requests are being handled.
        let (sixth_slot, _) = connect();
        assert!(sixth_slot.is_none());
        // One that has been answered may go, and one that has gone leaves its slot.
        drop(first_asked);
        let (seventh_slot, _) = connect();
        assert!(is_displaced(&first) && seventh_slot.is_some());
        drop(seventh_slot);
        let (eighth_slot, eighth) = connect();
        assert!(eighth_slot.is_some() && !is_displaced(&eighth));
        assert_eq!(slots.taken().connections.len(), 3);
    }
}
