//! An audit log that has grown long.

use std::time::Instant;

use ledger::chain::Chain;
use ledger::keys::KeyRing;
use ledger::{AuditEvent, Draft, Entry};

use crate::figures::size;
use crate::scene::{people, setup};
use crate::support::console::AUDIT_KEYS;
use crate::support::recorder::Recorder;
use crate::support::{Database, World};

/// Rows that are appended together.
const PART: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_audit_log_is_verified_in_time_on_sqlite() {
    is_verified_in_time(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_audit_log_is_verified_in_time_on_postgres() {
    is_verified_in_time(Database::Postgres).await;
}

async fn is_verified_in_time(database: Database) {
    let rows = size(10_000, 1_000_000);
    let world = World::new(database).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(&upstream.socket())).await;
    let mut chain = Chain::new("long", KeyRing::parse(AUDIT_KEYS).expect("the keys of the tests"));
    for _ in 0..rows / PART {
        let part: Vec<Entry> = (0..PART)
            .map(|number| {
                let event =
                    AuditEvent::TokenRevoked { name: format!("token {number}"), by: "somebody".into() };
                Draft::from(event.into_record(chrono::Utc::now())).seal(&mut chain)
            })
            .collect();
        world.store.append(&part).await.expect("rows");
    }
    let began = Instant::now();
    let (code, report) = gate.attempt(&["audit", "verify"]);
    let took = began.elapsed();
    assert_eq!(code, 0, "{report}");
    println!(
        "fault: {rows} audit rows on {database:?} verified in {took:.2?}, {:.0} a second",
        rows as f64 / took.as_secs_f64()
    );
    assert!(took.as_secs() < 60, "{took:?}");
}
