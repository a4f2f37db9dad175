//! What a connection is doing, and for how long it may.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::settings::Admin;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A head is to come, or a part of one has come, since then.
    Head(Instant),
    /// A request is being answered. Its body has a time of its own, and its handler is bounded by what it waits for.
    Request,
    /// An answer is on its way, since then.
    Answer(Instant),
    /// Nothing, since the last answer.
    Idle(Instant),
}

/// Why a connection is closed that its client would keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It took too long.
    Late,
    /// Its slot went to another connection.
    Displaced,
}

impl Over {
    /// The word for metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Over::Late => "late",
            Over::Displaced => "displaced",
        }
    }
}

/// The state of one connection, shared by those who move it on and those who watch it.
#[derive(Debug)]
pub(super) struct Activity {
    phase: watch::Sender<Phase>,
    displaced: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        Activity { phase: watch::Sender::new(Phase::Head(Instant::now())), displaced: Notify::new() }
    }
}

impl Activity {
    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Notes that a head is complete.
    pub(super) fn begin_request(self: &Arc<Self>) -> ActiveRequest {
        self.phase.send_replace(Phase::Request);
        ActiveRequest(self.clone())
    }

    /// Closes the connection, because another one takes its slot.
    pub(super) fn displace(&self) {
        self.displaced.notify_one();
    }

    /// Returns when the connection has to be closed.
    pub(super) async fn over(&self, settings: &Admin) -> Over {
        tokio::select! {
            () = self.displaced.notified() => Over::Displaced,
            () = self.late(settings) => Over::Late,
        }
    }

    async fn late(&self, settings: &Admin) {
        let mut phases = self.phase.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let deadline = match phase {
                Phase::Head(since) => Some(since + settings.head_timeout_ms.duration()),
                Phase::Answer(since) => Some(since + settings.transfer_timeout_ms.duration()),
                Phase::Idle(since) => Some(since + settings.idle_timeout_ms.duration()),
                Phase::Request => None,
            };
            let passes = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passes => return,
                // The sender is this value.
                _ = phases.changed() => {}
            }
        }
    }
}

/// A request that is being answered. When this is dropped, the answer has been sent or given up.
pub(super) struct ActiveRequest(Arc<Activity>);

impl ActiveRequest {
    /// Notes that the answer begins.
    pub(super) fn answers(&self) {
        self.0.phase.send_replace(Phase::Answer(Instant::now()));
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.phase.send_replace(Phase::Idle(Instant::now()));
    }
}

/// A connection that reports its first byte after an answer, because the next head has begun.
pub(super) struct Observed<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Observed<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Observed<S> {
        Observed { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && matches!(self.activity.phase(), Phase::Idle(_)) {
            self.activity.phase.send_replace(Phase::Head(Instant::now()));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
