//! A circuit breaker: a service that fails repeatedly is left alone for a while, and its callers get an error at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tokio::time::Instant;

/// Consecutive failures after which no question is sent.
const FAILURES: u32 = 5;
/// The length of that pause; then one question shows whether the service is back.
const REST: Duration = Duration::from_secs(5);

/// Counts consecutive failures.
#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    /// When the next question may be asked, once there are too many failures.
    next: Option<Instant>,
}

/// Permission to ask once. If it is dropped without an end, as when the caller has gone away, it does not count for or
/// against the service.
pub(super) struct Leave<'b>(&'b Breaker);

impl Breaker {
    /// Permission to ask, or else the number of consecutive failures.
    pub(super) fn may_ask(&self, now: Instant) -> Result<Leave<'_>, u32> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = state.next {
            if now < next {
                return Err(state.failures);
            }
            // This question shows whether the service is back; the others wait.
            state.next = Some(now + REST);
        }
        Ok(Leave(self))
    }

    fn end(&self, is_success: bool, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = if is_success { 0 } else { state.failures.saturating_add(1) };
        state.next = (state.failures >= FAILURES).then_some(now + REST);
        gauge!("gate_freescout_resting").set(if state.next.is_some() { 1.0 } else { 0.0 });
    }
}

impl Leave<'_> {
    /// Ends the question with its outcome.
    pub(super) fn end(self, is_success: bool) {
        self.0.end(is_success, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_are_enough_and_one_success_forgives_them() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let ask = |at: Instant, is_success: bool| match breaker.may_ask(at) {
            Ok(_) => {
                breaker.end(is_success, at);
                true
            }
            Err(_) => false,
        };
        for round in 0..3 {
            assert!((0..4).all(|_| ask(start, false)), "{round}");
            assert!(ask(start, true), "{round}: the fifth succeeds");
        }
        assert!((0..5).all(|_| ask(start, false)));
        assert_eq!(breaker.may_ask(after(4)).map(drop), Err(5));
        // One question at a time tells whether it is back.
        let probe = breaker.may_ask(after(5)).unwrap_or_else(|_| panic!("it may be asked again"));
        assert!(breaker.may_ask(after(5)).is_err());
        let _ = probe;
        assert!(breaker.may_ask(after(9)).is_err(), "nothing was heard of that question");
        assert!(ask(after(10), true));
        assert!((0..4).all(|_| ask(after(10), false)), "one success forgives them all");
    }
}
