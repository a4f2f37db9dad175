//! Connections that are used again at once, without their pool.
//!
//! A pool pings each connection on its way back, which takes as long as a statement. And a connection wakes the threads of the
//! runtime on which it was opened, so that another runtime would have to be woken by them. So the epoch's reader and the audit's
//! writer keep the connection of their last statement, each runtime its own.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime;

use crate::StoreError;
use crate::engine::connection::{Connection, Pool};

/// After a longer pause a connection is not used: a firewall or proxy may have dropped it. As long as pools wait.
const MOST_IDLE: Duration = Duration::from_secs(10 * 60);
/// After this time a connection goes back to its pool, which replaces those that are old.
const MOST_KEPT: Duration = Duration::from_secs(30 * 60);

/// The connections that are kept.
#[derive(Debug, Default)]
pub(crate) struct KeptConnections(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    runtime: Option<runtime::Id>,
    connection: Connection,
    first_used: Instant,
    last_used: Instant,
}

/// A connection for one statement. It goes back to its pool, unless [`InUse::keep`] marks the statement as successful.
#[derive(Debug)]
pub(crate) struct InUse<'k> {
    of: &'k KeptConnections,
    connection: Connection,
    first_used: Instant,
}

impl KeptConnections {
    /// The connection that is kept for this runtime, else one of the pool.
    pub(crate) async fn take_or(&self, pool: &Pool) -> Result<InUse<'_>, StoreError> {
        if let Some(Kept { mut connection, first_used, last_used, .. }) = self.take() {
            if last_used.elapsed() < MOST_IDLE {
                return Ok(InUse { of: self, connection, first_used });
            }
            connection.close_on_drop();
        }
        Ok(InUse { of: self, connection: pool.acquire().await?, first_used: Instant::now() })
    }

    /// Closes those that are kept.
    pub(crate) fn clear(&self) {
        let kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for mut kept in kept {
            kept.connection.close_on_drop();
        }
    }

    fn take(&self) -> Option<Kept> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = current_runtime();
        let place = kept.iter().position(|kept| kept.runtime == here)?;
        Some(kept.swap_remove(place))
    }
}

impl InUse<'_> {
    /// Keeps the connection for the next statement.
    pub(crate) fn keep(self) {
        let InUse { of, connection, first_used } = self;
        if first_used.elapsed() > MOST_KEPT {
            return;
        }
        let new = Kept { runtime: current_runtime(), connection, first_used, last_used: Instant::now() };
        let mut kept = of.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two that were in use at the same time, the other goes back to the pool.
        if kept.iter().all(|kept| kept.runtime != new.runtime) {
            kept.push(new);
        }
    }
}

impl Deref for InUse<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for InUse<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

fn current_runtime() -> Option<runtime::Id> {
    runtime::Handle::try_current().ok().map(|runtime| runtime.id())
}
