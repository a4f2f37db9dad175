//! The refresher over a real SQLite file and a real mapping file, one look at a time: what a look sees for the first time
//! never counts, so no test waits for anything but what it asks for.

use std::path::PathBuf;
use std::time::Instant;

use chrono::TimeDelta;
use clock::ManualClock;
use ledger::AuditEvent;
use ledger::keys::KeyRing;
use policy::ids::PinId;
use policy::mapping::parse::sha256_of;
use store::mappings::NewPin;
use store::{DatabaseUrl, StoreOptions, open};
use tempfile::TempDir;

use super::record::Trigger;
use super::*;

const KEYS: &str = "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=";
const ROW: &str = "[blueprints.b.routes]\n\"GET /x\" = { public = true }\n";

/// A sound mapping, distinguished from others by its name.
fn named(name: &str) -> String {
    format!("version = 1 # {name}\nrows = 1\n{ROW}")
}

fn notary() -> Notary {
    Notary::new(KeyRing::parse(KEYS).expect("keys"))
}

/// A gate's mapping without its gate.
struct Stage {
    folder: TempDir,
    store: SharedStore,
    holder: Arc<MappingHolder>,
    refresher: Refresher,
    clock: Arc<ManualClock>,
}

impl Stage {
    /// With the mapping `a` in the file.
    async fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite(folder.path().join("gate.sqlite"));
        let options = StoreOptions {
            url,
            max_connections: 2,
            timeout: Duration::from_secs(30),
            console: store::console::Relations::default(),
        };
        let store = open(&options).await.expect("SQLite");
        store.migrate_seeded().await.expect("a new database");
        std::fs::write(folder.path().join("routes.toml"), named("a")).expect("a file");
        let clock = Arc::new(ManualClock::starting_at(chrono::Utc::now()));
        let (holder, refresher) =
            start(&folder, &store, &clock, OnBroken::ServeLast).await.expect("a sound mapping");
        Stage { folder, store, holder, refresher, clock }
    }

    /// The same after the process has ended.
    async fn restart(self) -> Result<Stage, ActivationError> {
        self.restart_or(OnBroken::ServeLast).await
    }

    async fn restart_or(self, on_broken: OnBroken) -> Result<Stage, ActivationError> {
        let Stage { folder, store, refresher, clock, .. } = self;
        refresher.presence.leave().await;
        let (holder, refresher) = start(&folder, &store, &clock, on_broken).await?;
        Ok(Stage { folder, store, holder, refresher, clock })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("routes.toml")
    }

    /// Puts a file there in one step.
    fn put(&self, text: &str) {
        std::fs::write(self.file().with_extension("new"), text).expect("a file");
        std::fs::rename(self.file().with_extension("new"), self.file()).expect("a rename");
    }

    /// One look, as the watcher has it.
    async fn look(&mut self) {
        self.refresher.wanted = Some(Trigger::File);
        self.refresher.look().await;
    }

    /// Looks until the file has settled.
    async fn settle(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        self.look().await;
        while self.refresher.wanted.is_some() {
            assert!(Instant::now() < deadline, "the file does not settle");
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.look().await;
        }
    }

    async fn take(&mut self, text: &str) {
        self.put(text);
        self.settle().await;
    }

    fn runs(&self, name: &str) {
        assert_eq!(*self.holder.running().sha256(), sha256_of(&named(name)), "{name} does not run");
    }

    /// Rolls back to a mapping, or releases, as the command does, but without knowing of this gate's file.
    async fn order(&self, name: Option<&str>) {
        let sha256 = name.map(|name| sha256_of(&named(name)));
        let event = AuditEvent::MappingPinned { sha256: sha256.clone(), by: "anna".into() };
        let at = chrono::Utc::now();
        let id = PinId::new(uuid::Uuid::now_v7().to_string());
        let new = NewPin { id, sha256, by: "anna".into(), at };
        self.store.set_pin(&new, &[], &notary().note(event.into_record(at))).await.expect("a pin");
    }

    /// The outcomes and who or what brought them about, the first one first.
    async fn history(&self) -> Vec<String> {
        let history = self.store.activations(100).await.expect("the history");
        let by = |text: &str| text.split(" of ").next().unwrap_or_default().to_owned();
        history.into_iter().rev().map(|one| format!("{} {}", one.outcome, by(&one.activated_by))).collect()
    }
}

async fn start(
    folder: &TempDir,
    store: &SharedStore,
    clock: &Arc<ManualClock>,
    on_broken: OnBroken,
) -> Result<(Arc<MappingHolder>, Refresher), ActivationError> {
    MappingHolder::start(Sources {
        file: folder.path().join("routes.toml"),
        settle: Duration::from_millis(20),
        on_broken,
        store: store.clone(),
        clock: clock.clone(),
        name: "host/1".into(),
        notary: notary(),
        upstreams: [].into(),
    })
    .await
}

#[tokio::test]
async fn a_copy_in_steps_is_taken_up_whole_and_leaves_no_other_trace() {
    let mut stage = Stage::new().await;
    let new = named("b");
    for end in 0..new.len() {
        std::fs::write(stage.file(), &new[..end]).expect("a part");
        stage.look().await;
        stage.runs("a");
    }
    std::fs::write(stage.file(), &new).expect("all of it");
    stage.settle().await;
    stage.runs("b");
    assert_eq!(stage.history().await, ["activated start", "activated file"]);
}

/// What a copy that pauses leaves behind for longer than the settling time.
#[tokio::test]
async fn a_copy_that_pauses_is_refused_by_its_count_and_once() {
    let mut stage = Stage::new().await;
    let new = named("b").replace("rows = 1", "rows = 2") + "\"GET /y\" = { public = true }\n";
    let pause = new.find("\"GET /y\"").expect("a second row");
    std::fs::write(stage.file(), &new[..pause]).expect("a part that is a mapping by itself");
    stage.settle().await;
    stage.settle().await;
    stage.runs("a");
    assert_eq!(stage.history().await, ["activated start", "refused file"]);
    let refusal = &stage.store.activations(1).await.expect("the history")[0];
    assert!(refusal.diagnostics.as_ref().is_some_and(|why| why.contains("row-count")), "{refusal:?}");
    std::fs::write(stage.file(), &new).expect("all of it");
    stage.settle().await;
    assert_eq!(*stage.holder.running().sha256(), sha256_of(&new));
}

#[tokio::test]
async fn a_file_that_is_gone_for_a_moment_leaves_no_trace() {
    let mut stage = Stage::new().await;
    std::fs::remove_file(stage.file()).expect("a file");
    stage.look().await;
    stage.put(&named("b"));
    stage.look().await;
    std::fs::write(stage.file(), "").expect("truncated");
    stage.look().await;
    std::fs::write(stage.file(), b"version = 1 # \xc3").expect("cut in a letter");
    stage.look().await;
    stage.take(&named("c")).await;
    stage.runs("c");
    assert_eq!(stage.history().await, ["activated start", "activated file"]);
}

#[tokio::test]
async fn a_file_that_stays_unusable_is_refused_once_and_changes_nothing() {
    let mut stage = Stage::new().await;
    std::fs::remove_file(stage.file()).expect("a file");
    stage.settle().await;
    stage.settle().await;
    stage.take("").await;
    stage.take("nonsense").await;
    stage.settle().await;
    stage.runs("a");
    let refused = ["refused file"; 3];
    assert_eq!(stage.history().await, [&["activated start"][..], &refused].concat());
    // The same again is no news; the one that runs is none, and forgets what was refused.
    stage.take(&named("a")).await;
    stage.take("nonsense").await;
    assert_eq!(stage.history().await.len(), 5);
}

#[tokio::test]
async fn a_link_that_is_swapped_settles_like_any_file() {
    let mut stage = Stage::new().await;
    for name in ["b", "a"] {
        let (target, link) = (stage.folder.path().join(name), stage.file().with_extension("link"));
        std::fs::write(&target, named(name)).expect("a target");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        std::fs::rename(&link, stage.file()).expect("a swap");
        stage.look().await;
        assert_ne!(*stage.holder.running().sha256(), sha256_of(&named(name)), "at the first look");
        stage.settle().await;
        stage.runs(name);
    }
}

#[tokio::test]
async fn a_rollback_acts_while_the_file_is_torn_and_holds_until_a_sound_one_settles() {
    let mut stage = Stage::new().await;
    stage.take(&named("b")).await;
    std::fs::write(stage.file(), &named("c")[..20]).expect("a part");
    stage.order(Some("a")).await;
    stage.look().await;
    stage.runs("a");
    // Torn, broken, gone: held.
    stage.settle().await;
    stage.runs("a");
    std::fs::remove_file(stage.file()).expect("a file");
    stage.settle().await;
    stage.runs("a");
    // The file that was rolled back, touched: held.
    stage.take(&named("b")).await;
    stage.runs("a");
    stage.take(&named("c")).await;
    stage.runs("c");
    assert!(!stage.refresher.is_held);
    // And back to the one that was rolled back: held again.
    stage.take(&named("b")).await;
    stage.runs("a");
    let history = stage.history().await;
    let by_anna = history.iter().filter(|one| *one == "activated rollback by anna").count();
    assert_eq!(by_anna, 2, "{history:?}");
}

/// The command did not know of this gate's file: it is replaced all the same, for every later start too.
#[tokio::test]
async fn a_gate_adds_its_own_file_to_what_a_rollback_replaces() {
    let mut stage = Stage::new().await;
    stage.take(&named("b")).await;
    // As if this gate had not reported yet.
    stage.refresher.presence.leave().await;
    stage.order(Some("a")).await;
    assert!(stage.store.pin().await.expect("the pin").replaces.is_empty());
    stage.look().await;
    stage.runs("a");
    let replaces = stage.store.pin().await.expect("the pin").replaces;
    assert_eq!(replaces.into_iter().collect::<Vec<_>>(), [sha256_of(&named("b"))]);
    let mut stage = stage.restart().await.expect("the pinned mapping");
    stage.settle().await;
    stage.runs("a");
}

/// It is what the operator saw, or did not see any more, when they rolled back: it must not come after the rollback.
#[tokio::test]
async fn a_file_that_had_yet_to_settle_is_rolled_back_too() {
    let mut stage = Stage::new().await;
    stage.take(&named("b")).await;
    stage.put(&named("c"));
    stage.look().await;
    stage.order(Some("a")).await;
    stage.look().await;
    stage.runs("a");
    stage.settle().await;
    stage.runs("a");
    assert!(stage.refresher.is_held);
}

/// An unrelated edit does not bring back what was rolled back: that takes a release.
#[tokio::test]
async fn a_file_that_contains_what_was_taken_back_waits_for_a_release() {
    let with = |rows: &[&str]| {
        let rows: String =
            rows.iter().map(|path| format!("\"GET {path}\" = {{ public = true }}\n")).collect();
        format!("version = 1\n{ROW}{rows}")
    };
    let (bad, edited, repaired) = (with(&["/bad"]), with(&["/bad", "/new"]), with(&["/new"]));
    let mut stage = Stage::new().await;
    let is_running = |stage: &Stage, text: &str| *stage.holder.running().sha256() == sha256_of(text);
    stage.take(&bad).await;
    assert!(is_running(&stage, &bad));
    stage.order(Some("a")).await;
    stage.look().await;
    stage.runs("a");
    stage.take(&edited).await;
    stage.runs("a");
    let refusal = stage.store.activations(1).await.expect("the history").remove(0);
    let why = refusal.diagnostics.expect("a reason");
    assert!(
        refusal.outcome == "refused" && why.contains("[taken-back]") && why.contains("GET /bad"),
        "{why}"
    );
    // A start is no way around it.
    let mut stage = stage.restart().await.expect("the pinned mapping");
    stage.settle().await;
    stage.runs("a");
    // What it took back is gone from the file: that ends the rollback here, and it stays taken back.
    stage.take(&repaired).await;
    assert!(is_running(&stage, &repaired) && !stage.refresher.is_held);
    stage.take(&edited).await;
    assert!(is_running(&stage, &repaired));
    // The same rollback once more still takes back what it took back, whatever the gates report by then.
    stage.order(Some("a")).await;
    stage.look().await;
    stage.take(&with(&["/bad", "/newer"])).await;
    stage.runs("a");
    stage.order(None).await;
    stage.settle().await;
    assert!(is_running(&stage, &with(&["/bad", "/newer"])));
}

/// A rollback that a newer file has ended does not come back because that file goes.
#[tokio::test]
async fn an_ended_rollback_stays_ended_when_the_file_vanishes_or_breaks() {
    let mut stage = Stage::new().await;
    stage.take(&named("b")).await;
    stage.order(Some("a")).await;
    stage.look().await;
    stage.take(&named("c")).await;
    std::fs::remove_file(stage.file()).expect("a file");
    stage.settle().await;
    stage.runs("c");
    stage.take("nonsense").await;
    stage.runs("c");
    let stage = stage.restart().await.expect("what ran last");
    stage.runs("c");
    assert!(!stage.refresher.is_held, "it is not the rollback");
}

/// A restart with a file that cannot be used is no outage: what was activated last serves, and reports say so.
#[tokio::test]
async fn a_start_with_a_broken_file_serves_what_was_activated_last() {
    for broken in ["nonsense", "", "version = 1\nrows = 7\n", "GONE"] {
        let mut stage = Stage::new().await;
        stage.take(&named("b")).await;
        match broken {
            "GONE" => std::fs::remove_file(stage.file()).expect("a file"),
            _ => stage.put(broken),
        }
        let mut stage = stage.restart().await.expect("what was activated last");
        stage.runs("b");
        assert!(stage.holder.is_fallback(), "{broken:?}");
        let expected = ["activated start", "activated file", "activated fallback", "refused start"];
        assert_eq!(stage.history().await, expected, "{broken:?}");
        let [gate] = <[_; 1]>::try_from(stage.store.running_gates().await.expect("the gates")).expect("one");
        let problem = gate.runs.problem.expect("a problem");
        assert!(problem.starts_with("started with the mapping that was activated last"), "{problem}");
        // The same file is no news, and changes nothing.
        stage.settle().await;
        stage.runs("b");
        assert!(stage.holder.is_fallback(), "{broken:?}");
        assert_eq!(stage.history().await, expected, "{broken:?}");
        // A second restart is as the first.
        let mut stage = stage.restart().await.expect("what was activated last");
        stage.runs("b");
        assert!(stage.holder.is_fallback());
        // A corrected file rules at once.
        stage.take(&named("c")).await;
        stage.runs("c");
        assert!(!stage.holder.is_fallback());
        let [gate] = <[_; 1]>::try_from(stage.store.running_gates().await.expect("the gates")).expect("one");
        assert_eq!(gate.runs.problem, None);
    }
}

/// The file is the one that was activated last, corrected back: nothing is wrong any more.
#[tokio::test]
async fn a_fallback_ends_with_the_file_that_it_is() {
    let stage = Stage::new().await;
    stage.put("nonsense");
    let mut stage = stage.restart().await.expect("what was activated last");
    assert!(stage.holder.is_fallback());
    stage.take(&named("a")).await;
    stage.runs("a");
    assert!(!stage.holder.is_fallback());
}

#[tokio::test]
async fn a_rollback_ends_a_fallback() {
    let mut stage = Stage::new().await;
    stage.take(&named("b")).await;
    stage.put("nonsense");
    let mut stage = stage.restart().await.expect("what was activated last");
    assert!(stage.holder.is_fallback());
    // To the very mapping that it is.
    stage.order(Some("b")).await;
    stage.look().await;
    stage.runs("b");
    assert!(!stage.holder.is_fallback() && stage.refresher.is_held);
}

#[tokio::test]
async fn a_start_with_a_broken_file_is_refused_where_that_is_asked_for_or_nothing_ran_yet() {
    let stage = Stage::new().await;
    stage.put("nonsense");
    let outcome = stage.restart_or(OnBroken::Refuse).await;
    assert!(matches!(outcome, Err(ActivationError::Unsound(_))));
    // The first start of all.
    let folder = tempfile::tempdir().expect("a folder");
    let url = DatabaseUrl::Sqlite(folder.path().join("gate.sqlite"));
    let store = open(&StoreOptions {
        url,
        max_connections: 2,
        timeout: Duration::from_secs(30),
        console: store::console::Relations::default(),
    })
    .await;
    let store = store.expect("SQLite");
    store.migrate_seeded().await.expect("a new database");
    std::fs::write(folder.path().join("routes.toml"), "nonsense").expect("a file");
    let outcome =
        start(&folder, &store, &Arc::new(ManualClock::starting_at(chrono::Utc::now())), OnBroken::ServeLast)
            .await;
    assert!(matches!(outcome, Err(ActivationError::Unsound(_))));
}

#[tokio::test]
async fn a_gate_that_was_rolled_back_starts_though_its_file_is_broken() {
    let mut stage = Stage::new().await;
    stage.take(&named("b")).await;
    stage.order(Some("a")).await;
    stage.look().await;
    stage.take("nonsense").await;
    let stage = stage.restart().await.expect("the pinned mapping");
    stage.runs("a");
    assert!(stage.refresher.is_held);
    std::fs::remove_file(stage.file()).expect("a file");
    stage.restart().await.expect("the pinned mapping").runs("a");
}

#[tokio::test]
async fn a_release_names_who_and_a_file_that_is_not_watched_is_taken_by_it() {
    let mut stage = Stage::new().await;
    stage.take(&named("b")).await;
    stage.order(Some("a")).await;
    // Not watched: only the pin is looked at.
    stage.refresher.look().await;
    stage.runs("a");
    stage.put(&named("c"));
    for _ in 0..3 {
        stage.refresher.look().await;
        stage.runs("a");
    }
    stage.order(None).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while *stage.holder.running().sha256() != sha256_of(&named("c")) {
        assert!(Instant::now() < deadline, "the file does not rule");
        stage.refresher.look().await;
    }
    let history = stage.history().await;
    assert_eq!(history.last().map(String::as_str), Some("activated release by anna"));
    stage.put(&named("d"));
    stage.refresher.look().await;
    assert!(stage.refresher.wanted.is_none(), "it is not watched");
}

#[tokio::test]
async fn what_a_gate_runs_and_why_not_is_reported() {
    let mut stage = Stage::new().await;
    let reported = async |stage: &Stage| {
        let [gate] = <[_; 1]>::try_from(stage.store.running_gates().await.expect("the gates")).expect("one");
        gate.runs
    };
    let sha256 = |text: &str| sha256_of(text);
    let runs = reported(&stage).await;
    assert_eq!(
        (runs.mapping, runs.file, runs.is_held),
        (sha256(&named("a")), Some(sha256(&named("a"))), false)
    );
    stage.take("nonsense").await;
    let runs = reported(&stage).await;
    assert_eq!((runs.mapping, runs.file), (sha256(&named("a")), Some(sha256("nonsense"))));
    assert!(runs.problem.is_some_and(|problem| problem.contains("syntax")));
    stage.take(&named("b")).await;
    stage.order(Some("a")).await;
    stage.look().await;
    let (runs, pin) = (reported(&stage).await, stage.store.pin().await.expect("the pin"));
    assert_eq!(
        (runs.mapping, runs.pin, runs.is_held, runs.problem),
        (sha256(&named("a")), pin.id, true, None)
    );
    stage.refresher.presence.leave().await;
    assert_eq!(stage.store.running_gates().await.expect("the gates"), []);
}

/// A mapping with two clusters; V2 decides the first, and `second` is the file's entry for the other one.
fn ordered(first: &str, second: &str) -> String {
    format!(
        "version = 1\n[clusters]\nS1 = \"{first}\"\nS2 = {second}\n[blueprints.b]\ncluster = \"S1\"\n\
         routes.\"GET /a\" = {{ public = true }}\n[blueprints.c]\ncluster = \"S2\"\n\
         routes.\"GET /x\" = {{ public = true }}\n"
    )
}

const WAITS: &str = "after = [\"S1\"], soaked_hours = 24";

fn flipped(further: &str) -> String {
    ordered("v2", &format!("{{ mode = \"v2\", {WAITS}{further} }}"))
}

fn in_shadow(first: &str) -> String {
    ordered(first, &format!("{{ mode = \"shadow\", {WAITS} }}"))
}

/// A flip that comes before its time is refused and said why; once it is in time, the file is used. Restarts change
/// nothing of that.
#[tokio::test]
async fn a_flip_out_of_order_is_refused_until_its_soak_is_over() {
    let mut stage = Stage::new().await;
    stage.take(&in_shadow("v2")).await;
    let running = stage.holder.running().sha256().clone();
    stage.clock.turn(TimeDelta::hours(23));
    stage.take(&flipped("")).await;
    assert_eq!(*stage.holder.running().sha256(), running, "after 23 hours");
    let refusal = stage.store.activations(1).await.expect("the history").remove(0);
    let why = refusal.diagnostics.expect("why");
    assert!(why.contains("`S1` has been in v2 for 23 of 24 hours, until "), "{why}");
    assert!(why.contains("`S2` has been in shadow for 23 of 24 hours, until "), "{why}");
    assert!(why.contains("[out-of-order]"), "{why}");
    // A start with that file is no way round.
    let mut stage = stage.restart().await.expect("what ran last");
    assert_eq!(*stage.holder.running().sha256(), running);
    assert!(stage.holder.is_fallback());
    stage.clock.turn(TimeDelta::hours(1));
    stage.settle().await;
    assert_eq!(*stage.holder.running().sha256(), sha256_of(&flipped("")));
    // It is no flip any more: neither a restart nor a change of the rest of the file asks again.
    let mut stage = stage.restart().await.expect("the file");
    assert!(!stage.holder.is_fallback());
    stage.take(&(flipped("") + "# more\n")).await;
    assert_eq!(*stage.holder.running().sha256(), sha256_of(&(flipped("") + "# more\n")));
}

/// An interruption restarts the time, also while another mapping is pinned.
#[tokio::test]
async fn a_soak_that_is_interrupted_starts_again() {
    let mut stage = Stage::new().await;
    stage.take(&in_shadow("v2")).await;
    stage.clock.turn(TimeDelta::hours(20));
    stage.take(&in_shadow("shadow")).await;
    stage.clock.turn(TimeDelta::hours(1));
    stage.take(&in_shadow("v2")).await;
    stage.clock.turn(TimeDelta::hours(10));
    stage.take(&flipped("")).await;
    let refusal = stage.store.activations(1).await.expect("the history").remove(0);
    let why = refusal.diagnostics.expect("why");
    assert!(
        why.contains("`S1` has been in v2 for 10 of 24 hours") && !why.contains("`S2` has been"),
        "{why}"
    );
}

/// With a reason the flip happens at once, and the reason is an audit row in the transaction of the activation. A file
/// that flips nothing leaves none.
#[tokio::test]
async fn an_override_flips_at_once_and_is_audited() {
    let mut stage = Stage::new().await;
    let overridden = async |stage: &Stage| {
        let rows = stage.store.recent(1_000).await.expect("the audit");
        rows.into_iter().filter(|row| row.event_type == "order_overridden").collect::<Vec<_>>()
    };
    let file = flipped(", override = { reason = \"an incident\", ref = \"#9\" }");
    stage.take(&file).await;
    assert_eq!(*stage.holder.running().sha256(), sha256_of(&file));
    let rows = overridden(&stage).await;
    assert_eq!(rows.len(), 1);
    let detail = rows[0].detail.as_ref().expect("the reason").0.to_string();
    for part in ["an incident", "#9", "S2", "`S1` is not in v2 yet"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    stage.take(&(file + "# again\n")).await;
    assert_eq!(overridden(&stage).await.len(), 1, "it was no flip");
}

/// Nothing stops a rollback, not even the order; and of what it brought back nothing is a flip.
#[tokio::test]
async fn a_rollback_to_v2_is_not_out_of_order() {
    let mut stage = Stage::new().await;
    let file = flipped(", override = { reason = \"an incident\", ref = \"#9\" }");
    stage.take(&file).await;
    stage.take(&in_shadow("shadow")).await;
    let at = chrono::Utc::now();
    let id = PinId::new(uuid::Uuid::now_v7().to_string());
    let new = NewPin { id, sha256: Some(sha256_of(&file)), by: "anna".into(), at };
    let event = AuditEvent::MappingPinned { sha256: new.sha256.clone(), by: "anna".into() };
    stage.store.set_pin(&new, &[], &notary().note(event.into_record(at))).await.expect("a pin");
    stage.look().await;
    assert_eq!(*stage.holder.running().sha256(), sha256_of(&file));
}
