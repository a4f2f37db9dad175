//! The client's socket, of which pingora sees one request's body at a time.
//!
//! pingora frames bodies leniently, and takes whatever else it finds on the socket for a fault of the request that it
//! serves: a client that sends its next request early would be answered 400 to one that Console has already run. So
//! pingora reads through this: it gets the bytes of the body, framed as strictly as the head was, and not one more.
//! What follows is kept for the front, which reads the next head from it.

mod frames;

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use policy::firewall::{ChunkWalk, Framing, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use frames::Frames;
pub(super) use frames::{Owed, PREFACE};

/// How much is read of the requests that a client sends ahead, before it has to wait.
const MOST_AHEAD: usize = 16 * 1024;
/// How much of it is read at once.
const PIECE: usize = 2 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(super) struct ClientSocket {
    socket: Stream,
    /// Bytes that were read and have gone nowhere yet.
    ahead: BytesMut,
    body: Body,
    /// Over HTTP/2, where the client is in its frames.
    frames: Option<Frames>,
}

/// What pingora may still read.
#[derive(Clone, Copy, Debug)]
enum Body {
    Length(u64),
    Chunked(ChunkWalk),
    /// A tunnel, or HTTP/2: everything.
    Unbounded,
}

impl ClientSocket {
    pub(super) fn new(socket: Stream) -> ClientSocket {
        ClientSocket { socket, ahead: BytesMut::new(), body: Body::Length(0), frames: None }
    }

    /// The bytes from which the next head is taken.
    pub(super) fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    /// Reads more of them. `Ok(0)`: the client sends no more.
    pub(super) async fn fill(&mut self) -> std::io::Result<usize> {
        self.ahead.reserve(PIECE);
        self.socket.read_buf(&mut self.ahead).await
    }

    /// Lets pingora read one body.
    ///
    /// # Errors
    ///
    /// What of the body has arrived with the head shows already that it is no body.
    pub(super) fn begin_body(&mut self, framing: Framing, upgrade: bool) -> Result<(), Refusal> {
        self.body = match framing {
            _ if upgrade => Body::Unbounded,
            Framing::None => Body::Length(0),
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => {
                ChunkWalk::default().advance(&self.ahead)?;
                Body::Chunked(ChunkWalk::default())
            }
        };
        Ok(())
    }

    /// Lets the h2 crate read everything, and says what the client owes meanwhile.
    pub(super) fn begin_http2(&mut self) -> Owed {
        self.body = Body::Unbounded;
        let (frames, owed) = Frames::new();
        self.frames = Some(frames);
        owed
    }

    /// Writes to the socket and swallows what still comes: see [`super::front`].
    pub(super) fn socket(&mut self) -> &mut Stream {
        &mut self.socket
    }

    fn pass(&mut self, bytes: &[u8]) {
        if let Some(frames) = &mut self.frames {
            frames.pass(bytes);
        }
    }

    /// With the body at its end, reading is how pingora learns that the client is gone.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.ahead.len() < MOST_AHEAD {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(read.filled());
        }
        // Nobody wakes this read up. It is given up when the answer is complete, and the bytes are read then.
        Poll::Pending
    }
}

impl Body {
    /// How many of `bytes` belong to the body.
    fn take(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Body::Unbounded => Ok(bytes.len()),
            Body::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            Body::Chunked(walk) => {
                walk.advance(bytes).map_err(|refusal| Error::new(ErrorKind::InvalidData, refusal))
            }
        }
    }

    fn has_ended(self) -> bool {
        match self {
            Body::Unbounded => false,
            Body::Length(left) => left == 0,
            Body::Chunked(walk) => walk.has_ended(),
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.body.has_ended() {
            return this.poll_gone(context);
        }
        if !this.ahead.is_empty() {
            let length = out.remaining().min(this.ahead.len());
            let taken = this.body.take(&this.ahead[..length])?;
            out.put_slice(&this.ahead[..taken]);
            this.pass(&out.filled()[out.filled().len() - taken..]);
            this.ahead.advance(taken);
            return Poll::Ready(Ok(()));
        }
        let start = out.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(context, out))?;
        let taken = this.body.take(&out.filled()[start..])?;
        this.ahead.extend_from_slice(&out.filled()[start + taken..]);
        out.set_filled(start + taken);
        this.pass(&out.filled()[start..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[async_trait]
impl Peek for ClientSocket {
    async fn try_peek(&mut self, bytes: &mut [u8]) -> std::io::Result<bool> {
        while self.ahead.len() < bytes.len() {
            if self.fill().await? == 0 {
                return Ok(false);
            }
        }
        bytes.copy_from_slice(&self.ahead[..bytes.len()]);
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for ClientSocket {
    async fn shutdown(&mut self) {
        self.socket.shutdown().await;
    }
}

impl UniqueID for ClientSocket {
    fn id(&self) -> UniqueIDType {
        self.socket.id()
    }
}

impl Ssl for ClientSocket {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.socket.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.socket.selected_alpn_proto()
    }
}

impl GetTimingDigest for ClientSocket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.socket.get_timing_digest()
    }
}

impl GetProxyDigest for ClientSocket {
    fn get_proxy_digest(&self) -> Option<Arc<pingora::protocols::raw_connect::ProxyDigest>> {
        self.socket.get_proxy_digest()
    }
}

impl GetSocketDigest for ClientSocket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.get_socket_digest()
    }
}
