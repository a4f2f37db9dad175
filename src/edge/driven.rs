//! Drives an exchange poll by poll, within time limits.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::Alarm;
use super::client::Client;

/// What an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stalled {
    /// The client, to send more of the request's body.
    ClientSends,
    /// The client, to take more of the response.
    ClientTakes,
    /// Console, to take more of the request.
    ConsoleTakes,
    /// Console, to send more of the response.
    ConsoleAnswers,
}

/// The result of a step: whether there was progress, and what it waits for now.
#[derive(Default)]
pub(super) struct Pulse {
    pub(super) moved: bool,
    awaited: Option<(Stalled, Duration)>,
}

impl Pulse {
    /// Waits for something, within a time if there is one.
    pub(super) fn awaits(&mut self, awaited: Stalled, patience: Option<Duration>) {
        self.awaited = patience.map(|patience| (awaited, patience));
    }
}

/// Polls `step` until it is ready, or until it has made no progress for its time limit, which the client's alarm measures.
pub(super) async fn driven<'c, T>(
    client: &mut Client<'c>,
    mut step: impl FnMut(&mut Client<'c>, &mut Context<'_>, &mut Pulse) -> Poll<T>,
) -> Result<T, Stalled> {
    let mut alarm = std::mem::take(client.alarm());
    let outcome = within(&mut alarm, |context, pulse| step(client, context, pulse)).await;
    *client.alarm() = alarm;
    outcome
}

async fn within<T>(
    alarm: &mut Alarm,
    mut step: impl FnMut(&mut Context<'_>, &mut Pulse) -> Poll<T>,
) -> Result<T, Stalled> {
    let mut since = None;
    poll_fn(|context| {
        let mut pulse = Pulse::default();
        if let Poll::Ready(value) = step(context, &mut pulse) {
            return Poll::Ready(Ok(value));
        }
        let Some((awaited, patience)) = pulse.awaited else { return Poll::Pending };
        let last = match since {
            Some((same, last)) if same == awaited && !pulse.moved => last,
            _ => Instant::now(),
        };
        since = Some((awaited, last));
        alarm.poll_at(context, last + patience).map(|()| Err(awaited))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_exchange_ends_when_nothing_goes_on() {
        let began = Instant::now();
        let outcome: Result<(), _> = within(&mut Alarm::default(), |_, pulse| {
            pulse.awaits(Stalled::ConsoleAnswers, Some(5 * SECOND));
            Poll::Pending
        })
        .await;
        assert_eq!((outcome, began.elapsed().as_secs()), (Err(Stalled::ConsoleAnswers), 5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_has_all_its_time_again() {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(3 * SECOND);
        let seen = Cell::new(0);
        let outcome: Result<(), _> = within(&mut Alarm::default(), |context, pulse| {
            while seen.get() < 5 && ticks.poll_tick(context).is_ready() {
                seen.set(seen.get() + 1);
                pulse.moved = true;
            }
            pulse.awaits(Stalled::ClientTakes, Some(5 * SECOND));
            Poll::Pending
        })
        .await;
        assert_eq!((outcome, began.elapsed().as_secs()), (Err(Stalled::ClientTakes), 4 * 3 + 5));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_there_is_no_end() {
        let mut alarm = Alarm::default();
        let endless = within(&mut alarm, |_, pulse: &mut Pulse| -> Poll<()> {
            pulse.awaits(Stalled::ConsoleAnswers, None);
            Poll::Pending
        });
        assert!(tokio::time::timeout(1_000 * SECOND, endless).await.is_err());
    }
}
