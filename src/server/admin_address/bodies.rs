//! Bodies on their way in and out.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body as AxumBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::ActiveRequest;

/// A request's body, whole by its deadline or not at all.
pub(super) struct Arriving {
    body: Incoming,
    deadline: Instant,
    /// Made when it is first waited for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    /// The time begins now, with the end of the head.
    pub(super) fn new(body: Incoming, limit: Duration) -> Arriving {
        Arriving { body, deadline: Instant::now() + limit, sleep: None }
    }
}

/// A body was not whole in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
struct Late;

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let deadline = self.deadline;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // Checked first: otherwise a body that yields a byte at each poll would never be late.
        if sleep.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Late.into())));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which reports when it has been sent or dropped.
pub(super) struct Answering {
    body: AxumBody,
    _asked: ActiveRequest,
}

impl Answering {
    pub(super) fn new(body: AxumBody, asked: ActiveRequest) -> Answering {
        asked.answers();
        Answering { body, _asked: asked }
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
