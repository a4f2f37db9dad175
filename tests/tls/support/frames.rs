//! Frames of HTTP/2, written and read by hand: what no client library would send.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::PATIENCE;
use super::certificates::HOST;

// RFC 9113 6.
pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const GOAWAY: u8 = 0x7;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const NO_ERROR: u8 = 0x0;
pub const ENHANCE_YOUR_CALM: u8 = 0xb;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame on the wire.
pub fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The preface and SETTINGS that change nothing.
pub fn greeting() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()
}

/// The fields of a request, each as a literal without indexing (RFC 7541 6.2.2).
pub fn fields(method: &str, target: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", target)];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub stream: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Why a connection or a stream was ended: the last byte of the code, which has small ones alone.
    pub fn code(&self) -> u8 {
        match self.kind {
            GOAWAY => self.payload[7],
            RST_STREAM => self.payload[3],
            kind => panic!("a frame of kind {kind} has no code"),
        }
    }
}

/// A connection for frames.
pub struct Frames<S> {
    stream: S,
    opened: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub fn over(stream: S) -> Frames<S> {
        Frames { stream, opened: Instant::now() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        assert!(self.try_send(bytes).await, "the gate has closed the connection");
    }

    /// Whether the gate still takes bytes.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// The next frame; `None` when the gate has closed the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, async {
            let mut header = [0; 9];
            self.stream.read_exact(&mut header).await.ok()?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind: header[3], stream: header[8], payload })
        })
        .await
        .expect("the gate neither closes the connection nor says anything")
    }

    /// The next frame of a kind.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the gate has closed the connection");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Everything until the gate closes the connection, and after which time that was.
    pub async fn rest(&mut self) -> (Vec<Frame>, Duration) {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        (frames, self.opened.elapsed())
    }
}
