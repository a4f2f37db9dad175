//! Connections to Console that wait for the next request.
//!
//! pingora's own pool has a task watch each of them, which is made and ended again with each request. Here nothing runs for a
//! connection that waits: it is examined when it is taken, and once a second in between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use pingora::protocols::Stream;
use tokio::time::{Instant, sleep};

/// How often connections are closed that have waited for too long, or that Console has closed.
const SWEEP: Duration = Duration::from_secs(1);

/// The connections that wait, by server.
pub(super) struct Pool {
    kept: Mutex<Kept>,
    most: usize,
    /// How long a connection may wait; `None` is without end.
    patience: Option<Duration>,
    is_swept: AtomicBool,
}

#[derive(Default)]
struct Kept {
    /// The one that was used last is at the end.
    by_server: BTreeMap<u64, VecDeque<Idle>>,
    count: usize,
}

struct Idle {
    stream: Stream,
    since: Instant,
}

impl Pool {
    /// At most `most` connections are kept.
    pub(super) fn new(most: usize, patience: Option<Duration>) -> Arc<Pool> {
        let (kept, is_swept) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Pool { kept, most, patience, is_swept })
    }

    /// The connection to a server that was used last, if it can be used again.
    pub(super) fn take(&self, server: u64) -> Option<Stream> {
        loop {
            let idle = self.pop(server)?;
            if self.may_be_used(&idle) {
                return Some(idle.stream);
            }
        }
    }

    fn pop(&self, server: u64) -> Option<Idle> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = kept.by_server.get_mut(&server)?.pop_back()?;
        kept.count -= 1;
        Some(idle)
    }

    /// Keeps a connection at the boundary between two requests. If there are too many, the one that was used least recently
    /// is closed.
    pub(super) fn put(self: &Arc<Pool>, server: u64, stream: Stream) {
        let since = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_server.entry(server).or_default().push_back(Idle { stream, since });
        kept.count += 1;
        let closed = if kept.count > self.most { kept.remove_oldest() } else { None };
        drop(kept);
        drop(closed);
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn may_be_used(&self, idle: &Idle) -> bool {
        self.patience.is_none_or(|patience| idle.since.elapsed() < patience) && is_silent(&idle.stream)
    }

    fn sweep(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_server.retain(|_, waiting| {
            waiting.retain(|idle| self.may_be_used(idle));
            !waiting.is_empty()
        });
        kept.count = kept.by_server.values().map(VecDeque::len).sum();
    }
}

impl Kept {
    fn remove_oldest(&mut self) -> Option<Idle> {
        let of = self.by_server.values_mut().filter(|waiting| !waiting.is_empty());
        let oldest = of.min_by_key(|waiting| waiting.front().map(|idle| idle.since))?.pop_front();
        self.count -= usize::from(oldest.is_some());
        oldest
    }
}

/// Sweeps for as long as the pool is there.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.sweep();
    }
}

/// Whether nothing has come over a kept connection since its last response: no byte, and not its end.
///
/// Unsolicited bytes would be taken as the response to the next request, of another client. The socket itself is
/// asked, because what the runtime knows of it may be a little old: it is registered with the thread that opened it.
fn is_silent(stream: &Stream) -> bool {
    let looked = recv(stream.id(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    looked == Err(Errno::EAGAIN)
}

#[cfg(test)]
mod tests {
    use pingora::protocols::l4::stream::Stream as Socket;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection, and the server's end of it.
    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Box::new(Socket::from(ours.unwrap())), accepted.unwrap().0)
    }

    fn count(pool: &Pool) -> usize {
        pool.kept.lock().unwrap().count
    }

    #[tokio::test]
    async fn the_one_used_last_is_taken_first_and_only_for_its_server() {
        let pool = Pool::new(8, None);
        let ((first, _a), (second, _b)) = (connection().await, connection().await);
        let (first_id, second_id) = (first.id(), second.id());
        pool.put(1, first);
        pool.put(1, second);
        assert!(pool.take(2).is_none());
        assert_eq!(pool.take(1).map(|stream| stream.id()), Some(second_id));
        assert_eq!(pool.take(1).map(|stream| stream.id()), Some(first_id));
        assert!(pool.take(1).is_none());
    }

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let pool = Pool::new(2, None);
        let mut servers = Vec::new();
        let mut ids = Vec::new();
        for server in [1, 2, 1] {
            let (ours, theirs) = connection().await;
            ids.push(ours.id());
            pool.put(server, ours);
            servers.push(theirs);
        }
        assert_eq!(count(&pool), 2);
        assert_eq!(pool.take(1).map(|stream| stream.id()), Some(ids[2]));
        assert!(pool.take(1).is_none(), "the first one was the oldest");
        assert_eq!(pool.take(2).map(|stream| stream.id()), Some(ids[1]));
    }

    #[tokio::test]
    async fn one_that_has_spoken_or_ended_is_not_used() {
        let pool = Pool::new(8, None);
        let ((speaks, mut talker), (ends, closed)) = (connection().await, connection().await);
        talker.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        drop(closed);
        // Both have arrived once they can be read.
        let mut byte = [0];
        for stream in [&speaks, &ends] {
            while recv(stream.id(), &mut byte, MsgFlags::MSG_PEEK) == Err(Errno::EAGAIN) {
                tokio::task::yield_now().await;
            }
        }
        pool.put(1, speaks);
        pool.put(1, ends);
        assert!(pool.take(1).is_none());
        assert_eq!(count(&pool), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_waited_for_too_long_is_closed_by_the_sweep() {
        let pool = Pool::new(8, Some(Duration::from_secs(5)));
        let (ours, _theirs) = connection().await;
        pool.put(1, ours);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(count(&pool), 1);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(count(&pool), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_console_closes_is_closed_by_the_sweep() {
        let pool = Pool::new(8, None);
        let (ours, theirs) = connection().await;
        pool.put(1, ours);
        drop(theirs);
        while count(&pool) > 0 {
            sleep(SWEEP).await;
        }
    }
}
