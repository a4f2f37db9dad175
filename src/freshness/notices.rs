//! Warnings about rows that cannot be used: each soon, and none for ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use policy::rbac::flaw::{Flaw, FlawKind};
use tokio::time::Instant;

/// Between two warnings of one row. It is read again with each change of the access tables.
const SILENCE: Duration = Duration::from_secs(3_600);
/// Rows that are remembered. Those beyond are counted, and `console-gate check` lists them.
const MOST: usize = 256;

/// What has been warned of, and when.
#[derive(Debug, Default)]
pub(super) struct Notices {
    warned: Mutex<HashMap<Flaw, Instant>>,
}

impl Notices {
    /// Counts the rows, and warns of those that were not warned of lately.
    pub(super) fn warn_about(&self, flaws: &[Flaw]) {
        for flaw in flaws {
            counter!("gate_unusable_rows_total", "kind" => flaw.kind.word()).increment(1);
            if self.is_due(flaw, Instant::now()) {
                if flaw.kind == FlawKind::NoLegacyRoles {
                    tracing::error!(why = ?flaw.word, "Console's legacy roles cannot be read: legacy rows are refused");
                    continue;
                }
                let whose = flaw.holder.as_deref().unwrap_or("unknown");
                // As literals: a word of the database's must not forge a line of the log.
                tracing::warn!(
                    holder = ?whose,
                    word = ?flaw.word,
                    "a row of `{}.{}` cannot be used and grants nothing: correct it; `console-gate check` lists all of them",
                    flaw.table,
                    flaw.column,
                );
            }
        }
    }

    fn is_due(&self, flaw: &Flaw, now: Instant) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.duration_since(*at) < SILENCE;
        if warned.get(flaw).is_some_and(is_recent) {
            return false;
        }
        if warned.len() >= MOST {
            warned.retain(|_, at| is_recent(at));
        }
        let has_room = warned.len() < MOST;
        if has_room {
            warned.insert(flaw.clone(), now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(holder: &str) -> Flaw {
        Flaw {
            kind: FlawKind::MalformedRole,
            table: "admin_roles".into(),
            column: "role".into(),
            word: Some("Ops".into()),
            holder: Some(holder.into()),
        }
    }

    #[test]
    fn each_row_is_warned_of_once_an_hour_and_never_too_many() {
        let (notices, now) = (Notices::default(), Instant::now());
        assert!(notices.is_due(&flaw("anna"), now));
        assert!(notices.is_due(&flaw("ben"), now));
        assert!(!notices.is_due(&flaw("anna"), now + SILENCE / 2));
        assert!(notices.is_due(&flaw("anna"), now + SILENCE));
        let warnings = (0..2 * MOST).filter(|number| notices.is_due(&flaw(&number.to_string()), now)).count();
        assert_eq!(warnings, MOST - 2);
        assert!(notices.is_due(&flaw("later"), now + 2 * SILENCE), "an old warning makes room");
    }
}
