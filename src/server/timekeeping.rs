//! Reads the clock of expiries every second, so that it notices a turned clock even while there are no requests.

use std::sync::Arc;
use std::time::Duration;

use clock::{SteadyClock, SystemClock};
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};

const TICK: Duration = Duration::from_secs(1);

/// Reads the clock until the task is dropped.
pub(super) async fn follow(clock: Arc<SteadyClock<SystemClock>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        gauge!("gate_clock_ahead_seconds").set(clock.reading().ahead.as_secs_f64());
    }
}
