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

on_both!(a_pool_that_is_taken_keeps_neither_waiting);
