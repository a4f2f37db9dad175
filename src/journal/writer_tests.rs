//! The writer before a store that fails as a database does: refusing, hanging, committing and not saying so.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use clock::SystemClock;
use futures::FutureExt as _;
use ledger::entry::Entry;
use ledger::event::AuditEvent;
use ledger::keys::KeyRing;
use store::StoreError;
use store::audit::ControlChain;

use super::*;

/// How the store treats one call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Takes,
    Away,
    Hangs,
    /// Commits, and the answer is lost.
    CommitsAndBreaks,
    /// Commits, and never answers.
    CommitsAndHangs,
}

#[derive(Default)]
struct Store {
    rows: Mutex<Vec<Entry>>,
    /// The moods of the next calls; then it takes everything.
    moods: Mutex<VecDeque<Mood>>,
    /// A mood that stays, over the list.
    stays: Mutex<Option<Mood>>,
    /// How often rows were sent to it.
    calls: AtomicUsize,
    /// An actor whose rows it refuses.
    refuses: Option<&'static str>,
}

impl Store {
    fn stay(&self, mood: Option<Mood>) {
        *self.stays.lock().unwrap() = mood;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn rows(&self) -> Vec<Entry> {
        self.rows.lock().unwrap().clone()
    }

    fn append_rows(&self, entries: &[Entry]) {
        self.rows.lock().unwrap().extend_from_slice(entries);
    }

    async fn take(&self, entries: &[Entry], only_missing: bool) -> Result<u64, StoreError> {
        let stays = *self.stays.lock().unwrap();
        let mood = stays.or_else(|| self.moods.lock().unwrap().pop_front()).unwrap_or(Mood::Takes);
        self.calls.fetch_add(1, Ordering::SeqCst);
        match mood {
            Mood::Away => return Err(StoreError::Unavailable("gone".into())),
            Mood::Hangs => std::future::pending().await,
            Mood::Takes | Mood::CommitsAndBreaks | Mood::CommitsAndHangs => {}
        }
        if mood == Mood::CommitsAndHangs {
            self.append_rows(entries);
            std::future::pending::<()>().await;
        }
        let mut rows = self.rows.lock().unwrap();
        let is_there = |entry: &&Entry| rows.iter().any(|row| row.record.id == entry.record.id);
        let missing: Vec<Entry> =
            entries.iter().filter(|entry| !(only_missing && is_there(entry))).cloned().collect();
        if missing.iter().any(|entry| is_there(&entry)) {
            return Err(StoreError::Conflict("an id that is there".into()));
        }
        if missing
            .iter()
            .any(|entry| entry.record.actor_id.as_deref() == self.refuses && self.refuses.is_some())
        {
            return Err(StoreError::Refused("that actor".into()));
        }
        let count = missing.len() as u64;
        rows.extend(missing);
        if mood == Mood::CommitsAndBreaks { Err(StoreError::Unavailable("reset".into())) } else { Ok(count) }
    }
}

#[async_trait]
impl AuditStore for Store {
    async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        self.take(entries, false).await.map(drop)
    }

    async fn append_missing(&self, entries: &[Entry]) -> Result<u64, StoreError> {
        self.take(entries, true).await
    }

    async fn control_chain(&self) -> Result<ControlChain, StoreError> {
        unreachable!("a writer reads nothing")
    }
}

fn record(actor: &str) -> AuditRecord {
    let event = AuditEvent::TokenRevoked { name: "t".into(), by: actor.into() };
    event.into_record("2026-11-21T12:00:00Z".parse().unwrap())
}

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<Store>,
    writer: AuditWriter,
}

/// A store that hangs does so for half of this.
const PATIENCE: Duration = Duration::from_millis(200);

async fn start(store: Store, spool_bytes: u64) -> Bench {
    start_with(store, spool_bytes, PATIENCE).await
}

async fn start_with(store: Store, spool_bytes: u64, patience: Duration) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(store);
    let writer = on(&folder, &store, "one", spool_bytes, patience).await;
    Bench { folder, store, writer }
}

async fn on(
    folder: &tempfile::TempDir,
    store: &Arc<Store>,
    chain: &str,
    spool_bytes: u64,
    patience: Duration,
) -> AuditWriter {
    let keys = KeyRing::parse(&format!("test:{}=", "A".repeat(43))).unwrap();
    let options = WriterOptions {
        batch: 64,
        patience,
        spool: (spool_bytes > 0).then(|| (folder.path().join("spool"), spool_bytes)),
    };
    let started =
        AuditWriter::start(store.clone(), Chain::new(chain, keys), Arc::new(SystemClock), None, &options);
    started.await.unwrap()
}

impl Bench {
    /// Waits until every row that was accepted is in the database; then the chain must have no gap and no repeat.
    async fn settled(&self, count: usize) -> Vec<Entry> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let rows = self.store.rows();
            if rows.len() >= count {
                let sequences: Vec<i64> = rows.iter().map(|row| row.link.sequence).collect();
                assert_eq!(sequences, (1..=count as i64).collect::<Vec<_>>());
                return rows;
            }
            assert!(Instant::now() < deadline, "{} of {count} rows", rows.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn records_that_wait_together_share_a_transaction_and_stay_in_order() {
    let bench = start(Store::default(), 0).await;
    let records: Vec<AuditRecord> = (0..200).map(|number| record(&number.to_string())).collect();
    let writes = records.iter().map(|record| bench.writer.write(record.clone()));
    for outcome in futures::future::join_all(writes).await {
        outcome.unwrap();
    }
    let rows = bench.settled(200).await;
    assert_eq!(rows.iter().map(|row| row.record.clone()).collect::<Vec<_>>(), records);
    assert_eq!(bench.writer.state(), AuditState::Database);
}

#[tokio::test]
async fn while_the_database_is_away_rows_go_to_the_spool_and_come_back_in_order_once() {
    for mood in [Mood::Away, Mood::Hangs, Mood::CommitsAndBreaks] {
        let bench = start(Store::default(), 1 << 20).await;
        bench.writer.write(record("before")).await.unwrap();
        bench.store.stay(Some(mood));
        for number in 0..5 {
            bench
                .writer
                .write(record(&number.to_string()))
                .await
                .unwrap_or_else(|error| panic!("{mood:?}: {error}"));
        }
        assert_eq!(bench.writer.state(), AuditState::Spool, "{mood:?}");
        bench.store.stay(None);
        bench.settled(6).await;
        bench.writer.write(record("after")).await.unwrap();
        let rows = bench.settled(7).await;
        let actors: Vec<&str> = rows.iter().filter_map(|row| row.record.actor_id.as_deref()).collect();
        assert_eq!(actors, ["before", "0", "1", "2", "3", "4", "after"], "{mood:?}");
    }
}

#[tokio::test]
async fn without_a_spool_or_with_a_full_one_nothing_is_promised() {
    for spool_bytes in [0, 100] {
        let bench = start(Store::default(), spool_bytes).await;
        bench.store.stay(Some(Mood::Away));
        let outcome = bench.writer.write(record("anna")).await;
        assert!(matches!(outcome, Err(AuditError::NotTaken { .. })), "{outcome:?}");
        assert_eq!(bench.writer.state(), AuditState::Nowhere);
        // The chain goes on from the row that was refused: it is written later all the same.
        bench.store.stay(None);
        bench.settled(1).await;
        bench.writer.write(record("ben")).await.unwrap();
        bench.settled(2).await;
    }
}

#[tokio::test]
async fn a_row_that_the_database_refuses_costs_no_other_its_row() {
    let bench = start(Store { refuses: Some("poison"), ..Store::default() }, 1 << 20).await;
    let writes = ["a", "b", "poison", "c"].map(|actor| bench.writer.write(record(actor)));
    let outcomes = futures::future::join_all(writes).await;
    assert!(matches!(outcomes[2], Err(AuditError::Refused(_))), "{:?}", outcomes[2]);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    // No place of the chain was given to the row that is nowhere.
    bench.settled(3).await;
}

#[tokio::test]
async fn a_row_of_the_spool_that_the_database_refuses_is_set_aside() {
    let bench = start(Store { refuses: Some("poison"), ..Store::default() }, 1 << 20).await;
    bench.store.stay(Some(Mood::Away));
    for actor in ["a", "poison", "b"] {
        bench.writer.write(record(actor)).await.unwrap();
    }
    bench.store.stay(None);
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench.store.rows().len() < 2 || bench.writer.state() != AuditState::Database {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let aside = std::fs::read_to_string(bench.folder.path().join("spool/one.refused")).unwrap();
    assert!(aside.contains("poison") && aside.lines().count() == 1, "{aside}");
}

/// A gate dies with rows in its spool, the last of them torn. The next one writes the complete rows and reports the
/// torn one.
#[tokio::test]
async fn the_next_gate_brings_what_a_dead_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let dead = {
        let bench = start(Store::default(), 1 << 20).await;
        bench.store.stay(Some(Mood::Away));
        for actor in ["a", "b", "c"] {
            bench.writer.write(record(actor)).await.unwrap();
        }
        std::fs::read(bench.folder.path().join("spool/one.spool")).unwrap()
    };
    std::fs::create_dir(folder.path().join("spool")).unwrap();
    std::fs::write(folder.path().join("spool/one.spool"), &dead[..dead.len() - 10]).unwrap();
    let store = Arc::new(Store::default());
    let _next = on(&folder, &store, "two", 1 << 20, PATIENCE).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.rows().len() < 3 {
        assert!(Instant::now() < deadline, "{:?}", store.rows());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let events: Vec<(String, String)> =
        store.rows().into_iter().map(|row| (row.link.chain_id, row.record.event_type.into_owned())).collect();
    let expected = [("one", "token_revoked"), ("one", "token_revoked"), ("two", "spool_damaged")];
    assert_eq!(events, expected.map(|(chain, event)| (chain.to_owned(), event.to_owned())));
    assert!(!folder.path().join("spool/one.spool").exists());
    let kept = std::fs::read(folder.path().join("spool/one.damaged")).unwrap();
    assert_eq!(kept, &dead[..dead.len() - 10], "damaged parts are kept for inspection");
}

/// Beside what a dead gate left there are a folder, noise and a row that no gate wrote: the gate starts, brings the rows,
/// names the file that it cannot read, and takes that one over too once it can be read.
#[tokio::test(start_paused = true)]
async fn what_is_no_spool_does_not_block_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let left = {
        let bench = start(Store::default(), 1 << 20).await;
        bench.store.stay(Some(Mood::Away));
        bench.writer.write(record("a")).await.unwrap();
        std::fs::read(bench.folder.path().join("spool/one.spool")).unwrap()
    };
    let spool = |name: &str| folder.path().join("spool").join(name);
    std::fs::create_dir_all(spool("folder.spool")).unwrap();
    std::fs::write(spool("one.spool"), left).unwrap();
    std::fs::write(spool("noise.spool"), [b'\n', 0xff].repeat(100_000)).unwrap();
    let line = |text: &str| format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
    std::fs::write(spool("other.spool"), line("{\"version\":9}")).unwrap();

    let store = Arc::new(Store::default());
    let next = on(&folder, &store, "two", 1 << 20, PATIENCE).await;
    next.write(record("own")).await.unwrap();
    let events = || {
        let rows = store.rows();
        let mut events: Vec<String> =
            rows.into_iter().map(|row| row.record.event_type.into_owned()).collect();
        events.sort();
        events
    };
    let expected = ["spool_damaged", "spool_damaged", "token_revoked", "token_revoked"];
    until("the rows that can be read are brought", || events() == expected).await;
    assert_eq!(next.unreadable_spools(), [spool("folder.spool")]);
    assert!(spool("noise.damaged").exists() && spool("other.damaged").exists());

    std::fs::remove_dir(spool("folder.spool")).unwrap();
    until("it is tried again", || next.unreadable_spools().is_empty()).await;
}

/// Waits for a condition. The clock is paused: it advances only when every task waits for a timer.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_writer_that_finishes_writes_what_waits_and_leaves_no_file() {
    let bench = start(Store::default(), 1 << 20).await;
    let writes: Vec<_> = (0..100).map(|number| bench.writer.write(record(&number.to_string()))).collect();
    let (outcomes, ()) =
        futures::future::join(futures::future::join_all(writes), bench.writer.finish(Duration::from_secs(5)))
            .await;
    let written = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(bench.store.rows().len(), written);
    assert!(bench.writer.write(record("late")).await.is_err());
    assert_eq!(std::fs::read_dir(bench.folder.path().join("spool")).unwrap().count(), 0);
}

/// A proxy that stops ends its runtime, whatever its tasks are at. What they were writing is there once, and the chain has no gap.
#[test]
fn a_write_that_ends_with_its_runtime_is_made_up_for() {
    let build =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for (mood, spool_bytes) in
        [Mood::Hangs, Mood::CommitsAndHangs].map(|mood| [(mood, 0), (mood, 1 << 20)]).concat()
    {
        let (lasting, ending) = (build(), build());
        // The exchange with the database is not over before its runtime is.
        let patience = Duration::from_secs(60);
        let bench = lasting.block_on(start_with(Store::default(), spool_bytes, patience));
        // There too, because the task that writes this one may write the next.
        ending.block_on(bench.writer.write(record("before"))).unwrap();
        bench.store.stay(Some(mood));
        let (writer, calls) = (bench.writer.clone(), bench.store.calls());
        ending.spawn(async move { writer.write(record("under way")).await });
        while bench.store.calls() == calls {
            std::thread::yield_now();
        }
        bench.store.stay(None);
        ending.shutdown_timeout(Duration::from_secs(10));
        // Without a spool the row behind is not promised until the one before it is there; it is written all the same.
        let outcome = lasting.block_on(bench.writer.write(record("after")));
        assert!(outcome.is_ok() || spool_bytes == 0, "{mood:?}: {outcome:?}");
        let rows = lasting.block_on(bench.settled(3));
        let actors: Vec<&str> = rows.iter().filter_map(|row| row.record.actor_id.as_deref()).collect();
        assert_eq!(actors, ["before", "under way", "after"], "{mood:?}, {spool_bytes}");
    }
}

/// Each record starts a task that writes it, or finds one that will. The next record comes at once when the last one is written,
/// while the task that wrote it looks for more or ends.
#[test]
fn no_record_waits_for_nobody() {
    const RECORDS: usize = 8_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bench = runtime.block_on(start_with(Store::default(), 0, Duration::from_secs(10)));
    let _entered = runtime.enter();
    let records: Vec<AuditRecord> = (0..RECORDS).map(|number| record(&number.to_string())).collect();
    for (number, record) in records.into_iter().enumerate() {
        for _ in 0..number % 500 {
            std::hint::spin_loop();
        }
        let mut write = pin!(bench.writer.write(record));
        // Without parking the thread, which would take longer than the task takes to end.
        let outcome = loop {
            if let Some(outcome) = write.as_mut().now_or_never() {
                break outcome;
            }
            std::hint::spin_loop();
        };
        outcome.unwrap();
    }
    runtime.block_on(bench.settled(RECORDS));
}
