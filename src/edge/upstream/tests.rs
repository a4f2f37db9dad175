use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::upstreams::peer::Peer as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::settings::Millis;

const LIMIT: Duration = Duration::from_secs(20);

/// What the name resolves to now; `None`: it does not.
#[derive(Default)]
struct Names(Mutex<Option<Vec<SocketAddr>>>);

impl Names {
    fn say(&self, addresses: Option<&[SocketAddr]>) {
        *self.0.lock().unwrap() = addresses.map(<[SocketAddr]>::to_vec);
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(name, "console.test:80");
        self.0.lock().unwrap().clone().ok_or_else(|| io::Error::other("no such name"))
    }
}

/// A server that answers every check; it is gone with this value.
struct Answering {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Answering {
    async fn start() -> Answering {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        Answering { address, task }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings(server: &str) -> Upstream {
    Upstream {
        servers: vec![Address::parse(server).unwrap()],
        health_interval_ms: Millis(20),
        resolve_interval_ms: Millis(20),
        ..Upstream::default()
    }
}

async fn start(settings: &Upstream, resolver: SharedResolver) -> Arc<Upstreams> {
    let upstreams = Arc::new(Upstreams::new(settings, &[], resolver).unwrap());
    upstreams.start().await;
    upstreams
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + LIMIT;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "not yet: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The addresses that requests go to in one turn.
fn picked(upstreams: &Upstreams) -> Vec<SocketAddr> {
    let mut picked: Vec<SocketAddr> =
        (0..8).filter_map(|_| upstreams.pick()?.peer.address().as_inet().copied()).collect();
    picked.sort_unstable();
    picked.dedup();
    picked
}

fn sorted<const N: usize>(mut addresses: [SocketAddr; N]) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.to_vec()
}

#[tokio::test]
async fn nothing_is_up_before_it_has_answered() {
    let server = Answering::start().await;
    let upstreams =
        Upstreams::new(&settings(&server.address.to_string()), &[], Arc::new(SystemResolver)).unwrap();
    assert_eq!(upstreams.state(), UpstreamState::Down);
    let upstreams = Arc::new(upstreams);
    upstreams.start().await;
    until("it answers", || upstreams.state() == UpstreamState::Up).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_yet_is_asked_for_again() {
    let (server, names) = (Answering::start().await, Arc::new(Names::default()));
    let upstreams = start(&settings("console.test:80"), names.clone()).await;
    assert_eq!((upstreams.state(), upstreams.pick().is_none()), (UpstreamState::Unresolved, true));
    names.say(Some(&[]));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(upstreams.state(), UpstreamState::Unresolved);
    names.say(Some(&[server.address]));
    until("it is up", || upstreams.state() == UpstreamState::Up).await;
}

#[tokio::test]
async fn every_address_of_a_name_is_used_and_each_has_its_own_health() {
    let names = Arc::new(Names::default());
    let (first, second) = (Answering::start().await, Answering::start().await);
    let both = [first.address, second.address];
    names.say(Some(&both));
    let upstreams = start(&settings("console.test:80"), names.clone()).await;
    until("both are used", || picked(&upstreams) == sorted(both)).await;
    drop(first);
    until("the dead one is left out", || picked(&upstreams) == [second.address]).await;
    until("the other one is up", || upstreams.state() == UpstreamState::Up).await;
    assert!(!upstreams.may_try_another(2), "there is no third");
}

#[tokio::test]
async fn a_name_that_moves_is_followed_and_one_that_is_lost_is_kept() {
    let names = Arc::new(Names::default());
    let (first, second) = (Answering::start().await, Answering::start().await);
    names.say(Some(&[first.address]));
    let upstreams = start(&settings("console.test:80"), names.clone()).await;
    until("the first is up", || upstreams.state() == UpstreamState::Up).await;
    names.say(Some(&[second.address]));
    until("the second alone is used", || picked(&upstreams) == [second.address]).await;
    until("it is up", || upstreams.state() == UpstreamState::Up).await;
    for lost in [None, Some(&[][..])] {
        names.say(lost);
        sleep(Duration::from_millis(100)).await;
        assert_eq!((picked(&upstreams), upstreams.state()), (vec![second.address], UpstreamState::Up));
    }
}

/// However long the next regular question is away.
#[tokio::test]
async fn a_connection_that_fails_has_the_name_resolved_at_once() {
    let names = Arc::new(Names::default());
    let (first, second) = (Answering::start().await, Answering::start().await);
    names.say(Some(&[first.address]));
    let slow = Upstream {
        health_interval_ms: Millis(3_600_000),
        resolve_interval_ms: Millis(3_600_000),
        ..settings("console.test:80")
    };
    let upstreams = start(&slow, names.clone()).await;
    until("the first is up", || upstreams.state() == UpstreamState::Up).await;
    let picked_first = upstreams.pick().unwrap();
    names.say(Some(&[second.address]));
    drop(first);
    upstreams.suspect(&picked_first);
    until("the second is used", || picked(&upstreams) == [second.address]).await;
    until("the second is up", || upstreams.state() == UpstreamState::Up).await;
}

/// The machine's own resolver: `localhost` is ::1 and 127.0.0.1 as a rule, and only one of them listens.
#[tokio::test]
async fn localhost_works_by_whichever_address_listens() {
    let server = Answering::start().await;
    let upstreams =
        start(&settings(&format!("localhost:{}", server.address.port())), Arc::new(SystemResolver)).await;
    until("it is up", || upstreams.state() == UpstreamState::Up).await;
    assert_eq!(picked(&upstreams), [server.address]);
}
