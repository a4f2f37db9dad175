//! An upstream that keeps every byte it was sent and answers as the path says: real sockets, no Flask.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub head: String,
    /// As framed on the wire, chunk sizes and all.
    pub body: Vec<u8>,
    /// Which connection it came over, counted from 0.
    pub connection: usize,
}

impl Recorded {
    /// The value of a header field; the fields of one name joined by `|`.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        (!values.is_empty()).then(|| values.join("|"))
    }

    /// What the gate's assertion claims. Its signature is not looked at.
    pub fn claims(&self) -> Value {
        let assertion = self.header("x-console-gate-assertion").expect("the gate's assertion");
        let payload = assertion.split('.').nth(1).expect("a JWT has three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("claims are JSON")
    }
}

/// The upstream. It stops with this value.
pub struct Recorder {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<Recorded>>>,
    accepting: JoinHandle<()>,
}

impl Recorder {
    /// Listens on `folder/name`.
    pub fn start(folder: &Path, name: &str) -> Recorder {
        let socket = folder.join(name);
        let listener = UnixListener::bind(&socket).expect("a new socket");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                connections.spawn(serve(stream, connection, kept.clone()));
            }
        });
        Recorder { socket, requests, accepting }
    }

    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Everything so far, the gate's health checks left out.
    pub fn requests(&self) -> Vec<Recorded> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|request| !request.head.starts_with("GET /healthz ")).cloned().collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn serve(mut stream: UnixStream, connection: usize, requests: Arc<Mutex<Vec<Recorded>>>) {
    let mut read = Vec::new();
    loop {
        let Some(head) = take_head(&mut stream, &mut read).await else { return };
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let lower = head.to_ascii_lowercase();
        if lower.contains("expect: 100-continue") {
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let body = take_body(&mut stream, &mut read, &lower).await;
        let recorded = Recorded { head, body, connection };
        requests.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let answer = match path.as_str() {
            "/never" => {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                return;
            }
            "/close" => return,
            "/garbage" => "this is no HTTP\r\n\r\n",
            "/half" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this much",
            "/socket" => {
                let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                              sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                let _ = stream.write_all(switch.as_bytes()).await;
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                return;
            }
            "/error" => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno",
            _ if path.starts_with("/forbidden") => "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
            _ if path.starts_with("/unauthorized") => {
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"
            }
            _ if path.starts_with("/sent-to-login") => {
                "HTTP/1.1 303 See Other\r\nlocation: http://console.internal/auth/login?next=%2F\r\ncontent-length: 0\r\n\r\n"
            }
            _ if path.starts_with("/sent-elsewhere") => {
                "HTTP/1.1 302 Found\r\nlocation: /orders?next=/auth/login\r\ncontent-length: 0\r\n\r\n"
            }
            _ => plain,
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || path == "/garbage" || path == "/half" {
            return;
        }
    }
}

async fn take_head(stream: &mut UnixStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = read.drain(..end + 4).collect();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if !matches!(stream.read_buf(read).await, Ok(1..)) {
            return None;
        }
    }
}

async fn take_body(stream: &mut UnixStream, read: &mut Vec<u8>, head: &str) -> Vec<u8> {
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    let is_chunked = head.contains("transfer-encoding: chunked");
    loop {
        let whole = match length {
            Some(length) => (read.len() >= length).then_some(length),
            None if is_chunked => {
                let end = b"0\r\n\r\n";
                read.windows(end.len()).position(|window| window == end).map(|place| place + end.len())
            }
            None => Some(0),
        };
        if let Some(whole) = whole {
            return read.drain(..whole).collect();
        }
        if !matches!(stream.read_buf(read).await, Ok(1..)) {
            return std::mem::take(read);
        }
    }
}
