//! What an auditor wants to see of a period: who held what, what was changed, who used it, what was reviewed, and who broke
//! glass.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use store::SharedStore;
use store::audit::StoredEvent;
use store::break_glass::StoredGlass;
use store::decisions::DecisionRecord;
use store::history::StoredUse;
use store::reviews::{Review, ReviewItem};
use workbench::who::held::{PastGrant, held};
use workbench::who::{History, Period};

use super::did::gaps;
use super::{Assumptions, Facts, WorkbenchError};
use crate::settings::Decisions;

/// A period that is asked about, its end no part of it.
#[derive(Clone, Copy, Debug)]
pub struct ReportOf<'a> {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub now: DateTime<Utc>,
    pub decisions: &'a Decisions,
}

/// A period, as far as it was recorded.
#[derive(Debug, Serialize)]
pub struct Report {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub made_at: DateTime<Utc>,
    /// Who held what.
    pub access: Vec<PastGrant>,
    /// The sealed rows about changes, the oldest first.
    pub changes: Vec<StoredEvent>,
    /// Who used which row; what was let in is by the hour.
    pub uses: Vec<StoredUse>,
    /// The reviews that were open at some time of the period.
    pub reviews: Vec<ReviewInPeriod>,
    /// The break-glass sessions that were live at some time of the period, or whose review was open.
    pub break_glass: Vec<SessionInPeriod>,
    /// What is not known of the past, and what was taken instead.
    pub assumptions: Vec<String>,
    /// What is missing in the log of uses.
    pub gaps: Vec<String>,
}

/// A review of access.
#[derive(Debug, Serialize)]
pub struct ReviewInPeriod {
    #[serde(flatten)]
    pub review: Review,
    /// How many items were decided how; `undecided` for the others.
    pub decisions: BTreeMap<String, u64>,
    pub items: Vec<ReviewItem>,
}

/// A break-glass session.
#[derive(Debug, Serialize)]
pub struct SessionInPeriod {
    pub id: String,
    pub admin: String,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub granted_by: Option<String>,
    pub starts: Option<DateTime<Utc>>,
    pub over_at: Option<DateTime<Utc>>,
    pub ended_by: Option<String>,
    pub review_opened_at: Option<DateTime<Utc>>,
    pub review_closed_at: Option<DateTime<Utc>>,
    pub review_closed_by: Option<String>,
    pub review_comment: Option<String>,
    /// Requests that it let in, by the review.
    pub requests: Option<i64>,
}

/// Gathers a period.
///
/// # Errors
///
/// The database did not answer, or access changed each time while it was read.
pub async fn report(store: &SharedStore, asked: ReportOf<'_>) -> Result<Report, WorkbenchError> {
    let ReportOf { from, until, now, decisions } = asked;
    let mut assumptions = Assumptions::default();
    let facts = Facts::read(store, from).await?;
    let (holders, changes) = facts.people(from, now, &mut assumptions);
    let rules = Vec::new();
    let history = History {
        now,
        catalog: facts.catalog,
        holders,
        changes,
        rules,
        break_glass: store.break_glass_rules(),
    };
    let (access, misfits) = held(&history, Period { from, until: Some(until) });
    assumptions.of_the_past(facts.recording_since, from);
    misfits.iter().for_each(|misfit| assumptions.add(misfit));
    let hour = DecisionRecord::hour_of(from);
    Ok(Report {
        from,
        until,
        made_at: now,
        access,
        changes: store.changes_between(from, until).await?,
        uses: store.uses(hour, until).await?,
        reviews: reviews(store, from, until).await?,
        break_glass: sessions(store, from, until).await?,
        assumptions: assumptions.0,
        gaps: gaps(store, (hour, until, now), &BTreeSet::new(), decisions).await?,
    })
}

async fn reviews(
    store: &SharedStore,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<ReviewInPeriod>, WorkbenchError> {
    let mut found = Vec::new();
    let is_inside =
        |review: &Review| review.opened_at < until && review.closed_at.is_none_or(|closed| closed >= from);
    for review in store.reviews(u32::MAX).await?.into_iter().filter(is_inside) {
        let items = store.review_items(&review.id).await?;
        let mut decisions = BTreeMap::new();
        for item in &items {
            let decision = item.decision.clone().unwrap_or_else(|| "undecided".to_owned());
            *decisions.entry(decision).or_default() += 1;
        }
        found.push(ReviewInPeriod { review, decisions, items });
    }
    Ok(found)
}

async fn sessions(
    store: &SharedStore,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<SessionInPeriod>, WorkbenchError> {
    let is_inside = |session: &StoredGlass| {
        let was_live = session.span().starts.is_some_and(|starts| starts < until)
            && session.over_at().is_none_or(|over| over > from);
        let was_open = session.opened_at.is_some_and(|opened| opened < until)
            && session.closed_at.is_none_or(|closed| closed >= from);
        was_live || was_open
    };
    let sessions = store.glass_sessions(None).await?.into_iter().filter(is_inside);
    Ok(sessions
        .map(|session| SessionInPeriod {
            over_at: session.over_at(),
            id: session.id,
            admin: session.admin,
            reason: session.reason,
            ticket: session.ticket,
            granted_by: session.granted_by,
            starts: session.starts,
            ended_by: session.ended_by,
            review_opened_at: session.opened_at,
            review_closed_at: session.closed_at,
            review_closed_by: session.closed_by,
            review_comment: session.comment,
            requests: session.requests,
        })
        .collect())
}
