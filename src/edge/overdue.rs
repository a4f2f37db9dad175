//! A time limit for an event whose start and end another task reports.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Since when something is awaited; `None` while nothing is.
pub(super) type Since = Option<Instant>;

/// Returns when something was awaited for `patience`. Never, if no task is left that could report it.
pub(super) async fn overdue(since: &mut watch::Receiver<Since>, patience: Duration) {
    loop {
        let awaited = *since.borrow_and_update();
        let end = async {
            match awaited {
                Some(began) => sleep_until(began + patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = end => return,
            changed = since.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}
