//! A request's body: read before Console is asked, bounded in size and in time.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use policy::decision::body::BodyError;
use policy::firewall::{Framing, Refusal, Request};
use tokio::time::{Instant, timeout};

use super::client::Client;
use super::driven::{Stalled, driven};
use super::spool::{Spool, SpoolError};
use crate::ruling::request::BodySource;

/// How long, and how much, of an unused body is read.
const SWALLOW: Duration = Duration::from_secs(1);
const SWALLOW_BYTES: u64 = 256 * 1024;
/// The rate that a body must keep up once its time is over, in bytes a second.
const SLOWEST_BODY: u64 = 1024;

/// Why a body is not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyStop {
    #[error("the body is over its limit")]
    TooLarge,
    #[error("the body arrives too slowly")]
    Late,
    #[error("the body is malformed: {0}")]
    Malformed(Refusal),
    #[error("the client is gone")]
    Gone,
    #[error("the body cannot be buffered: {0}")]
    NoRoom(SpoolError),
}

impl BodyStop {
    /// What the client gets; 0 where it is gone.
    pub(super) fn status(&self) -> u16 {
        match self {
            BodyStop::TooLarge => 413,
            BodyStop::Late => 408,
            BodyStop::Malformed(refusal) => refusal.status(),
            BodyStop::Gone => 0,
            BodyStop::NoRoom(_) => 503,
        }
    }
}

/// Counts a body against its limits.
#[derive(Debug)]
pub(super) struct BodyMeter {
    bytes: u64,
    began: Option<Instant>,
    most: u64,
    time: Option<Duration>,
}

impl BodyMeter {
    pub(super) fn new(most: u64, time: Option<Duration>) -> BodyMeter {
        BodyMeter { bytes: 0, began: None, most, time }
    }

    /// Counts bytes that have arrived. Each read has its own time limit elsewhere; without this check, a client that
    /// sends a byte a minute would hold a connection for weeks.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), BodyStop> {
        let began = *self.began.get_or_insert_with(Instant::now);
        self.bytes += bytes as u64;
        if self.bytes > self.most {
            return Err(BodyStop::TooLarge);
        }
        if is_too_slow(began.elapsed(), self.bytes, self.time) { Err(BodyStop::Late) } else { Ok(()) }
    }

    /// The body has ended. A declared length that is not kept would leave Console waiting for the rest, or take the
    /// next request for it.
    pub(super) fn check_end(&self, framing: Framing) -> Result<(), BodyStop> {
        match framing {
            Framing::Length(length) if length != self.bytes => {
                Err(BodyStop::Malformed(Refusal::ContentLength))
            }
            _ => Ok(()),
        }
    }
}

/// A request's body, as far as it was read.
pub(super) struct RequestBody {
    pub(super) spool: Spool,
    pub(super) meter: BodyMeter,
    /// The client waits for `100 Continue` before it sends the body.
    awaits_leave: bool,
    /// How long one read may take.
    patience: Option<Duration>,
    framing: Framing,
}

impl RequestBody {
    pub(super) fn new(request: &Request, spool: Spool, meter: BodyMeter) -> RequestBody {
        RequestBody {
            spool,
            patience: meter.time,
            meter,
            awaits_leave: request.expect_continue(),
            framing: request.framing(),
        }
    }

    /// Sends `100 Continue`, if the client waits for it.
    pub(super) fn give_leave(&mut self, client: &mut Client<'_>) {
        if std::mem::take(&mut self.awaits_leave) {
            client.inform(100, &[]);
        }
    }

    /// Reads all that is left of it.
    pub(super) async fn read(&mut self, client: &mut Client<'_>) -> Result<(), BodyStop> {
        while let Some(bytes) = self.next(client).await? {
            self.spool.push(bytes).map_err(BodyStop::NoRoom)?;
        }
        Ok(())
    }

    /// Reads all that is left of it, and takes the whole out of the spool where it is no more than `limit` bytes.
    pub(super) async fn take_within(
        &mut self,
        client: &mut Client<'_>,
        limit: u64,
    ) -> Result<Vec<u8>, BodyStop> {
        let declared = match self.framing {
            Framing::Length(length) => length,
            _ => 0,
        };
        if declared > limit || self.spool.len() > limit {
            return Err(BodyStop::TooLarge);
        }
        while let Some(bytes) = self.next(client).await? {
            self.spool.push(bytes).map_err(BodyStop::NoRoom)?;
            if self.spool.len() > limit {
                return Err(BodyStop::TooLarge);
            }
        }
        let mut whole = Vec::new();
        while let Some(bytes) = self.spool.pop().map_err(|error| BodyStop::NoRoom(error.into()))? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }

    /// Reads on, no more than `limit` bytes of it in all, and gives a copy of them.
    async fn read_within(&mut self, client: &mut Client<'_>, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut copy = Vec::new();
        while let Some(bytes) = self.next(client).await.map_err(|_| BodyError::Incomplete)? {
            copy.extend_from_slice(&bytes);
            self.spool.push(bytes).map_err(|_| BodyError::Incomplete)?;
            if copy.len() > limit {
                return Err(BodyError::TooLarge);
            }
        }
        Ok(copy)
    }

    async fn next(&mut self, client: &mut Client<'_>) -> Result<Option<Bytes>, BodyStop> {
        if client.body_has_ended() {
            self.meter.check_end(self.framing)?;
            return Ok(None);
        }
        self.give_leave(client);
        let patience = self.patience;
        let read = driven(client, |client, context, pulse| {
            let _ = client.poll_flush(context, &mut pulse.moved);
            pulse.awaits(Stalled::ClientSends, patience);
            client.poll_body(context)
        });
        match read.await {
            Err(_) => Err(BodyStop::Late),
            Ok(Err(fault)) => Err(fault.into()),
            Ok(Ok(Some(bytes))) => {
                self.meter.count(bytes.len())?;
                Ok(Some(bytes))
            }
            Ok(Ok(None)) => {
                self.meter.check_end(self.framing)?;
                Ok(None)
            }
        }
    }

    /// Reads and discards a small body. Closing on it would reset the connection, and a client that is still
    /// sending would never read why it was denied.
    pub(super) async fn swallow(&mut self, client: &mut Client<'_>) {
        let is_small = matches!(self.framing, Framing::Length(length) if length <= SWALLOW_BYTES);
        // A client that waits for `100 Continue` has not sent its body.
        if !is_small || self.awaits_leave {
            return;
        }
        let rest = async { while let Ok(Some(_)) = self.next(client).await {} };
        let _ = timeout(SWALLOW, rest).await;
    }
}

/// The body for a rule that decides by it.
pub(super) struct HeldBody<'b, 'c> {
    pub(super) client: &'b mut Client<'c>,
    pub(super) body: &'b mut RequestBody,
    pub(super) time: Option<Duration>,
}

#[async_trait]
impl BodySource for HeldBody<'_, '_> {
    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let reading = self.body.read_within(self.client, limit);
        match self.time {
            None => reading.await,
            // One limit for all of it: without one, many slow reads could hold the decision open for weeks.
            Some(time) => timeout(time, reading).await.unwrap_or(Err(BodyError::Incomplete)),
        }
    }
}

/// Whether a body has taken longer than `time`, and longer than its length excuses.
fn is_too_slow(elapsed: Duration, bytes: u64, time: Option<Duration>) -> bool {
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

    #[test]
    fn a_declared_length_is_kept_or_the_body_is_refused() {
        let mut meter = BodyMeter::new(10, None);
        meter.count(4).unwrap();
        assert!(meter.check_end(Framing::Length(4)).is_ok() && meter.check_end(Framing::Chunked).is_ok());
        assert!(matches!(meter.check_end(Framing::Length(5)), Err(BodyStop::Malformed(_))));
        assert!(matches!(meter.count(7), Err(BodyStop::TooLarge)));
    }
}
