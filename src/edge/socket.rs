//! The socket of a client that speaks HTTP/2: what the h2 crate reads from it passes by [`frames`].

mod frames;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use frames::Frames;
pub(super) use frames::{Owed, PREFACE};

/// A client's socket, from its preface on.
#[derive(Debug)]
pub(super) struct FramedSocket {
    stream: Stream,
    /// Bytes that were read to find the preface.
    ahead: BytesMut,
    frames: Frames,
}

impl FramedSocket {
    /// The socket, and what the client owes meanwhile.
    pub(super) fn new(stream: Stream, ahead: BytesMut) -> (FramedSocket, Owed) {
        let (frames, owed) = Frames::new();
        (FramedSocket { stream, ahead, frames }, owed)
    }
}

impl AsyncRead for FramedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let start = out.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(context, out))?;
        } else {
            let length = out.remaining().min(this.ahead.len());
            out.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
        }
        this.frames.pass(&out.filled()[start..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FramedSocket {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
