//! Sums that were lost nevertheless: counted at once, and recorded with their time when the database takes that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use store::evidence::{EvidenceKind, Gap};

use super::lock;

/// Losses that are further apart count as two gaps.
const APART: TimeDelta = TimeDelta::minutes(1);

/// Why something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// Too much was waiting to be written.
    NoRoom,
    /// The database refuses the row for its content.
    Refused,
    /// It waited for a day.
    TooOld,
}

impl Cause {
    /// The stable word.
    const fn word(self) -> &'static str {
        match self {
            Cause::NoRoom => "no_room",
            Cause::Refused => "refused",
            Cause::TooOld => "too_old",
        }
    }
}

/// Losses that are not recorded yet, or may go on.
pub(super) struct Losses {
    kind: EvidenceKind,
    gate: Arc<str>,
    count: AtomicU64,
    open: Mutex<HashMap<(Arc<str>, Cause), Open>>,
}

struct Open {
    gap: Gap,
    is_recorded: bool,
}

impl Losses {
    pub(super) fn new(kind: EvidenceKind, gate: Arc<str>) -> Losses {
        Losses { kind, gate, count: AtomicU64::new(0), open: Mutex::default() }
    }

    /// Occurrences that were lost since the process began.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn add(
        &self,
        cluster: &Arc<str>,
        occurrences: i64,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        cause: Cause,
    ) {
        let lost = match self.kind {
            EvidenceKind::Drift => "gate_drift_lost_total",
            EvidenceKind::Decisions => "gate_decisions_lost_total",
        };
        counter!(lost).increment(occurrences.unsigned_abs());
        self.count.fetch_add(occurrences.unsigned_abs(), Ordering::Relaxed);
        let mut open = lock(&self.open);
        // A recorded gap that is long over is closed: a loss now is another one.
        open.retain(|_, open| !open.is_recorded || since - open.gap.until <= APART);
        let open = open.entry((cluster.clone(), cause)).or_insert_with(|| Open {
            gap: Gap {
                id: uuid::Uuid::now_v7(),
                kind: self.kind,
                cluster: cluster.clone(),
                since,
                until,
                occurrences: 0,
                cause: cause.word(),
                gate: self.gate.clone(),
            },
            is_recorded: false,
        });
        open.gap.occurrences += occurrences;
        open.gap.since = open.gap.since.min(since);
        open.gap.until = open.gap.until.max(until);
        open.is_recorded = false;
    }

    /// The gaps to record, for the first time or again.
    pub(super) fn unrecorded(&self) -> Vec<Gap> {
        let open = lock(&self.open);
        open.values().filter(|open| !open.is_recorded).map(|open| open.gap.clone()).collect()
    }

    /// Notes that these gaps are in the database, as they were then.
    pub(super) fn recorded(&self, gaps: &[Gap]) {
        let mut open = lock(&self.open);
        for open in open.values_mut() {
            open.is_recorded |= gaps.contains(&open.gap);
        }
    }
}
