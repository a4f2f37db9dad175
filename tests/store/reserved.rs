//! Connections of their own for what every request waits for: the control row, and the rows of the audit.

use std::time::Duration;

use crate::audit::entry;
use crate::database::{Database, Raw};

const SOON: Duration = Duration::from_secs(10);

/// All connections that statements share are taken, as by a flood of something; the stores' own limit is far longer.
async fn a_pool_that_is_taken_keeps_neither_waiting(database: &Database) {
    macro_rules! take_all {
        ($pool:expr) => {{
            let mut taken = Vec::new();
            for _ in 0..$pool.options().get_max_connections() {
                taken.push($pool.acquire().await.unwrap());
            }
            let both = async {
                database.store.control().await.unwrap();
                database.store.append(&[entry(1)]).await.unwrap();
                database.store.append_missing(&[entry(1), entry(2)]).await.unwrap();
            };
            tokio::time::timeout(SOON, both).await.expect("neither waits for the others");
        }};
    }
    match &database.raw {
        Raw::Sqlite(pool) => take_all!(pool),
        Raw::Postgres(pool) => take_all!(pool),
    }
    assert_eq!(database.store.recent(10).await.unwrap().len(), 2);
}

/// Neither opens a second connection, nor gives the first one back, where a pool would ping it.
async fn both_keep_their_connection(database: &Database) {
    for number in 1..10 {
        database.store.control().await.unwrap();
        database.store.append(&[entry(number)]).await.unwrap();
    }
    for pool in database.store.pools().iter().filter(|pool| ["control", "audit"].contains(&pool.name)) {
        assert_eq!((pool.used, pool.idle), (1, 0), "{}", pool.name);
    }
}

/// The proxy and the admin address each have a runtime. What they keep must leave room for what polls a SQLite file.
async fn what_two_runtimes_keep_leaves_room(database: &Database) {
    let mut others = Vec::new();
    for _ in 0..2 {
        let store = database.store.clone();
        let other = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(store.control()).unwrap();
            // Kept alive, as its connection is.
            runtime
        });
        others.push(other.await.unwrap());
    }
    let polled = async { database.store.feed().await.unwrap().control(None).await.unwrap() };
    tokio::time::timeout(SOON, polled).await.expect("there is a connection for it");
    for other in others {
        other.shutdown_background();
    }
}

on_both!(
    a_pool_that_is_taken_keeps_neither_waiting,
    both_keep_their_connection,
    what_two_runtimes_keep_leaves_room,
);
