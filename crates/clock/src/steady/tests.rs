use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::ManualClock;
use super::*;

const SECOND: i64 = 1_000_000;
/// Short ones, so that a model can run through many of them.
const SETTLE: i64 = 10;
const CONFIRM_SECONDS: i64 = 100;

/// A gate's clock, its machine's clock, and the true time, in seconds.
struct World {
    rule: Rule,
    /// True time; the process began at 0.
    truth: i64,
    monotonic: i64,
    /// By how much the machine's clock is ahead of the true time.
    skew: i64,
    /// For how long it was, without an interruption.
    ahead_for: i64,
    right_for: i64,
}

impl World {
    /// A process that begins while the clock is wrong by `skew`.
    fn starting(skew: i64) -> World {
        let rule = Rule::new(skew * SECOND, 0, SETTLE * SECOND, CONFIRM_SECONDS * SECOND);
        World { rule, truth: 0, monotonic: 0, skew, ahead_for: 0, right_for: 0 }
    }

    /// A second passes, and the clock is read.
    fn tick(&mut self) {
        self.truth += 1;
        self.monotonic += 1;
        self.ahead_for = if self.skew > 0 { self.ahead_for + 1 } else { 0 };
        self.right_for = if self.skew == 0 { self.right_for + 1 } else { 0 };
        self.rule.read((self.truth + self.skew) * SECOND, self.monotonic * SECOND);
    }

    /// By how much the shown time is ahead of the true one.
    fn shown_ahead(&self) -> i64 {
        (self.rule.shown / SECOND + self.monotonic) - self.truth
    }
}

#[derive(Clone, Debug)]
enum Event {
    Wait(i64),
    /// The clock is set to so much before or after the true time.
    Turn(i64),
    PutRight,
    /// The machine sleeps; its clock is right when it wakes up, its monotonic time has not gone on.
    Suspend(i64),
}

fn turns() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (1..3 * CONFIRM_SECONDS).prop_map(Event::Wait),
        (-100_000..100_000_i64).prop_map(Event::Turn),
        Just(Event::PutRight),
    ];
    proptest::collection::vec(event, 0..20)
}

fn with_sleep() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (1..3 * CONFIRM_SECONDS).prop_map(Event::Wait),
        (-100_000..100_000_i64).prop_map(Event::Turn),
        Just(Event::PutRight),
        (1..50_000_i64).prop_map(Event::Suspend),
    ];
    proptest::collection::vec(event, 0..20)
}

/// Runs the events, and `check` after each second.
fn live(world: &mut World, events: &[Event], mut check: impl FnMut(&World)) {
    for event in events {
        match *event {
            Event::Wait(seconds) => {
                for _ in 0..seconds {
                    world.tick();
                    check(world);
                }
            }
            Event::Turn(skew) => world.skew = skew,
            Event::PutRight => world.skew = 0,
            Event::Suspend(seconds) => {
                world.truth += seconds;
                world.skew = 0;
            }
        }
    }
}

proptest! {
    /// Right at the start, and monotonic time goes on: nothing that has ended by true time ever lives again.
    #[test]
    fn the_shown_time_is_never_before_the_true_one(events in turns()) {
        let mut world = World::starting(0);
        live(&mut world, &events, |world| assert!(world.shown_ahead() >= 0, "{} behind", -world.shown_ahead()));
    }

    /// The same from the time on at which the clock was right for long enough, whatever was before: a wrong clock at
    /// the start, and a machine that slept.
    #[test]
    fn a_clock_that_was_right_for_long_enough_counts_as_the_start(
        skew in -100_000..0_i64, before in with_sleep(), after in turns()
    ) {
        let mut world = World::starting(skew);
        live(&mut world, &before, |_| {});
        live(&mut world, &[Event::PutRight, Event::Wait(2 * CONFIRM_SECONDS + 2)], |_| {});
        live(&mut world, &after, |world| assert!(world.shown_ahead() >= 0, "{} behind", -world.shown_ahead()));
    }

    /// A clock that goes wrong for less than an hour and is put right is right again for expiries, without a restart.
    #[test]
    fn what_was_put_right_is_followed(events in turns()) {
        let mut world = World::starting(0);
        let mut longest = 0;
        let most_ahead = CORRECTION / SECOND;
        live(&mut world, &events, |world| {
            longest = longest.max(world.ahead_for);
            if longest < CONFIRM_SECONDS && world.right_for > 2 * SETTLE + 1 {
                assert!(world.shown_ahead() <= most_ahead, "{} ahead", world.shown_ahead());
            }
        });
    }

    /// It is never behind what the wall clock shows, and goes back only into a new era.
    #[test]
    fn it_goes_back_only_into_a_new_era(events in with_sleep()) {
        let mut world = World::starting(0);
        let (mut latest, mut era) = (0, 0);
        live(&mut world, &events, |world| {
            let now = world.rule.shown + world.monotonic * SECOND;
            assert!(now >= (world.truth + world.skew) * SECOND, "behind the wall clock");
            assert!(now > latest || world.rule.era > era, "went back by {} in one era", latest - now);
            (latest, era) = (now, world.rule.era);
        });
    }
}

/// A wall clock and a monotonic one that the test turns.
struct Stage {
    wall: Arc<ManualClock>,
    monotonic: Arc<AtomicI64>,
    steady: SteadyClock<Arc<ManualClock>>,
}

impl Stage {
    fn new() -> Stage {
        let wall = Arc::new(ManualClock::starting_at(start()));
        let monotonic = Arc::new(AtomicI64::new(0));
        let reader = monotonic.clone();
        let steady = SteadyClock::with_monotonic(
            wall.clone(),
            Duration::from_secs(60),
            Box::new(move || reader.load(Ordering::SeqCst)),
        );
        Stage { wall, monotonic, steady }
    }

    fn pass(&self, seconds: i64) {
        for _ in 0..seconds {
            self.wall.turn(TimeDelta::seconds(1));
            self.monotonic.fetch_add(SECOND, Ordering::SeqCst);
            self.steady.now();
        }
    }

    fn shown(&self) -> i64 {
        (self.steady.now() - start()).num_seconds()
    }
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

#[test]
fn a_jump_ahead_that_is_put_right_is_followed_back_after_a_while() {
    let stage = Stage::new();
    stage.pass(100);
    stage.wall.turn(TimeDelta::days(1));
    assert_eq!(stage.shown(), 86_500, "not believed at once");
    stage.pass(300);
    stage.wall.turn(TimeDelta::days(-1));
    assert_eq!((stage.shown(), stage.steady.era()), (86_800, 0));
    assert_eq!(stage.steady.reading().ahead, Duration::from_secs(86_400));
    stage.pass(59);
    assert_eq!(stage.shown(), 86_859, "followed too early");
    stage.pass(62);
    assert_eq!((stage.shown(), stage.steady.era()), (521, 1));
    assert_eq!(stage.steady.reading().ahead, Duration::ZERO);
}

#[test]
fn a_clock_turned_back_is_never_followed_past_the_start_and_the_time_since() {
    let stage = Stage::new();
    stage.wall.turn(TimeDelta::hours(1));
    stage.pass(10);
    stage.wall.turn(TimeDelta::days(-2));
    stage.pass(24 * 3600);
    assert_eq!(stage.shown(), 24 * 3600 + 10);
}

#[test]
fn an_hour_makes_a_step_forward_the_floor() {
    let stage = Stage::new();
    // As after a boot without a battery: the clock is set right once the network is there.
    stage.wall.turn(TimeDelta::days(300));
    stage.pass(2 * 3600 + 2);
    stage.wall.turn(TimeDelta::days(-300));
    stage.pass(3600);
    assert_eq!(stage.shown(), 300 * 86_400 + 3 * 3600 + 2);
}

#[test]
fn small_corrections_begin_no_era() {
    let stage = Stage::new();
    for _ in 0..10 {
        stage.wall.turn(TimeDelta::milliseconds(400));
        stage.pass(200);
        stage.wall.turn(TimeDelta::milliseconds(-400));
        stage.pass(200);
    }
    assert_eq!(stage.steady.era(), 0);
}

#[test]
fn each_turn_is_found_out_once() {
    let read = |rule: &mut Rule, wall: i64, at: i64| rule.read(wall * SECOND, at * SECOND);
    let mut rule = Rule::new(0, 0, 60 * SECOND, 3600 * SECOND);
    assert_eq!(read(&mut rule, 1, 1), None);
    assert_eq!(read(&mut rule, 102, 2), Some(Turn::Forward(100 * SECOND)));
    assert_eq!(read(&mut rule, 103, 3), None);
    assert_eq!(read(&mut rule, 4, 4), Some(Turn::Back(100 * SECOND)));
    let later: Vec<Turn> = (5..300).filter_map(|at| read(&mut rule, at, at)).collect();
    assert_eq!(later, [Turn::Followed(100 * SECOND)]);
}

/// Turned back, it goes on: nobody is given the time that the wall clock has yet to catch up.
#[test]
fn it_does_not_stop() {
    let wall = Arc::new(ManualClock::starting_at(Utc::now()));
    let steady = SteadyClock::over(wall.clone(), Duration::from_secs(60));
    wall.turn(TimeDelta::days(-1));
    let first = steady.now();
    let began = Instant::now();
    while steady.now() == first {
        assert!(began.elapsed().as_secs() < 10, "it has stopped");
    }
}
