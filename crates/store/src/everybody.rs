//! What everybody holds, kept between the reads of it until something changes.
//!
//! A page asks several questions about everybody. Each of them is answered as of an epoch that was observed after it was
//! asked: what was read before is used again only if the control row proves that nothing but sessions has changed since, and
//! until the first end or beginning of something that is limited in time.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::ids::Epoch;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::Person;
use tokio::sync::Mutex;

use crate::control::ControlRow;
use crate::grantors::Grantor;
use crate::rbac_changes::{StoredMembership, StoredTimedGrant};
use crate::{Store, StoreError};

/// How often a read is tried while access changes.
const TRIES: u32 = 5;
/// The most people, memberships or grants that are kept: beyond it, each read is for itself.
const MOST: usize = 50_000;

/// The registry, and every principal that was granted anything.
#[derive(Clone, Debug)]
pub struct Everybody {
    pub catalog: Arc<Catalog>,
    /// In the order of kind and id.
    pub people: Arc<Vec<Person>>,
}

/// Who granted what to whom.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Every membership, in the order of admin and group.
    pub memberships: Arc<[StoredMembership]>,
    /// Every membership with an end that was not revoked, in the order of admins.
    pub timed: Arc<[StoredTimedGrant]>,
    pub grantors: Arc<[Grantor]>,
}

/// What was read, and how long it is true.
#[derive(Debug)]
struct Entry<T> {
    epoch: Epoch,
    read_at: DateTime<Utc>,
    /// When something begins or ends next.
    until: Option<DateTime<Utc>>,
    value: T,
}

/// What one read is kept in. While it is read anew, others wait for that.
#[derive(Debug)]
pub(crate) struct Kept<T>(Mutex<Option<Entry<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept(Mutex::new(None))
    }
}

impl Store {
    /// Everybody as of `now`, read as of one epoch that was observed after the call; `None` where access kept changing.
    pub async fn everybody(&self, now: DateTime<Utc>) -> Result<Option<Everybody>, StoreError> {
        let mut kept = self.everybody.0.lock().await;
        for _ in 0..TRIES {
            let before = match self.current(&mut kept, now).await? {
                Current::Value(value) => return Ok(Some(value)),
                Current::ReadAt(reading) => reading,
            };
            let catalog = self.catalog().await?.into();
            let (people, until) = self.census_until(now).await?;
            let fits = people.len() <= MOST;
            let value = Everybody { catalog, people: people.into() };
            if let Some(keeps) = self.is_of(&before).await? {
                let entry = Entry { epoch: before.epoch, read_at: now, until, value: value.clone() };
                *kept = (fits && keeps).then_some(entry);
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The same of what was granted.
    pub async fn granted(&self, now: DateTime<Utc>) -> Result<Option<Granted>, StoreError> {
        let mut kept = self.granted.0.lock().await;
        for _ in 0..TRIES {
            let before = match self.current(&mut kept, now).await? {
                Current::Value(value) => return Ok(Some(value)),
                Current::ReadAt(reading) => reading,
            };
            let mut memberships = self.memberships().await?;
            memberships.sort_by(|one, other| (&one.admin, &one.group).cmp(&(&other.admin, &other.group)));
            let mut timed = self.timed_grants().await?;
            // Of one admin they stay in the order of groups and ids.
            timed.sort_by(|one, other| one.admin.cmp(&other.admin));
            let grantors = self.grantors().await?.into();
            let fits = memberships.len() + timed.len() <= MOST;
            let value = Granted { memberships: memberships.into(), timed: timed.into(), grantors };
            if let Some(keeps) = self.is_of(&before).await? {
                // It has what has ended and what begins later, so no time changes it.
                let entry = Entry { epoch: before.epoch, read_at: now, until: None, value: value.clone() };
                *kept = (fits && keeps).then_some(entry);
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// What is kept, if it is still true; otherwise the control row as of which it is to be read.
    async fn current<T: Clone>(
        &self,
        kept: &mut Option<Entry<T>>,
        now: DateTime<Utc>,
    ) -> Result<Current<T>, StoreError> {
        let reading = self.control_since(kept.as_ref().map(|entry| entry.epoch)).await?;
        let is_true = |entry: &&mut Entry<T>| {
            reading.row.console_watched
                && reading.only_sessions_changed_since(entry.epoch)
                && entry.read_at <= now
                && entry.until.is_none_or(|until| now < until)
        };
        Ok(match kept.as_mut().filter(is_true) {
            Some(entry) => {
                // Changes of sessions are listed for a while only.
                entry.epoch = reading.row.epoch;
                Current::Value(entry.value.clone())
            }
            None => Current::ReadAt(reading.row),
        })
    }

    /// Whether nothing but sessions has changed since; `None` if something has. People log in all the time, and that does not
    /// change who holds what. `Some(false)`: it may change without a rise of the epoch.
    async fn is_of(&self, before: &ControlRow) -> Result<Option<bool>, StoreError> {
        let after = self.control_since(Some(before.epoch)).await?;
        let is_of = after.only_sessions_changed_since(before.epoch);
        Ok(is_of.then_some(after.row.console_watched && before.console_watched))
    }
}

enum Current<T> {
    Value(T),
    ReadAt(ControlRow),
}
