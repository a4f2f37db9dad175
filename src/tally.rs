//! Adding up what requests report, and writing the sums in the background.
//!
//! What a request reports must never block and never slow its answer. So it only goes into a bounded queue; when that is
//! full, it is counted as lost and dropped. Repeats are added up before they are written, so that what happens a
//! thousand times a second is one row with a counter.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::counter;
use tokio::sync::{mpsc, oneshot};

const QUEUE: usize = 8_192;

/// Something whose repeats can be added up.
pub trait Repeatable: Send + 'static {
    /// Whatever has the same key is the same thing again.
    type Key: Eq + Hash + Send;

    fn key(&self) -> Self::Key;

    /// Takes a later occurrence in.
    fn absorb(&mut self, later: Self);
}

/// Where sums are written.
#[async_trait]
pub trait TallySink<R: Send>: Send + Sync + 'static {
    /// Writes the sums, all or none; how many were lost. It tells of errors itself: nobody else can.
    async fn write(&self, sums: Vec<R>) -> usize;
}

/// Takes records off the hands of requests.
pub struct Tally<R> {
    queue: mpsc::Sender<R>,
    finish: mpsc::Sender<oneshot::Sender<()>>,
    /// The counter of what was lost.
    lost: &'static str,
}

impl<R> Clone for Tally<R> {
    fn clone(&self) -> Self {
        Tally { queue: self.queue.clone(), finish: self.finish.clone(), lost: self.lost }
    }
}

impl<R: Repeatable> Tally<R> {
    /// Starts the writing task on the current runtime. Repeats are gathered for `gather` before they are written.
    pub fn start(sink: Arc<dyn TallySink<R>>, gather: Duration, lost: &'static str) -> Self {
        let (queue, reports) = mpsc::channel(QUEUE);
        let (finish, finishing) = mpsc::channel(1);
        tokio::spawn(write(sink, reports, finishing, gather, lost));
        Tally { queue, finish, lost }
    }

    /// Reports one occurrence. Returns at once.
    pub fn report(&self, record: R) {
        if self.queue.try_send(record).is_err() {
            counter!(self.lost).increment(1);
        }
    }

    /// Writes what is gathered. For a gate that takes no requests any more. `false`: it was not done in time.
    pub async fn finish(&self, limit: Duration) -> bool {
        let (done, finished) = oneshot::channel();
        self.finish.send(done).await.is_err() || tokio::time::timeout(limit, finished).await.is_ok()
    }
}

async fn write<R: Repeatable>(
    sink: Arc<dyn TallySink<R>>,
    mut reports: mpsc::Receiver<R>,
    mut finishing: mpsc::Receiver<oneshot::Sender<()>>,
    gather: Duration,
    lost: &'static str,
) {
    let mut gathered = Vec::new();
    loop {
        let done = tokio::select! {
            count = reports.recv_many(&mut gathered, QUEUE) => {
                if count == 0 {
                    return;
                }
                // Repeats follow each other closely. Who stops the gate does not wait for them.
                tokio::time::timeout(gather, finishing.recv()).await.ok().flatten()
            }
            done = finishing.recv() => done,
        };
        while let Ok(report) = reports.try_recv() {
            gathered.push(report);
        }
        let sums = added_up(gathered.drain(..));
        if !sums.is_empty() {
            let missing = sink.write(sums).await;
            counter!(lost).increment(missing as u64);
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }
}

fn added_up<R: Repeatable>(reports: impl Iterator<Item = R>) -> Vec<R> {
    let mut sums: HashMap<R::Key, R> = HashMap::new();
    for report in reports {
        match sums.entry(report.key()) {
            std::collections::hash_map::Entry::Occupied(mut sum) => sum.get_mut().absorb(report),
            std::collections::hash_map::Entry::Vacant(place) => drop(place.insert(report)),
        }
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Word(&'static str, u32);

    impl Repeatable for Word {
        type Key = &'static str;

        fn key(&self) -> &'static str {
            self.0
        }

        fn absorb(&mut self, later: Word) {
            self.1 += later.1;
        }
    }

    #[derive(Default)]
    struct Sink(Mutex<Vec<(&'static str, u32)>>);

    #[async_trait]
    impl TallySink<Word> for Sink {
        async fn write(&self, sums: Vec<Word>) -> usize {
            self.0.lock().unwrap().extend(sums.into_iter().map(|Word(word, count)| (word, count)));
            0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_are_added_up_and_the_last_ones_are_written_when_the_gate_stops() {
        let sink = Arc::new(Sink::default());
        let tally = Tally::start(sink.clone(), Duration::from_secs(3_600), "lost");
        for word in ["a", "b", "a", "a"] {
            tally.report(Word(word, 1));
        }
        assert!(tally.finish(Duration::from_secs(5)).await);
        let written = sink.0.lock().unwrap().clone();
        let count = |word| written.iter().filter(|row| row.0 == word).map(|row| row.1).sum::<u32>();
        assert_eq!((count("a"), count("b")), (3, 1));
    }
}
