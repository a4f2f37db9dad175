//! More decisions than a gate makes, all of them different, for some seconds.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use console_gate::journal::decision_log::DecisionLog;

use crate::alone;
use crate::scene::{Database, Requests, log, processor_time, size, store};

const RATE: usize = 50_000;
const ROWS: usize = 10_000;
/// Reported at once, a hundred times a second.
const BURST: usize = RATE / 100;

/// Reports at a steady rate from two threads, and returns how long a report took.
fn flood(log: &DecisionLog, requests: &Requests, decisions: usize) -> Duration {
    let began = Instant::now();
    let report = |thread: usize| {
        let mut took = Duration::ZERO;
        for burst in 0..decisions / 2 / BURST {
            let at = Duration::from_millis(burst as u64 * 20);
            std::thread::sleep(at.saturating_sub(began.elapsed()));
            let now = Utc::now();
            let started = Instant::now();
            for number in 0..BURST {
                // A prime to the number of rows, so that each comes round.
                log.report(&requests.one(((burst * BURST + number) * 2 + thread) * 7 % ROWS, now));
            }
            took += started.elapsed();
        }
        took
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| report(1));
        report(0) + other.join().unwrap()
    })
}

fn fifty_thousand_decisions_a_second_are_all_kept(database: Database) {
    let _alone = alone();
    let seconds = size(2, 20);
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (log, store) = runtime.block_on(async {
        let store = store(database, &folder).await;
        (log(store.clone()).await, store)
    });
    let requests = Requests::different(ROWS);
    let decisions = seconds * RATE;
    let (began, processor) = (Instant::now(), processor_time());
    let reporting = flood(&log, &requests, decisions);
    let took = began.elapsed();
    runtime.block_on(log.finish(Duration::from_secs(60)));
    let processor = processor_time() - processor;
    let all_written = began.elapsed();
    let since = Utc::now() - TimeDelta::hours(2);
    let rows = runtime.block_on(store.decisions(since)).unwrap();
    let nanoseconds = |time: Duration| time.as_nanos() / decisions as u128;
    println!(
        "evidence: {decisions} decisions of {ROWS} rows on {database:?}: {:.0} a second, {} ns a report, {} ns of \
         processor a decision in all, all written {:.2} s after the last",
        decisions as f64 / took.as_secs_f64(),
        nanoseconds(reporting),
        nanoseconds(processor),
        (all_written - took).as_secs_f64(),
    );
    assert_eq!(log.progress().lost, 0);
    assert_eq!(rows.iter().map(|row| row.count).sum::<i64>(), decisions as i64);
    assert_eq!(rows.len(), ROWS);
    assert!(rows.iter().all(|row| !row.path.is_empty()));
}

#[test]
fn fifty_thousand_decisions_a_second_are_all_kept_on_sqlite() {
    fifty_thousand_decisions_a_second_are_all_kept(Database::Sqlite);
}

#[test]
fn fifty_thousand_decisions_a_second_are_all_kept_on_postgres() {
    fifty_thousand_decisions_a_second_are_all_kept(Database::Postgres);
}
