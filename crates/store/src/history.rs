//! What was written since a time about who holds what, and the requests of a period: for questions about the past.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use crate::console::{composed, read_end};
use crate::engine::sql::sql;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::rbac_changes::StoredWrite;
use crate::{Store, StoreError};

/// The migration whose triggers record what others write.
const RECORDING: i64 = 401;

/// A fact about an admin or a machine token, as of now; over or not.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct RosterFact {
    /// `admin`, `disabled_admin`, `admin_legacy`, `limited_admin_legacy`, `blocked_admin`, `machine_legacy`, `machine_group`.
    pub kind: String,
    #[sqlx(try_from = "Lenient<String>")]
    pub id: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    pub name: Option<String>,
    /// When a legacy role ends, as Console's column states it.
    #[sqlx(try_from = "Lenient<String>")]
    pub ends: Option<String>,
    /// Since when an admin is blocked.
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub until: Option<DateTime<Utc>>,
}

impl RosterFact {
    /// When a legacy role with an end ends; `None` where that cannot be read, and it grants nothing.
    pub fn end(&self) -> Option<DateTime<Utc>> {
        read_end(self.ends.as_deref())
    }
}

/// A sealed row about a membership without an end or, without a group, about whether an admin is active.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredJoin {
    /// The sealed row of the change that it is a part of.
    pub change: Option<String>,
    pub event_type: String,
    pub admin: String,
    pub group: Option<String>,
    pub at: DateTime<Utc>,
}

/// A sealed row about a change, as far as it records what was changed.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct SealedChange {
    pub id: String,
    /// `rbac_changed`, `access_request`, `flag_flipped`, `flag_promoted`.
    pub event_type: String,
    pub occurred_at_utc: DateTime<Utc>,
    pub detail: Option<Json<Value>>,
}

/// A grant for a ticket, over or not, archived or not.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct PastTicketGrant {
    pub id: String,
    pub admin: String,
    pub role: String,
    pub ticket: String,
    pub customer: String,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub granted_at: Option<DateTime<Utc>>,
    /// Whether it ends by itself; where `ends` is missing then, it cannot be read and grants nothing.
    pub is_limited: bool,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub ends: Option<DateTime<Utc>>,
    pub is_revoked: bool,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Requests of one caller in the decision log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredUseOfRow {
    pub actor_kind: String,
    pub actor_id: String,
    /// Empty where an hour had too many.
    pub path: String,
    pub answer: String,
    pub count: i64,
    pub first_hour: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
}

/// Audit rows of one caller about requests: `access_denied` or `break_glass_used`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditedUse {
    pub event_type: String,
    pub actor_kind: String,
    /// `None`: erased.
    pub actor_id: Option<String>,
    pub count: i64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
}

/// Requests of one caller for one row in a period.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredUse {
    pub actor_kind: String,
    /// Empty for an unauthenticated or erased caller.
    pub actor_id: String,
    pub method: String,
    /// Empty where no row covered the path.
    pub route: String,
    /// By the decision log.
    pub allowed: i64,
    /// By the audit.
    pub denied: i64,
    pub break_glass: i64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
}

/// From when until when a gate wrote the decision log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LoggedBy {
    pub gate: String,
    pub started_at_utc: DateTime<Utc>,
    pub complete_until_utc: DateTime<Utc>,
}

impl Store {
    /// Every admin, enabled or not, with legacy roles, every block, and what every token holds, revoked or not.
    pub async fn roster(&self) -> Result<Vec<RosterFact>, StoreError> {
        self.bounded(async {
            let mut connection = self.access_pool.acquire().await?;
            let group = self.console.group_of("tg.group_id", &mut connection).await?;
            let mut facts = vec![ROSTER.replace("{group}", &group)];
            facts.extend(self.console.listed_facts(&mut connection).await?);
            connection.all(composed(facts.join("\n    UNION ALL\n    ")).once()).await
        })
        .await
    }

    /// When the gate began to record what others write; `None` where the ledger of migrations does not say.
    pub async fn recording_since(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        #[derive(sqlx::FromRow)]
        struct Row {
            #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
            installed_on: Option<DateTime<Utc>>,
        }
        let row: Option<Row> = self.first(sql(RECORDED).bind(RECORDING)).await?;
        Ok(row.and_then(|row| row.installed_on))
    }

    /// What others wrote after `since`, the oldest first.
    pub async fn rbac_writes_since(&self, since: DateTime<Utc>) -> Result<Vec<StoredWrite>, StoreError> {
        self.all(sql(WRITES).bind(since)).await
    }

    /// The memberships without an end that were given and taken after `since`, and at any time who was disabled and enabled;
    /// the oldest first.
    pub async fn joins_since(&self, since: DateTime<Utc>) -> Result<Vec<StoredJoin>, StoreError> {
        self.all(sql(JOINS).bind(since)).await
    }

    /// The sealed rows about changes of access after `since`, and those about switches of any time; the oldest first.
    pub async fn sealed_changes(&self, since: DateTime<Utc>) -> Result<Vec<SealedChange>, StoreError> {
        self.all(sql(SEALED).bind(since)).await
    }

    /// Every grant for a ticket.
    pub async fn past_ticket_grants(&self) -> Result<Vec<PastTicketGrant>, StoreError> {
        let (first, last) = readable_times();
        self.all(sql(TICKETS).bind(first).bind(last)).await
    }

    /// What the decision log has of a row and a method in the hours from `since` on and before `until`.
    pub async fn uses_of_row(
        &self,
        (route, method): (&str, &str),
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<StoredUseOfRow>, StoreError> {
        self.all(sql(USES).bind(route).bind(method).bind(since).bind(until)).await
    }

    /// What the audit has of a row and a method from `since` on and before `until`.
    pub async fn audited_uses(
        &self,
        (route, method): (&str, &str),
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<AuditedUse>, StoreError> {
        self.all(sql(AUDITED).bind(route).bind(method).bind(since).bind(until)).await
    }

    /// Who used what from `since` on and before `until`: what was let in by the decision log, by the hour, and what was denied, or
    /// let in by break-glass, by the audit.
    pub async fn uses(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<StoredUse>, StoreError> {
        let mut connection = self.long_reader().await?;
        connection.all(sql(ALL_USES).bind(since).bind(until)).await
    }

    /// The gates that wrote the decision log between `since` and `until`, by their start.
    pub async fn logged_between(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<LoggedBy>, StoreError> {
        self.all(sql(LOGGED).bind(since).bind(until)).await
    }
}

const ROSTER: &str = "
    SELECT 'blocked_admin' AS kind, admin_id AS id, CAST(NULL AS TEXT) AS name, CAST(NULL AS TEXT) AS ends,
           blocked_at_utc AS until
      FROM gate_blocked_admins
    UNION ALL
    SELECT 'machine_legacy', token_id, role, NULL, NULL FROM gate_machine_token_legacy_roles
    UNION ALL
    SELECT 'machine_group', tg.token_id, CAST(g.name AS TEXT), NULL, NULL
      FROM gate_machine_token_groups tg JOIN rbac_groups g ON g.id = {group}";

const RECORDED: &str = "SELECT installed_on FROM _sqlx_migrations WHERE version = $1";

const WRITES: &str = "
    SELECT at_utc, written_by, application, relation, statement, change, subject, object
      FROM gate_rbac_changes WHERE at_utc > $1 ORDER BY id";

/// `rbac_grants_audit` can be written by its owner; the audit's rows are sealed.
const JOINS: &str = "
    SELECT s.detail ->> 'change' AS change, s.detail ->> 'event' AS event_type, s.subject_id AS admin,
           s.detail ->> 'group' AS \"group\", s.occurred_at_utc AS at
      FROM gate_audit_events s
     WHERE s.event_type = 'grant_recorded' AND s.subject_id IS NOT NULL AND s.detail ->> 'event' IN ('grant', 'revoke')
       AND s.detail ->> 'role' IS NULL AND s.detail ->> 'ticket' IS NULL AND s.detail ->> 'ends_at_utc' IS NULL
       AND s.detail ->> 'grant' IS NULL AND (s.detail ->> 'group' IS NULL OR s.occurred_at_utc > $1)
     ORDER BY s.occurred_at_utc, s.chain_id, s.sequence";

const SEALED: &str = "
    SELECT CAST(id AS TEXT) AS id, event_type, occurred_at_utc, detail
      FROM gate_audit_events
     WHERE event_type IN ('flag_flipped', 'flag_promoted')
        OR (event_type IN ('rbac_changed', 'access_request') AND occurred_at_utc > $1)
     ORDER BY occurred_at_utc, sequence";

const TICKETS: &str = "
    WITH every(id, user_id, role_id, ticket_id, customer_id, granted_at_utc, expires_at_utc, revoked_at_utc) AS (
        SELECT CAST(id AS TEXT), CAST(user_id AS TEXT), CAST(role_id AS TEXT), CAST(ticket_id AS TEXT),
               CAST(customer_id AS TEXT), granted_at_utc, expires_at_utc, revoked_at_utc
          FROM rbac_ticket_grants
        UNION ALL
        SELECT id, user_id, role_id, ticket_id, CAST(customer_id AS TEXT), granted_at_utc, expires_at_utc, revoked_at_utc
          FROM rbac_ticket_grants_archive
    )
    SELECT k.id AS id, k.user_id AS admin, CAST(r.name AS TEXT) AS role, k.ticket_id AS ticket, k.customer_id AS customer,
           CASE WHEN k.granted_at_utc > $1 AND k.granted_at_utc < $2 THEN k.granted_at_utc END AS granted_at,
           k.expires_at_utc IS NOT NULL AS is_limited,
           CASE WHEN k.expires_at_utc > $1 AND k.expires_at_utc < $2 THEN k.expires_at_utc END AS ends,
           k.revoked_at_utc IS NOT NULL AS is_revoked,
           CASE WHEN k.revoked_at_utc > $1 AND k.revoked_at_utc < $2 THEN k.revoked_at_utc END AS revoked_at
      FROM every k JOIN rbac_roles r ON CAST(r.id AS TEXT) = k.role_id
     WHERE k.id IS NOT NULL AND k.user_id IS NOT NULL AND r.name IS NOT NULL
       AND k.ticket_id IS NOT NULL AND k.customer_id IS NOT NULL
     ORDER BY 2, 1";

const USES: &str = "
    SELECT actor_kind, actor_id, path, answer, CAST(SUM(count) AS BIGINT) AS count, MIN(hour_utc) AS first_hour,
           MAX(last_seen_at_utc) AS last_seen
      FROM gate_decisions
     WHERE route = $1 AND method = $2 AND hour_utc >= $3 AND hour_utc < $4
     GROUP BY actor_kind, actor_id, path, answer
     ORDER BY actor_kind, actor_id, path, answer";

const AUDITED: &str = "
    SELECT event_type, actor_kind, actor_id, COUNT(*) AS count, MIN(occurred_at_utc) AS first_seen,
           MAX(occurred_at_utc) AS last_seen
      FROM gate_audit_events
     WHERE event_type IN ('access_denied', 'break_glass_used') AND route = $1 AND method = $2
       AND occurred_at_utc >= $3 AND occurred_at_utc < $4
     GROUP BY event_type, actor_kind, actor_id
     ORDER BY event_type, actor_kind, actor_id";

const ALL_USES: &str = "
    SELECT actor_kind, COALESCE(actor_id, '') AS actor_id, COALESCE(method, '') AS method, COALESCE(route, '') AS route,
           CAST(SUM(allowed) AS BIGINT) AS allowed, CAST(SUM(denied) AS BIGINT) AS denied,
           CAST(SUM(break_glass) AS BIGINT) AS break_glass, MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen
      FROM (SELECT actor_kind, actor_id, method, route, count AS allowed, 0 AS denied, 0 AS break_glass,
                   hour_utc AS first_seen, last_seen_at_utc AS last_seen
              FROM gate_decisions
             WHERE answer = 'allow' AND hour_utc >= $1 AND hour_utc < $2
            UNION ALL
            SELECT actor_kind, actor_id, method, route, 0, CASE event_type WHEN 'access_denied' THEN 1 ELSE 0 END,
                   CASE event_type WHEN 'break_glass_used' THEN 1 ELSE 0 END, occurred_at_utc, occurred_at_utc
              FROM gate_audit_events
             WHERE event_type IN ('access_denied', 'break_glass_used') AND occurred_at_utc >= $1 AND occurred_at_utc < $2
           ) uses
     GROUP BY 1, 2, 3, 4
     ORDER BY 1, 2, 4, 3";

const LOGGED: &str = "
    SELECT gate, started_at_utc, complete_until_utc
      FROM gate_evidence_marks
     WHERE kind = 'decisions' AND complete_until_utc >= $1 AND started_at_utc < $2
     ORDER BY started_at_utc, gate";
