//! A request's body: held back to decide, swallowed when nobody wants it, too slow.

use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use policy::decision::body::BodyError;
use policy::firewall::{Framing, Request};
use tokio::time::timeout;

use crate::ruling::request::BodySource;

/// Reads the body through pingora, which keeps it for the upstream.
pub(super) struct HeldBody<'s> {
    pub(super) session: &'s mut ServerSession,
    pub(super) expects_continue: bool,
    /// Whether the client was told to go on.
    pub(super) continued: bool,
    pub(super) time: Option<Duration>,
}

#[async_trait]
impl BodySource for HeldBody<'_> {
    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        if self.expects_continue {
            self.session.write_continue_response().await.map_err(|_| BodyError::Incomplete)?;
            self.continued = true;
        }
        // What is read from here on is sent again when the upstream call begins.
        self.session.enable_retry_buffering();
        match self.time {
            None => self.read_all(limit).await,
            // pingora bounds each read: a byte a minute would hold the decision open for weeks.
            Some(time) => timeout(time, self.read_all(limit)).await.unwrap_or(Err(BodyError::Incomplete)),
        }
    }
}

impl HeldBody<'_> {
    async fn read_all(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut body = Vec::new();
        while let Some(part) = self.session.read_request_body().await.map_err(|_| BodyError::Incomplete)? {
            if body.len() + part.len() > limit {
                return Err(BodyError::TooLarge);
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

/// How long, and how much, of a body that goes nowhere is read.
const SWALLOW: Duration = Duration::from_secs(1);
const SWALLOW_BYTES: u64 = 256 * 1024;

/// Reads a small body that nobody wants. Closing on it would reset the connection, and a client that is still sending
/// would never read why it was denied.
pub(super) async fn swallow_body(session: &mut Session, request: Option<&Request>) {
    let Some(request) = request else { return };
    let is_small = matches!(request.framing(), Framing::Length(length) if length <= SWALLOW_BYTES);
    // A client that waits for leave to send its body has not sent it.
    if is_small && !request.expect_continue() {
        let _ = timeout(SWALLOW, session.as_downstream_mut().drain_request_body()).await;
    }
}

/// The rate that a body must keep up once its time is over, in bytes a second.
const SLOWEST_BODY: u64 = 1024;

/// Whether a body has taken longer than `time`, and longer than its length excuses.
pub(super) fn is_too_slow(elapsed: Duration, bytes: u64, time: Option<Duration>) -> bool {
    time.is_some_and(|time| elapsed > time + Duration::from_secs(bytes / SLOWEST_BODY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_long_or_slow_but_not_both_for_nothing() {
        let time = Some(Duration::from_secs(60));
        let table = [
            (59, 1, false),
            (61, 1, true),
            (61, 2 * SLOWEST_BODY, false),
            (3_600, 3_540 * SLOWEST_BODY, false),
            (3_600, 3_539 * SLOWEST_BODY, true),
        ];
        for (seconds, bytes, expected) in table {
            assert_eq!(is_too_slow(Duration::from_secs(seconds), bytes, time), expected, "{seconds} {bytes}");
        }
        assert!(!is_too_slow(Duration::from_secs(1 << 40), 0, None));
    }
}
