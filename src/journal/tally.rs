//! Adds up what requests report, and writes the sums in the background.
//!
//! A request's report must not make the request wait, and must not be lost in silence: an operator flips a cluster
//! because of it, and a loss looks just like a quiet cluster. So occurrences are added up in place, in memory. A repeat
//! finds its sum and adds to it, without allocating. One task takes the sums and writes them ([`writer`]); while the
//! database does not take them, they are kept and continue to grow. Memory is bounded, so in a long outage an
//! occurrence may find no room: it is counted, and its time is recorded as a gap once the database is back
//! ([`losses`]).

mod losses;
mod sums;
mod writer;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clock::SharedClock;
use store::StoreError;
use store::evidence::{EvidenceKind, Gap, Mark};
use tokio::sync::{mpsc, oneshot};

use self::losses::{Cause, Losses};
use self::sums::Sums;
use self::writer::Writer;
use super::finishing::finish;

/// Requests that report at the same time rarely meet in one of these.
const SHARDS: usize = 16;

/// A sum of occurrences.
pub trait Sum: Send + Sync + 'static {
    /// One occurrence, borrowed from the request. All occurrences of one sum must have the same hash.
    type Seen<'s>: Hash;

    /// Whether the occurrence belongs to this sum.
    fn is_of(&self, seen: &Self::Seen<'_>) -> bool;

    /// The sum that begins with this occurrence.
    fn begin(seen: &Self::Seen<'_>) -> Self;

    /// Adds an occurrence, without allocating.
    fn add(&mut self, seen: &Self::Seen<'_>);

    /// The cluster of an occurrence; empty where no row covers its path.
    fn cluster_of(seen: &Self::Seen<'_>) -> Arc<str>;

    /// The time of an occurrence.
    fn time_of(seen: &Self::Seen<'_>) -> DateTime<Utc>;

    fn cluster(&self) -> &Arc<str>;

    fn count(&self) -> i64;

    fn last_seen_at(&self) -> DateTime<Utc>;

    /// Its approximate memory.
    fn bytes(&self) -> usize;
}

/// The destination of sums.
#[async_trait]
pub trait TallySink<S>: Send + Sync + 'static {
    /// Writes the sums, all or none, unless the batch that `mark` names was written already.
    async fn write(&self, sums: &[S], mark: &Mark) -> Result<(), StoreError>;

    /// Records a gap. The same one may come again, extended.
    async fn record_gaps(&self, gaps: &[Gap]) -> Result<(), StoreError>;
}

/// The parameters of a tally.
#[derive(Clone)]
pub struct TallyTerms {
    pub kind: EvidenceKind,
    /// How long repeats are gathered before they are written.
    pub gather: Duration,
    /// The memory for sums that the writer has not taken yet. Those that it has taken may use as much again.
    pub most_bytes: usize,
    /// The gate's name, for people.
    pub gate: Arc<str>,
    pub clock: SharedClock,
}

/// The progress of the writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TallyProgress {
    /// How long ago everything that had been seen was written.
    pub behind: Duration,
    /// Occurrences that were lost since the process began.
    pub lost: u64,
}

/// Adds up occurrences without delaying the requests.
pub struct Tally<S> {
    shared: Arc<Shared<S>>,
    finish: mpsc::Sender<oneshot::Sender<bool>>,
}

impl<S> Clone for Tally<S> {
    fn clone(&self) -> Self {
        Tally { shared: self.shared.clone(), finish: self.finish.clone() }
    }
}

/// Shared by requests and the writer.
struct Shared<S> {
    /// Seeded at random: a caller that chooses paths must not choose where they collide.
    hasher: RandomState,
    shards: [Mutex<Sums<S>>; SHARDS],
    /// The memory of the gathered sums.
    bytes: AtomicUsize,
    most_bytes: usize,
    losses: Losses,
    all_written_at: Mutex<Instant>,
}

impl<S: Sum> Tally<S> {
    /// Writes the gate's first mark, without which its lost evidence would go unnoticed, and starts the writing task on
    /// the current runtime.
    ///
    /// # Errors
    ///
    /// The mark could not be written.
    pub async fn start(sink: Arc<dyn TallySink<S>>, terms: TallyTerms) -> Result<Self, StoreError> {
        let (finish, finishing) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Sums::default())),
            bytes: AtomicUsize::new(0),
            most_bytes: terms.most_bytes,
            losses: Losses::new(terms.kind, terms.gate.clone()),
            all_written_at: Mutex::new(Instant::now()),
        });
        let writer = Writer::begin(shared.clone(), sink, terms).await?;
        tokio::spawn(writer.run(finishing));
        Ok(Tally { shared, finish })
    }

    /// Adds an occurrence to its sum. `false`: there is no such sum yet.
    pub fn repeat(&self, seen: &S::Seen<'_>) -> bool {
        let hash = self.shared.hasher.hash_one(seen);
        match self.shared.shard(hash).find(hash, |sum| sum.is_of(seen)) {
            Some(sum) => {
                sum.add(seen);
                true
            }
            None => false,
        }
    }

    /// Adds an occurrence to its sum, or begins one. If there is no room for another sum, the occurrence is counted as
    /// lost.
    pub fn report(&self, seen: &S::Seen<'_>) {
        let hash = self.shared.hasher.hash_one(seen);
        let mut shard = self.shared.shard(hash);
        if let Some(sum) = shard.find(hash, |sum| sum.is_of(seen)) {
            sum.add(seen);
            return;
        }
        if self.shared.bytes.load(Ordering::Relaxed) < self.shared.most_bytes {
            let sum = S::begin(seen);
            self.shared.bytes.fetch_add(sum.bytes(), Ordering::Relaxed);
            shard.insert(hash, sum);
            return;
        }
        drop(shard);
        let time = S::time_of(seen);
        self.shared.losses.add(&S::cluster_of(seen), 1, time, time, Cause::NoRoom);
    }

    /// Whether half of the room is taken: then sums that can be shorter should be.
    pub fn is_half_full(&self) -> bool {
        self.shared.bytes.load(Ordering::Relaxed) >= self.shared.most_bytes / 2
    }

    /// The progress of the writing.
    pub fn progress(&self) -> TallyProgress {
        TallyProgress {
            behind: lock(&self.shared.all_written_at).elapsed(),
            lost: self.shared.losses.count(),
        }
    }

    /// Writes the gathered sums, and the gate's final mark, for a gate that no longer takes requests. `false`: not
    /// everything was written in time.
    pub async fn finish(&self, limit: Duration) -> bool {
        finish(&self.finish, limit).await == Some(true)
    }
}

impl<S: Sum> Shared<S> {
    fn shard(&self, hash: u64) -> MutexGuard<'_, Sums<S>> {
        // Neither the highest nor the lowest bits: the map inside the shard goes by those.
        let number = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        lock(&self.shards[number])
    }

    /// Takes every sum, and leaves none.
    fn take(&self) -> Vec<S> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let sums = lock(shard).take();
            all.extend(sums);
        }
        self.bytes.fetch_sub(all.iter().map(S::bytes).sum(), Ordering::Relaxed);
        all
    }
}

/// The value is whole after every statement, so a panic elsewhere does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
