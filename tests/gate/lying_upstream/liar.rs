//! The lying upstream: a server that answers each case as it is written, and keeps count of what arrives over which
//! connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::answers::{Case, End, Method};
use super::client::Duplex;

/// How long the gate may take to do what it does by itself.
const LIMIT: Duration = Duration::from_secs(20);

/// Between two bytes of a slow answer.
pub(super) const BETWEEN_BYTES: Duration = Duration::from_millis(100);

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// In one write.
    Whole,
    /// A byte at a time.
    Bytes,
    /// The body a byte at a time, with time between them.
    Slowly,
    /// Without what follows the head.
    HeadAlone,
}

impl Sending {
    pub(super) fn word(self) -> &'static str {
        match self {
            Sending::Whole => "whole",
            Sending::Bytes => "bytes",
            Sending::Slowly => "slowly",
            Sending::HeadAlone => "head",
        }
    }

    fn of(word: &str) -> Sending {
        match word {
            "whole" => Sending::Whole,
            "bytes" => Sending::Bytes,
            "slowly" => Sending::Slowly,
            "head" => Sending::HeadAlone,
            other => panic!("no way of sending: {other}"),
        }
    }
}

#[derive(Default)]
struct State {
    /// Which connections each target came over.
    arrived: BTreeMap<String, Vec<usize>>,
    /// Answers that are being sent.
    playing: usize,
    /// Connections that must not be used again, with the reason, until the gate has closed them.
    spoiled: BTreeMap<usize, String>,
    ended: BTreeSet<usize>,
    findings: Vec<String>,
}

struct Shared {
    cases: Vec<Case>,
    state: Mutex<State>,
    changed: Notify,
    /// A permit for each answer whose client has it.
    received: Semaphore,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where it listens.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Listener::Unix(listener) => Box::new(listener.accept().await?.0),
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Else a second write waits for the gate's next request, which acknowledges the first.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

/// The server. It stops with this value.
pub(super) struct Liar {
    place: Place,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Liar {
    /// Listens in `folder` and answers `/case/NUMBER/SENDING/..` with that case.
    pub(super) fn start(folder: &Path, cases: Vec<Case>) -> Liar {
        let socket = folder.join("liar.sock");
        let listener = UnixListener::bind(&socket).expect("a new socket");
        Liar::listen(Place::Unix(socket), Listener::Unix(listener), cases)
    }

    /// The same over TCP.
    pub(super) async fn start_tcp(cases: Vec<Case>) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let place = Place::Tcp(listener.local_addr().expect("its address"));
        Liar::listen(place, Listener::Tcp(listener), cases)
    }

    fn listen(place: Place, listener: Listener, cases: Vec<Case>) -> Liar {
        let shared = Arc::new(Shared {
            cases,
            state: Mutex::default(),
            changed: Notify::new(),
            received: Semaphore::new(0),
        });
        let kept = shared.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let Ok(stream) = listener.accept().await else { return };
                let shared = kept.clone();
                connections.spawn(async move {
                    Connection { stream, number, shared: shared.clone() }.serve().await;
                    let mut state = shared.state();
                    state.spoiled.remove(&number);
                    state.ended.insert(number);
                    drop(state);
                    shared.changed.notify_waiters();
                });
            }
        });
        Liar { place, shared, accepting }
    }

    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(super) fn cases(&self) -> &[Case] {
        &self.shared.cases
    }

    /// Lets the server go on with what it sends when the client has its answer, and waits until it has sent everything
    /// and closed what it closes.
    pub(super) async fn has_sent_everything(&self, case: &Case, target: &str) {
        let plays = self.shared.state().playing;
        if !case.later.is_empty() {
            self.shared.received.add_permits(plays);
        }
        self.until("the answer is not taken", |state| {
            let closed = |connections: &Vec<usize>| connections.iter().all(|one| state.ended.contains(one));
            let is_closed = case.end == End::Open || state.arrived.get(target).is_none_or(closed);
            state.playing == 0 && is_closed
        })
        .await;
    }

    /// The connections over which a target came.
    pub(super) fn connections(&self, target: &str) -> Vec<usize> {
        self.shared.state().arrived.get(target).cloned().unwrap_or_default()
    }

    /// Whether the gate or the server has closed a connection.
    pub(super) fn has_ended(&self, connection: usize) -> bool {
        self.shared.state().ended.contains(&connection)
    }

    /// Waits until the gate has closed the connections over which a target came.
    pub(super) async fn has_ended_those_of(&self, target: &str) {
        self.until("an upstream connection with bytes that nobody asked for is left open", |state| {
            state.arrived.get(target).is_none_or(|those| those.iter().all(|one| state.ended.contains(one)))
        })
        .await;
    }

    /// Waits until the gate has closed every connection over which a case came.
    pub(super) async fn has_ended_all(&self) {
        self.until("an upstream connection is left open", |state| {
            let cases = state.arrived.iter().filter(|(target, _)| target.starts_with("/case/"));
            cases.flat_map(|(_, connections)| connections).all(|connection| state.ended.contains(connection))
        })
        .await;
    }

    /// What the server has found wrong, when the gate has closed everything that it must.
    pub(super) async fn findings(&self) -> Vec<String> {
        let mut findings = match timeout(LIMIT, self.wait(|state| state.spoiled.is_empty())).await {
            Ok(()) => Vec::new(),
            Err(_) => {
                let state = self.shared.state();
                state
                    .spoiled
                    .values()
                    .map(|case| format!("{case}: the upstream connection is left open"))
                    .collect()
            }
        };
        findings.append(&mut self.shared.state().findings);
        findings
    }

    async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        if timeout(LIMIT, self.wait(holds)).await.is_err() {
            self.shared.state().findings.push(what.to_owned());
        }
    }

    async fn wait(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.shared.state()) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Place::Unix(socket) = &self.place {
            let _ = std::fs::remove_file(socket);
        }
    }
}

struct Connection {
    stream: Box<dyn Duplex>,
    number: usize,
    shared: Arc<Shared>,
}

/// The state of a connection after an answer.
enum After {
    NextRequest,
    /// It must not be used again, because of this case.
    Spoiled(String),
    Closed,
}

impl Connection {
    async fn serve(&mut self) {
        loop {
            let Some(line) = self.take_until(b"\r\n").await else { return };
            let words: Vec<&str> = line.split(' ').collect();
            let [method, target, _] = words[..] else {
                return self.find(format!("no request line: {line:?}"));
            };
            let (method, target) = (method.to_owned(), target.to_owned());
            let after = match target.split('/').collect::<Vec<_>>()[..] {
                ["", "case", number, sending, ..] => {
                    let case = self.shared.cases[number.parse::<usize>().expect("a number")].clone();
                    let sending = Sending::of(sending);
                    self.arrives(&target, true);
                    let after = self.answer_case(&method, &case, sending).await;
                    let mut state = self.shared.state();
                    state.playing -= 1;
                    if let After::Spoiled(name) = &after {
                        state.spoiled.insert(self.number, name.clone());
                    }
                    drop(state);
                    self.shared.changed.notify_waiters();
                    after
                }
                _ => {
                    self.arrives(&target, false);
                    self.answer_honestly(&method, &target).await
                }
            };
            match after {
                After::NextRequest => {}
                After::Closed => return,
                After::Spoiled(name) => {
                    if let Some(line) = self.take_until(b"\r\n").await {
                        self.find(format!("{name}: the upstream connection is used again: {line}"));
                    }
                    return;
                }
            }
        }
    }

    fn arrives(&self, target: &str, plays: bool) {
        let mut state = self.shared.state();
        state.arrived.entry(target.to_owned()).or_default().push(self.number);
        state.playing += usize::from(plays);
    }

    fn find(&self, finding: String) {
        self.shared.state().findings.push(finding);
    }

    async fn answer_honestly(&mut self, method: &str, target: &str) -> After {
        if self.take_request().await.is_none() {
            return After::Closed;
        }
        let body = format!("an answer to {target}");
        let length = body.len();
        let body = if method == "HEAD" { "" } else { &body };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        match self.stream.write_all(answer.as_bytes()).await {
            Ok(()) => After::NextRequest,
            Err(_) => After::Closed,
        }
    }

    async fn answer_case(&mut self, method: &str, case: &Case, sending: Sending) -> After {
        let asked = if case.end == End::Reset {
            self.take_all_but_the_end().await
        } else {
            self.take_request().await
        };
        let Some(head) = asked else { return After::Closed };
        let method = match method {
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            _ if head.to_ascii_lowercase().contains("\r\nupgrade:") => Method::Upgrade,
            _ => Method::Get,
        };
        self.send(&case.head, &case.body, sending).await;
        if !case.later.is_empty() {
            let Ok(permit) = timeout(LIMIT, self.shared.received.acquire()).await else {
                self.find(format!("{}: the client has nothing", case.name));
                return After::Closed;
            };
            permit.expect("an open semaphore").forget();
            let _ = self.stream.write_all(&case.later).await;
        }
        if case.end != End::Open {
            return After::Closed;
        }
        match case.reuse(method) {
            Some(false) => After::Spoiled(format!("{} ({method:?}, {})", case.name, sending.word())),
            _ => After::NextRequest,
        }
    }

    async fn send(&mut self, head: &[u8], body: &[u8], sending: Sending) {
        match sending {
            Sending::Whole => {
                let _ = self.stream.write_all(&[head, body].concat()).await;
            }
            Sending::HeadAlone => {
                let _ = self.stream.write_all(head).await;
            }
            Sending::Bytes => {
                for byte in [head, body].concat() {
                    if self.stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
            Sending::Slowly => {
                let _ = self.stream.write_all(head).await;
                for byte in body {
                    tokio::time::sleep(BETWEEN_BYTES).await;
                    if self.stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// The rest of a request's head; its body is read and dropped.
    async fn take_request(&mut self) -> Option<String> {
        let mut head = String::from("\r\n");
        while !head.ends_with("\r\n\r\n") {
            head += &self.take_until(b"\r\n").await?;
            head += "\r\n";
        }
        let lower = head.to_ascii_lowercase();
        let length =
            lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if lower.contains("transfer-encoding: chunked") {
            self.take_until(b"0\r\n\r\n").await?;
        }
        for _ in 0..length.unwrap_or(0) {
            self.byte().await?;
        }
        Some(head)
    }

    /// The rest of a request without its last byte: with a byte unread, closing is a reset.
    async fn take_all_but_the_end(&mut self) -> Option<String> {
        self.take_until(b"\r\n\r").await
    }

    /// Up to an end, which is not among what is returned.
    async fn take_until(&mut self, end: &[u8]) -> Option<String> {
        let mut taken = Vec::new();
        while !taken.ends_with(end) {
            taken.push(self.byte().await?);
        }
        taken.truncate(taken.len() - end.len());
        Some(String::from_utf8_lossy(&taken).into_owned())
    }

    /// Never reads more than it is asked for.
    async fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).await.ok()?;
        Some(byte[0])
    }
}
