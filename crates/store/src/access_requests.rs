//! Requests for access, and the votes on them.

use chrono::{DateTime, Utc};
use ledger::Note;
use policy::ids::Epoch;
use policy::rbac::census::CallerKind;
use serde::{Deserialize, Serialize};

use crate::engine::sql::sql;
use crate::idempotency::{OnceAnswer, answer_in};
use crate::rbac_changes::{RbacChange, RbacWork, carry_out, is_current, one_at_a_time};
use crate::{Store, StoreError};

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    Pending,
    Approved,
    Denied,
    Withdrawn,
}

impl RequestState {
    /// Every state.
    pub const ALL: [RequestState; 4] =
        [RequestState::Pending, RequestState::Approved, RequestState::Denied, RequestState::Withdrawn];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            RequestState::Pending => "pending",
            RequestState::Approved => "approved",
            RequestState::Denied => "denied",
            RequestState::Withdrawn => "withdrawn",
        }
    }

    /// The state of a stable word.
    pub fn parse(word: &str) -> Option<RequestState> {
        RequestState::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl TryFrom<String> for RequestState {
    type Error = StoreError;

    fn try_from(word: String) -> Result<RequestState, StoreError> {
        RequestState::parse(&word)
            .ok_or_else(|| StoreError::Broken(format!("a request for access in the state `{word}`")))
    }
}

/// A request for a membership until a time, or for an edit.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct AccessRequest {
    /// A UUID v4.
    pub id: String,
    /// Who is to have the membership.
    pub admin: String,
    pub requested_by: String,
    pub group: String,
    /// How long the membership lasts from the approval on.
    pub minutes: i64,
    pub reason: String,
    pub ticket: Option<String>,
    /// What was denied: `POST /console/deploys`.
    pub route: Option<String>,
    #[sqlx(try_from = "String")]
    pub state: RequestState,
    pub requested_at: DateTime<Utc>,
    /// It cannot be approved from then on.
    pub closes_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<String>,
    pub comment: Option<String>,
    /// The grant that it became.
    pub grant: Option<String>,
    /// The grant that it extends.
    pub extends: Option<String>,
    /// The edit that it is for, as JSON. The group and the minutes say nothing then.
    #[serde(skip)]
    pub edit: Option<String>,
}

/// A change that waits for approval: an edit of groups, roles or permissions, or a grant that two people have to give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Who asked for it.
    pub by: CallerKind,
    pub change: RbacChange,
    /// What is made with it: the roles and grantors of a group that it creates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<RbacChange>,
}

impl Edit {
    /// Every change of it, in order.
    pub fn changes(&self) -> impl Iterator<Item = &RbacChange> {
        std::iter::once(&self.change).chain(&self.also)
    }
}

impl AccessRequest {
    /// The edit that it is for; `None` where it is for a membership.
    ///
    /// # Errors
    ///
    /// The stored text is not a valid edit.
    pub fn as_edit(&self) -> Result<Option<Edit>, StoreError> {
        let Some(text) = &self.edit else { return Ok(None) };
        let edit: Result<Edit, _> = serde_json::from_str(text);
        let broken =
            || StoreError::Broken(format!("the request {} has an edit that cannot be read", self.id));
        edit.ok().filter(|edit| edit.changes().all(RbacChange::can_wait)).map(Some).ok_or_else(broken)
    }
}

/// An approval, on the basis of an impact.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct Approval {
    pub approver: String,
    /// Of the impact that the approver was shown.
    pub impact_sha256: String,
    pub at: DateTime<Utc>,
}

/// An approval that is being given.
#[derive(Clone, Copy, Debug)]
pub struct NewApproval<'w> {
    pub request: &'w str,
    pub approver: &'w str,
    pub impact_sha256: &'w str,
    /// The approvals that it was judged with; others have come since where the table has others.
    pub known: &'w [Approval],
    /// The epoch as of which the approver may approve.
    pub as_of: Epoch,
    pub now: DateTime<Utc>,
    /// The changes made with it, where it is the last that was needed, and the id of the grant, where it is one.
    pub grants: Option<(&'w RbacWork<'w>, Option<&'w str>)>,
    /// Further records of the grant.
    pub further: &'w [Note],
    /// What the request's key is answered with.
    pub answer: Option<OnceAnswer<'w>>,
}

/// The outcome of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    Done,
    /// The same request is pending: this one. Nothing was done.
    Same(String),
    /// The asker has too many requests pending. Nothing was done.
    TooMany,
}

/// The result of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approved {
    /// It counts; with what it grants.
    Done,
    /// Access or the other approvals have changed since it was worked out. Nothing was done.
    Changed,
    /// The request is not pending any more. Nothing was done.
    Closed,
}

impl Store {
    /// Keeps a request with its audit record, and the answer to the key with which it was made; unless the same asker has
    /// the same request pending, or `most` others.
    pub async fn add_access_request(
        &self,
        request: &AccessRequest,
        note: &Note,
        answer: Option<OnceAnswer<'_>>,
        most: u32,
    ) -> Result<Added, StoreError> {
        let insert = sql(INSERT)
            .bind(request.id.as_str())
            .bind(request.admin.as_str())
            .bind(request.requested_by.as_str())
            .bind(request.group.as_str())
            .bind(request.minutes)
            .bind(request.reason.as_str())
            .bind(request.ticket.as_deref())
            .bind(request.route.as_deref())
            .bind(request.requested_at)
            .bind(request.closes_at)
            .bind(request.extends.as_deref())
            .bind(request.edit.as_deref());
        let same = sql(SAME)
            .bind(request.admin.as_str())
            .bind(request.requested_by.as_str())
            .bind(request.group.as_str())
            .bind(request.edit.as_deref())
            .bind(request.requested_at);
        let count = sql(COUNT).bind(request.requested_by.as_str()).bind(request.requested_at);
        self.change(note, async |change| {
            one_at_a_time(change).await?;
            let same: Option<(String,)> = change.first(same).await?;
            if let Some((id,)) = same {
                change.undo();
                return Ok(Added::Same(id));
            }
            let (pending,): (i64,) = change.one(count).await?;
            if pending >= i64::from(most) {
                change.undo();
                return Ok(Added::TooMany);
            }
            change.execute(insert).await?;
            answer_in(change, answer).await?;
            Ok(Added::Done)
        })
        .await
    }

    /// The newest requests first: all, or those in one state, for one admin.
    pub async fn access_requests(
        &self,
        state: Option<RequestState>,
        admin: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AccessRequest>, StoreError> {
        let list = sql(LIST).bind(state.map(RequestState::word)).bind(admin).bind(i64::from(limit));
        self.all(list).await
    }

    /// One request; `None` if there is none of that id.
    pub async fn access_request(&self, id: &str) -> Result<Option<AccessRequest>, StoreError> {
        self.first(sql(ONE).bind(id)).await
    }

    /// The approvals of a request, in the order in which they were given.
    pub async fn approvals(&self, request: &str) -> Result<Vec<Approval>, StoreError> {
        self.all(sql(APPROVALS).bind(request)).await
    }

    /// Closes a pending request; `false` where it is not pending any more, and nothing was done.
    pub async fn close_access_request(
        &self,
        id: &str,
        state: RequestState,
        (by, comment): (&str, Option<&str>),
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let close =
            sql(CLOSE).bind(id).bind(state.word()).bind(now).bind(by).bind(comment).bind(None::<&str>);
        self.change(note, async |change| change.execute_or_undo(close).await).await
    }

    /// Gives an approval, and grants what the last of them grants, in one transaction with its record.
    pub async fn approve(&self, approval: &NewApproval<'_>, note: &Note) -> Result<Approved, StoreError> {
        self.change(note, async |change| {
            // From here on this transaction is the only one that changes access or approves.
            if !is_current(change, approval.as_of).await? {
                change.undo();
                return Ok(Approved::Changed);
            }
            let pending: Option<(String,)> =
                change.first(sql(PENDING).bind(approval.request).bind(approval.now)).await?;
            if pending.is_none() {
                change.undo();
                return Ok(Approved::Closed);
            }
            let known: Vec<Approval> = change.all(sql(APPROVALS).bind(approval.request)).await?;
            if known != approval.known {
                change.undo();
                return Ok(Approved::Changed);
            }
            let vote = sql(VOTE)
                .bind(approval.request)
                .bind(approval.approver)
                .bind(approval.impact_sha256)
                .bind(approval.now);
            change.execute(vote).await?;
            answer_in(change, approval.answer).await?;
            let Some((work, grant)) = approval.grants else { return Ok(Approved::Done) };
            let state = RequestState::Approved.word();
            let close = sql(CLOSE)
                .bind(approval.request)
                .bind(state)
                .bind(approval.now)
                .bind(approval.approver)
                .bind(None::<&str>)
                .bind(grant);
            if !change.execute_or_undo(close).await? {
                return Ok(Approved::Closed);
            }
            Ok(if carry_out(change, work, approval.further).await? {
                Approved::Done
            } else {
                Approved::Changed
            })
        })
        .await
    }
}

const INSERT: &str = "
    INSERT INTO gate_access_requests
           (id, admin_id, requested_by, group_name, minutes, reason, ticket, route, requested_at_utc, closes_at_utc,
            extends, edit)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const SAME: &str = "
    SELECT id FROM gate_access_requests
     WHERE state = 'pending' AND admin_id = $1 AND requested_by = $2 AND group_name = $3
       AND COALESCE(edit, '') = COALESCE($4, '') AND closes_at_utc > $5
     ORDER BY id LIMIT 1";
const COUNT: &str = "
    SELECT count(*) FROM gate_access_requests
     WHERE state = 'pending' AND requested_by = $1 AND closes_at_utc > $2";
/// The columns as [`AccessRequest`] names them.
macro_rules! requests {
    ($rest:literal) => {
        concat!(
            "
    SELECT id, admin_id AS admin, requested_by, group_name AS \"group\", minutes, reason, ticket, route, state,
           requested_at_utc AS requested_at, closes_at_utc AS closes_at, closed_at_utc AS closed_at, closed_by, comment,
           grant_id AS \"grant\", extends, edit
      FROM gate_access_requests ",
            $rest
        )
    };
}
const LIST: &str = requests!(
    "WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND (CAST($2 AS TEXT) IS NULL OR admin_id = $2)
     ORDER BY requested_at_utc DESC, id LIMIT $3"
);
const ONE: &str = requests!("WHERE id = $1");
const APPROVALS: &str = "
    SELECT approver, impact_sha256, voted_at_utc AS at
      FROM gate_access_votes WHERE request_id = $1 ORDER BY voted_at_utc, approver";
const PENDING: &str = "
    SELECT id FROM gate_access_requests WHERE id = $1 AND state = 'pending' AND closes_at_utc > $2";
const CLOSE: &str = "
    UPDATE gate_access_requests SET state = $2, closed_at_utc = $3, closed_by = $4, comment = $5, grant_id = $6
     WHERE id = $1 AND state = 'pending'";
const VOTE: &str = "
    INSERT INTO gate_access_votes (request_id, approver, impact_sha256, voted_at_utc) VALUES ($1, $2, $3, $4)
    ON CONFLICT (request_id, approver) DO UPDATE
       SET impact_sha256 = excluded.impact_sha256, voted_at_utc = excluded.voted_at_utc";
