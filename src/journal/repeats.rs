//! Denials that repeat a recorded one, on paths that no row covers.
//!
//! A browser requests an icon on every page, and a page may poll an address that no longer exists. The first denial is
//! written before it is answered, as every denial is. For an hour, further denials that would write the same row are
//! counted, and one more row, sealed in the same chain, records their number:
//!
//! ```text
//! 403 -> access_denied, durable -> 403, 403, 403: counted -> an hour later, or the gate stops -> denials_repeated
//! ```
//!
//! A gate that is killed loses that count, never the first row. A denial on a path of the mapping does not come here.
//! No personal data is kept: a denial is identified by a digest, and the second row names the first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::SharedClock;
use futures::future::join_all;
use ledger::event::{AccessDenied, AuditEvent};
use metrics::counter;
use policy::ids::MappingSha256;
use policy::method::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::finishing::finish;
use super::writer::{AuditError, AuditWriter};

/// How long repeats are counted after the first denial.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The interval between looks for ended series.
const LOOK: Duration = Duration::from_secs(1);
/// Denials whose repeats are counted at a time: some megabytes. A denial that finds no room is written as if it were
/// the first.
const MOST: usize = 20_000;
/// The share of one principal, so that a scanner does not take the room of the others.
const MOST_OF_ONE: usize = 1_000;
/// Rows that the writer gets together.
const BATCH: usize = 256;

/// The content of a denial, except its time, request, epoch and session. The cookie names the session, and Flask signs
/// it anew as often as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    whole: [u8; 32],
    principal: [u8; 32],
}

impl Statement {
    /// The statement of `denied`.
    pub fn of(denied: &AccessDenied) -> Statement {
        let principal = json!([denied.actor_kind, denied.actor_id]).to_string();
        let whole = json!([
            principal,
            denied.client_address,
            denied.method.as_str(),
            denied.path,
            denied.route,
            denied.reason,
            denied.required,
            denied.held,
            denied.mapping_sha256.as_str(),
        ]);
        let digest = |text: &str| Sha256::digest(text).into();
        Statement { whole: digest(&whole.to_string()), principal: digest(&principal) }
    }
}

/// The first denial of a series, whose row is durable.
#[derive(Clone, Debug)]
pub struct First {
    pub row: Uuid,
    pub method: Method,
    pub reason: &'static str,
    pub mapping: MappingSha256,
}

/// A denial and its repeats.
#[derive(Clone, Debug)]
struct Series {
    first: First,
    count: u64,
    /// The time of the first and the last repeat; meaningless while there is none.
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    last_request_id: String,
}

impl Series {
    fn into_event(self) -> AuditEvent {
        AuditEvent::DenialsRepeated {
            first: self.first.row,
            count: self.count,
            since: self.since,
            until: self.until,
            last_request_id: self.last_request_id,
            method: self.first.method,
            reason: self.first.reason,
            mapping_sha256: self.first.mapping,
        }
    }
}

#[derive(Default)]
struct State {
    open: HashMap<Statement, Series>,
    /// When each series ends, the earliest first.
    ends: VecDeque<(Instant, Statement)>,
    of_principal: HashMap<[u8; 32], usize>,
    /// Series whose row is to be written.
    ended: Vec<Series>,
    is_closed: bool,
}

impl State {
    /// Ends the series that began more than an hour before `now`.
    fn end(&mut self, now: Instant) {
        while let Some((end, statement)) = self.ends.front().copied()
            && end <= now
        {
            self.ends.pop_front();
            let Some(series) = self.open.remove(&statement) else { continue };
            if let Some(count) = self.of_principal.get_mut(&statement.principal) {
                *count -= 1;
                if *count == 0 {
                    self.of_principal.remove(&statement.principal);
                }
            }
            if series.count > 0 {
                self.ended.push(series);
            }
        }
    }

    fn has_room_for(&self, statement: &Statement) -> bool {
        let own = self.of_principal.get(&statement.principal).copied().unwrap_or_default();
        self.open.len() + self.ended.len() < MOST && own < MOST_OF_ONE
    }
}

struct Shared {
    state: Mutex<State>,
    clock: SharedClock,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The value is whole after every statement, so a panic elsewhere does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the repeats.
#[derive(Clone)]
pub struct Repeats {
    shared: Arc<Shared>,
    finish: mpsc::Sender<oneshot::Sender<()>>,
}

impl Repeats {
    /// Starts the task that writes the counts, on the current runtime.
    pub fn start(audit: AuditWriter, clock: SharedClock) -> Repeats {
        let shared = Arc::new(Shared { state: Mutex::default(), clock });
        let (finish, finishing) = mpsc::channel(1);
        tokio::spawn(Writer { shared: shared.clone(), audit }.run(finishing));
        Repeats { shared, finish }
    }

    /// The durable row of the last hour with the same statement, if any; this denial is then counted, and needs no row.
    pub fn count(&self, statement: &Statement, request_id: &str) -> Option<Uuid> {
        let at = self.shared.clock.now();
        let mut state = self.shared.state();
        state.end(Instant::now());
        let series = state.open.get_mut(statement)?;
        if series.count == 0 {
            series.since = at;
        }
        series.count += 1;
        series.until = at;
        request_id.clone_into(&mut series.last_request_id);
        counter!("gate_denials_repeated_total").increment(1);
        Some(series.first.row)
    }

    /// Begins to count the repeats of this denial. Its row must be durable.
    pub fn begin(&self, statement: Statement, first: First) {
        let (at, now) = (self.shared.clock.now(), Instant::now());
        let mut state = self.shared.state();
        state.end(now);
        // If two were denied at the same time, each has its row, and either will do.
        if state.is_closed || state.open.contains_key(&statement) || !state.has_room_for(&statement) {
            return;
        }
        *state.of_principal.entry(statement.principal).or_default() += 1;
        state.ends.push_back((now + HOUR, statement));
        let series = Series { first, count: 0, since: at, until: at, last_request_id: String::new() };
        state.open.insert(statement, series);
    }

    /// Writes every count now, for a gate that no longer takes requests.
    pub async fn finish(&self, limit: Duration) {
        if finish(&self.finish, limit).await.is_none() {
            tracing::warn!("the counts of repeated denials were not written in time");
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    audit: AuditWriter,
}

impl Writer {
    /// Writes until all counters are dropped.
    async fn run(self, mut finishing: mpsc::Receiver<oneshot::Sender<()>>) {
        loop {
            match tokio::time::timeout(LOOK, finishing.recv()).await {
                Err(_) => {
                    self.shared.state().end(Instant::now());
                    self.write().await;
                }
                Ok(asked) => {
                    self.close();
                    self.write().await;
                    let lost = self.shared.state().ended.len();
                    if lost > 0 {
                        tracing::error!(
                            lost,
                            "the audit writer has stopped: counts of repeated denials are lost"
                        );
                    }
                    match asked {
                        Some(done) => drop(done.send(())),
                        None => return,
                    }
                }
            }
        }
    }

    /// Ends every series, and takes no more.
    fn close(&self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        state.end(Instant::now() + HOUR);
    }

    /// Hands the ended counts to the audit's writer, until it takes no more.
    async fn write(&self) {
        loop {
            let batch: Vec<Series> = {
                let mut state = self.shared.state();
                let rest = state.ended.len().min(BATCH);
                state.ended.drain(..rest).collect()
            };
            if batch.is_empty() {
                return;
            }
            let now = self.shared.clock.now();
            let writes =
                batch.iter().map(|series| self.audit.write(series.clone().into_event().into_record(now)));
            let outcomes = join_all(writes).await;
            let mut waits = Vec::new();
            for (series, outcome) in batch.into_iter().zip(outcomes) {
                match outcome {
                    Ok(()) => {}
                    // It was not taken at all, so it is retried.
                    Err(AuditError::Full) => waits.push(series),
                    // The writer has it and will finish it, or never will: a second attempt could count twice.
                    Err(error) => {
                        let (first, count) = (series.first.row, series.count);
                        tracing::error!(%error, %first, count, "the count of repeated denials may be lost");
                    }
                }
            }
            if !waits.is_empty() {
                self.shared.state().ended.extend(waits);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
