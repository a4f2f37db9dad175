//! A client that writes and reads bytes, for what a well-behaved client library would never send.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// How long a test waits for bytes before it calls them missing.
const LIMIT: Duration = Duration::from_secs(20);

/// One connection.
pub struct Wire {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Wire {
    pub async fn to(socket: &Path) -> Wire {
        Wire {
            stream: UnixStream::connect(socket).await.expect("the gate takes connections"),
            read: Vec::new(),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the gate reads");
    }

    /// Reads until `end` has come, and takes everything up to and with it.
    pub async fn read_until(&mut self, end: &str) -> String {
        loop {
            if let Some(place) = find(&self.read, end.as_bytes()) {
                let taken: Vec<u8> = self.read.drain(..place + end.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let read = tokio::time::timeout(LIMIT, self.stream.read_buf(&mut self.read)).await;
            let so_far = String::from_utf8_lossy(&self.read).into_owned();
            let count = read.unwrap_or_else(|_| panic!("no `{end:?}` came, only: {so_far}"));
            assert!(count.expect("the gate writes") > 0, "closed before `{end:?}`: {so_far}");
        }
    }

    /// One answer with a Content-Length: its status and its body.
    pub async fn answer(&mut self) -> (u16, String) {
        let head = self.read_until("\r\n\r\n").await;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
            .map_or(0, |length| length.trim().parse().expect("a length"));
        while self.read.len() < length {
            let read = tokio::time::timeout(LIMIT, self.stream.read_buf(&mut self.read)).await;
            assert!(read.expect("the body comes").expect("the gate writes") > 0, "the body was cut");
        }
        let body: Vec<u8> = self.read.drain(..length).collect();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Everything until the gate closes the connection.
    pub async fn rest(&mut self) -> String {
        let ended = tokio::time::timeout(LIMIT, self.stream.read_to_end(&mut self.read)).await;
        assert!(ended.is_ok(), "the gate keeps the connection open: {}", String::from_utf8_lossy(&self.read));
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
