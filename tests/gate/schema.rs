//! A gate on a schema that is not its own release's.

use std::time::Duration;

use crate::support::{Database, Setup, World};

const FUTURE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    SELECT 9000, 'from the future', success, checksum, 1 FROM _sqlx_migrations WHERE version = 200";

/// What it does not know could decide who may do what: an older gate does not start.
async fn a_gate_does_not_start_on_a_newer_schema_unless_allowed(database: Database) {
    let world = World::new(database).await;
    let mut gate = world.gate(&Setup::V2).await;
    world.execute(FUTURE).await;
    // The running gate holds the listening addresses, so that another one could not start for that reason alone.
    gate.signal("TERM");
    assert!(gate.ends(Duration::from_secs(30)).await, "{}", gate.log());
    let (code, written) = gate.complaint(&["serve"]);
    assert_eq!(code, 2, "{written}");
    for words in ["newer release", "9000 from the future", env!("CARGO_PKG_VERSION"), "newer_schema"] {
        assert!(written.contains(words), "no `{words}` in {written}");
    }
    let (code, written) = gate.complaint(&["migrate"]);
    assert!(code == 2 && written.contains("9000 from the future"), "{written}");
    // The kill-switch of a release that is being replaced still works.
    gate.run(&["flag", "rbac-v2", "off"]);

    let mut allowed = world.gate(&Setup { database: "newer_schema = \"serve\"\n", ..Setup::V2 }).await;
    assert!(allowed.log().contains("9000 from the future"), "{}", allowed.log());
    allowed.signal("TERM");
    assert!(allowed.ends(Duration::from_secs(30)).await, "{}", allowed.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_does_not_start_on_a_newer_schema_unless_allowed_on_sqlite() {
    a_gate_does_not_start_on_a_newer_schema_unless_allowed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_does_not_start_on_a_newer_schema_unless_allowed_on_postgres() {
    a_gate_does_not_start_on_a_newer_schema_unless_allowed(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_something_else_is_reported() {
    let world = World::new(Database::Postgres).await;
    let mut gate = world.gate(&Setup::V2).await;
    world.execute("DROP TABLE _sqlx_migrations").await;
    gate.signal("TERM");
    assert!(gate.ends(Duration::from_secs(30)).await, "{}", gate.log());
    let (code, written) = gate.complaint(&["serve"]);
    assert!(code == 2 && written.contains("does not have the gate's tables"), "{written}");
}
