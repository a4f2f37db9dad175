//! A change that was committed before a request is honoured by that request, through every gate.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use policy::ids::AdminId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::support::tier::in_tier;
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
    let rounds: usize = std::env::var("GATE_ROUNDS")
        .map_or_else(|_| in_tier(1_000, 5_000), |text| text.parse().expect("GATE_ROUNDS is a number"));
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

/// The triggers of SQLite that are dropped, each with a write that only this one would have announced and that ends what
/// `ann` may do, and with how that is undone.
const SILENCED: [(&str, &str, &str); 9] = [
    (
        "gate_epoch_rbac_user_groups_delete",
        "DELETE FROM rbac_user_groups WHERE user_id = 'ann'",
        "INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('ann', 'nights')",
    ),
    (
        "gate_epoch_rbac_user_groups_update",
        "UPDATE rbac_user_groups SET user_id = 'ned' WHERE user_id = 'ann'",
        "UPDATE rbac_user_groups SET user_id = 'ann' WHERE user_id = 'ned'",
    ),
    (
        "gate_epoch_rbac_group_roles_delete",
        "DELETE FROM rbac_group_roles WHERE group_id = 'nights'",
        "INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('nights', 'night')",
    ),
    (
        "gate_epoch_rbac_group_roles_update",
        "UPDATE rbac_group_roles SET role_id = 'day' WHERE group_id = 'nights'",
        "UPDATE rbac_group_roles SET role_id = 'night' WHERE group_id = 'nights'",
    ),
    (
        "gate_epoch_rbac_role_inheritance_delete",
        "DELETE FROM rbac_role_inheritance WHERE child_role_id = 'night'",
        "INSERT INTO rbac_role_inheritance SELECT 'night', id FROM rbac_roles WHERE name = 'console-user'",
    ),
    (
        "gate_epoch_rbac_role_inheritance_update",
        "UPDATE rbac_role_inheritance SET parent_role_id = 'day' WHERE child_role_id = 'night'",
        "UPDATE rbac_role_inheritance SET parent_role_id = (SELECT id FROM rbac_roles WHERE name = 'console-user')
          WHERE child_role_id = 'night'",
    ),
    (
        "gate_epoch_rbac_roles_update",
        "UPDATE rbac_roles SET name = 'console-nobody' WHERE name = 'console-user'",
        "UPDATE rbac_roles SET name = 'console-user' WHERE name = 'console-nobody'",
    ),
    (
        "gate_epoch_gate_blocked_admins_insert",
        "INSERT INTO gate_blocked_admins (admin_id, blocked_by, blocked_at_utc) VALUES ('ann', 'tests', '2026-01-01')",
        "DELETE FROM gate_blocked_admins",
    ),
    (
        "gate_epoch_gate_blocked_admins_update",
        "UPDATE gate_blocked_admins SET admin_id = 'ann'",
        "UPDATE gate_blocked_admins SET admin_id = 'ned'",
    ),
];

/// A trigger that is dropped while a gate answers: the write that it would have announced is honoured by the next request
/// all the same, and nobody else is disturbed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_trigger_lets_no_stale_answer_through_on_sqlite() {
    let world = Arc::new(World::new(Database::Sqlite).await);
    let folder = tempfile::Builder::new().prefix("gate-stand-in-").tempdir_in("/tmp").expect("a folder");
    let stand_in = folder.path().join("upstream.sock");
    serve_ok(&stand_in);
    let mapping = "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
                   \"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
                   \"GET /y\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n";
    let gate = world.gate(&Setup { upstream: Some(stand_in), mapping: Some(mapping), ..Setup::V2 }).await;
    world.admin("ann", &[], &[]).await;
    world.admin_holding("bob", &["console-audit-user"]).await;
    world
        .execute(
            "INSERT INTO rbac_roles (id, name) VALUES ('night', 'night'), ('day', 'day');
             INSERT INTO rbac_groups (id, name) VALUES ('nights', 'nights');
             INSERT INTO rbac_role_inheritance SELECT 'night', id FROM rbac_roles WHERE name = 'console-user';
             INSERT INTO rbac_group_roles VALUES ('nights', 'night');
             INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('ann', 'nights')",
        )
        .await;

    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = {
        let (is_over, mut client) = (is_over.clone(), gate.client());
        let ask = Ask::get("/y").cookie(&world.cookie("bob"));
        tokio::spawn(async move {
            let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
            while !is_over.load(Ordering::Relaxed) {
                *statuses.entry(client.send(&ask).await.status).or_default() += 1;
            }
            statuses
        })
    };
    let ask = Ask::get("/x").cookie(&world.cookie("ann"));
    let mut client = gate.client();
    let mut stale = Vec::new();
    for (trigger, harm, undo) in SILENCED {
        if trigger.ends_with("blocked_admins_update") {
            world
                .execute(
                    "INSERT INTO gate_blocked_admins (admin_id, blocked_by, blocked_at_utc)
                     VALUES ('ned', 'tests', '2026-01-01')",
                )
                .await;
        }
        for _ in 0..2 {
            assert_eq!(client.send(&ask).await.status, 200, "before {trigger}");
        }
        assert_eq!(gate.metric("gate_console_untriggered").await, Some(0.0), "before {trigger}");
        let epoch = world.store.control().await.expect("the control row").epoch;
        world.execute(&format!("DROP TRIGGER {trigger}")).await;
        world.execute(harm).await;
        assert_eq!(world.store.control().await.expect("the control row").epoch, epoch, "{harm} is announced");
        if client.send(&ask).await.status == 200 {
            stale.push(trigger);
        }
        assert_eq!(gate.metric("gate_console_untriggered").await, Some(1.0), "after {trigger}");
        world.execute(undo).await;
        assert_eq!(client.send(&ask).await.status, 200, "after {undo}");
        let report = world.store.migrate().await.expect("a migration");
        assert_eq!(report.triggers.first().map(String::as_str), Some(trigger));
    }
    assert_eq!(stale, [""; 0], "answered from the cache after their trigger was dropped");
    is_over.store(true, Ordering::Relaxed);
    let statuses = load.await.expect("the load");
    assert!(statuses.keys().eq(&[200]) && statuses[&200] > 100, "{statuses:?}");
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
