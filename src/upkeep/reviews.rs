//! Reviews of access that open automatically, and the decisions about items that are overdue.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use grants::alerts::{Alert, Alerts};
use grants::reviews::{self, OverdueReview, ReviewError, ReviewTerms};
use ledger::Notary;
use store::reviews::{Overdue, Review};
use store::{SharedStore, StoreError};

use crate::facts;

/// The settings.
#[derive(Clone, Debug, Default)]
pub struct ReviewRules {
    /// How often a review is opened; `None`: only by the command.
    pub period: Option<TimeDelta>,
    pub due_in: TimeDelta,
    pub overdue: Overdue,
    pub groups: BTreeMap<String, Overdue>,
    /// How far back the decision log goes.
    pub log_days: u32,
}

impl ReviewRules {
    /// How a review is opened.
    pub fn terms(&self) -> ReviewTerms<'_> {
        let ReviewRules { due_in, overdue, groups, log_days, .. } = self;
        ReviewTerms { due_in: *due_in, overdue: *overdue, groups, log_days: *log_days }
    }
}

/// How long before a review is due the people on call are told again.
const AHEAD: TimeDelta = TimeDelta::days(3);

/// Opens a review when it is time, decides overdue items, and sends alerts about it.
///
/// # Errors
///
/// The database did not answer.
pub(super) async fn run(
    store: &SharedStore,
    notary: &Notary,
    alerts: &Alerts,
    rules: &ReviewRules,
    now: DateTime<Utc>,
) -> Result<(), ReviewError> {
    for settled in reviews::settle_overdue(store, notary, now).await? {
        send(store, alerts, &overdue(&settled)).await?;
    }
    let last = store.reviews(1).await?.into_iter().next();
    if let Some(open) = last.as_ref().filter(|last| last.closed_at.is_none()) {
        if open.due_at - now <= AHEAD {
            send(store, alerts, &due_soon(open)).await?;
        }
        return Ok(());
    }
    let Some(period) = rules.period else { return Ok(()) };
    if last.is_some_and(|last| last.opened_at + period > now) {
        return Ok(());
    }
    let running = facts::running(store).await.ok();
    let mapping = running.as_ref().map(|running| &running.mapping);
    let opened = reviews::open(store, notary, &rules.terms(), mapping, ("console-gate", now)).await?;
    send(store, alerts, &begun(&opened)).await?;
    Ok(())
}

async fn send(store: &SharedStore, alerts: &Alerts, alert: &Alert) -> Result<(), StoreError> {
    // Without a channel the review is still in the audit, and `console-gate review list` shows it.
    if alerts.channels().is_empty() {
        return Ok(());
    }
    store.add_alerts(&alerts.rows(alert)).await
}

fn begun(review: &Review) -> Alert {
    let due = review.due_at.format("%F");
    Alert {
        key: format!("review {} opened", review.id),
        kind: "access_review",
        subject: format!("console-gate: an access review is open until {due}"),
        text: format!(
            "Decide about each grant (`console-gate review show {}`, `review decide`, docs/runbooks/access-review.md). What \
             nobody has decided by {due} is kept or suspended, as [reviews] says of its group.",
            review.id
        ),
    }
}

fn due_soon(review: &Review) -> Alert {
    let due = review.due_at.format("%F %H:%M");
    Alert {
        key: format!("review {} due", review.id),
        kind: "access_review",
        subject: format!("console-gate: the access review is due at {due} UTC"),
        text: format!(
            "What nobody has decided by then is kept or suspended: `console-gate review show {} --undecided` lists it.",
            review.id
        ),
    }
}

fn overdue(review: &OverdueReview) -> Alert {
    let OverdueReview { id, kept, suspended } = review;
    Alert {
        key: format!("review {id} overdue"),
        kind: "access_review",
        subject: "console-gate: an access review was overdue and is closed".to_owned(),
        text: format!(
            "Of what nobody had decided, {kept} grant(s) were kept and {suspended} were suspended (`console-gate review show \
             {id}`). Grant again what is needed: `console-gate group add`."
        ),
    }
}
