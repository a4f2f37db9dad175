//! A client that sends any bytes and reads whatever answers come, however the gate ends the connection.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// How long a test waits for bytes before it calls them missing.
const LIMIT: Duration = Duration::from_secs(20);

/// One answer as it came.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub fn request_id(&self) -> &str {
        self.header("x-request-id")
    }
}

/// One connection.
pub struct Exchange {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Exchange {
    pub async fn to(socket: &Path) -> Exchange {
        let stream = UnixStream::connect(socket).await.expect("the gate takes connections");
        Exchange { stream, read: Vec::new() }
    }

    /// Sends bytes, as far as the gate takes them: it may have answered and closed already.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next final answer; nothing when the gate has closed the connection.
    pub async fn answer(&mut self, is_to_head: bool) -> Option<RawAnswer> {
        loop {
            let head = self.take_head().await?;
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status: u16 = status.unwrap_or_else(|| panic!("no status line: {head}"));
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut answer = RawAnswer { status, head, body: Vec::new() };
            if !is_to_head && status != 101 {
                let length = answer.header("content-length").parse().ok();
                answer.body = self.take_body(length).await;
            }
            return Some(answer);
        }
    }

    /// Every answer until the gate closes the connection. `is_to_head` speaks of the first one.
    pub async fn answers(&mut self, is_to_head: bool) -> Vec<RawAnswer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer(is_to_head && answers.is_empty()).await {
            answers.push(answer);
        }
        answers
    }

    async fn take_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            if !self.read_more().await {
                assert!(self.read.is_empty(), "half a head: {}", String::from_utf8_lossy(&self.read));
                return None;
            }
        }
    }

    async fn take_body(&mut self, length: Option<usize>) -> Vec<u8> {
        while length.is_none_or(|length| self.read.len() < length) {
            if !self.read_more().await {
                assert!(length.is_none(), "a body was cut: {}", String::from_utf8_lossy(&self.read));
                break;
            }
        }
        let end = length.unwrap_or(self.read.len());
        self.read.drain(..end).collect()
    }

    /// Whether there was more. A connection that was reset is as closed as one that was ended.
    async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(LIMIT, self.stream.read_buf(&mut self.read)).await;
        let so_far = String::from_utf8_lossy(&self.read).into_owned();
        matches!(read.unwrap_or_else(|_| panic!("nothing more came after: {so_far}")), Ok(1..))
    }
}
