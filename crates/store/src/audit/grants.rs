//! The tables of grants beside their sealed rows (`grant_recorded`), to be compared both ways.

use chrono::{DateTime, Utc};
use ledger::verify::{GrantContent, GrantTable, SealedGrant, StoredGrant};
use serde_json::Value;
use sqlx::types::Json;

use crate::engine::connection::Connection;
use crate::engine::sql::Statement;
use crate::engine::tolerant::{Lenient, readable_times};

/// A row of a table of grants and its sealed row; the columns of the one that is missing are empty.
#[derive(sqlx::FromRow)]
pub(super) struct GrantColumns {
    id: String,
    is_stored: bool,
    event: Option<String>,
    admin: Option<String>,
    group_name: Option<String>,
    role: Option<String>,
    ticket: Option<String>,
    customer: Option<String>,
    granted_by: Option<String>,
    reason: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    ends: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    at: Option<DateTime<Utc>>,
    is_ended: bool,
    is_end_sealed: bool,
    is_named: bool,
    sealed_id: Option<String>,
    sealed_at: Option<DateTime<Utc>>,
    sealed_admin: Option<String>,
    sealed_by: Option<String>,
    sealed_note: Option<String>,
    sealed: Option<Json<Value>>,
    is_erased: bool,
}

impl GrantColumns {
    /// Whether no sealed row has or names it.
    pub(super) fn is_unsealed(&self) -> bool {
        self.is_stored && self.sealed_id.is_none() && !self.is_named
    }

    pub(super) fn into_grant(self, table: GrantTable) -> StoredGrant {
        let stored = self.is_stored.then(|| GrantContent {
            event: self.event,
            group: self.group_name,
            role: self.role,
            ticket: self.ticket,
            customer: self.customer,
            ends: self.ends,
            at: self.at.filter(|_| table == GrantTable::History),
            admin: self.admin,
            by: self.granted_by,
            reason: self.reason,
        });
        let detail = self.sealed.map(|json| json.0).unwrap_or_default();
        let text = |name: &str| detail[name].as_str().map(ToOwned::to_owned);
        let is_history = table == GrantTable::History;
        let content = GrantContent {
            event: text("event").filter(|_| is_history),
            // A timed membership is of a group, a grant for a ticket of a role; a session's group is not in its row.
            group: text("group").filter(|_| matches!(table, GrantTable::History | GrantTable::Timed)),
            role: text("role"),
            ticket: text("ticket"),
            customer: detail["customer"].as_i64().map(|customer| customer.to_string()),
            ends: text("ends_at_utc").and_then(|ends| ends.parse().ok()),
            at: self.sealed_at.filter(|_| is_history),
            admin: self.sealed_admin,
            by: self.sealed_by,
            // A grant for a ticket has no reason in its own table.
            reason: self.sealed_note.filter(|_| table != GrantTable::Ticket),
        };
        let sealed = self.sealed_id.is_some().then(|| SealedGrant {
            content,
            at: self.sealed_at.unwrap_or_default(),
            is_erased: self.is_erased,
        });
        StoredGrant {
            table,
            id: self.id,
            stored,
            is_ended: self.is_ended,
            is_end_sealed: self.is_end_sealed,
            sealed,
            is_named: self.is_named,
        }
    }
}

/// Reads the rows of a table beside their sealed rows, in no order.
pub(super) fn compared(table: GrantTable, connection: &Connection) -> Statement<'static> {
    let rows = match table {
        GrantTable::History => HISTORY,
        GrantTable::Timed => TIMED,
        GrantTable::Ticket => TICKET,
        GrantTable::BreakGlass => BREAK_GLASS,
    };
    let key = if table == GrantTable::History { "id" } else { "grant_id" };
    let is_of_table = match table {
        GrantTable::History => "true".to_owned(),
        other => format!("detail ->> 'table' = '{}'", other.name()),
    };
    let gone = match table {
        GrantTable::History | GrantTable::BreakGlass => "false",
        GrantTable::Timed => "NOT EXISTS (SELECT 1 FROM rbac_groups g WHERE g.name = s.detail ->> 'group')",
        GrantTable::Ticket => "NOT EXISTS (SELECT 1 FROM rbac_roles r WHERE r.name = s.detail ->> 'role')",
    };
    let (names, time) = match connection {
        Connection::Postgres(_) => (NAMED_POSTGRES, "TIMESTAMPTZ"),
        Connection::Sqlite(_) => (NAMED_SQLITE, "TEXT"),
    };
    let text = COMPARED
        .replace("{rows}", rows)
        .replace("{key}", key)
        .replace("{of_table}", &is_of_table)
        .replace("{begins}", if table == GrantTable::History { "true" } else { "begins" })
        .replace("{time}", time)
        .replace("{gone}", gone)
        .replace("{names}", names);
    let (first, last) = readable_times();
    Statement::composed_once(text).bind(first).bind(last)
}

/// A group or role that is gone since is no change of the row: it took the row's name of it along, or the row. An erasure that is
/// yet to be carried out has taken the rows of the admin, and not yet the sealed rows.
const COMPARED: &str = "
    WITH gate__stored AS ({rows}),
    gate__recorded AS (
        SELECT id, occurred_at_utc, actor_id, subject_id, note, detail, erased_by, detail ->> 'grant' AS grant_id,
               CAST(detail ->> 'begins' AS TEXT) IN ('true', '1') AS begins
          FROM gate_audit_events WHERE event_type = 'grant_recorded' AND {of_table}
    ),
    gate__sealed AS (SELECT * FROM gate__recorded WHERE {begins}),
    gate__ended AS (SELECT DISTINCT grant_id FROM gate__recorded WHERE NOT begins),
    gate__named AS ({names})
    SELECT COALESCE(t.id, s.{key}) AS id, t.id IS NOT NULL AS is_stored, t.event AS event, t.admin AS admin,
           CASE WHEN t.group_name IS NULL AND NOT EXISTS
                     (SELECT 1 FROM rbac_groups g WHERE g.name = s.detail ->> 'group') THEN s.detail ->> 'group'
                ELSE t.group_name END AS group_name,
           CASE WHEN t.role IS NULL AND NOT EXISTS
                     (SELECT 1 FROM rbac_roles r WHERE r.name = s.detail ->> 'role') THEN s.detail ->> 'role'
                ELSE t.role END AS role,
           t.ticket AS ticket, t.customer AS customer, t.granted_by AS granted_by, t.reason AS reason, t.ends AS ends, t.at AS at,
           COALESCE(t.is_ended, false) AS is_ended, n.grant_id IS NOT NULL AS is_end_sealed,
           t.id IN (SELECT id FROM gate__named WHERE id IS NOT NULL) AND t.id IS NOT NULL AS is_named,
           s.id AS sealed_id, s.occurred_at_utc AS sealed_at, s.subject_id AS sealed_admin, s.actor_id AS sealed_by,
           s.note AS sealed_note, s.detail AS sealed,
           s.erased_by IS NOT NULL OR p.actor_id IS NOT NULL OR {gone} AS is_erased
      FROM gate__stored t
      FULL JOIN gate__sealed s ON s.{key} = t.id
      LEFT JOIN gate__ended n ON n.grant_id = COALESCE(t.id, s.{key})
      LEFT JOIN gate_pending_erasures p ON p.actor_id = s.subject_id";

const HISTORY: &str = "
        SELECT CAST(a.id AS TEXT) AS id, CAST(a.event_type AS TEXT) AS event, CAST(a.target_user_id AS TEXT) AS admin,
               CAST(g.name AS TEXT) AS group_name, CAST(r.name AS TEXT) AS role, CAST(a.ticket_id AS TEXT) AS ticket,
               CAST(a.customer_id AS TEXT) AS customer, CAST(a.granted_by AS TEXT) AS granted_by,
               CAST(a.justification AS TEXT) AS reason,
               CASE WHEN a.expires_at_utc > $1 AND a.expires_at_utc < $2 THEN a.expires_at_utc END AS ends,
               CASE WHEN a.created_at_utc > $1 AND a.created_at_utc < $2 THEN a.created_at_utc END AS at,
               false AS is_ended
          FROM rbac_grants_audit a
          LEFT JOIN rbac_groups g ON g.id = a.group_id LEFT JOIN rbac_roles r ON r.id = a.role_id";

const TIMED: &str = "
        SELECT t.id AS id, NULL AS event, t.admin_id AS admin, CAST(g.name AS TEXT) AS group_name, NULL AS role,
               NULL AS ticket, NULL AS customer, t.granted_by AS granted_by, t.reason AS reason,
               CASE WHEN t.ends_at_utc > $1 AND t.ends_at_utc < $2 THEN t.ends_at_utc END AS ends, CAST(NULL AS {time}) AS at,
               t.revoked_at_utc IS NOT NULL AS is_ended
          FROM gate_grants t LEFT JOIN rbac_groups g ON CAST(g.id AS TEXT) = t.group_id";

const TICKET: &str = "
        SELECT k.id AS id, NULL AS event, k.admin AS admin, NULL AS group_name, CAST(r.name AS TEXT) AS role,
               k.ticket AS ticket, k.customer AS customer, k.granted_by AS granted_by, NULL AS reason,
               CASE WHEN k.ends > $1 AND k.ends < $2 THEN k.ends END AS ends, CAST(NULL AS {time}) AS at, k.is_ended AS is_ended
          FROM (SELECT CAST(id AS TEXT) AS id, CAST(user_id AS TEXT) AS admin, CAST(role_id AS TEXT) AS role_id,
                       CAST(ticket_id AS TEXT) AS ticket, CAST(customer_id AS TEXT) AS customer,
                       CAST(granted_by AS TEXT) AS granted_by, expires_at_utc AS ends,
                       revoked_at_utc IS NOT NULL AS is_ended
                  FROM rbac_ticket_grants
                UNION ALL
                SELECT CAST(id AS TEXT), CAST(user_id AS TEXT), CAST(role_id AS TEXT), CAST(ticket_id AS TEXT),
                       CAST(customer_id AS TEXT), CAST(granted_by AS TEXT), expires_at_utc, revoked_at_utc IS NOT NULL
                  FROM rbac_ticket_grants_archive) k
          LEFT JOIN rbac_roles r ON CAST(r.id AS TEXT) = k.role_id";

const BREAK_GLASS: &str = "
        SELECT CAST(s.id AS TEXT) AS id, NULL AS event, CAST(s.user_id AS TEXT) AS admin, NULL AS group_name,
               NULL AS role, NULL AS ticket, NULL AS customer, CAST(s.granted_by AS TEXT) AS granted_by,
               CAST(s.justification AS TEXT) AS reason,
               CASE WHEN s.expires_at_utc > $1 AND s.expires_at_utc < $2 THEN s.expires_at_utc END AS ends, CAST(NULL AS {time}) AS at,
               s.revoked_at_utc IS NOT NULL AS is_ended
          FROM rbac_break_glass_sessions s";

/// What sealed rows of releases before `grant_recorded` name, by id and without the person.
const NAMED_POSTGRES: &str = "
        SELECT x.id AS id FROM gate_audit_events e, jsonb_array_elements_text(
               CASE WHEN jsonb_typeof(e.detail -> 'grants') = 'array' THEN e.detail -> 'grants' ELSE '[]' END) AS x (id)
         WHERE e.event_type = 'rbac_changed'
        UNION
        SELECT x.one ->> 'id' FROM gate_audit_events e, jsonb_array_elements(
               CASE WHEN jsonb_typeof(e.detail -> 'changes') = 'array' THEN e.detail -> 'changes' ELSE '[]' END) AS x (one)
         WHERE e.event_type = 'rbac_changed'
        UNION
        SELECT x.id FROM gate_audit_events e, jsonb_array_elements_text(
               CASE WHEN jsonb_typeof(e.detail -> 'detail' -> 'grants') = 'array'
                    THEN e.detail -> 'detail' -> 'grants' ELSE '[]' END) AS x (id)
         WHERE e.event_type = 'break_glass'
        UNION
        SELECT e.detail ->> 'session' FROM gate_audit_events e WHERE e.event_type = 'break_glass'";

const NAMED_SQLITE: &str = "
        SELECT x.value AS id FROM gate_audit_events e, json_each(e.detail, '$.grants') x
         WHERE e.event_type = 'rbac_changed'
        UNION
        SELECT x.value ->> 'id' FROM gate_audit_events e, json_each(e.detail, '$.changes') x
         WHERE e.event_type = 'rbac_changed'
        UNION
        SELECT x.value FROM gate_audit_events e, json_each(e.detail, '$.detail.grants') x
         WHERE e.event_type = 'break_glass'
        UNION
        SELECT e.detail ->> 'session' FROM gate_audit_events e WHERE e.event_type = 'break_glass'";
