//! Which callers a change concerns, and so how old a cached answer may be.
//!
//! Every change of the access tables has a number: the epoch that it raised the counter to. Most changes concern
//! every caller, for any of them may hold a role. A change of a session's row concerns only callers with that session,
//! and is marked as such: the database lists it under its number, in the same transaction (`gate_session_changes`).
//!
//! ```text
//!   number   41    42     43     44          a reader that knew 41 reads 44, and the list 42: s7, 44: s9
//!   listed    -    s7      -     s9     ->   everybody: 43    s9: 44    known: 44
//! ```
//!
//! An answer about a subject is current if it was read at or after the last change that concerns the subject. **A number
//! that is not listed concerns everybody**, whatever the reason: a change of a role, one that was made by hand, an
//! entry that was forgotten, a jump. So the list can be too short, and never wrong by that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::{counter, gauge};
use policy::identity::Subject;
use policy::ids::{Epoch, SessionId};
use policy::rbac::{Access, RowDigest};
use store::control::ControlReading;

/// Sessions that are remembered. With one more, the last change concerns everybody, and all are forgotten.
const MOST: usize = 8_192;

/// What was learnt from all reads of the control row, strict ones and pushed ones.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rises when the database went back, which makes every answer from before worthless.
    generation: u64,
    /// Rises with each read that finds that changes of Console's tables go unheard: what was read of Console before it may be
    /// old, whatever the epoch is.
    unheard: u64,
    /// Whether the last read found that.
    is_unheard: bool,
    /// Up to here every change is accounted for; `None` before the first read.
    known: Option<Epoch>,
    /// The last change that concerns everybody.
    everybody: Epoch,
    /// The last change of each session's row since. By digest: the key of a row may be what its session is looked up by.
    sessions: HashMap<RowDigest, Epoch>,
    /// The last change of any session's row.
    last_session: Epoch,
}

/// Which changes concern an answer, beside those that concern everybody.
#[derive(Clone, Copy, Debug)]
enum Concern<'s> {
    /// None.
    Everybody,
    /// Those of the session's row.
    Session(&'s SessionId),
    /// Those of the row whose key has this digest.
    Row(RowDigest),
    /// Those of any session's row: it is not known which row the answer was read from, or there was none yet.
    AnySession,
}

impl Concern<'_> {
    /// Which changes concern an answer about `subject`: `access`, or one that is still to be read.
    fn of<'s>(subject: &'s Subject, access: Option<&Access>) -> Concern<'s> {
        match subject {
            Subject::Admin { session: Some(session), .. } => Concern::Session(session),
            Subject::Admin { session: None, .. }
            | Subject::Machine(_)
            | Subject::Enrolled(_)
            | Subject::Stated(_) => Concern::Everybody,
            Subject::Session(_) => access
                .and_then(|access| access.session.as_ref()?.row)
                .map_or(Concern::AnySession, Concern::Row),
        }
    }
}

/// What an answer must have to be current for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) generation: u64,
    /// The last read of the control row that it must come after; 0 where the epoch alone decides.
    pub(super) unheard: u64,
    /// The epoch at which it was read, at the least.
    pub(super) least: Epoch,
}

impl Ledger {
    /// Up to where changes are accounted for: what the next read need not list.
    pub(super) fn known(&self) -> Option<Epoch> {
        self.state().known
    }

    /// Takes note of a read that began when `asked` was known, and lists the changes after it.
    pub(super) fn learn(&self, asked: Option<Epoch>, reading: &ControlReading) {
        let mut state = self.state();
        let read = reading.row.epoch;
        state.hear(reading.row.console_watched);
        match (asked, state.known) {
            (Some(asked), Some(known)) if read >= asked => {
                if read > known {
                    // Where the database went back meanwhile, this read lists no change between the two.
                    if asked > known {
                        state.concern_everybody(asked);
                    }
                    state.account(known.max(asked), reading);
                }
            }
            (Some(asked), _) => {
                tracing::error!(
                    "the database went back from epoch {asked} to {read}: a restored backup, or a standby without \
                     the last changes; the cache is cleared. Restart the gates that share the database"
                );
                counter!("gate_epoch_went_back_total").increment(1);
                let generation = state.generation + 1;
                let (unheard, is_unheard) = (state.unheard, state.is_unheard);
                let fresh = State { generation, known: Some(read), everybody: read, ..State::default() };
                *state = State { unheard, is_unheard, ..fresh };
            }
            // Nothing was listed.
            (None, known) if known.is_none_or(|known| read > known) => {
                state.concern_everybody(read);
                state.known = Some(read);
            }
            (None, _) => {}
        }
    }

    /// What an answer about `subject` must have for a request that observed `observed`.
    pub(super) fn terms(&self, subject: &Subject, observed: Epoch) -> Terms {
        let state = self.state();
        let least = state.least(Concern::of(subject, None), observed);
        let unheard = match subject {
            Subject::Admin { .. } | Subject::Session(_) => state.unheard,
            // Nothing of it is Console's but the registry, whose triggers are the gate's own.
            Subject::Machine(_) | Subject::Enrolled(_) | Subject::Stated(_) => 0,
        };
        Terms { generation: state.generation, unheard, least }
    }

    /// The same for one answer: the answer itself may say which changes concern it.
    pub(super) fn terms_of(
        &self,
        access: &Access,
        subject: &Subject,
        observed: Epoch,
        terms: Terms,
    ) -> Terms {
        match subject {
            Subject::Session(_) => {
                Terms { least: self.state().least(Concern::of(subject, Some(access)), observed), ..terms }
            }
            Subject::Admin { .. } | Subject::Machine(_) | Subject::Enrolled(_) | Subject::Stated(_) => terms,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The epoch at which an answer that these changes concern was read, at the least.
    fn least(&self, concern: Concern, observed: Epoch) -> Epoch {
        if self.known.is_none_or(|known| known < observed) {
            return observed;
        }
        let own = match concern {
            Concern::Everybody => None,
            Concern::Session(_) if self.sessions.is_empty() => None,
            Concern::Session(session) => self.sessions.get(&RowDigest::of(session.as_str())),
            Concern::Row(row) => self.sessions.get(&row),
            Concern::AnySession => Some(&self.last_session),
        };
        own.map_or(self.everybody, |own| self.everybody.max(*own))
    }

    /// Takes note of whether a change of Console's tables would have been heard. Where not, an answer counts for those alone
    /// who asked before the read began, and those all wait for it: each later request brings a later read.
    fn hear(&mut self, is_watched: bool) {
        gauge!("gate_console_untriggered").set(if is_watched { 0.0 } else { 1.0 });
        if self.is_unheard == is_watched {
            self.is_unheard = !is_watched;
            if is_watched {
                tracing::info!("changes of Console's tables are noticed again");
            } else {
                tracing::error!(
                    "a change of Console's tables may go unnoticed: they are read for each request; \
                     `console-gate check` shows why, and `console-gate migrate` puts the triggers back"
                );
            }
        }
        if !is_watched {
            self.unheard += 1;
        }
    }

    /// Accounts for the changes after `from`, up to the one that was read.
    fn account(&mut self, from: Epoch, reading: &ControlReading) {
        let read = reading.row.epoch;
        if let Some(last) = reading.last_for_everybody(from) {
            self.concern_everybody(last);
        }
        for change in reading.changes.iter().filter(|change| change.epoch > self.everybody) {
            let known = self.sessions.entry(RowDigest::of(change.session.as_str())).or_default();
            *known = (*known).max(change.epoch);
            self.last_session = self.last_session.max(change.epoch);
        }
        if self.sessions.len() > MOST {
            self.concern_everybody(read);
        }
        self.known = Some(read);
    }

    /// A change that concerns everybody makes those before it of no interest.
    fn concern_everybody(&mut self, epoch: Epoch) {
        if epoch > self.everybody {
            self.everybody = epoch;
            self.sessions.retain(|_, changed| *changed > epoch);
        }
    }
}

#[cfg(test)]
mod tests;
