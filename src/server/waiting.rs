//! A database that is late at the start, as after a power cut or while everything is deployed at once.
//!
//! The gate waits for it, and has patience with one that answers slowly. Meanwhile it listens already: every request gets 503, and readiness names the cause.
//! Nothing is decided, forwarded or read of a request but its first line, so nothing of the gate has to be there yet.
//! Over TLS only the admin address answers: the proxy's would need its certificate.

use std::pin::pin;
use std::time::{Duration, Instant};

use policy::ids::RequestId;
use serde_json::json;
use store::{SharedStore, StoreError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::listen_address::ListeningSocket;
use super::manager::Manager;
use crate::ruling::message::Form;
use crate::ruling::response::Response;
use crate::settings::Database;

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// How often the wait is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Thrice as long as until the next one.
const EXTEND: &str = "STATUS=The gate waits for the database\nEXTEND_TIMEOUT_USEC=30000000";
/// For a request's head, and for the rest that is sent after the answer.
const READING: Duration = Duration::from_secs(2);
const HEAD_BYTES: usize = 16 * 1024;
/// Connections that are answered at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 128;

/// The events that may end the gate while it is not serving yet.
pub(super) struct Interruptions {
    terminate: Signal,
    interrupt: Signal,
}

impl Interruptions {
    fn new() -> std::io::Result<Interruptions> {
        Ok(Interruptions {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns when the gate is asked to stop.
    pub(super) async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How the waiting ended.
pub(super) enum Waited {
    /// The database answered at once.
    NotAtAll,
    /// It answers now. From the first wait on the gate handles its signals itself.
    For(Interruptions),
    /// The gate was asked to stop.
    Interrupted,
}

/// The cause of the wait, as readiness reports it.
#[derive(Clone, Debug)]
struct Reason {
    kind: &'static str,
    since: Instant,
}

/// Waits until the database answers, for as long as the settings say. `listen` gives the addresses that answer 503 meanwhile, the
/// proxy's and then the admin address.
///
/// # Errors
///
/// It did not answer in time, or an address cannot be had.
pub(super) async fn wait(
    store: &SharedStore,
    settings: &Database,
    manager: &Manager,
    listen: impl FnOnce() -> anyhow::Result<[Option<ListeningSocket>; 2]>,
) -> anyhow::Result<Waited> {
    let limit = settings.wait_ms.duration();
    // The first attempt is short, so that the gate soon answers that it waits; the next ones have patience.
    let first = settings.timeout_ms.duration();
    let Some(mut error) = lateness(store, first).await else { return Ok(Waited::NotAtAll) };
    anyhow::ensure!(!limit.is_zero(), "the database: {error}");
    let mut interruptions = Interruptions::new()?;
    let since = Instant::now();
    let reason = watch::Sender::new(Reason { kind: error.kind(), since });
    let [proxy, admin] = listen()?;
    // Dropping it at the end stops accepting; accepted connections are still answered.
    let mut accepting = JoinSet::new();
    for (socket, is_admin) in [(proxy, false), (admin, true)] {
        if let Some(socket) = socket {
            accepting.spawn(accept(socket, is_admin, reason.subscribe()));
        }
    }
    let mut logged_at: Option<Instant> = None;
    loop {
        if logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            let (waited, at_most) = (since.elapsed().as_secs(), limit.as_secs());
            tracing::warn!(%error, waited, at_most, "the gate waits for the database; requests get 503 meanwhile");
            manager.tell(EXTEND);
            logged_at = Some(Instant::now());
        }
        let again = async {
            sleep(AGAIN).await;
            lateness(store, first.max(LOG_EVERY).min(limit)).await
        };
        error = tokio::select! {
            () = interruptions.come() => return Ok(Waited::Interrupted),
            late = again => match late {
                Some(error) => error,
                None => break,
            },
        };
        reason.send_replace(Reason { kind: error.kind(), since });
        anyhow::ensure!(
            since.elapsed() < limit,
            "the database did not answer within {} s (`database.wait_ms`): {error}",
            limit.as_secs()
        );
    }
    tracing::info!(waited = since.elapsed().as_secs(), "the database answers");
    Ok(Waited::For(interruptions))
}

/// Prepares a start, for as long as that takes. Where it takes longer than `usual`, the log reports it repeatedly, and the
/// service manager gives the start more time.
pub(super) async fn with_progress<T>(
    preparing: impl Future<Output = T>,
    usual: Duration,
    manager: &Manager,
) -> T {
    let began = Instant::now();
    let mut preparing = pin!(preparing);
    let mut next = usual;
    loop {
        match timeout(next, &mut preparing).await {
            Ok(prepared) => return prepared,
            Err(_) => {
                let waited = began.elapsed().as_secs();
                tracing::warn!(waited, "the gate still starts: the database answers slowly");
                manager.tell(EXTEND);
                next = LOG_EVERY;
            }
        }
    }
}

/// Why the database does not answer, if that may pass by itself. Any other error is reported by the next step of the
/// start.
async fn lateness(store: &SharedStore, patience: Duration) -> Option<StoreError> {
    let late = Err(StoreError::Timeout(patience));
    match timeout(patience, store.try_connecting()).await.unwrap_or(late) {
        Err(error @ (StoreError::Unavailable(_) | StoreError::Timeout(_) | StoreError::Busy(_))) => {
            Some(error)
        }
        Ok(()) | Err(_) => None,
    }
}

async fn accept(socket: ListeningSocket, is_admin: bool, reason: watch::Receiver<Reason>) {
    static PLACES: Semaphore = Semaphore::const_new(CONNECTIONS);
    let listener = match Acceptor::new(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "no request is answered while the gate waits");
            return;
        }
    };
    loop {
        let Ok(place) = PLACES.acquire().await else { return };
        let Ok(stream) = listener.accept().await else {
            // Out of descriptors, perhaps.
            sleep(AGAIN).await;
            continue;
        };
        let reason = reason.borrow().clone();
        tokio::spawn(async move {
            let _place = place;
            answer(stream, is_admin, &reason).await;
        });
    }
}

enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Acceptor {
    fn new(socket: ListeningSocket) -> std::io::Result<Acceptor> {
        Ok(match socket {
            ListeningSocket::Tcp(listener) => Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?),
            ListeningSocket::Unix(listener) => Acceptor::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Acceptor::Tcp(listener) => Box::new(listener.accept().await?.0),
            Acceptor::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Answers one request and closes the connection.
async fn answer(mut stream: Box<dyn Stream>, is_admin: bool, reason: &Reason) {
    let mut head = Vec::new();
    let reading = async {
        while head.len() < HEAD_BYTES && !head.windows(4).any(|window| window == b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = timeout(READING, reading).await;
    if head.is_empty() {
        return;
    }
    let bytes = response(&head, is_admin, reason).to_closing_bytes();
    let writing = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        // A connection that is closed with something unread takes the answer with it.
        let mut rest = [0; 4_096];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A client that is gone needs no answer.
    let _ = timeout(READING, writing).await;
}

fn response(head: &[u8], is_admin: bool, reason: &Reason) -> Response {
    let id: RequestId = crate::random::request_id();
    let form = if is_admin { Form::Problem } else { Form::of_unread(head) };
    let detail = "The gate waits for its database. Try again in a moment.";
    let waiting = Response::plain(503, "unavailable", "Not available", detail, form, id)
        .with("retry-after", "2".to_owned());
    if !is_admin {
        return waiting;
    }
    let mut words = head.split(|byte| *byte == b' ').skip(1);
    match words.next() {
        Some(b"/healthz") => Response {
            outcome: "waiting",
            status: 200,
            fields: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
            body: "ok\n".to_owned(),
            about: None,
        },
        Some(b"/readyz") => Response {
            outcome: "waiting",
            status: 503,
            fields: vec![("content-type", "application/json".to_owned())],
            body: json!({
                "ready": false,
                "waiting_for": "database",
                "waited_seconds": reason.since.elapsed().as_secs(),
                "database": "down",
                "database_problem": reason.kind,
            })
            .to_string(),
            about: None,
        },
        _ => waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_reads_a_page_while_the_gate_waits_and_the_admin_address_speaks_to_programs() {
        let reason = Reason { kind: "unavailable", since: Instant::now() };
        let head = b"GET /readyz HTTP/1.1\r\nAccept: text/html\r\n\r\n";
        let kind = |head: &[u8], is_admin| {
            let answer = response(head, is_admin, &reason);
            let kind = answer.fields.iter().find(|(name, _)| *name == "content-type");
            (answer.status, kind.map(|(_, kind)| kind.clone()).unwrap_or_default())
        };
        assert_eq!(kind(head, false), (503, "text/html; charset=utf-8".to_owned()));
        assert_eq!(kind(head, true), (503, "application/json".to_owned()));
        assert_eq!(kind(b"GET / HTTP/1.1\r\n\r\n", false), (503, "application/problem+json".to_owned()));
    }
}
