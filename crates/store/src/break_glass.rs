//! Break-glass sessions with their reviews, and the audit rows of the requests that they let in.

use chrono::{DateTime, Utc};
use ledger::Note;
use policy::rbac::break_glass::capped;
use policy::rbac::grant::Span;
use serde::Serialize;
use sqlx::types::Json;

use crate::engine::sql::sql;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::rbac_changes::{Columns, GrantRow, RbacWork, carry_out, record};
use crate::{Store, StoreError};

/// A break-glass session with its review.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredGlass {
    pub id: String,
    pub admin: String,
    #[sqlx(try_from = "Lenient<String>")]
    pub reason: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    pub granted_by: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub starts: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub ends: Option<DateTime<Utc>>,
    pub is_revoked: bool,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub revoked_at: Option<DateTime<Utc>>,
    pub ticket: Option<String>,
    /// When its review was opened; `None` for a session that the gate has neither started nor found yet.
    pub opened_at: Option<DateTime<Utc>>,
    /// When it was over, once that was recorded.
    pub ended_at: Option<DateTime<Utc>>,
    /// Who ended it before its time.
    pub ended_by: Option<String>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<String>,
    pub comment: Option<String>,
    /// The number of requests that the review was closed with.
    pub requests: Option<i64>,
}

impl StoredGlass {
    /// From when until when it grants, unless it is ended before.
    pub fn span(&self) -> Span {
        capped(Span { starts: self.starts, ends: self.ends })
    }

    /// Whether it grants at `now`, to an admin who may have a session.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        !self.is_revoked && self.span().is_live(now)
    }

    /// When it was over, or will be; `None` for one that never granted anything.
    pub fn over_at(&self) -> Option<DateTime<Utc>> {
        let ends = self.span().ends;
        match self.revoked_at {
            Some(revoked) => Some(ends.map_or(revoked, |ends| ends.min(revoked))),
            None => ends,
        }
    }

    /// Whether its review is still open.
    pub fn is_open(&self) -> bool {
        self.opened_at.is_some() && self.closed_at.is_none()
    }
}

/// A session that starts.
#[derive(Clone, Copy, Debug)]
pub struct NewGlass<'w> {
    pub id: &'w str,
    pub admin: &'w str,
    pub ticket: Option<&'w str>,
    pub work: &'w RbacWork<'w>,
    /// Further records of the grant.
    pub further: &'w [Note],
}

/// The result of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlassStarted {
    Done,
    /// Access has changed since it was judged. Nothing was done.
    Changed,
    /// A review of the same admin is open. Nothing was done.
    ReviewOpen,
}

/// An audit row of a request that a session has let in, or of its answer.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Serialize)]
pub struct GlassEvent {
    pub event_type: String,
    pub occurred_at: DateTime<Utc>,
    pub request_id: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub route: Option<String>,
    #[serde(skip)]
    pub detail: Option<Json<serde_json::Value>>,
}

impl Store {
    /// Every session, the newest first; with `id`, that one.
    pub async fn glass_sessions(&self, id: Option<&str>) -> Result<Vec<StoredGlass>, StoreError> {
        let (first, last) = readable_times();
        self.all(sql(SESSIONS).bind(id).bind(first).bind(last)).await
    }

    /// Starts a session, opens its review and records both, in one transaction.
    pub async fn start_glass(&self, new: &NewGlass<'_>, note: &Note) -> Result<GlassStarted, StoreError> {
        self.change(note, async |change| {
            if !carry_out(change, new.work, new.further).await? {
                return Ok(GlassStarted::Changed);
            }
            // This transaction holds the epoch's row: no other start runs beside it.
            let open: Option<(String,)> = change.first(sql(OPEN_REVIEW).bind(new.admin)).await?;
            if open.is_some() {
                change.undo();
                return Ok(GlassStarted::ReviewOpen);
            }
            let review = sql(ADD_REVIEW).bind(new.id).bind(new.admin).bind(new.ticket).bind(new.work.now);
            change.execute(review).await?;
            Ok(GlassStarted::Done)
        })
        .await
    }

    /// Ends a session before its time; `false` where access has changed since it was judged, and nothing was done.
    pub async fn end_glass(
        &self,
        id: &str,
        admin: &str,
        work: &RbacWork<'_>,
        note: &Note,
        further: &[Note],
    ) -> Result<bool, StoreError> {
        self.change(note, async |change| {
            if !carry_out(change, work, further).await? {
                return Ok(false);
            }
            // One that the gate has not started has no review yet.
            change.execute(sql(FIND_REVIEW).bind(id).bind(admin).bind(work.now)).await?;
            change.execute(sql(END_REVIEW).bind(id).bind(work.now).bind(work.by)).await?;
            Ok(true)
        })
        .await
    }

    /// Opens the review of a session that the gate has not started; `false` where it is open already.
    pub async fn find_glass(
        &self,
        id: &str,
        admin: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let find = sql(FIND_REVIEW).bind(id).bind(admin).bind(now);
        self.change(note, async |change| change.execute_or_undo(find).await).await
    }

    /// Records that the time of a session was over at `at`; `false` where that is recorded already.
    pub async fn expire_glass(
        &self,
        id: &str,
        at: DateTime<Utc>,
        (work, row): (&RbacWork<'_>, &GrantRow),
        note: &Note,
        further: &[Note],
    ) -> Result<bool, StoreError> {
        self.change(note, async |change| {
            let ended_by: Option<&str> = None;
            if !change.execute_or_undo(sql(END_REVIEW).bind(id).bind(at).bind(ended_by)).await? {
                return Ok(false);
            }
            let columns = Columns::read(change).await?;
            record(change, row, work, &columns).await?;
            for note in further {
                change.enter(note).await?;
            }
            Ok(true)
        })
        .await
    }

    /// Closes the review of a session that is over; `false` where it is closed already.
    pub async fn close_glass_review(
        &self,
        id: &str,
        (by, comment): (&str, &str),
        requests: i64,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let close = sql(CLOSE_REVIEW).bind(id).bind(now).bind(by).bind(comment).bind(requests);
        self.change(note, async |change| change.execute_or_undo(close).await).await
    }

    /// The audit rows of requests that break-glass let in from `from` to `to`, in order, and of their answers.
    pub async fn glass_events(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<GlassEvent>, StoreError> {
        self.all(sql(EVENTS).bind(from).bind(to).bind(i64::from(limit))).await
    }
}

const SESSIONS: &str = "
    SELECT CAST(s.id AS TEXT) AS id, CAST(s.user_id AS TEXT) AS admin, s.justification AS reason,
           CAST(s.granted_by AS TEXT) AS granted_by,
           CASE WHEN s.granted_at_utc > $2 AND s.granted_at_utc < $3 THEN s.granted_at_utc END AS starts,
           CASE WHEN s.expires_at_utc > $2 AND s.expires_at_utc < $3 THEN s.expires_at_utc END AS ends,
           s.revoked_at_utc IS NOT NULL AS is_revoked,
           CASE WHEN s.revoked_at_utc > $2 AND s.revoked_at_utc < $3 THEN s.revoked_at_utc END AS revoked_at,
           r.ticket, r.opened_at_utc AS opened_at, r.ended_at_utc AS ended_at, r.ended_by, r.closed_at_utc AS closed_at,
           r.closed_by, r.comment, r.requests
      FROM rbac_break_glass_sessions s LEFT JOIN gate_break_glass_reviews r ON r.session_id = CAST(s.id AS TEXT)
     WHERE CAST($1 AS TEXT) IS NULL OR CAST(s.id AS TEXT) = $1
     ORDER BY s.granted_at_utc DESC, 1";
const OPEN_REVIEW: &str =
    "SELECT session_id FROM gate_break_glass_reviews WHERE admin_id = $1 AND closed_at_utc IS NULL LIMIT 1";
const ADD_REVIEW: &str = "
    INSERT INTO gate_break_glass_reviews (session_id, admin_id, ticket, opened_at_utc) VALUES ($1, $2, $3, $4)";
const FIND_REVIEW: &str = "
    INSERT INTO gate_break_glass_reviews (session_id, admin_id, opened_at_utc) VALUES ($1, $2, $3)
    ON CONFLICT (session_id) DO NOTHING";
const END_REVIEW: &str = "
    UPDATE gate_break_glass_reviews SET ended_at_utc = $2, ended_by = $3 WHERE session_id = $1 AND ended_at_utc IS NULL";
const CLOSE_REVIEW: &str = "
    UPDATE gate_break_glass_reviews SET closed_at_utc = $2, closed_by = $3, comment = $4, requests = $5
     WHERE session_id = $1 AND closed_at_utc IS NULL AND ended_at_utc IS NOT NULL AND admin_id <> $3";
const EVENTS: &str = "
    SELECT event_type, occurred_at_utc AS occurred_at, request_id, method, path, route, detail
      FROM gate_audit_events
     WHERE occurred_at_utc >= $1 AND occurred_at_utc <= $2
       AND event_type IN ('break_glass_used', 'break_glass_answered')
     ORDER BY occurred_at_utc, id LIMIT $3";
