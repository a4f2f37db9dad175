//! Migrating beside people who work: nobody waits for long behind a migration that waits, and the work itself has no limit.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use store::StoreError;
use store::schema::migrations::progress::Progress;
use store::schema::migrations::{MigrationTerms, Order, Seed};

use crate::database::{Database, Raw, options};

const PATIENCE: Duration = Duration::from_secs(60);

fn seeded(terms: MigrationTerms) -> Order {
    Order { terms, seed: Some(Seed::RbacV2) }
}

/// Console's own database, in use: its tables are there and an admin is in them.
async fn in_use() -> Database {
    let database = Database::empty_postgres().await;
    database
        .execute(
            "CREATE TABLE admins (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, disabled_at_utc TIMESTAMPTZ);
             INSERT INTO admins VALUES ('anna', 'anna@example.org', NULL)",
        )
        .await;
    database
}

/// A transaction of Console's that has written and is not over.
async fn busy(database: &Database) -> (sqlx::Transaction<'static, sqlx::Postgres>, i32) {
    let Raw::Postgres(pool) = &database.raw else { panic!("not Postgres") };
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("UPDATE admins SET email = 'anna@example.com'").execute(&mut *transaction).await.unwrap();
    let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *transaction).await.unwrap();
    (transaction, pid)
}

/// Who was waited for, by the tries.
fn holders(steps: &Mutex<Vec<Progress>>) -> Vec<(u32, Vec<i32>)> {
    let steps = steps.lock().unwrap();
    let waits = steps.iter().filter_map(|progress| match progress {
        Progress::Waiting { tries, holders, .. } => {
            Some((*tries, holders.iter().map(|holder| holder.pid).collect()))
        }
        _ => None,
    });
    waits.collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A long transaction is in the migration's way. Those who only read and write get through meanwhile, the operator is
/// shown whose transaction it is, and when it is over the migration is applied.
#[tokio::test]
async fn nobody_waits_long_behind_a_migration_that_waits_on_postgres() {
    let database = in_use().await;
    let (transaction, pid) = busy(&database).await;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (store, hears) = (database.store.clone(), steps.clone());
    let migration = tokio::spawn(async move {
        let watcher = |progress| hears.lock().unwrap().push(progress);
        store.migrate_watched(seeded(MigrationTerms::default()), &watcher).await
    });
    until("the migration waits", async || !holders(&steps).is_empty()).await;
    assert!(holders(&steps).iter().all(|(_, pids)| *pids == [pid]), "{:?}", holders(&steps));

    // While it goes on waiting: each writer gets through, behind one try at most.
    let others = Database::open(&database.url).await;
    let mut longest = Duration::ZERO;
    for number in 0..20 {
        let began = Instant::now();
        others.execute(&format!("INSERT INTO admins VALUES ('{number}', '{number}@example.org')")).await;
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert!(!migration.is_finished());

    transaction.commit().await.unwrap();
    let report = migration.await.unwrap().unwrap();
    assert!(report.triggers.contains(&"console_gate_on_update on public.admins".to_owned()), "{report:?}");
    assert!(steps.lock().unwrap().iter().any(|progress| matches!(progress, Progress::Applied(..))));
}

/// The holder of a lock that never ends is named, and nothing of the migration stays.
#[tokio::test]
async fn a_migration_that_never_gets_its_lock_says_who_holds_it_on_postgres() {
    let database = in_use().await;
    let (_transaction, pid) = busy(&database).await;
    let terms = MigrationTerms { patience: Duration::from_millis(1_500), ..MigrationTerms::default() };
    let error = database.store.migrate_watched(seeded(terms), &|_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy(_)), "{error:?}");
    let message = error.to_string();
    for words in [&format!("process {pid} (postgres"), "idle in transaction", "Nothing of it was applied"] {
        assert!(message.contains(words), "no `{words}` in {message}");
    }
    assert!(!message.contains("UPDATE"), "a statement may hold a secret: {message}");
}

/// Each statement of a gate has a limit; an index of a large table takes longer.
#[tokio::test]
async fn a_long_migration_is_not_cut_short_on_postgres() {
    let database = Database::empty_postgres().await;
    // Every index that is made takes longer than all statements of a gate together may.
    database
        .execute(
            "CREATE FUNCTION takes_long() RETURNS event_trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF current_setting('gate.slept', true) IS DISTINCT FROM 'yes' THEN
                        PERFORM pg_sleep(1.5); PERFORM set_config('gate.slept', 'yes', false);
                    END IF; END $$;
             CREATE EVENT TRIGGER takes_long ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
                 EXECUTE FUNCTION takes_long()",
        )
        .await;
    let hasty = store::open(&options(&database.url, Duration::from_millis(200))).await.unwrap();
    let began = Instant::now();
    let report = hasty.migrate_seeded().await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(1) && !report.applied.is_empty());
}
