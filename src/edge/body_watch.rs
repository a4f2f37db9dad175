//! How long a request's body has been silent, for HTTP/2.
//!
//! Over HTTP/1 pingora bounds each read of a body; over HTTP/2 it reads without a limit. So the gateway notes when it
//! waits for a body and when some of it comes, and the front ends the stream of one that stays silent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::overdue::{Since, overdue};

/// Shared by the front and the gateway; it travels with the request's head.
#[derive(Clone, Debug)]
pub(super) struct BodyWatch(Arc<watch::Sender<Since>>);

impl BodyWatch {
    pub(super) fn new() -> BodyWatch {
        BodyWatch(Arc::new(watch::Sender::new(None)))
    }

    /// The body is awaited, or some of it has come.
    pub(super) fn waits(&self) {
        self.0.send_replace(Some(Instant::now()));
    }

    /// Nothing more of it is awaited.
    pub(super) fn has_ended(&self) {
        self.0.send_replace(None);
    }

    /// Returns when the body was awaited for `patience` and nothing came.
    pub(super) async fn silent_for(&self, patience: Duration) {
        overdue(&mut self.0.subscribe(), patience).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_awaited_must_not_be_silent() {
        let patience = Duration::from_secs(60);
        let (watch, itself) = (BodyWatch::new(), BodyWatch::new());
        // Nobody waits for it yet: a decision has a time limit of its own.
        assert!(tokio::time::timeout(2 * patience, watch.silent_for(patience)).await.is_err());
        drop(itself);
        let watched = watch.clone();
        let silent = tokio::spawn(async move { watched.silent_for(patience).await });
        for _ in 0..5 {
            watch.waits();
            tokio::task::yield_now().await;
            advance(patience - Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
            assert!(!silent.is_finished());
        }
        watch.has_ended();
        tokio::task::yield_now().await;
        advance(2 * patience).await;
        assert!(!silent.is_finished());
        watch.waits();
        tokio::task::yield_now().await;
        advance(patience + Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        assert!(silent.is_finished());
    }
}
