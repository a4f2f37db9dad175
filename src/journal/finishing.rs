//! Asks a writing task to finish.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Asks a task to write its contents, and returns its answer; `None` if there is none within `limit`.
pub(super) async fn finish<T>(task: &mpsc::Sender<oneshot::Sender<T>>, limit: Duration) -> Option<T> {
    let (done, finished) = oneshot::channel();
    let finish = async {
        task.send(done).await.ok()?;
        finished.await.ok()
    };
    tokio::time::timeout(limit, finish).await.ok().flatten()
}
