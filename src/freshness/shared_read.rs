//! One read for everybody who is waiting.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use futures::future::BoxFuture;
use metrics::{counter, histogram};
use store::StoreError;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use super::AccessError;

/// How many requests may wait for one read. Beyond it the gate answers 503 instead of spending memory.
const MAX_WAITING: usize = 65_536;

type ReadResult<T> = Result<T, Arc<StoreError>>;

/// Answers each caller with a read that began after the caller asked.
///
/// While a read is under way, callers gather; all of them share the next one, and so does who is ready to ask when it is about
/// to begin. So there is never more than one read at a time, and no caller waits for more than the rest of one read and
/// the whole of another.
///
/// Each runtime has a task of its own that reads, so that no thread of another one has to be woken twice for each read: the
/// proxy has one runtime, the admin address another.
pub(super) struct SharedRead<T> {
    read: Read<T>,
    queues: RwLock<Vec<(runtime::Id, Queue<T>)>>,
}

type Read<T> = Arc<dyn Fn() -> BoxFuture<'static, Result<T, StoreError>> + Send + Sync>;
type Queue<T> = mpsc::Sender<oneshot::Sender<ReadResult<T>>>;

impl<T: Clone + Send + 'static> SharedRead<T> {
    /// Nothing is read before the first caller asks.
    pub(super) fn new<F, R>(read: R) -> Self
    where
        R: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        SharedRead { read: Arc::new(move || Box::pin(read())), queues: RwLock::default() }
    }

    /// A value that was read after this call began.
    pub(super) async fn read(&self) -> Result<T, AccessError> {
        let (caller, answer) = oneshot::channel();
        self.queue().try_send(caller).map_err(|_| AccessError::Overloaded)?;
        match answer.await {
            Ok(answer) => answer.map_err(AccessError::Store),
            // The task ended: the process is stopping.
            Err(_) => Err(AccessError::Overloaded),
        }
    }

    /// The queue of the task on the current runtime.
    fn queue(&self) -> Queue<T> {
        let here = runtime::Handle::current().id();
        let of_here = |(id, queue): &&(runtime::Id, Queue<T>)| *id == here && !queue.is_closed();
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, queue)) = queues.iter().find(of_here) {
            return queue.clone();
        }
        drop(queues);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|(_, queue)| !queue.is_closed());
        if let Some((_, queue)) = queues.iter().find(of_here) {
            return queue.clone();
        }
        let (queue, asking) = mpsc::channel(MAX_WAITING);
        tokio::spawn(answer_all(self.read.clone(), asking));
        queues.push((here, queue.clone()));
        queue
    }
}

async fn answer_all<T: Clone>(read: Read<T>, mut asking: mpsc::Receiver<oneshot::Sender<ReadResult<T>>>) {
    let mut callers = Vec::new();
    let (reads, seconds) = (counter!("gate_epoch_reads_total"), histogram!("gate_epoch_read_seconds"));
    while asking.recv_many(&mut callers, MAX_WAITING).await > 0 {
        // tokio runs a task that was woken before those that have waited longer, so each caller would get a read of its own.
        yield_now().await;
        while let Ok(caller) = asking.try_recv() {
            callers.push(caller);
        }
        let started = Instant::now();
        let answer = read().await.map_err(Arc::new);
        reads.increment(1);
        seconds.record(started.elapsed());
        for caller in callers.drain(..) {
            // A caller that is gone had its connection closed.
            let _ = caller.send(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// The promise itself: a caller gets a value at least as new as what was there when it asked.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_begins_after_its_caller_asked() {
        let truth = Arc::new(AtomicU64::new(0));
        let source = truth.clone();
        let shared = Arc::new(SharedRead::new(move || {
            let source = source.clone();
            async move {
                let value = source.load(Ordering::SeqCst);
                yield_now().await;
                Ok(value)
            }
        }));
        let mut askers = Vec::new();
        for _ in 0..8 {
            let (shared, truth) = (shared.clone(), truth.clone());
            askers.push(tokio::spawn(async move {
                for _ in 0..2_000 {
                    let before = truth.fetch_add(1, Ordering::SeqCst) + 1;
                    let read = shared.read().await.unwrap();
                    assert!(read >= before, "asked at {before}, was answered {read}");
                }
            }));
        }
        for asker in askers {
            asker.await.unwrap();
        }
    }

    #[tokio::test]
    async fn callers_that_wait_together_share_a_read() {
        let reads = Arc::new(AtomicU64::new(0));
        let counter = reads.clone();
        let shared = Arc::new(SharedRead::new(move || {
            let counter = counter.clone();
            async move {
                yield_now().await;
                Ok(counter.fetch_add(1, Ordering::SeqCst))
            }
        }));
        let callers = (0..1_000).map(|_| {
            let shared = shared.clone();
            async move { shared.read().await.unwrap() }
        });
        futures::future::join_all(callers).await;
        assert!(reads.load(Ordering::SeqCst) <= 3, "{} reads", reads.load(Ordering::SeqCst));
    }

    /// Each in a task of its own, on a runtime that runs a task at once which another one wakes.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn callers_that_are_ready_to_ask_share_a_read() {
        let reads = Arc::new(AtomicU64::new(0));
        let counter = reads.clone();
        let shared = Arc::new(SharedRead::new(move || {
            let counter = counter.clone();
            async move { Ok(counter.fetch_add(1, Ordering::SeqCst)) }
        }));
        let all = tokio::spawn(async move {
            let ask =
                |shared: Arc<SharedRead<u64>>| tokio::spawn(async move { shared.read().await.map(drop) });
            futures::future::join_all((0..200).map(|_| ask(shared.clone()))).await
        });
        for caller in all.await.unwrap() {
            caller.unwrap().unwrap();
        }
        assert!(reads.load(Ordering::SeqCst) <= 20, "{} reads", reads.load(Ordering::SeqCst));
    }

    /// The proxy's runtime may end before the others: who asks on another one must not be lost with it.
    #[test]
    fn each_runtime_reads_for_itself() {
        let build = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, second) = (build(), build());
        let shared = SharedRead::new(|| async { Ok(runtime::Handle::current().id()) });
        assert_eq!(first.block_on(shared.read()).unwrap(), first.handle().id());
        assert_eq!(second.block_on(shared.read()).unwrap(), second.handle().id());
        drop(first);
        assert_eq!(second.block_on(shared.read()).unwrap(), second.handle().id());
        let third = build();
        assert_eq!(third.block_on(shared.read()).unwrap(), third.handle().id());
        assert_eq!(shared.queues.read().unwrap().len(), 2, "the first one's is forgotten");
    }

    #[tokio::test]
    async fn an_error_reaches_every_caller() {
        let shared: SharedRead<u64> =
            SharedRead::new(|| async { Err(StoreError::Unavailable("gone".into())) });
        assert!(matches!(shared.read().await, Err(AccessError::Store(_))));
    }
}
