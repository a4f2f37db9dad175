//! A gate on a schema that is not its own release's.

use std::time::Duration;

use crate::support::{Database, Setup, World};

const FUTURE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    SELECT 9000, 'from the future', success, checksum, 1 FROM _sqlx_migrations WHERE version = 400";

fn named(description: &str) -> String {
    format!("UPDATE _sqlx_migrations SET description = '{description}' WHERE version = 9000")
}

/// The last migration of this release.
fn newest() -> u32 {
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).expect("migrations");
    let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.get(..4)?.parse().ok()).max().expect("a number")
}

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

    // One that says whom it serves, and this release is not among them.
    let newest = newest();
    world.execute(&named(&format!("from the future serves {:04}", newest + 1))).await;
    let (code, written) = gate.complaint(&["serve"]);
    assert!(code == 2 && written.contains(&format!("for releases that know {:04}", newest + 1)), "{written}");
    // This release is, so it serves, and says so; unless the settings forbid it.
    world.execute(&named(&format!("from the future serves {newest:04}"))).await;
    let mut compatible = world.gate(&Setup::V2).await;
    let log = compatible.log();
    assert!(
        log.contains("which may serve on it") && log.contains("9000 from the future (applied 20"),
        "{log}"
    );
    compatible.signal("TERM");
    assert!(compatible.ends(Duration::from_secs(30)).await, "{}", compatible.log());
    let settings = compatible.folder().join("gate.toml");
    let text = std::fs::read_to_string(&settings).expect("settings");
    std::fs::write(&settings, text.replace("[database]\n", "[database]\nnewer_schema = \"refuse\"\n"))
        .expect("settings");
    let (code, written) = compatible.complaint(&["serve"]);
    assert!(code == 2 && written.contains("9000 from the future"), "{written}");
    world.execute(&named("from the future")).await;

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
