//! Memberships and what was recorded of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::grant::Span;
use serde::Serialize;

use crate::engine::shared::Shared;
use crate::engine::sql::{Statement, sql};
use crate::engine::tolerant::{Lenient, readable_times};
use crate::{Store, StoreError};

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredMembership {
    pub admin: Arc<str>,
    pub group: Arc<str>,
    pub granted_by: Option<Arc<str>>,
}

#[derive(sqlx::FromRow)]
struct MembershipRow {
    admin: String,
    group: String,
    #[sqlx(try_from = "Lenient<String>")]
    granted_by: Option<String>,
}

/// A membership until a time that was not revoked.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredTimedGrant {
    pub id: String,
    pub admin: String,
    pub group: String,
    /// `timed` or `request`.
    pub origin: String,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub starts: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub ends: Option<DateTime<Utc>>,
}

impl StoredTimedGrant {
    /// From when until when.
    pub fn span(&self) -> Span {
        Span { starts: self.starts, ends: self.ends }
    }
}

/// A row of `rbac_grants_audit`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredGrant {
    pub id: String,
    pub event_type: String,
    pub admin: String,
    pub group: Option<String>,
    pub role: Option<String>,
    pub justification: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    pub granted_by: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub created_at_utc: Option<DateTime<Utc>>,
}

/// A write that no command of the gate made.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredWrite {
    pub at_utc: DateTime<Utc>,
    /// The database's role; SQLite has none.
    pub written_by: Option<String>,
    pub application: Option<String>,
    pub relation: String,
    pub statement: String,
    pub change: String,
    pub subject: Option<String>,
    pub object: Option<String>,
}

impl Store {
    /// Every membership, by group and admin.
    pub async fn memberships(&self) -> Result<Vec<StoredMembership>, StoreError> {
        let rows: Vec<MembershipRow> = self.all(sql(MEMBERSHIPS)).await?;
        let mut names = Shared::default();
        let mut name = |name: String| names.of(Arc::from(name));
        let membership = |MembershipRow { admin, group, granted_by }| StoredMembership {
            admin: admin.into(),
            group: name(group),
            granted_by: granted_by.map(&mut name),
        };
        Ok(rows.into_iter().map(membership).collect())
    }

    /// Every membership until a time that was not revoked, over or not, by group and admin.
    pub async fn timed_grants(&self) -> Result<Vec<StoredTimedGrant>, StoreError> {
        let (first, last) = readable_times();
        self.bounded(async {
            let mut connection = self.pool.acquire().await?;
            let group = self.console.group_of("t.group_id", &mut connection).await?;
            let text = TIMED_GRANTS.replace("{group}", &group);
            connection.all(Statement::composed_once(text).bind(first).bind(last)).await
        })
        .await
    }

    /// The newest rows of `rbac_grants_audit` first: of everybody, or about one admin or one group.
    pub async fn grants_audit(
        &self,
        admin: Option<&str>,
        group: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredGrant>, StoreError> {
        let (first, last) = readable_times();
        let read = sql(GRANTS).bind(admin).bind(group).bind(i64::from(limit)).bind(first).bind(last);
        self.all(read).await
    }

    /// The newest writes of others first: all, or those that name one admin, group or role.
    pub async fn rbac_writes(&self, about: Option<&str>, limit: u32) -> Result<Vec<StoredWrite>, StoreError> {
        self.all(sql(WRITES).bind(about).bind(i64::from(limit))).await
    }

    /// Whether the gate keeps an admin out, where Console keeps the admins.
    pub async fn is_blocked(&self, admin: &str) -> Result<bool, StoreError> {
        let row: Option<(String,)> = self
            .first(sql("SELECT admin_id FROM gate_blocked_admins WHERE admin_id = $1").bind(admin))
            .await?;
        Ok(row.is_some())
    }

    /// The flat roles of one admin, whether it is enabled or not, where they are in the documents' table.
    pub async fn legacy_words_of(&self, admin: &str) -> Result<Vec<String>, StoreError> {
        let words: Vec<(String,)> = self.all(sql(LEGACY_WORDS).bind(admin)).await?;
        Ok(words.into_iter().map(|(word,)| word).collect())
    }
}

const MEMBERSHIPS: &str = "
    SELECT CAST(ug.user_id AS TEXT) AS admin, CAST(g.name AS TEXT) AS \"group\",
           CAST(ug.granted_by AS TEXT) AS granted_by
      FROM rbac_user_groups ug JOIN rbac_groups g ON g.id = ug.group_id
     WHERE g.name IS NOT NULL AND ug.user_id IS NOT NULL
     ORDER BY 2, 1";

const TIMED_GRANTS: &str = "
    SELECT t.id AS id, t.admin_id AS admin, CAST(g.name AS TEXT) AS \"group\", t.origin AS origin,
           CASE WHEN t.starts_at_utc > $1 AND t.starts_at_utc < $2 THEN t.starts_at_utc END AS starts,
           CASE WHEN t.ends_at_utc > $1 AND t.ends_at_utc < $2 THEN t.ends_at_utc END AS ends
      FROM gate_grants t JOIN rbac_groups g ON g.id = {group}
     WHERE t.revoked_at_utc IS NULL AND g.name IS NOT NULL
     ORDER BY 3, 2, 1";

const GRANTS: &str = "
    SELECT CAST(a.id AS TEXT) AS id, a.event_type AS event_type, CAST(a.target_user_id AS TEXT) AS admin,
           CAST(g.name AS TEXT) AS \"group\", CAST(r.name AS TEXT) AS role, a.justification AS justification,
           CAST(a.granted_by AS TEXT) AS granted_by,
           CASE WHEN a.created_at_utc > $4 AND a.created_at_utc < $5 THEN a.created_at_utc END AS created_at_utc
      FROM rbac_grants_audit a
      LEFT JOIN rbac_groups g ON g.id = a.group_id
      LEFT JOIN rbac_roles r ON r.id = a.role_id
     WHERE (CAST($1 AS TEXT) IS NULL OR CAST(a.target_user_id AS TEXT) = $1)
       AND (CAST($2 AS TEXT) IS NULL OR g.name = $2)
     ORDER BY a.created_at_utc DESC, a.id LIMIT $3";

const WRITES: &str = "
    SELECT at_utc, written_by, application, relation, statement, change, subject, object
      FROM gate_rbac_changes
     WHERE CAST($1 AS TEXT) IS NULL OR subject = $1 OR object = $1
     ORDER BY id DESC LIMIT $2";

const LEGACY_WORDS: &str = "SELECT CAST(role AS TEXT) FROM admin_roles WHERE CAST(admin_id AS TEXT) = $1";
