//! The task that keeps pushed knowledge: it listens, proves that it would hear, and acknowledges.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::SharedClock;
use metrics::{counter, gauge};
use policy::ids::{Epoch, InstanceId};
use store::instances::{ControlFeed, Hint, Renewal};
use store::{AccessSource, StoreError};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ledger::Ledger;
use super::pushed::{PushTerms, Pushed};

/// Heartbeats in the time for which knowledge may be trusted: some may be late without harm.
const BEATS: u32 = 4;
/// Between attempts to connect, doubled up to the last.
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LAST_BACK_OFF: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    store: Arc<dyn AccessSource>,
    clock: SharedClock,
    ledger: Arc<Ledger>,
    instance: InstanceId,
    terms: PushTerms,
    pushed: Arc<Pushed>,
    started_at: DateTime<Utc>,
    /// What requests are decided by at the least, whether by what was pushed or by what they read themselves.
    acts_on: Epoch,
}

impl Keeper {
    pub(super) fn new(
        store: Arc<dyn AccessSource>,
        clock: SharedClock,
        ledger: Arc<Ledger>,
        instance: InstanceId,
        terms: PushTerms,
        pushed: Arc<Pushed>,
    ) -> Keeper {
        let started_at = clock.now();
        Keeper { store, clock, ledger, instance, terms, pushed, started_at, acts_on: Epoch(0) }
    }

    /// Keeps the knowledge for as long as the process runs.
    pub(super) async fn run(mut self) {
        // Here and not when metrics are installed: a gate without push has nothing to be alarmed about.
        gauge!("gate_push_trusted").set(0.0);
        counter!("gate_push_reconnects_total").absolute(0);
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let started = Instant::now();
            let Err(error) = self.follow_one_feed().await;
            self.pushed.doubt();
            counter!("gate_push_reconnects_total").increment(1);
            tracing::warn!(%error, "pushed changes cannot be trusted: every request reads the database");
            if started.elapsed() > LAST_BACK_OFF * 5 {
                back_off = FIRST_BACK_OFF;
            }
            sleep(back_off).await;
            back_off = (back_off * 2).min(LAST_BACK_OFF);
        }
    }

    /// Follows one connection until it is in doubt.
    async fn follow_one_feed(&mut self) -> Result<std::convert::Infallible, StoreError> {
        // The store bounds this itself: connecting may take longer than a heartbeat.
        let mut feed = self.store.feed().await?;
        loop {
            let sent = Instant::now();
            let until = sent + self.terms.max_staleness;
            self.renew(&mut *feed).await?;
            self.learn(&mut *feed, until).await?;
            let next_beat = sent + self.beat();
            while Instant::now() < next_beat {
                let hint = tokio::select! {
                    hint = feed.hint() => hint?,
                    () = sleep_until(next_beat) => break,
                };
                if self.may_be_news(hint) {
                    self.learn(&mut *feed, until).await?;
                }
            }
        }
    }

    /// Whether the row has to be read. If it is known to be newer than the trusted one, the trust ends here.
    fn may_be_news(&self, hint: Hint) -> bool {
        match hint {
            Hint::Look => true,
            // It only rises, so a number that is not above what was read has been seen.
            Hint::Rose(Some(epoch)) if epoch <= self.acts_on => false,
            Hint::Rose(_) => {
                self.pushed.doubt();
                true
            }
        }
    }

    /// Reads the row, acts on it until `until`, and then acknowledges it.
    async fn learn(&mut self, feed: &mut dyn ControlFeed, until: Instant) -> Result<(), StoreError> {
        let row = loop {
            let known = self.ledger.known();
            let reading = self.in_time(feed.control(known)).await?;
            // Before anybody may go by the row: whose answers it makes old.
            self.ledger.learn(known, &reading);
            let row = reading.row;
            let mut is_newest = true;
            while let Some(hint) = feed.waiting_hint() {
                is_newest &= matches!(hint, Hint::Rose(Some(epoch)) if epoch <= row.epoch);
            }
            if is_newest {
                break row;
            }
            self.pushed.doubt();
        };
        let epoch = row.epoch;
        self.pushed.learn(row, until);
        if epoch != self.acts_on {
            // Not before: a command that reads the acknowledgement reports a revocation as effective.
            self.acts_on = epoch;
            self.renew(feed).await?;
        }
        Ok(())
    }

    async fn renew(&self, feed: &mut dyn ControlFeed) -> Result<(), StoreError> {
        let renewal = Renewal {
            instance: self.instance.clone(),
            name: self.terms.name.clone(),
            started_at: self.started_at,
            now: self.clock.now(),
            length: self.terms.max_staleness,
            acknowledged: self.acts_on,
        };
        self.in_time(feed.renew(&renewal)).await
    }

    fn beat(&self) -> Duration {
        self.terms.max_staleness / BEATS
    }

    /// A connection that does not answer within a heartbeat is as good as lost.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        timeout(self.beat(), answer).await.unwrap_or_else(|_| Err(StoreError::Timeout(self.beat())))
    }
}
