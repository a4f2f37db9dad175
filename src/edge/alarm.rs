//! The deadline of whatever a connection waits for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all waits of a connection, one after the other.
///
/// It stays set between them, because a timer that is set and cleared for each wait costs more than one that now and then goes
/// off too early and is set again.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed.
    pub(super) fn poll_at(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_alarm_serves_waits_of_different_lengths() {
        let (began, mut alarm) = (Instant::now(), Alarm::default());
        // Each wait ends at its own deadline, whether the alarm is set to an earlier one, a later one, or has gone off.
        for (seconds, until) in [(60, None), (5, Some(5)), (30, None), (9, Some(14)), (1, Some(15))] {
            let deadline = Instant::now() + seconds * SECOND;
            let wait = poll_fn(|context| alarm.poll_at(context, deadline));
            match until {
                // Something else ends it at once.
                None => assert!(tokio::time::timeout(Duration::ZERO, wait).await.is_err()),
                Some(until) => {
                    wait.await;
                    assert_eq!(began.elapsed().as_secs(), until);
                }
            }
        }
    }
}
