//! A change that was committed before a request is honoured by that request, through every gate.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use policy::ids::AdminId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::support::{Ask, Client, Database, Gate, Setup, World};

/// Admins whose access changes at the same time, each with connections of its own to both gates.
const WORKERS: usize = 16;

/// Two gates on one Postgres. Each round: a grant is committed, then a request must pass; the grant is revoked, then
/// a request through the other gate or the same one must be 403. Those who passed before are in both gates' caches, and
/// the other workers move the epoch all the while.
///
/// `GATE_ROUNDS` sets the number of rounds; the product's promise is for 100,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stale_allow_in_interleaved_revokes() {
    let rounds: usize =
        std::env::var("GATE_ROUNDS").map_or(5_000, |text| text.parse().expect("GATE_ROUNDS is a number"));
    let world = Arc::new(World::new(Database::Postgres).await);
    let folder = tempfile::Builder::new().prefix("gate-stand-in-").tempdir_in("/tmp").expect("a folder");
    let stand_in = folder.path().join("upstream.sock");
    serve_ok(&stand_in);
    let setup = Setup { upstream: Some(stand_in), ..Setup::V2 };
    let gates = [world.gate(&setup).await, world.gate(&setup).await];
    world.store.add_group("readers", &["console-audit-user"]).await.expect("a group");

    let started = Instant::now();
    let left = Arc::new(AtomicUsize::new(rounds));
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let id = format!("admin-{number}");
        world.admin(&id, &[], &[]).await;
        let worker = Worker {
            ask: Ask::get("/console/audit").cookie(&world.cookie(&id)),
            admin: AdminId::new(id),
            clients: gates.each_ref().map(Gate::client),
            world: world.clone(),
        };
        workers.spawn(worker.run(left.clone()));
    }
    let mut tally = Tally::default();
    while let Some(one) = workers.join_next().await {
        tally.add(&one.expect("a worker does not panic"));
    }
    println!("{rounds} rounds in {:?}: {tally:?}", started.elapsed());
    assert_eq!(tally, Tally { rounds, slowest: tally.slowest, ..Tally::default() });
    assert_eq!(world.denials().await, rounds, "one audit row a denial");
}

/// What the rounds showed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    rounds: usize,
    /// Requests that passed after their revoke was committed.
    stale_allows: usize,
    /// Requests that were denied after their grant was committed.
    stale_denials: usize,
    /// Neither 200 nor 403, by status.
    others: BTreeMap<u16, usize>,
    /// The longest that a request took: only for the reader.
    slowest: Duration,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.rounds += other.rounds;
        self.stale_allows += other.stale_allows;
        self.stale_denials += other.stale_denials;
        self.slowest = self.slowest.max(other.slowest);
        for (status, times) in &other.others {
            *self.others.entry(*status).or_default() += times;
        }
    }
}

/// One admin, and a kept connection to each gate.
struct Worker {
    ask: Ask,
    admin: AdminId,
    clients: [Client; 2],
    world: Arc<World>,
}

impl Worker {
    async fn run(mut self, left: Arc<AtomicUsize>) -> Tally {
        let world = self.world.clone();
        let store = &world.store;
        let mut tally = Tally::default();
        let take_one = |left: usize| left.checked_sub(1);
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
            // Over four rounds: the same gate twice, and each other gate after the one.
            let (granted_through, revoked_through) = (tally.rounds % 2, tally.rounds / 2 % 2);
            store.join_group(&self.admin, "readers", "tests").await.expect("a grant is committed");
            match self.status_through(granted_through, &mut tally).await {
                200 => {}
                403 => tally.stale_denials += 1,
                other => *tally.others.entry(other).or_default() += 1,
            }
            store.leave_group(&self.admin, "readers").await.expect("a revoke is committed");
            match self.status_through(revoked_through, &mut tally).await {
                403 => {}
                200 => tally.stale_allows += 1,
                other => *tally.others.entry(other).or_default() += 1,
            }
            tally.rounds += 1;
        }
        tally
    }

    async fn status_through(&mut self, gate: usize, tally: &mut Tally) -> u16 {
        let started = Instant::now();
        let answer = self.clients[gate].send(&self.ask).await;
        tally.slowest = tally.slowest.max(started.elapsed());
        answer.status
    }
}

/// A stand-in for Console that answers 200 to everything: the rounds are about the gates.
pub fn serve_ok(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_ok(stream));
        }
    });
}

/// Requests without a body, one after the other.
async fn answer_ok(mut stream: UnixStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while stream.read_buf(&mut head).await? > 0 {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").await?;
        }
    }
    Ok(())
}
