//! An upstream that answers before it has read everything, or nothing at all, and keeps every byte of every connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::support::chunks::unchunk;

const LIMIT: Duration = Duration::from_secs(20);

/// What it answers to what it reads no body of.
pub(super) const EARLY: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much";

/// One connection.
#[derive(Clone, Default)]
pub(super) struct Seen {
    bytes: Vec<u8>,
    /// Whether the gate has closed it.
    pub(super) ended: bool,
}

impl Seen {
    /// The requests that came over it, each a request line and whether its body is whole; `Err` if what follows a
    /// request is none.
    pub(super) fn requests(&self) -> Result<Vec<(String, bool)>, String> {
        let mut rest = &self.bytes[..];
        let mut requests = Vec::new();
        while !rest.is_empty() {
            let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end.map(|end| end + 4) else {
                return Err(format!("half a head, or none: {}", rest[..rest.len().min(200)].escape_ascii()));
            };
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let line = head.lines().next().unwrap_or_default();
            if !line.ends_with(" HTTP/1.1") {
                return Err(format!("no request line: {line:?}"));
            }
            rest = &rest[end..];
            let (taken, is_whole) = body(&head, rest);
            requests.push((line.to_owned(), is_whole));
            rest = &rest[taken..];
        }
        Ok(requests)
    }
}

/// How many bytes are a request's body, and whether that is all of it.
fn body(head: &str, rest: &[u8]) -> (usize, bool) {
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if let Some(length) = length {
        return (rest.len().min(length), rest.len() >= length);
    }
    if !head.contains("transfer-encoding: chunked") {
        return (0, true);
    }
    let end = rest.windows(5).position(|window| window == b"0\r\n\r\n").map(|place| place + 5);
    match end {
        Some(end) if unchunk(&rest[..end]).is_some() => (end, true),
        _ => (rest.len(), false),
    }
}

/// The server. It stops with this value.
pub(super) struct Tap {
    socket: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Tap {
    pub(super) fn start(folder: &Path) -> Tap {
        let socket = folder.join("tap.sock");
        let listener = UnixListener::bind(&socket).expect("a new socket");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                lock(&kept).push(Seen::default());
                let seen = kept.clone();
                connections.spawn(async move { Connection { stream, number, seen }.serve().await });
            }
        });
        Tap { socket, seen, accepting }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Everything so far.
    pub(super) fn connections(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// The connections over which a request of this target came, once the gate has closed them all; `None` if it does
    /// not.
    pub(super) async fn ended(&self, target: &str) -> Option<Vec<Seen>> {
        let deadline = Instant::now() + LIMIT;
        let mark = format!(" {target} HTTP");
        loop {
            let mut of_it = self.connections();
            of_it.retain(|seen| String::from_utf8_lossy(&seen.bytes).contains(&mark));
            if of_it.iter().all(|seen| seen.ended) {
                return Some(of_it);
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Connection {
    stream: UnixStream,
    number: usize,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Connection {
    async fn serve(&mut self) {
        let mut start = 0;
        loop {
            let (head, body_start) = loop {
                let bytes = lock(&self.seen)[self.number].bytes[start..].to_vec();
                if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                    break (String::from_utf8_lossy(&bytes[..end + 4]).into_owned(), start + end + 4);
                }
                if !self.read().await {
                    return;
                }
            };
            let place = head.split(' ').nth(1).unwrap_or_default().rsplit('/').next().unwrap_or_default();
            match place {
                "early" => {
                    let _ = self.stream.write_all(EARLY.as_bytes()).await;
                    // Nothing more is read: that the gate has closed shows without it.
                    let mut is_open = true;
                    while is_open {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        let ready = self.stream.ready(tokio::io::Interest::WRITABLE).await;
                        is_open = ready.is_ok_and(|ready| !ready.is_write_closed());
                    }
                    lock(&self.seen)[self.number].ended = true;
                    return;
                }
                "early-and-gone" => {
                    let _ = self.stream.write_all(EARLY.as_bytes()).await;
                    lock(&self.seen)[self.number].ended = true;
                    return;
                }
                "early-and-reading" => {
                    let _ = self.stream.write_all(EARLY.as_bytes()).await;
                }
                _ => {}
            }
            loop {
                let bytes = lock(&self.seen)[self.number].bytes[body_start..].to_vec();
                let (taken, is_whole) = body(&head, &bytes);
                if is_whole {
                    start = body_start + taken;
                    break;
                }
                if !self.read().await {
                    return;
                }
            }
            if place != "early-and-reading" {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    }

    /// Whether more has come.
    async fn read(&mut self) -> bool {
        let mut bytes = vec![0; 65_536];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        let mut seen = lock(&self.seen);
        seen[self.number].bytes.extend_from_slice(&bytes[..read]);
        seen[self.number].ended = read == 0;
        read > 0
    }
}
