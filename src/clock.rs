//! The wall clock, as a parameter: expiries are tested by turning it, not by waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the time, in UTC (invariant I-10 of the RBAC V2 design).
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that is never behind what it has shown, and never slower than time itself: for whatever asks what has expired.
///
/// A machine's clock may be turned back, by a mistake or with intent, and everything that has ended since would begin to
/// live again. So each reading is held against monotonic time, which nobody can turn. What the wall clock is ahead of it
/// is taken up when it grows, and kept when it shrinks. A clock that was too far ahead and is put right is therefore
/// followed only after a restart: until then what is limited by time ends too early, and never too late.
#[derive(Debug)]
pub struct SteadyClock<C> {
    wall: C,
    began: Instant,
    /// The most that the wall clock was ever ahead of the time since `began`, in microseconds.
    ahead: AtomicI64,
    is_behind: AtomicBool,
}

/// By so much a clock is corrected without anybody having turned it, in microseconds.
const CORRECTION: i64 = 1_000_000;

impl<C: Clock> SteadyClock<C> {
    /// Begins at what `wall` shows now.
    pub fn over(wall: C) -> Self {
        let ahead = AtomicI64::new(wall.now().timestamp_micros());
        SteadyClock { wall, began: Instant::now(), ahead, is_behind: AtomicBool::new(false) }
    }

    /// Tells once of each time that the wall clock was turned back.
    fn notice(&self, behind: i64) {
        let is_behind = behind > CORRECTION;
        if self.is_behind.load(Ordering::Relaxed) != is_behind
            && self.is_behind.swap(is_behind, Ordering::Relaxed) != is_behind
            && is_behind
        {
            let seconds = behind / 1_000_000;
            tracing::warn!(
                seconds,
                "the machine's clock was turned back; expiries go by the latest time seen"
            );
        }
    }
}

impl<C: Clock> Clock for SteadyClock<C> {
    fn now(&self) -> DateTime<Utc> {
        // The wall first: whatever happens between the two readings makes it seem less ahead, and that is not kept.
        let wall = self.wall.now().timestamp_micros();
        let passed = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        let ahead = wall.saturating_sub(passed);
        let most = self.ahead.load(Ordering::Relaxed);
        let most =
            if ahead > most { self.ahead.fetch_max(ahead, Ordering::Relaxed).max(ahead) } else { most };
        self.notice(most.saturating_sub(ahead));
        let now = passed.saturating_add(most);
        DateTime::from_timestamp_micros(now).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`, to the microsecond: what both databases store.
    pub fn starting_at(start: DateTime<Utc>) -> Self {
        ManualClock(AtomicI64::new(start.timestamp_micros()))
    }

    /// Turns the clock, forward or back.
    pub fn turn(&self, by: TimeDelta) {
        let micros = by.num_microseconds().unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> DateTime<Utc> {
        C::now(self)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_follows_forward_and_never_back() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let wall = Arc::new(ManualClock::starting_at(start));
        let steady = SteadyClock::over(wall.clone());
        let mut latest = steady.now();
        assert!(latest >= start);
        for hours in [1, -1, -24, 30, -7, 2, -48] {
            wall.turn(TimeDelta::hours(hours));
            let now = steady.now();
            assert!(now >= latest, "went back by {}", latest - now);
            assert!(now >= wall.now(), "stays behind the wall by {}", wall.now() - now);
            latest = now;
        }
        // The furthest that the wall has been, and no further: 1 - 1 - 24 + 30.
        let furthest = start + TimeDelta::hours(6);
        assert!((furthest..furthest + TimeDelta::minutes(5)).contains(&latest), "{latest}");
    }

    /// Turned back, it goes on: nobody is given the time that the wall clock has yet to catch up.
    #[test]
    fn a_steady_clock_does_not_stand_still() {
        let wall = Arc::new(ManualClock::starting_at(Utc::now()));
        let steady = SteadyClock::over(wall.clone());
        wall.turn(TimeDelta::days(-1));
        let first = steady.now();
        let began = Instant::now();
        while steady.now() == first {
            assert!(began.elapsed().as_secs() < 10, "it stands still");
        }
    }
}
