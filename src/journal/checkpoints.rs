//! Delivers checkpoints to their second places, separately from the writing of rows and never in its way.
//!
//! Each place has a task of its own, so that a hanging place costs the others nothing. A checkpoint that a place did
//! not accept is retried until it does: a chain that then becomes quiet has no later checkpoint to replace it. Beyond
//! 256 waiting checkpoints, the task drops the oldest.

use std::collections::VecDeque;
use std::time::Duration;

use ledger::checkpoint::Checkpoint;
use metrics::counter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::checkpoint_sink::{CheckpointSink as _, FileSink, HttpSink, SinkError};

/// The time limit for one checkpoint in one place.
const PATIENCE: Duration = Duration::from_secs(10);
/// The interval between retries.
const AGAIN: Duration = Duration::from_secs(30);
/// Checkpoints that may wait for one place. A starting gate has one for each chain that it knows.
const WAITING: usize = 256;

/// A second place: an attacker who can cut the table's tail should not be able to cut this one's.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A line of a file.
    File(FileSink),
    /// A POST.
    Http(HttpSink),
}

/// A checkpoint is not known to be in a place.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// The place did not accept it.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The place did not answer.
    #[error("it took longer than {PATIENCE:?}")]
    Late,
}

impl Destination {
    /// Returns when the checkpoint is durable there.
    ///
    /// # Errors
    ///
    /// It is not known to be durable, within the time limit of a place.
    pub async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), NotKept> {
        let putting = async {
            match self {
                Destination::File(sink) => sink.put(checkpoint).await,
                Destination::Http(sink) => sink.put(checkpoint).await,
            }
        };
        let outcome = match timeout(PATIENCE, putting).await {
            Ok(outcome) => outcome.map_err(NotKept::from),
            Err(_) => Err(NotKept::Late),
        };
        let word = if outcome.is_ok() { "kept" } else { "failed" };
        counter!("gate_audit_checkpoints_total", "outcome" => word).increment(1);
        outcome
    }
}

/// Hands checkpoints to the tasks of their places.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    queues: Vec<mpsc::Sender<Job>>,
}

#[derive(Debug)]
enum Job {
    Put(Checkpoint),
    Finish(oneshot::Sender<()>),
}

impl Checkpoints {
    /// Starts the tasks that serve `places`.
    pub fn start(places: Vec<Destination>) -> Checkpoints {
        let start = |place| {
            let (queue, jobs) = mpsc::channel(WAITING);
            tokio::spawn(DestinationTask { place, waiting: VecDeque::new() }.serve(jobs));
            queue
        };
        Checkpoints { queues: places.into_iter().map(start).collect() }
    }

    /// Queues a checkpoint. Every row up to its head must be in the database. `false`: a place is too far behind; the
    /// checkpoint may be offered again.
    pub fn offer(&self, checkpoint: &Checkpoint) -> bool {
        // Each of them, whatever the others answer: a second copy of a checkpoint in a place adds nothing.
        let taken: Vec<bool> =
            self.queues.iter().map(|queue| queue.try_send(Job::Put(checkpoint.clone())).is_ok()).collect();
        taken.into_iter().all(|is_taken| is_taken)
    }

    /// Waits for one more attempt to put every offered checkpoint into its places.
    pub async fn finish(&self) {
        let finishing = self.queues.iter().map(|queue| async {
            let (done, finished) = oneshot::channel();
            if queue.send(Job::Finish(done)).await.is_ok() {
                let _ = finished.await;
            }
        });
        futures::future::join_all(finishing).await;
    }
}

/// One place, and the checkpoints that it has not accepted yet.
struct DestinationTask {
    place: Destination,
    waiting: VecDeque<Checkpoint>,
}

impl DestinationTask {
    async fn serve(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    None => return,
                    Some(Job::Put(checkpoint)) => {
                        let is_idle = self.waiting.is_empty();
                        self.wait(checkpoint);
                        // Behind others that were not accepted, it waits for its turn.
                        if is_idle {
                            self.keep().await;
                        }
                    }
                    Some(Job::Finish(done)) => {
                        self.keep().await;
                        let _ = done.send(());
                    }
                },
                _ = again.tick() => self.keep().await,
            }
        }
    }

    /// A later head of a chain replaces the earlier ones, because it follows from them. A head that is not later does
    /// not: then one of the two was never sealed, and both are evidence.
    fn wait(&mut self, checkpoint: Checkpoint) {
        let (chain, reach) = checkpoint.reach();
        self.waiting.retain(|earlier| earlier.reach().0 != chain || earlier.reach().1 >= reach);
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(checkpoint);
    }

    async fn keep(&mut self) {
        while let Some(checkpoint) = self.waiting.front() {
            if let Err(problem) = self.place.keep(checkpoint).await {
                let (place, waiting) = (&self.place, self.waiting.len());
                tracing::error!(?place, %problem, waiting, "a checkpoint was not written; the gate retries");
                return;
            }
            self.waiting.pop_front();
        }
    }
}
