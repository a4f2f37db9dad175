//! The clock by which things expire: a machine's clock that is turned back revives nothing, and one that went too far
//! forward and was put right is followed back.
//!
//! Wall time alone cannot distinguish the two, so each reading is compared with monotonic time, which nobody can turn.
//! What counts is the *offset*, wall time less monotonic time: constant while the clock is right, another one after it
//! was turned. Two rules make the time that is shown:
//!
//! - **At once forward, late back.** The largest offset of the last minute or two (`settle`) counts. A clock that was
//!   turned back has to stay there before it is believed.
//! - **Never below the floor.** The floor is the offset at the start, and whatever offset the wall clock has not been
//!   below for an hour or two ([`CONFIRM`]). So expiries never go back past the time that the start of the process and
//!   the time since then imply.
//!
//! *What follows*: if the clock was right when the process began, and monotonic time goes on all the time, the shown
//! time is never before the true one, whatever the clock is turned to and how often. What has ended by true time has
//! ended. *What is assumed besides*: if the clock was behind at the start, or the machine was suspended (its monotonic
//! time stops then), the floor is behind by as much until the clock has been right for [`CONFIRM`]; only somebody who
//! turns it back within that time can revive something. A clock that is too far ahead at the start, or for longer than
//! [`CONFIRM`], is the floor: then things end too early until a restart, never too late.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::Clock;

/// How long the wall clock must not have been below an offset before the offset is believed for good.
pub const CONFIRM: Duration = Duration::from_secs(60 * 60);

/// How much a clock is corrected without anybody having turned it, in microseconds.
const CORRECTION: i64 = 1_000_000;

/// A clock for whatever asks what has expired: see the module.
pub struct SteadyClock<C> {
    wall: C,
    /// Monotonic time, in microseconds since some beginning.
    monotonic: Box<dyn Fn() -> i64 + Send + Sync>,
    rule: Mutex<Rule>,
}

impl<C: Clock> SteadyClock<C> {
    /// Begins at what `wall` shows now; follows it back once it has stayed back for `settle`.
    pub fn over(wall: C, settle: Duration) -> Self {
        let began = Instant::now();
        let monotonic = move || i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
        SteadyClock::with_monotonic(wall, settle, Box::new(monotonic))
    }

    fn with_monotonic(wall: C, settle: Duration, monotonic: Box<dyn Fn() -> i64 + Send + Sync>) -> Self {
        let shown = wall.now().timestamp_micros();
        let rule = Rule::new(shown, monotonic(), micros(settle), micros(CONFIRM));
        SteadyClock { wall, monotonic, rule: Mutex::new(rule) }
    }

    /// The time by which things expire, and by how much it is ahead of the wall clock.
    ///
    /// The process reads it every second: what the wall clock shows between two readings goes unnoticed.
    pub fn reading(&self) -> Reading {
        let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        // The wall first: whatever happens between the two readings makes it seem less ahead, and that is not kept.
        let wall = self.wall.now().timestamp_micros();
        let monotonic = (self.monotonic)();
        let turn = rule.read(wall, monotonic);
        let now = monotonic.saturating_add(rule.shown);
        let ahead = Duration::from_micros(u64::try_from(now.saturating_sub(wall)).unwrap_or(0));
        let is_held = rule.shown == rule.floor;
        drop(rule);
        if let Some(turn) = turn {
            turn.log(is_held);
        }
        Reading { now: DateTime::from_timestamp_micros(now).unwrap_or(DateTime::<Utc>::MAX_UTC), ahead }
    }
}

/// One look at a [`SteadyClock`].
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub now: DateTime<Utc>,
    /// Zero while the wall clock is followed.
    pub ahead: Duration,
}

impl<C: Clock> Clock for SteadyClock<C> {
    fn now(&self) -> DateTime<Utc> {
        self.reading().now
    }

    fn era(&self) -> u64 {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner).era
    }
}

impl<C: fmt::Debug> fmt::Debug for SteadyClock<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteadyClock")
            .field("wall", &self.wall)
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

/// What a reading has found out, by how many microseconds. Each is found out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Forward(i64),
    Back(i64),
    /// The clock has stayed back for long enough.
    Followed(i64),
}

impl Turn {
    fn log(self, is_held: bool) {
        match self {
            Turn::Forward(by) => tracing::warn!(
                seconds = by / 1_000_000,
                "the machine's clock jumped forward: sessions and grants expire by it. If it is wrong, correct it \
                 and expiries follow"
            ),
            Turn::Back(by) => tracing::warn!(
                seconds = by / 1_000_000,
                "the machine's clock was set back: what has expired stays expired for now. If the clock is now \
                 right, wait: expiries follow it, but not further than the time since the gate's start allows"
            ),
            Turn::Followed(by) => tracing::warn!(
                seconds = by / 1_000_000,
                is_held,
                "expiries now follow the machine's clock again"
            ),
        }
    }
}

/// The two rules, on numbers alone. Times and offsets are in microseconds.
#[derive(Clone, Debug)]
struct Rule {
    /// The offset that is shown.
    shown: i64,
    /// The offset below which nothing is ever shown.
    floor: i64,
    highest: Window,
    lowest: Window,
    /// Whether the wall clock was behind what is shown at the last reading.
    is_behind: bool,
    era: u64,
}

impl Rule {
    fn new(wall: i64, monotonic: i64, settle: i64, confirm: i64) -> Rule {
        let offset = wall.saturating_sub(monotonic);
        Rule {
            shown: offset,
            floor: offset,
            highest: Window::begin(monotonic, offset, settle, i64::max),
            lowest: Window::begin(monotonic, offset, confirm, i64::min),
            is_behind: false,
            era: 0,
        }
    }

    fn read(&mut self, wall: i64, monotonic: i64) -> Option<Turn> {
        let offset = wall.saturating_sub(monotonic);
        self.highest.add(monotonic, offset);
        self.lowest.add(monotonic, offset);
        if let Some(lowest) = self.lowest.whole() {
            self.floor = self.floor.max(lowest);
        }
        // Until it is known for the whole time, nothing is followed back.
        let highest = self.highest.whole().unwrap_or(self.shown).max(offset);
        let target = highest.max(self.floor);
        let back = self.shown.saturating_sub(target);
        let forward = target.saturating_sub(self.shown);
        if forward > 0 {
            self.shown = target;
        } else if back > CORRECTION {
            self.shown = target;
            self.era += 1;
        }
        let was_behind =
            std::mem::replace(&mut self.is_behind, self.shown.saturating_sub(offset) > CORRECTION);
        if back > CORRECTION {
            Some(Turn::Followed(back))
        } else if forward > CORRECTION {
            Some(Turn::Forward(forward))
        } else if self.is_behind && !was_behind {
            Some(Turn::Back(self.shown.saturating_sub(offset)))
        } else {
            None
        }
    }
}

/// The extreme of what was added within a time, known to within that time again: two parts, of which the older one is
/// forgotten whole.
#[derive(Clone, Debug)]
struct Window {
    length: i64,
    began: i64,
    worse: fn(i64, i64) -> i64,
    current: i64,
    /// `None` until the first part is full.
    before: Option<i64>,
}

impl Window {
    fn begin(at: i64, value: i64, length: i64, worse: fn(i64, i64) -> i64) -> Window {
        Window { length, began: at, worse, current: value, before: None }
    }

    fn add(&mut self, at: i64, value: i64) {
        if at.saturating_sub(self.began) < self.length {
            self.current = (self.worse)(self.current, value);
        } else {
            self.before = Some(self.current);
            self.current = value;
            self.began = at;
        }
    }

    /// The extreme, if it is known for the window's whole length.
    fn whole(&self) -> Option<i64> {
        self.before.map(|before| (self.worse)(before, self.current))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
