//! Every grant, whatever it comes from: its holder, what it grants, since when, until when, its grantor and the reason.

use chrono::{DateTime, Utc};
use policy::rbac::break_glass::capped;
use policy::rbac::grant::{Origin, Span};
use serde::Serialize;

use crate::engine::sql::Statement;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::{Store, StoreError};

/// A grant as it is stored. A direct one has no id and no times, and neither it nor a grant for a ticket has a reason: those are in
/// [`Store::grant_records`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessGrant {
    /// The key of its row; `None` for a membership, which is known by its admin and its group.
    pub id: Option<String>,
    pub origin: Origin,
    pub admin: String,
    /// The granted group or, for one ticket, role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<i64>,
    pub starts: Option<DateTime<Utc>>,
    /// `None` for what has no end, and for an end that cannot be read: then nothing is granted.
    pub ends: Option<DateTime<Utc>>,
    pub granted_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
}

impl AccessGrant {
    /// From when until when.
    pub fn span(&self) -> Span {
        Span { starts: self.starts, ends: self.ends }
    }

    /// Whether it counts at `now`. Who may have a break-glass session is not looked at.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        let span = self.span();
        match self.origin {
            _ if self.revoked_at.is_some() => false,
            Origin::Direct => true,
            Origin::Ticket => self.ends.is_none_or(|ends| ends > now),
            Origin::Timed | Origin::Request => span.is_live(now),
            Origin::BreakGlass => capped(span).is_live(now),
        }
    }
}

/// Which grants are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantsOf<'q> {
    pub admin: Option<&'q str>,
    /// Also those of a role for a ticket, by the role's name.
    pub of: Option<&'q str>,
}

#[derive(sqlx::FromRow)]
struct Row {
    origin: String,
    #[sqlx(try_from = "Lenient<String>")]
    id: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    admin: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    granted: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    ticket: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    customer: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    starts: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    ends: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<String>")]
    granted_by: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    reason: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    revoked_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<String>")]
    revoked_by: Option<String>,
}

impl Store {
    /// The grants that are wanted, over or not, by admin, origin and granted group or role. Break-glass sessions are under
    /// the group whose roles they grant.
    pub async fn access_grants(&self, wanted: GrantsOf<'_>) -> Result<Vec<AccessGrant>, StoreError> {
        let (first, last) = readable_times();
        let rows: Vec<Row> = self
            .bounded(async {
                let mut connection = self.access_pool.acquire().await?;
                let group = self.console.group_of("t.group_id", &mut connection).await?;
                let text = GRANTS.replace("{group}", &group);
                let read = Statement::composed_once(text).bind(wanted.admin).bind(wanted.of);
                connection.all(read.bind(first).bind(last)).await
            })
            .await?;
        rows.into_iter().filter(|row| row.admin.is_some()).map(AccessGrant::try_from).collect()
    }
}

impl TryFrom<Row> for AccessGrant {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<AccessGrant, StoreError> {
        let Some(origin) = Origin::parse(&row.origin) else {
            return Err(StoreError::Broken(format!("a grant of the origin `{}`", row.origin)));
        };
        let (group, role) = if origin == Origin::Ticket { (None, row.granted) } else { (row.granted, None) };
        Ok(AccessGrant {
            id: row.id,
            origin,
            admin: row.admin.unwrap_or_default(),
            group,
            role,
            ticket: row.ticket,
            customer: row.customer.and_then(|number| number.parse().ok()),
            starts: row.starts,
            ends: row.ends,
            granted_by: row.granted_by,
            reason: row.reason,
            revoked_at: row.revoked_at,
            revoked_by: row.revoked_by,
        })
    }
}

const GRANTS: &str = "
    WITH every(origin, id, admin, granted, ticket, customer, starts, ends, granted_by, reason, revoked_at, revoked_by) AS (
        SELECT 'direct', CAST(NULL AS TEXT), CAST(ug.user_id AS TEXT), CAST(g.name AS TEXT), CAST(NULL AS TEXT),
               CAST(NULL AS TEXT), CAST(NULL AS TIMESTAMPTZ), CAST(NULL AS TIMESTAMPTZ), CAST(ug.granted_by AS TEXT),
               CAST(NULL AS TEXT), CAST(NULL AS TIMESTAMPTZ), CAST(NULL AS TEXT)
          FROM rbac_user_groups ug JOIN rbac_groups g ON g.id = ug.group_id
         WHERE g.name IS NOT NULL
        UNION ALL
        SELECT t.origin, t.id, t.admin_id, COALESCE(CAST(g.name AS TEXT), t.group_id), NULL, NULL,
               CASE WHEN t.starts_at_utc > $3 AND t.starts_at_utc < $4 THEN t.starts_at_utc END,
               CASE WHEN t.ends_at_utc > $3 AND t.ends_at_utc < $4 THEN t.ends_at_utc END,
               t.granted_by, t.reason, t.revoked_at_utc, t.revoked_by
          FROM gate_grants t LEFT JOIN rbac_groups g ON g.id = {group}
        UNION ALL
        SELECT 'ticket', CAST(k.id AS TEXT), CAST(k.user_id AS TEXT), CAST(r.name AS TEXT), CAST(k.ticket_id AS TEXT),
               CAST(k.customer_id AS TEXT),
               CASE WHEN k.granted_at_utc > $3 AND k.granted_at_utc < $4 THEN k.granted_at_utc END,
               CASE WHEN k.expires_at_utc > $3 AND k.expires_at_utc < $4 THEN k.expires_at_utc END,
               CAST(k.granted_by AS TEXT), NULL,
               CASE WHEN k.revoked_at_utc > $3 AND k.revoked_at_utc < $4 THEN k.revoked_at_utc END, NULL
          FROM rbac_ticket_grants k JOIN rbac_roles r ON r.id = k.role_id
        UNION ALL
        SELECT 'break_glass', CAST(s.id AS TEXT), CAST(s.user_id AS TEXT), 'break-glass', NULL, NULL,
               CASE WHEN s.granted_at_utc > $3 AND s.granted_at_utc < $4 THEN s.granted_at_utc END,
               CASE WHEN s.expires_at_utc > $3 AND s.expires_at_utc < $4 THEN s.expires_at_utc END,
               CAST(s.granted_by AS TEXT), s.justification,
               CASE WHEN s.revoked_at_utc > $3 AND s.revoked_at_utc < $4 THEN s.revoked_at_utc END, NULL
          FROM rbac_break_glass_sessions s
    )
    SELECT origin, id, admin, granted, ticket, customer, starts, ends, granted_by, reason, revoked_at, revoked_by
      FROM every
     WHERE (CAST($1 AS TEXT) IS NULL OR admin = $1) AND (CAST($2 AS TEXT) IS NULL OR granted = $2)
     ORDER BY admin, origin, granted, id";
