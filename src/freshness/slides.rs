//! The idle ends of the gate's own sessions, which move with use.
//!
//! A request costs one relaxed load. Of all requests of a session within a minute, one puts it into a queue, and a task
//! moves the ends of all that it finds there in one transaction. An answer about access ends with its session's idle end as it
//! was read; then it is read again, and finds the later one. So a session may end up to a minute early, and never late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use policy::rbac::Access;
use store::SharedStore;
use tokio::sync::mpsc;

/// How often the end of one session moves at most, and so how early a session may end.
pub const EVERY: TimeDelta = TimeDelta::seconds(60);
/// How many sessions wait to be moved. One that finds no room moves with its next request.
const WAITING: usize = 4_096;
/// The most sessions of one transaction.
const MOST: usize = 256;
/// How long a transaction waits for further sessions.
const GATHERING: Duration = Duration::from_millis(250);

/// A session, and when it was used.
type Used = (Arc<str>, DateTime<Utc>);

/// Where requests report that a session was used.
#[derive(Clone, Debug)]
pub struct Slides(mpsc::Sender<Used>);

impl Slides {
    /// Starts the task that moves ends by `idle`.
    pub fn start(store: SharedStore, idle: TimeDelta) -> Slides {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(follow(receiver, store, idle));
        Slides(sender)
    }

    /// Notes that the session, if it is one of the gate's own, was used.
    pub fn used(&self, access: &Access, now: DateTime<Utc>) {
        let Some(session) = &access.session else { return };
        if session.login.as_ref().is_some_and(|login| login.slides(now, EVERY))
            && self.0.try_send((session.id.shared(), now)).is_err()
        {
            counter!("gate_session_slides_dropped_total").increment(1);
        }
    }
}

async fn follow(mut used: mpsc::Receiver<Used>, store: SharedStore, idle: TimeDelta) {
    let mut batch = Vec::new();
    while used.recv_many(&mut batch, MOST).await > 0 {
        tokio::time::sleep(GATHERING).await;
        while batch.len() < MOST
            && let Ok(one) = used.try_recv()
        {
            batch.push(one);
        }
        // In order, so that two gates never wait for each other's rows; of several uses of one session, the last.
        let mut used = BTreeMap::new();
        for (id, at) in batch.drain(..) {
            let last = used.entry(id).or_insert(at);
            *last = at.max(*last);
        }
        if let Err(error) = store.slide_sessions(&used, idle).await {
            counter!("gate_session_slides_failed_total").increment(used.len() as u64);
            tracing::warn!(%error, sessions = used.len(), "the idle ends of sessions were not moved; they may end early");
        }
    }
}
