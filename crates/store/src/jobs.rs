//! Work that is due now and then, and that one of all gates does: a row each, with who does it and until when.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::sql::sql;
use crate::{Store, StoreError};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedWork {
    /// The stable name of its row.
    pub name: &'static str,
    /// How often it is due.
    pub period: Duration,
    /// How long it takes at most: after that another gate may do it.
    pub lease: Duration,
}

impl Store {
    /// Leases the work to `gate`, if it is due at `now` and not leased. Work that was not done for longer than its period,
    /// as all gates were down, is due at once; so is work that a clock that was ahead has put off.
    pub async fn take_on(&self, work: TimedWork, gate: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let until = now + span(work.lease);
        self.execute(sql(FIRST).bind(work.name).bind(now)).await?;
        let take = sql(TAKE).bind(work.name).bind(now).bind(gate).bind(until);
        let far = now + span(work.period.max(work.lease) * 2);
        Ok(self.execute(take.bind(far)).await? == 1)
    }

    /// Notes that `gate` has done what it took on; it is due again after its period.
    pub async fn has_done(&self, work: TimedWork, gate: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let done = sql(DONE).bind(work.name).bind(gate).bind(now + span(work.period)).bind(now);
        self.execute(done).await.map(drop)
    }
}

fn span(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX / 4)
}

const FIRST: &str = "
    INSERT INTO gate_timed_work (name, due_at_utc) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
const TAKE: &str = "
    UPDATE gate_timed_work SET taken_by = $3, taken_until_utc = $4
     WHERE name = $1 AND (due_at_utc <= $2 OR due_at_utc > $5)
       AND (taken_until_utc IS NULL OR taken_until_utc <= $2 OR taken_until_utc > $5)";
const DONE: &str = "
    UPDATE gate_timed_work SET due_at_utc = $3, done_at_utc = $4, taken_by = NULL, taken_until_utc = NULL
     WHERE name = $1 AND taken_by = $2";
