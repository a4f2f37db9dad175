//! A WebSocket: bytes both ways, until both sides have ended or both are silent for too long.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

/// One side: what was read of it before comes first.
struct Side<'a> {
    stream: &'a mut Stream,
    ahead: &'a mut BytesMut,
    pulse: &'a TunnelPulse,
}

/// When something was read last of either side.
struct TunnelPulse {
    began: Instant,
    last_ms: AtomicU64,
}

impl TunnelPulse {
    fn beat(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    /// Returns when nothing was read for `patience`.
    async fn silent_for(&self, patience: Duration) {
        loop {
            let deadline =
                self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + patience;
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// Joins a client and Console.
pub(super) async fn join(
    client: (&mut Stream, &mut BytesMut),
    console: (Stream, BytesMut),
    patience: Option<Duration>,
) {
    let (mut stream, mut ahead) = console;
    let pulse = TunnelPulse { began: Instant::now(), last_ms: AtomicU64::new(0) };
    let mut client = Side { stream: client.0, ahead: client.1, pulse: &pulse };
    let mut console = Side { stream: &mut stream, ahead: &mut ahead, pulse: &pulse };
    let silence = async {
        match patience {
            Some(patience) => pulse.silent_for(patience).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Either side may break off; the other one is closed then.
        _ = copy_bidirectional(&mut client, &mut console) => {}
        () = silence => {}
    }
}

impl AsyncRead for Side<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            let length = out.remaining().min(this.ahead.len());
            out.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut *this.stream).poll_read(context, out);
        if read.is_ready() {
            this.pulse.beat();
        }
        read
    }
}

impl AsyncWrite for Side<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}
