use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use clock::{Clock as _, ManualClock};

use super::*;

/// How often a word was seen in a cluster.
#[derive(Clone, Debug)]
struct Word {
    word: String,
    cluster: Arc<str>,
    count: i64,
    last_seen_at: DateTime<Utc>,
}

struct Seen<'s> {
    word: &'s str,
    at: DateTime<Utc>,
}

impl Hash for Seen<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.word.hash(state);
    }
}

impl Sum for Word {
    type Seen<'s> = Seen<'s>;

    fn is_of(&self, seen: &Seen<'_>) -> bool {
        self.word == seen.word
    }

    fn begin(seen: &Seen<'_>) -> Word {
        let cluster = Word::cluster_of(seen);
        Word { word: seen.word.to_owned(), cluster, count: 1, last_seen_at: seen.at }
    }

    fn add(&mut self, seen: &Seen<'_>) {
        self.count += 1;
        self.last_seen_at = seen.at;
    }

    fn cluster_of(seen: &Seen<'_>) -> Arc<str> {
        seen.word.split('/').next().unwrap_or_default().into()
    }

    fn time_of(seen: &Seen<'_>) -> DateTime<Utc> {
        seen.at
    }

    fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    fn count(&self) -> i64 {
        self.count
    }

    fn last_seen_at(&self) -> DateTime<Utc> {
        self.last_seen_at
    }

    fn bytes(&self) -> usize {
        100
    }
}

/// How a database fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    Away,
    /// It commits, and the answer is lost.
    Mute,
    /// It refuses rows whose word has a `!`.
    Picky,
}

/// A database in memory, which keeps what the real ones keep: the number of the last batch, and whole transactions.
#[derive(Default)]
struct Memory {
    fault: Fault,
    words: BTreeMap<String, i64>,
    mark: Option<Mark>,
    gaps: BTreeMap<uuid::Uuid, Gap>,
    /// The sizes of the batches that were committed.
    batches: Vec<usize>,
}

#[derive(Default)]
struct Sink(Mutex<Memory>);

impl Sink {
    fn set(&self, fault: Fault) {
        lock(&self.0).fault = fault;
    }

    fn words(&self) -> BTreeMap<String, i64> {
        lock(&self.0).words.clone()
    }

    fn gaps(&self) -> Vec<Gap> {
        lock(&self.0).gaps.values().cloned().collect()
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("away".into())
}

#[async_trait]
impl TallySink<Word> for Sink {
    async fn write(&self, sums: &[Word], mark: &Mark) -> Result<(), StoreError> {
        let mut memory = lock(&self.0);
        match memory.fault {
            Fault::Away => return Err(away()),
            Fault::Picky if sums.iter().any(|sum| sum.word.contains('!')) => {
                return Err(StoreError::Refused("a check".into()));
            }
            _ => {}
        }
        assert!(memory.mark.is_some() || sums.is_empty(), "a gate's first batch is its mark alone");
        if memory.mark.as_ref().is_none_or(|last| last.batch < mark.batch) {
            memory.mark = Some(mark.clone());
            memory.batches.push(sums.len());
            for sum in sums {
                *memory.words.entry(sum.word.clone()).or_default() += sum.count;
            }
        }
        if memory.fault == Fault::Mute { Err(away()) } else { Ok(()) }
    }

    async fn record_gaps(&self, gaps: &[Gap]) -> Result<(), StoreError> {
        let mut memory = lock(&self.0);
        if memory.fault == Fault::Away {
            return Err(away());
        }
        memory.gaps.extend(gaps.iter().map(|gap| (gap.id, gap.clone())));
        Ok(())
    }
}

struct Scene {
    sink: Arc<Sink>,
    clock: Arc<ManualClock>,
    tally: Tally<Word>,
}

async fn scene(most_bytes: usize) -> Scene {
    let (sink, clock) = (Arc::new(Sink::default()), Arc::new(ManualClock::starting_at(Utc::now())));
    let terms = TallyTerms {
        kind: EvidenceKind::Drift,
        gather: Duration::from_secs(1),
        most_bytes,
        gate: "host/1".into(),
        clock: clock.clone(),
    };
    let tally = Tally::start(sink.clone(), terms).await.expect("the first mark");
    Scene { sink, clock, tally }
}

impl Scene {
    fn report(&self, word: &str, times: usize) {
        for _ in 0..times {
            self.tally.report(&Seen { word, at: self.clock.now() });
        }
    }

    /// Lets the writer run for so long. The runtime's clock goes by itself.
    async fn after(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

const PLENTY: usize = 1 << 20;

fn counts<const N: usize>(words: [(&str, i64); N]) -> BTreeMap<String, i64> {
    words.into_iter().map(|(word, count)| (word.to_owned(), count)).collect()
}

#[tokio::test(start_paused = true)]
async fn repeats_are_added_up_and_the_last_ones_are_written_when_the_gate_stops() {
    let scene = scene(PLENTY).await;
    for word in ["a", "b", "a", "a"] {
        scene.report(word, 1);
    }
    assert!(scene.tally.finish(Duration::from_secs(5)).await);
    assert_eq!(scene.sink.words(), counts([("a", 3), ("b", 1)]));
    assert!(lock(&scene.sink.0).mark.as_ref().is_some_and(|mark| mark.has_ended), "its last word");
}

/// Otherwise the loss of its counts would not be noticed.
#[tokio::test(start_paused = true)]
async fn a_gate_that_cannot_write_its_first_mark_does_not_begin() {
    let sink = Arc::new(Sink::default());
    sink.set(Fault::Away);
    let terms = TallyTerms {
        kind: EvidenceKind::Drift,
        gather: Duration::from_secs(1),
        most_bytes: PLENTY,
        gate: "host/1".into(),
        clock: Arc::new(clock::SystemClock),
    };
    assert!(Tally::start(sink, terms).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_written_is_kept_through_an_outage() {
    let scene = scene(PLENTY).await;
    scene.report("a", 1);
    scene.after(2).await;
    let before = lock(&scene.sink.0).mark.clone().expect("a mark");
    scene.sink.set(Fault::Away);
    for _ in 0..100 {
        scene.clock.turn(TimeDelta::minutes(1));
        scene.report("a", 5);
        scene.report("b", 1);
        scene.after(60).await;
    }
    scene.sink.set(Fault::None);
    scene.after(2).await;
    assert_eq!(scene.sink.words(), counts([("a", 501), ("b", 100)]));
    assert_eq!(scene.tally.progress().lost, 0);
    let after = lock(&scene.sink.0).mark.clone().expect("a mark");
    assert!(after.complete_until - before.complete_until > TimeDelta::minutes(99), "complete until now");
    assert!(!after.has_ended);
}

/// It is unknown whether the commit happened: the same batch is tried again, and counts once.
#[tokio::test(start_paused = true)]
async fn a_batch_counts_once_when_the_answer_to_its_commit_is_lost() {
    let scene = scene(PLENTY).await;
    scene.after(2).await;
    for round in 1..=50 {
        scene.sink.set(Fault::Mute);
        scene.report("a", 3);
        // Long enough for beats, whose answers are lost as well.
        scene.after(round).await;
        scene.sink.set(Fault::None);
        scene.report("b", 1);
        scene.after(3).await;
    }
    assert!(scene.tally.finish(Duration::from_secs(60)).await);
    assert_eq!(scene.sink.words(), counts([("a", 150), ("b", 50)]));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_refused_costs_no_other_and_is_recorded() {
    let scene = scene(PLENTY).await;
    scene.after(2).await;
    scene.sink.set(Fault::Picky);
    let words: BTreeSet<String> = (0..1_500).map(|number| format!("S1/{number}")).collect();
    for word in &words {
        scene.report(word, 2);
    }
    scene.clock.turn(TimeDelta::seconds(10));
    scene.report("S2/!", 7);
    scene.report("S3/!", 1);
    scene.after(5).await;
    assert_eq!(scene.sink.words(), words.into_iter().map(|word| (word, 2)).collect());
    assert_eq!(scene.tally.progress().lost, 8);
    let mut gaps: Vec<_> = scene.sink.gaps();
    gaps.sort_by_key(|gap| gap.cluster.clone());
    let recorded: Vec<_> = gaps.iter().map(|gap| (&*gap.cluster, gap.occurrences, gap.cause)).collect();
    assert_eq!(recorded, [("S2", 7, "refused"), ("S3", 1, "refused")]);
    assert!(gaps.iter().all(|gap| gap.until == scene.clock.now() && gap.since < gap.until), "{gaps:?}");
    // A batch is a transaction of bounded size.
    assert!(lock(&scene.sink.0).batches.iter().all(|size| *size <= 1_000));
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_counted_and_recorded_with_its_time() {
    let scene = scene(1_000).await;
    scene.after(2).await;
    scene.sink.set(Fault::Away);
    // As much as there is room for, of which the writer takes the first half.
    for ten in [0..10, 10..20] {
        for number in ten {
            scene.report(&format!("S1/{number}"), 1);
        }
        scene.after(2).await;
    }
    let began = scene.clock.now();
    for _ in 0..3 {
        scene.report("S1/one more", 2);
        scene.report("S2/another", 1);
        scene.report("S1/10", 1);
        scene.clock.turn(TimeDelta::seconds(20));
        scene.after(20).await;
    }
    assert_eq!(scene.tally.progress().lost, 9);
    assert!(scene.sink.gaps().is_empty(), "the database is away");
    scene.sink.set(Fault::None);
    scene.after(2).await;
    assert_eq!(scene.sink.words().values().sum::<i64>(), 23, "what had room is all there");
    let mut gaps = scene.sink.gaps();
    gaps.sort_by_key(|gap| gap.cluster.clone());
    let recorded: Vec<_> = gaps
        .iter()
        .map(|gap| (&*gap.cluster, gap.occurrences, gap.cause, gap.since - began, gap.until - began))
        .collect();
    let (none, forty) = (TimeDelta::zero(), TimeDelta::seconds(40));
    assert_eq!(recorded, [("S1", 6, "no_room", none, forty), ("S2", 3, "no_room", none, forty)]);
    // There is room again.
    scene.report("S1/one more", 1);
    scene.after(2).await;
    assert_eq!(scene.sink.words().get("S1/one more"), Some(&1));
}

/// Who was erased is remembered for a day; no older sum comes back after that.
#[tokio::test(start_paused = true)]
async fn what_waited_for_a_day_is_not_written_but_recorded() {
    let scene = scene(PLENTY).await;
    scene.after(2).await;
    scene.sink.set(Fault::Away);
    scene.report("S1/old", 4);
    scene.after(2).await;
    scene.clock.turn(TimeDelta::hours(25));
    scene.report("S1/new", 1);
    scene.sink.set(Fault::None);
    scene.after(3).await;
    assert_eq!(scene.sink.words(), counts([("S1/new", 1)]));
    let gaps = scene.sink.gaps();
    assert_eq!(gaps.iter().map(|gap| (gap.occurrences, gap.cause)).collect::<Vec<_>>(), [(4, "too_old")]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_with_nothing_to_write_says_so() {
    let scene = scene(PLENTY).await;
    scene.after(2).await;
    let first = lock(&scene.sink.0).mark.clone().expect("a mark");
    scene.clock.turn(TimeDelta::minutes(1));
    scene.after(60).await;
    let later = lock(&scene.sink.0).mark.clone().expect("a mark");
    assert!(later.complete_until > first.complete_until);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_the_requests_and_the_writer() {
    let scene = scene(64 << 20).await;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (tally, clock) = (scene.tally.clone(), scene.clock.clone());
            scope.spawn(move || {
                for number in 0..20_000 {
                    let word = format!("S1/{}", (number * 7 + thread) % 999);
                    tally.report(&Seen { word: &word, at: clock.now() });
                }
            });
        }
    });
    assert!(scene.tally.finish(Duration::from_secs(30)).await);
    assert_eq!(scene.sink.words().values().sum::<i64>(), 80_000);
    assert_eq!(scene.tally.progress().lost, 0);
}
