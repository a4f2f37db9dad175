//! Reading from a connection, without memory for what has not come.
//!
//! A connection that waits for bytes has no buffer that waits with it: each thread has one, from which exactly what has come is
//! copied. It stays in the processor's cache, where a buffer for each connection would not. Only a transfer that fills it is
//! read straight to where it goes.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio_util::io::poll_read_buf;

/// The most bytes of one read.
pub(super) const PIECE: usize = 16 * 1024;

thread_local! {
    static PASSAGE: RefCell<Box<[u8; PIECE]>> = RefCell::new(Box::new([0; PIECE]));
}

/// How a connection is read.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The last read filled what there was room for: more will have come.
    is_transfer: bool,
}

impl Pieces {
    /// Reads the bytes that have come, at most 16 KiB, and appends them to `into`. `Ok(0)`: the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let count = if self.is_transfer {
            into.reserve(PIECE);
            ready!(poll_read_buf(Pin::new(stream), context, into))?
        } else {
            ready!(PASSAGE.with_borrow_mut(|passage| {
                let mut read = ReadBuf::new(&mut passage[..]);
                ready!(Pin::new(stream).poll_read(context, &mut read))?;
                into.extend_from_slice(read.filled());
                Poll::Ready(io::Result::Ok(read.filled().len()))
            }))?
        };
        self.is_transfer = count >= PIECE;
        Poll::Ready(Ok(count))
    }
}
