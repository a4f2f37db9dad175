//! A server that says something over an idle connection, or closes it, just before the next request goes out.
//!
//! Blocking sockets and threads: between its last byte and the client's first one there is nothing but a system call.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);
/// Time enough for the gate to keep a connection whose answer the client has.
const KEEP: Duration = Duration::from_millis(2);

const UNASKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

/// The server.
pub(super) struct Server {
    /// The connections that have answered and are idle.
    idle: Receiver<UnixStream>,
    /// What came over them.
    used: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers every request that comes to `listener`, each connection in a thread of its own.
    pub(super) fn start(listener: UnixListener) -> Server {
        let (sender, idle) = channel();
        let used = Arc::default();
        let kept = Arc::clone(&used);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, used) = (sender.clone(), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream, &sender, &used));
            }
        });
        Server { idle, used }
    }

    /// One connection becomes idle; the server speaks over it or closes it; another client asks. What is wrong.
    pub(super) fn round(&self, gate: &Path, number: usize) -> Option<String> {
        let mut first = connect(gate);
        let target = format!("/idle/{number}");
        if let Err(what) = exchange(&mut first, &format!("GET {target} HTTP/1.1"), "", &target) {
            return Some(format!("{target}: {what}"));
        }
        let mut other = connect(gate);
        let mut idle = self.idle.recv_timeout(LIMIT).expect("the request came to the server");
        std::thread::sleep(KEEP);
        let closes = number.is_multiple_of(2);
        let _ = if closes { idle.shutdown(Shutdown::Both) } else { idle.write_all(UNASKED) };
        let target = format!("/own/{number}");
        let got = exchange(&mut other, &format!("POST {target} HTTP/1.1"), "hello", &target);
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let what = if closes { "closed" } else { "an unasked answer" };
        match (got, &used[..]) {
            (Ok(()), []) => None,
            (Ok(()), used) => Some(format!("{target}, {what}: the connection was used: {used:?}")),
            (Err(got), _) => Some(format!("{target}, {what}: {got}")),
        }
    }
}

fn connect(gate: &Path) -> UnixStream {
    let stream = UnixStream::connect(gate).expect("the gate takes connections");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    stream
}

/// Sends a request and reads its answer, which must be that to `target`.
fn exchange(stream: &mut UnixStream, line: &str, body: &str, target: &str) -> Result<(), String> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{line}\r\nHost: console.test\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let (expected, mut answer) = (answer_to(target), Vec::new());
    let mut bytes = [0; 4096];
    while !answer.ends_with(expected.as_bytes()) {
        match stream.read(&mut bytes) {
            Ok(read @ 1..) => answer.extend_from_slice(&bytes[..read]),
            _ => break,
        }
        if answer.ends_with(b"smuggled") || answer.ends_with(b"}") {
            break;
        }
    }
    let is_own = answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(expected.as_bytes());
    if is_own { Ok(()) } else { Err(answer.escape_ascii().to_string()) }
}

fn answer_to(target: &str) -> String {
    format!("an answer to {target}")
}

fn serve(mut stream: UnixStream, idle: &Sender<UnixStream>, used: &Mutex<Vec<String>>) {
    let mut is_idle = false;
    let mut read = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let Ok(count @ 1..) = stream.read(&mut bytes) else { return };
        read.extend_from_slice(&bytes[..count]);
        let head = String::from_utf8_lossy(&read).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if is_idle {
            used.lock().unwrap_or_else(PoisonError::into_inner).push(target);
            return;
        }
        let is_whole = head.contains("\r\n\r\n") && (!head.starts_with("POST") || head.ends_with("hello"));
        if !is_whole {
            continue;
        }
        read.clear();
        let body = answer_to(&target);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        is_idle = target.starts_with("/idle/");
        if is_idle {
            let _ = stream.try_clone().map(|stream| idle.send(stream));
        }
    }
}
