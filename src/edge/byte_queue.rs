//! Bytes that wait to be sent on, in few pieces.
//!
//! A peer may send a body in chunks of a byte. Kept apart, each would cost a hundred times its size while it waits, and would
//! be sent on as a chunk or a frame of its own; clients of HTTP/2 close a connection for too many small frames.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// A piece up to this size is copied to the end of the queue.
const SMALL: usize = 4 * 1024;
/// How many pieces one write takes.
const SLICES: usize = 8;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    pieces: VecDeque<Bytes>,
    pieces_len: usize,
    /// Follows the last piece.
    tail: BytesMut,
}

impl ByteQueue {
    /// How many bytes are queued.
    pub(super) fn len(&self) -> usize {
        self.pieces_len + self.tail.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// Adds bytes at the end. Bytes added to an empty queue are not copied.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= SMALL && !self.is_empty() {
            self.tail.extend_from_slice(&bytes);
        } else if !bytes.is_empty() {
            self.settle();
            self.pieces_len += bytes.len();
            self.pieces.push_back(bytes);
        }
    }

    /// The end of the queue, for bytes that are written piecemeal.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// The length of the next piece; 0 where nothing is queued.
    pub(super) fn next_len(&self) -> usize {
        self.pieces.front().map_or(self.tail.len(), Bytes::len)
    }

    /// Takes the next piece, or the beginning of it where it is longer than `most`.
    pub(super) fn pop(&mut self, most: usize) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.settle();
        }
        let next = self.pieces.front_mut()?;
        let taken = next.split_to(most.min(next.len()));
        if next.is_empty() {
            self.pieces.pop_front();
        }
        self.pieces_len -= taken.len();
        Some(taken)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = ByteQueue::default();
    }

    /// Writes the queued bytes. Ready when nothing is left; `moved` where any of them were taken.
    ///
    /// # Errors
    ///
    /// The stream failed, or takes nothing more.
    pub(super) fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        self.settle();
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.pieces.len().min(SLICES);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            let written = match count {
                1 => stream.as_mut().poll_write(context, &slices[0]),
                _ => stream.as_mut().poll_write_vectored(context, &slices[..count]),
            };
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *moved = true;
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut count: usize) {
        self.pieces_len -= count;
        while let Some(piece) = self.pieces.front_mut().filter(|_| count > 0) {
            let taken = count.min(piece.len());
            piece.advance(taken);
            count -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    fn settle(&mut self) {
        if !self.tail.is_empty() {
            self.pieces_len += self.tail.len();
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Tail(usize),
        Pop(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = || prop_oneof![0_usize..4, 0_usize..300, SMALL - 2..SMALL + 3];
        prop_oneof![
            length().prop_map(Step::Push),
            length().prop_map(Step::Tail),
            prop_oneof![length(), Just(usize::MAX)].prop_map(Step::Pop),
        ]
    }

    proptest! {
        /// Whatever is added and taken, in whatever order, comes out as it went in.
        #[test]
        fn bytes_come_out_as_they_went_in(steps in proptest::collection::vec(step(), 0..60)) {
            let mut queue = ByteQueue::default();
            let (mut expected, mut out, mut next) = (Vec::new(), Vec::new(), 0_u8);
            let mut bytes = |length| -> Vec<u8> {
                (0..length).map(|_| { next = next.wrapping_add(1); next }).collect()
            };
            for step in steps {
                match step {
                    Step::Push(length) => {
                        let bytes = bytes(length);
                        expected.extend_from_slice(&bytes);
                        queue.push(bytes.into());
                    }
                    Step::Tail(length) => {
                        let bytes = bytes(length);
                        expected.extend_from_slice(&bytes);
                        queue.tail().extend_from_slice(&bytes);
                    }
                    Step::Pop(most) => {
                        let offered = queue.next_len();
                        let taken = queue.pop(most).unwrap_or_default();
                        prop_assert_eq!(taken.len(), offered.min(most));
                        out.extend_from_slice(&taken);
                    }
                }
                prop_assert_eq!(queue.len(), expected.len() - out.len());
                prop_assert_eq!(queue.is_empty(), expected.len() == out.len());
            }
            // The rest over a stream that takes a few bytes at a time.
            let (mut near, mut far) = tokio::io::duplex(7);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let writing = async {
                    poll_fn(|context| queue.poll_write(Pin::new(&mut near), context, &mut false)).await.expect("a write");
                    drop(near);
                };
                tokio::join!(writing, async { far.read_to_end(&mut out).await.expect("the rest") });
            });
            prop_assert_eq!((out, queue.len()), (expected, 0));
        }
    }

    #[test]
    fn small_pieces_are_kept_as_one() {
        let mut queue = ByteQueue::default();
        (0..10_000).for_each(|_| queue.push(Bytes::from_static(b"x")));
        let lengths: Vec<_> = std::iter::from_fn(|| queue.pop(usize::MAX)).map(|piece| piece.len()).collect();
        assert_eq!(lengths, [1, 9_999]);
    }

    #[tokio::test]
    async fn a_stream_that_takes_nothing_is_an_error() {
        let mut queue = ByteQueue::default();
        queue.push(Bytes::from_static(b"x"));
        let mut room = [0; 0];
        let mut full = io::Cursor::new(&mut room[..]);
        let written = poll_fn(|context| queue.poll_write(Pin::new(&mut full), context, &mut false)).await;
        assert_eq!(written.map_err(|error| error.kind()), Err(io::ErrorKind::WriteZero));
    }
}
