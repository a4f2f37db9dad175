//! A database that is unavailable, hangs, or is none: an error in time and no panic, and operations succeed when it is
//! back.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use policy::identity::Subject;
use policy::ids::AdminId;
use store::{DatabaseUrl, SharedStore, StoreError, StoreOptions};

use crate::again;
use crate::audit::entry;
use crate::database::{noon, options};
use crate::postgres::{Postgres, unprivileged_user};

/// The limit on any one operation, in these tests.
const LIMIT: Duration = Duration::from_millis(500);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(10);

fn anna() -> Subject {
    Subject::Admin { id: AdminId::new("anna"), session: None }
}

async fn open(url: &str) -> SharedStore {
    store::open(&options(url, LIMIT)).await.expect("Postgres is not connected to before it is needed")
}

/// Every operation of a store on which a request waits, and what each said.
async fn ask(store: &SharedStore) -> Vec<(&'static str, Result<(), StoreError>)> {
    vec![
        ("control", store.control().await.map(drop)),
        ("access", store.access(&anna(), noon()).await.map(drop)),
        ("append", store.append(&[entry(1)]).await),
        ("catalog", store.catalog().await.map(drop)),
        ("pending_migrations", store.pending_migrations().await.map(drop)),
    ]
}

fn assert_away(outcomes: Vec<(&'static str, Result<(), StoreError>)>) {
    for (operation, outcome) in outcomes {
        let is_away = matches!(outcome, Err(StoreError::Unavailable(_) | StoreError::Timeout(_)));
        assert!(is_away, "{operation}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_postgres_that_nobody_serves_is_unavailable_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let urls = [
        format!("postgres://gate@localhost/gate?host={}", folder.path().display()),
        format!("postgres://gate:secret@{closed}/gate"),
        "postgres://gate:secret@no-such-host.invalid/gate".to_owned(),
    ];
    for url in urls {
        let store = open(&url).await;
        let started = Instant::now();
        assert_away(ask(&store).await);
        assert!(started.elapsed() < LIMIT * 5 + SLACK, "{url}: {:?}", started.elapsed());
    }
}

/// It takes the connection and never says a word.
#[tokio::test]
async fn a_postgres_that_hangs_is_unavailable_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silence = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = listener.accept().await {
            connections.push(connection);
        }
    });
    let store = open(&format!("postgres://gate:secret@{address}/gate")).await;
    let started = Instant::now();
    assert_away(ask(&store).await);
    assert!(started.elapsed() < LIMIT * 5 + SLACK, "{:?}", started.elapsed());
    silence.abort();
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lock_is_given_up_in_time_on_postgres() {
    let database = crate::database::Database::postgres().await;
    let store = open(&database.url).await;
    store.control().await.unwrap();
    let crate::database::Raw::Postgres(pool) = &database.raw else { panic!("not Postgres") };
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE gate_audit_events IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();

    let outcome = store.append(&[entry(1)]).await;
    assert!(matches!(outcome, Err(StoreError::Timeout(LIMIT))), "{outcome:?}");

    holder.rollback().await.unwrap();
    assert_recovers(&store).await;
}

#[tokio::test]
async fn a_file_that_another_process_writes_to_is_waited_for_in_time_on_sqlite() {
    let database = crate::database::Database::sqlite().await;
    let store = open(&database.url).await;
    let crate::database::Raw::Sqlite(pool) = &database.raw else { panic!("not SQLite") };
    let mut holder = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("UPDATE gate_epoch SET epoch = epoch + 1").execute(&mut *holder).await.unwrap();

    let outcome = store.append(&[entry(1)]).await;
    assert!(matches!(outcome, Err(StoreError::Timeout(_) | StoreError::Unavailable(_))), "{outcome:?}");
    store.control().await.expect("readers do not wait for writers");

    holder.rollback().await.unwrap();
    assert_recovers(&store).await;
}

/// Polls until every operation succeeds again.
async fn assert_recovers(store: &SharedStore) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut number = 100;
    loop {
        number += 1;
        let outcomes = [
            store.control().await.map(drop),
            store.access(&anna(), noon()).await.map(drop),
            store.append(&[entry(number)]).await,
        ];
        if outcomes.iter().all(Result::is_ok) {
            return;
        }
        assert!(Instant::now() < deadline, "{outcomes:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A server of its own, because it is killed: first as by a crash, then again while it is away.
#[tokio::test]
async fn a_postgres_that_dies_is_an_error_and_its_return_heals_the_same_pool() {
    let server = Postgres::start();
    let store = open(&server.database()).await;
    migrate_patiently(&store).await;
    // More than one connection, so that more than one is stale afterwards.
    let anna = anna();
    let (first, second) = tokio::join!(store.access(&anna, noon()), store.control());
    first.unwrap();
    second.unwrap();
    store.append(&[entry(50)]).await.unwrap();

    for round in 0..2 {
        server.stop();
        let started = Instant::now();
        assert_away(ask(&store).await);
        assert!(started.elapsed() < LIMIT * 5 + SLACK, "round {round}: {:?}", started.elapsed());
        server.restart();
        assert_recovers(&store).await;
    }
    let kept = store.by_request("request 50").await.unwrap();
    assert_eq!(kept.len(), 1, "what was durable before the crash is there after it");
}

/// The migration itself is not bound by the limit, only its look at what is pending.
async fn migrate_patiently(store: &SharedStore) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.migrate_seeded().await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

#[tokio::test]
async fn what_is_no_sqlite_database_is_refused_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are notes, and a database is something else altogether\n".repeat(100))
        .unwrap();
    let missing = folder.path().join("no-such-folder/gate.sqlite");
    let table = [("a text", text.clone()), ("a folder", folder.path().to_owned()), ("in no folder", missing)];
    for (case, path) in table {
        let opened = store::open(&options(&format!("sqlite:{}", path.display()), LIMIT)).await;
        let Err(error) = opened else { panic!("{case} was opened") };
        let message = error.to_string();
        assert!(
            message.contains(&path.display().to_string()),
            "{case}: the message does not name the file: {message}"
        );
    }
    assert!(std::fs::read_to_string(text).unwrap().starts_with("these are notes"), "it was written to");
}

/// The file is there and whole, and may only be read: said at the latest when something is to be written. As `nobody`, for
/// root may write to every file.
#[tokio::test]
async fn a_sqlite_file_that_may_only_be_read_takes_no_audit_row() {
    if let Some(nobody) = unprivileged_user() {
        return again::as_user("unavailable::a_sqlite_file_that_may_only_be_read_takes_no_audit_row", nobody);
    }
    let database = crate::database::Database::sqlite().await;
    let path = database.url.trim_start_matches("sqlite:").to_owned();
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    assert!(std::fs::OpenOptions::new().append(true).open(&path).is_err(), "the file may be written to");
    let outcome = match store::open(&options(&database.url, LIMIT)).await {
        Ok(store) => store.append(&[entry(1)]).await,
        Err(error) => Err(error),
    };
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("readonly") || message.contains("cannot be opened"), "{message}");
}

/// SQLite rolls a transaction back by itself when its disk is full, as a trigger makes it do here. A connection on which
/// that happened, and then another failure, must not go on to take rows that it never commits.
#[tokio::test]
async fn what_a_sqlite_file_takes_after_it_was_full_is_there_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sqlite");
    let options = StoreOptions {
        url: DatabaseUrl::Sqlite(path),
        max_connections: 1,
        timeout: Duration::from_secs(5),
        console: store::console::Relations::default(),
    };
    let store = store::open(&options).await.unwrap();
    store.migrate_seeded().await.unwrap();
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON gate_audit_events
                   BEGIN SELECT CASE NEW.request_id WHEN 'request 1' THEN RAISE(ROLLBACK, 'full')
                                                    WHEN 'request 2' THEN RAISE(ABORT, 'no') END; END";
    sqlx::raw_sql(trigger).execute(store.sqlite().unwrap()).await.unwrap();
    for number in [1, 2] {
        store.append_missing(&[entry(number)]).await.unwrap_err();
    }
    store.append_missing(&[entry(3)]).await.unwrap();
    let other = store::open(&options).await.unwrap();
    let rows = other.recent(10).await.unwrap();
    assert_eq!(rows.iter().filter_map(|row| row.request_id.as_deref()).collect::<Vec<_>>(), ["request 3"]);
}
