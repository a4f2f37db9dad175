//! Checkpoints on their way to their second places, beside the writing of rows and never in its way.

use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::counter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::chain::{Chain, Head};
use super::checkpoint::{Checkpoint, Pace};
use super::checkpoint_sink::{CheckpointSink as _, FileSink, HttpSink, SinkError};

/// How long a place may take with one checkpoint.
const PATIENCE: Duration = Duration::from_secs(10);
/// Checkpoints that may wait for a slow place. When more are due, the next one stands for them: it is of a later head.
const WAITING: usize = 4;

/// A second place: whoever can cut the table's tail should not be able to cut this one's.
#[derive(Debug)]
pub enum Place {
    /// A line of a file.
    File(FileSink),
    /// A POST.
    Http(HttpSink),
}

impl Place {
    async fn put(&self, checkpoint: &Checkpoint) -> Result<(), SinkError> {
        match self {
            Place::File(sink) => sink.put(checkpoint).await,
            Place::Http(sink) => sink.put(checkpoint).await,
        }
    }
}

/// Makes checkpoints of one chain when they are due.
#[derive(Debug)]
pub struct Checkpoints {
    pace: Pace,
    queue: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Put(Box<Checkpoint>),
    Finish(oneshot::Sender<()>),
}

impl Checkpoints {
    /// Starts the task that serves `places`, for a chain that begins now.
    pub fn start(places: Vec<Place>, now: DateTime<Utc>) -> Checkpoints {
        let (queue, jobs) = mpsc::channel(WAITING);
        tokio::spawn(serve(places, jobs));
        Checkpoints { pace: Pace::new(Head::default(), now), queue }
    }

    /// Makes a checkpoint if one is due. Every row of `chain` must be in the database.
    pub fn offer(&mut self, chain: &Chain, now: DateTime<Utc>) {
        let head = chain.head();
        if self.pace.is_due(head, now) {
            let checkpoint = Checkpoint::make(chain.keys(), chain.id(), head, now);
            if self.queue.try_send(Job::Put(Box::new(checkpoint))).is_ok() {
                self.pace.taken(head, now);
            }
        }
    }

    /// Makes a last checkpoint and waits until it is in its places.
    pub async fn finish(&mut self, chain: &Chain, now: DateTime<Utc>) {
        let checkpoint = Checkpoint::make(chain.keys(), chain.id(), chain.head(), now);
        let (done, finished) = oneshot::channel();
        if self.queue.send(Job::Put(Box::new(checkpoint))).await.is_ok()
            && self.queue.send(Job::Finish(done)).await.is_ok()
        {
            let _ = finished.await;
        }
    }
}

async fn serve(places: Vec<Place>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Finish(done) => drop(done.send(())),
            Job::Put(checkpoint) => {
                for place in &places {
                    let problem = match timeout(PATIENCE, place.put(&checkpoint)).await {
                        Ok(Ok(())) => {
                            counter!("gate_audit_checkpoints_total", "outcome" => "kept").increment(1);
                            continue;
                        }
                        Ok(Err(problem)) => problem.to_string(),
                        Err(_) => format!("it took longer than {PATIENCE:?}"),
                    };
                    counter!("gate_audit_checkpoints_total", "outcome" => "failed").increment(1);
                    tracing::error!(?place, problem, "a checkpoint was not kept");
                }
            }
        }
    }
}
