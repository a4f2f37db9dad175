//! The task that writes the sums.
//!
//! Sums are taken out of the tally only when the earlier ones are written, so that in an outage repeats keep adding up
//! instead of piling up. They are cut into batches; each is one transaction, and is written before the next is tried. A
//! batch keeps its number through every attempt, so that it counts once even if it is unknown whether a commit
//! happened. A batch that the database refuses for a row's content is halved until the row is found; only that row is
//! lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use policy::ids::InstanceId;
use store::StoreError;
use store::evidence::{ERASED_FOR, Mark};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::losses::Cause;
use super::{Shared, Sum, TallySink, TallyTerms, lock};

/// Sums in one transaction. SQLite has one writer at a time, and a denial's audit row may be the next.
const BATCH: usize = 1_000;
/// How often a gate with nothing to write updates its mark.
const BEAT: Duration = Duration::from_secs(20);
/// The pause before a retry.
const RETRY: Duration = Duration::from_secs(1);
/// At most this share of the time is spent on writing: a flood of different sums is gathered for longer.
const SHARE: u32 = 10;
const LONGEST_GATHER: Duration = Duration::from_secs(5);
/// The interval between log lines about failed writing.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Sums that were taken together.
struct Batch<S> {
    sums: Vec<S>,
    /// Assigned at the first attempt.
    number: Option<i64>,
    /// Once it is written, everything before this time is written.
    completes: Option<DateTime<Utc>>,
}

impl<S> Batch<S> {
    fn empty(completes: Option<DateTime<Utc>>) -> Batch<S> {
        Batch { sums: Vec::new(), number: None, completes }
    }
}

/// Since when writing has failed, and when that was last logged.
struct Failing {
    since: Instant,
    logged_at: Instant,
}

pub(super) struct Writer<S: Sum> {
    shared: Arc<Shared<S>>,
    sink: Arc<dyn TallySink<S>>,
    terms: TallyTerms,
    /// As it was last written.
    mark: Mark,
    /// The number of the last batch that was tried. No two batches share one, whether they are written or not.
    number: i64,
    marked_at: Instant,
    waiting: VecDeque<Batch<S>>,
    failing: Option<Failing>,
}

impl<S: Sum> Writer<S> {
    /// Writes the first mark. A later erasure waits for it, so a gate has one before its first batch.
    pub(super) async fn begin(
        shared: Arc<Shared<S>>,
        sink: Arc<dyn TallySink<S>>,
        terms: TallyTerms,
    ) -> Result<Writer<S>, StoreError> {
        let now = terms.clock.now();
        let mark = Mark {
            instance: InstanceId::new(uuid::Uuid::now_v7().to_string()),
            kind: terms.kind,
            gate: terms.gate.clone(),
            started_at: now,
            batch: 0,
            complete_until: now,
            has_ended: false,
        };
        let mut writer = Writer {
            shared,
            sink,
            terms,
            mark,
            number: 0,
            marked_at: Instant::now(),
            waiting: VecDeque::new(),
            failing: None,
        };
        writer.write(Batch::empty(None)).await?;
        Ok(writer)
    }

    /// Writes until the tally is gone.
    pub(super) async fn run(mut self, mut finishing: mpsc::Receiver<oneshot::Sender<bool>>) {
        let mut pause = Duration::ZERO;
        loop {
            let asked = tokio::time::timeout(pause, finishing.recv()).await;
            let began = Instant::now();
            let is_last = asked.is_ok();
            let outcome = self.flush(is_last).await;
            pause = match outcome {
                Ok(()) => self.terms.gather.max((began.elapsed() * (SHARE - 1)).min(LONGEST_GATHER)),
                Err(_) => self.terms.gather.max(RETRY),
            };
            let is_written = outcome.is_ok();
            self.log_outcome(outcome);
            match asked {
                Err(_) => {}
                Ok(Some(done)) => drop(done.send(is_written)),
                Ok(None) => return,
            }
        }
    }

    /// Writes everything that was reported before the call.
    async fn flush(&mut self, is_last: bool) -> Result<(), StoreError> {
        self.write_waiting().await?;
        let until = self.terms.clock.now();
        let taken_at = std::time::Instant::now();
        self.take(until);
        self.write_waiting().await?;
        self.record_gaps().await?;
        if is_last || self.marked_at.elapsed() >= BEAT {
            self.mark.has_ended = is_last;
            let said = self.write(Batch::empty(Some(until))).await;
            self.mark.has_ended = false;
            said?;
        }
        *lock(&self.shared.all_written_at) = taken_at;
        Ok(())
    }

    /// Records the gaps, before a batch that completes a time, so that the losses of that time are recorded.
    async fn record_gaps(&self) -> Result<(), StoreError> {
        let gaps = self.shared.losses.unrecorded();
        if !gaps.is_empty() {
            self.sink.record_gaps(&gaps).await?;
            self.shared.losses.recorded(&gaps);
        }
        Ok(())
    }

    /// Takes the reported sums, as batches.
    fn take(&mut self, until: DateTime<Utc>) {
        let mut sums = self.shared.take();
        while !sums.is_empty() {
            let rest = sums.split_off(sums.len().min(BATCH));
            let completes = rest.is_empty().then_some(until);
            self.waiting.push_back(Batch { sums, number: None, completes });
            sums = rest;
        }
    }

    async fn write_waiting(&mut self) -> Result<(), StoreError> {
        while let Some(mut batch) = self.waiting.pop_front() {
            self.drop_what_is_too_old(&mut batch);
            if batch.completes.is_some()
                && let Err(error) = self.record_gaps().await
            {
                self.waiting.push_front(batch);
                return Err(error);
            }
            self.write(batch).await?;
        }
        Ok(())
    }

    /// Writes a batch. A batch that was not written waits again, as the first; a refused one, as two halves.
    async fn write(&mut self, mut batch: Batch<S>) -> Result<(), StoreError> {
        let number = *batch.number.get_or_insert_with(|| {
            self.number += 1;
            self.number
        });
        let complete_until = batch.completes.unwrap_or(self.mark.complete_until);
        let mark = Mark { batch: number, complete_until, ..self.mark.clone() };
        match self.sink.write(&batch.sums, &mark).await {
            Ok(()) => {
                self.mark.batch = number;
                self.mark.complete_until = complete_until;
                self.marked_at = Instant::now();
                Ok(())
            }
            Err(error) if error.is_final() && !batch.sums.is_empty() => {
                self.divide(batch, &error);
                Ok(())
            }
            Err(error) => {
                if !batch.sums.is_empty() {
                    self.waiting.push_front(batch);
                }
                Err(error)
            }
        }
    }

    /// Cuts a refused batch in halves; a lone row is lost.
    fn divide(&mut self, mut batch: Batch<S>, error: &StoreError) {
        let second = batch.sums.split_off(batch.sums.len() / 2);
        if batch.sums.is_empty() {
            let kind = self.terms.kind.word();
            tracing::error!(%error, kind, "the database refuses a row of evidence; it is recorded as a gap");
            self.lose(&second, Cause::Refused);
            return;
        }
        self.waiting.push_front(Batch { sums: second, number: None, completes: batch.completes });
        self.waiting.push_front(Batch { sums: batch.sums, number: None, completes: None });
    }

    /// An erased admin is remembered for a day, so nothing that waited for longer is written.
    fn drop_what_is_too_old(&mut self, batch: &mut Batch<S>) {
        let oldest = self.terms.clock.now() - ERASED_FOR;
        if batch.sums.iter().any(|sum| sum.last_seen_at() < oldest) {
            let (old, young) =
                std::mem::take(&mut batch.sums).into_iter().partition(|sum| sum.last_seen_at() < oldest);
            batch.sums = young;
            self.lose(&old, Cause::TooOld);
        }
    }

    fn lose(&self, sums: &[S], cause: Cause) {
        for sum in sums {
            let until = sum.last_seen_at();
            // A sum does not store when it began; that was after everything that is written.
            let since = self.mark.complete_until.min(until);
            self.shared.losses.add(sum.cluster(), sum.count(), since, until, cause);
        }
    }

    /// Logs when writing begins to fail, every minute while it does, and when it works again.
    fn log_outcome(&mut self, outcome: Result<(), StoreError>) {
        let kind = self.terms.kind.word();
        match (outcome, &mut self.failing) {
            (Ok(()), None) => {}
            (Ok(()), Some(failing)) => {
                let seconds = failing.since.elapsed().as_secs();
                tracing::info!(kind, seconds, "evidence can be written again");
                self.failing = None;
            }
            (Err(error), Some(failing)) if failing.logged_at.elapsed() >= LOG_EVERY => {
                let seconds = failing.since.elapsed().as_secs();
                tracing::warn!(%error, kind, seconds, "evidence is still not written; it is kept in memory");
                failing.logged_at = Instant::now();
            }
            (Err(_), Some(_)) => {}
            (Err(error), None) => {
                tracing::warn!(%error, kind, "evidence cannot be written; it is kept in memory and retried");
                self.failing = Some(Failing { since: Instant::now(), logged_at: Instant::now() });
            }
        }
    }
}
