//! `rbac_grants_audit` page by page, the newest rows first.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::engine::sql::Statement;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::{Store, StoreError, storable};

/// Which rows are wanted: those for which everything fits that is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditFilter<'f> {
    pub admin: Option<&'f str>,
    pub group: Option<&'f str>,
    pub role: Option<&'f str>,
    pub event_type: Option<&'f str>,
    pub granted_by: Option<&'f str>,
}

/// A row of `rbac_grants_audit` in a page.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct AuditedGrant {
    pub id: String,
    pub event_type: String,
    pub user: String,
    pub group: Option<String>,
    pub role: Option<String>,
    pub ticket_id: Option<String>,
    pub justification: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    pub granted_by: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub expires_at_utc: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub created_at_utc: Option<DateTime<Utc>>,
    /// Its place in the order, as the database writes the time.
    #[serde(skip)]
    pub place: String,
}

impl Store {
    /// At most `limit` rows that come after the row of this place and id. Rows whose time cannot be read have no place in
    /// the order and are left out.
    pub async fn grants_audit_page(
        &self,
        filter: AuditFilter<'_>,
        after: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<AuditedGrant>, StoreError> {
        let (first, last) = readable_times();
        let text = |value: Option<&str>| value.map(|value| storable(value).into_owned());
        let read = Statement::of(POSTGRES, SQLITE)
            .bind(text(filter.admin))
            .bind(text(filter.group))
            .bind(text(filter.role))
            .bind(text(filter.event_type))
            .bind(text(filter.granted_by))
            .bind(text(after.map(|(place, _)| place)))
            .bind(text(after.map(|(_, id)| id)))
            .bind(i64::from(limit))
            .bind(first)
            .bind(last);
        self.all(read).await
    }
}

const POSTGRES: &str = "
    SELECT CAST(a.id AS TEXT) AS id, a.event_type AS event_type, CAST(a.target_user_id AS TEXT) AS \"user\",
           CAST(g.name AS TEXT) AS \"group\", CAST(r.name AS TEXT) AS role, a.ticket_id AS ticket_id,
           a.justification AS justification, CAST(a.granted_by AS TEXT) AS granted_by,
           CASE WHEN a.expires_at_utc > $9 AND a.expires_at_utc < $10 THEN a.expires_at_utc END AS expires_at_utc,
           a.created_at_utc AS created_at_utc,
           to_char(a.created_at_utc AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS place
      FROM rbac_grants_audit a
      LEFT JOIN rbac_groups g ON g.id = a.group_id
      LEFT JOIN rbac_roles r ON r.id = a.role_id
     WHERE (CAST($1 AS TEXT) IS NULL OR CAST(a.target_user_id AS TEXT) = $1)
       AND (CAST($2 AS TEXT) IS NULL OR g.name = $2)
       AND (CAST($3 AS TEXT) IS NULL OR r.name = $3)
       AND (CAST($4 AS TEXT) IS NULL OR a.event_type = $4)
       AND (CAST($5 AS TEXT) IS NULL OR CAST(a.granted_by AS TEXT) = $5)
       AND (CAST($6 AS TEXT) IS NULL
            OR (a.created_at_utc, CAST(a.id AS TEXT)) < (CAST(CAST($6 AS TEXT) AS TIMESTAMPTZ), CAST($7 AS TEXT)))
       AND a.created_at_utc > $9 AND a.created_at_utc < $10
     ORDER BY a.created_at_utc DESC, CAST(a.id AS TEXT) DESC LIMIT $8";

const SQLITE: &str = "
    SELECT a.id AS id, a.event_type AS event_type, a.target_user_id AS \"user\", g.name AS \"group\", r.name AS role,
           a.ticket_id AS ticket_id, a.justification AS justification, a.granted_by AS granted_by,
           CASE WHEN a.expires_at_utc > $9 AND a.expires_at_utc < $10 THEN a.expires_at_utc END AS expires_at_utc,
           a.created_at_utc AS created_at_utc, a.created_at_utc AS place
      FROM rbac_grants_audit a
      LEFT JOIN rbac_groups g ON g.id = a.group_id
      LEFT JOIN rbac_roles r ON r.id = a.role_id
     WHERE ($1 IS NULL OR a.target_user_id = $1)
       AND ($2 IS NULL OR g.name = $2)
       AND ($3 IS NULL OR r.name = $3)
       AND ($4 IS NULL OR a.event_type = $4)
       AND ($5 IS NULL OR a.granted_by = $5)
       AND ($6 IS NULL OR (a.created_at_utc, a.id) < ($6, $7))
       AND a.created_at_utc > $9 AND a.created_at_utc < $10
     ORDER BY a.created_at_utc DESC, a.id DESC LIMIT $8";
