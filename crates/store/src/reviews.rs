//! Reviews of access and their items: one grant each.

use chrono::{DateTime, Utc};
use ledger::Note;
use serde::Serialize;

use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError, storable};

/// What happens to an item that is not decided in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overdue {
    #[default]
    Keep,
    /// The grant ends.
    Suspend,
}

impl Overdue {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Overdue::Keep => "keep",
            Overdue::Suspend => "suspend",
        }
    }
}

/// What was decided about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Kept,
    Revoked,
    /// Not decided in time, and the settings keep it.
    KeptOverdue,
    /// Not decided in time, and the settings end it.
    Suspended,
}

impl Decision {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Decision::Kept => "kept",
            Decision::Revoked => "revoked",
            Decision::KeptOverdue => "kept_overdue",
            Decision::Suspended => "suspended",
        }
    }
}

/// A review.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct Review {
    /// A UUID v7.
    pub id: String,
    pub opened_at: DateTime<Utc>,
    pub due_at: DateTime<Utc>,
    pub opened_by: String,
    /// How far back use is known.
    pub used_since: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<String>,
}

/// A grant under review.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct ReviewItem {
    /// A UUID v4.
    pub id: String,
    pub review: String,
    /// `None` once that admin is erased.
    pub admin: Option<String>,
    /// `direct`, `timed`, `request` or `ticket`.
    pub origin: String,
    /// The group; of a ticket's grant the role.
    pub granted: String,
    pub grant_id: Option<String>,
    /// In JSON, with inherited ones.
    pub roles: String,
    pub last_used: Option<DateTime<Utc>>,
    /// What happens without a decision: `keep` or `suspend`.
    pub overdue: String,
    pub decision: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub comment: Option<String>,
}

impl Store {
    /// Opens a review with its items and its record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where one is open already.
    pub async fn open_review(
        &self,
        review: &Review,
        items: &[ReviewItem],
        note: &Note,
    ) -> Result<(), StoreError> {
        let open = sql(OPEN)
            .bind(review.id.as_str())
            .bind(review.opened_at)
            .bind(review.due_at)
            .bind(storable(&review.opened_by))
            .bind(review.used_since);
        self.long_change(note, async |change| {
            change.execute(open).await?;
            for items in items.chunks(ROWS_PER_STATEMENT) {
                change.execute(insert(items)).await?;
            }
            Ok(())
        })
        .await
    }

    /// The newest reviews first.
    pub async fn reviews(&self, limit: u32) -> Result<Vec<Review>, StoreError> {
        let list = Statement::joined(&[REVIEWS, "ORDER BY opened_at_utc DESC, id DESC LIMIT $1"]);
        self.all(list.bind(i64::from(limit))).await
    }

    /// One review; `None` if there is none of that id.
    pub async fn review(&self, id: &str) -> Result<Option<Review>, StoreError> {
        self.first(Statement::joined(&[REVIEWS, "WHERE id = $1"]).bind(id)).await
    }

    /// The items of a review, by admin and granted group or role.
    pub async fn review_items(&self, review: &str) -> Result<Vec<ReviewItem>, StoreError> {
        let list = [ITEMS, "WHERE review_id = $1 ORDER BY admin_id, granted, origin, id"];
        self.all(Statement::joined(&list).bind(review)).await
    }

    /// One item; `None` if there is none of that id.
    pub async fn review_item(&self, id: &str) -> Result<Option<ReviewItem>, StoreError> {
        self.first(Statement::joined(&[ITEMS, "WHERE id = $1"]).bind(id)).await
    }

    /// Decides about an item of an open review, with its record; `false` where that was done already, and nothing was
    /// done now.
    pub async fn decide_review_item(
        &self,
        id: &str,
        decision: Decision,
        (by, comment): (&str, Option<&str>),
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let decide = sql(DECIDE)
            .bind(id)
            .bind(decision.word())
            .bind(now)
            .bind(storable(by))
            .bind(comment.map(storable));
        self.change(note, async |change| change.execute_or_undo(decide).await).await
    }

    /// Closes a review of which every item is decided, with its record; `false` where one is not, or it is closed already.
    pub async fn close_review(
        &self,
        id: &str,
        by: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let close = sql(CLOSE).bind(id).bind(now).bind(storable(by));
        self.change(note, async |change| change.execute_or_undo(close).await).await
    }
}

/// SQLite takes 32,766 values in a statement.
const ROWS_PER_STATEMENT: usize = 500;

fn insert(items: &[ReviewItem]) -> Statement<'_> {
    let mut insert = Statement::insert(INSERT, 9, "").once();
    for item in items {
        insert
            .push(item.id.as_str())
            .push(item.review.as_str())
            .push(item.admin.as_deref())
            .push(item.origin.as_str())
            .push(item.granted.as_str())
            .push(item.grant_id.as_deref())
            .push(item.roles.as_str())
            .push(item.last_used)
            .push(item.overdue.as_str());
    }
    insert
}

const OPEN: &str = "
    INSERT INTO gate_access_reviews (id, opened_at_utc, due_at_utc, opened_by, used_since_utc)
    VALUES ($1, $2, $3, $4, $5)";
const INSERT: &str = "
    INSERT INTO gate_access_review_items (id, review_id, admin_id, origin, granted, grant_id, roles, last_used_utc, overdue) ";
const REVIEWS: &str = "
    SELECT id, opened_at_utc AS opened_at, due_at_utc AS due_at, opened_by, used_since_utc AS used_since,
           closed_at_utc AS closed_at, closed_by
      FROM gate_access_reviews ";
const ITEMS: &str = "
    SELECT id, review_id AS review, admin_id AS admin, origin, granted, grant_id, roles, last_used_utc AS last_used, overdue,
           decision, decided_at_utc AS decided_at, decided_by, comment
      FROM gate_access_review_items ";
const DECIDE: &str = "
    UPDATE gate_access_review_items SET decision = $2, decided_at_utc = $3, decided_by = $4, comment = $5
     WHERE id = $1 AND decision IS NULL
       AND EXISTS (SELECT 1 FROM gate_access_reviews r WHERE r.id = review_id AND r.closed_at_utc IS NULL)";
const CLOSE: &str = "
    UPDATE gate_access_reviews SET closed_at_utc = $2, closed_by = $3
     WHERE id = $1 AND closed_at_utc IS NULL
       AND NOT EXISTS (SELECT 1 FROM gate_access_review_items i WHERE i.review_id = $1 AND i.decision IS NULL)";
