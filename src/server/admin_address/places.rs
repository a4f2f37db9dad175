//! How many connections there are at a time, and which one goes when there is no place for the next.
//!
//! Strangers can hold every place by saying nothing. So the newest connection is let in, and the one goes that has waited
//! longest without a request, or failing that the one whose answer has been under way for longest. Whoever asks at once,
//! as a scrape does, is answered; a request that is being worked on is never given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::activity::{Activity, Phase};

/// The places.
pub(super) struct Places {
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
    /// The one that goes for another: none while all are being worked on.
    fn displaceable(&self) -> Option<u64> {
        let oldest = |goes: fn(Phase) -> bool| {
            self.connections.iter().find(|(_, activity)| goes(activity.phase())).map(|(number, _)| *number)
        };
        oldest(|phase| matches!(phase, Phase::Head(_) | Phase::Idle(_)))
            .or_else(|| oldest(|phase| matches!(phase, Phase::Answer(_))))
    }
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, taken: Mutex::default() })
    }

    /// Takes a place, if need be that of another connection. `None` where all are being worked on.
    pub(super) fn take(self: &Arc<Self>, activity: Arc<Activity>) -> Option<Place> {
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
        Some(Place { places: self.clone(), number })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // What the lock guards is whole after every statement, so a panic elsewhere spoils nothing.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, until it is dropped or another connection has it.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().connections.remove(&self.number);
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
        let places = Places::new(3);
        let connect = || {
            let activity = Arc::new(Activity::default());
            (places.take(activity.clone()), activity)
        };
        let (_first_place, first) = connect();
        let (_second_place, second) = connect();
        let (_third_place, third) = connect();
        let first_asked = first.asked();
        let second_asked = second.asked();
        second_asked.answers();
        // One is being worked on, one is being answered: the third, which is younger, goes.
        let (_fourth_place, fourth) = connect();
        assert!(is_displaced(&third) && !is_displaced(&first) && !is_displaced(&second));
        let _fourth_asked = fourth.asked();
        // Then the answer that takes its time.
        let (_fifth_place, fifth) = connect();
        assert!(is_displaced(&second));
        let _fifth_asked = fifth.asked();
        // All are being worked on.
        let (sixth_place, _) = connect();
        assert!(sixth_place.is_none());
        // One that has been answered may go, and one that has gone leaves its place.
        drop(first_asked);
        let (seventh_place, _) = connect();
        assert!(is_displaced(&first) && seventh_place.is_some());
        drop(seventh_place);
        let (eighth_place, eighth) = connect();
        assert!(eighth_place.is_some() && !is_displaced(&eighth));
        assert_eq!(places.taken().connections.len(), 3);
    }
}
