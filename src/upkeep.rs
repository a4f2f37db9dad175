//! Maintenance that runs automatically: when it is due, at one of all gates, and immediately after a start that missed
//! it (`gate_timed_work`).
//!
//! - [`glass_roles`]: the access that a break-glass session would open is compared with the night before.
//! - [`reminders`]: the holder of a grant is told that it ends soon.
//! - [`retention`]: records past their period are deleted.
//! - [`reviews`]: reviews of access open, and overdue items are decided.
//!
//! It uses a row with a lease, not an advisory lock: a lock does not record when the work was last done, and SQLite has
//! none.

pub mod glass_roles;
pub mod reminders;
pub mod retention;
pub mod reviews;

use std::time::Duration;

use clock::SharedClock;
use grants::alerts::Alerts;
use grants::reviews::ReviewError;
use ledger::Notary;
use store::jobs::TimedWork;
use store::{SharedStore, StoreError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a gate checks whether something is due.
const LOOK: Duration = Duration::from_secs(20);

/// The comparison of the break-glass roles with the night before.
pub const GLASS_ROLES: TimedWork =
    TimedWork { name: "break-glass-roles", period: DAY, lease: Duration::from_secs(60) };
pub const REMINDERS: TimedWork = TimedWork {
    name: "grant-reminders",
    period: Duration::from_secs(5 * 60),
    lease: Duration::from_secs(60),
};
pub const RETENTION: TimedWork =
    TimedWork { name: "retention", period: DAY, lease: Duration::from_secs(60 * 60) };

pub const REVIEWS: TimedWork = TimedWork {
    name: "access-reviews",
    period: Duration::from_secs(60 * 60),
    lease: Duration::from_secs(10 * 60),
};

/// The resources for the work.
#[derive(Clone)]
pub struct Upkeep {
    pub store: SharedStore,
    pub notary: Notary,
    pub clock: SharedClock,
    pub alerts: Alerts,
    /// This gate's name.
    pub gate: String,
    /// How long before its end the holder of a grant is reminded; `None`: never.
    pub remind: Option<Duration>,
    /// Days after which drift is deleted; `None`: this gate deletes nothing.
    pub retention_days: Option<u32>,
    pub reviews: reviews::ReviewRules,
}

/// Does the work that is due, for as long as the task runs.
pub async fn follow(upkeep: Upkeep) {
    loop {
        for (what, outcome) in [
            ("the roles of break-glass", upkeep.glass_roles().await),
            ("reminders of grants", upkeep.remind().await),
            ("retention", upkeep.retain().await),
        ] {
            if let Err(error) = outcome {
                tracing::warn!(%error, "{what}: delayed");
            }
        }
        if let Err(error) = upkeep.review().await {
            tracing::warn!(%error, "reviews of access: delayed");
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Upkeep {
    /// Compares the roles of break-glass with the last snapshot if that is due, closes windows whose time has passed,
    /// and sends alerts about changes outside of them.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn glass_roles(&self) -> Result<(), StoreError> {
        glass_roles::close_ended(&self.store, &self.notary, self.clock.now()).await?;
        if self.begins(GLASS_ROLES).await? {
            let taken = glass_roles::nightly(&self.store, &self.notary, self.clock.now()).await;
            self.ends(GLASS_ROLES).await?;
            taken?;
        }
        glass_roles::alert(&self.store, &self.alerts).await
    }

    /// Reminds the holders of grants that end soon, if that is due.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn remind(&self) -> Result<(), StoreError> {
        let Some(ahead) = self.remind.filter(|_| !self.alerts.channels().is_empty()) else { return Ok(()) };
        if !self.begins(REMINDERS).await? {
            return Ok(());
        }
        let reminded = reminders::remind(&self.store, &self.alerts, ahead, self.clock.now()).await;
        self.ends(REMINDERS).await?;
        reminded.map(drop)
    }

    /// Deletes records past their period, if that is due.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn retain(&self) -> Result<(), StoreError> {
        let Some(days) = self.retention_days else { return Ok(()) };
        if !self.begins(RETENTION).await? {
            return Ok(());
        }
        let done = retention::by_gate(&self.store, &self.notary, days, self.clock.now()).await;
        self.ends(RETENTION).await?;
        done
    }

    /// Opens the review that is due, and decides overdue items.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn review(&self) -> Result<(), ReviewError> {
        if !self.begins(REVIEWS).await? {
            return Ok(());
        }
        let now = self.clock.now();
        let done = reviews::run(&self.store, &self.notary, &self.alerts, &self.reviews, now).await;
        self.ends(REVIEWS).await?;
        done
    }

    async fn begins(&self, work: TimedWork) -> Result<bool, StoreError> {
        self.store.take_on(work, &self.gate, self.clock.now()).await
    }

    /// Failed or not: the next run is due after the period, and not immediately.
    async fn ends(&self, work: TimedWork) -> Result<(), StoreError> {
        self.store.has_done(work, &self.gate, self.clock.now()).await
    }
}
