//! Grants for tickets: a role for one ticket and one customer (RBAC V2 design, sections 3.2 and 5).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use ledger::Note;
use policy::decision::ticket::{TicketHolding, TicketName};
use policy::ids::{AdminId, Epoch};
use serde::Serialize;

use crate::engine::sql::sql;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::rbac_changes::TicketGrant;
use crate::{Store, StoreError};

/// The name of the switch in `gate_flags`. Off: every grant for a ticket is without effect.
pub const TICKET_GRANTS_FLAG: &str = "FLAG_TICKET_SCOPED_GRANTS";

/// What an admin is granted for a ticket and a customer, as of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketAccess {
    pub epoch: Epoch,
    /// Whether grants for tickets count: they do unless they are switched off.
    pub is_enabled: bool,
    /// Without FreeScout's data on the ticket.
    pub holding: TicketHolding,
}

/// A grant for a ticket that was not revoked.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredTicketGrant {
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
}

impl StoredTicketGrant {
    /// Whether its time is over, and its end not recorded yet.
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.is_limited && self.ends.is_none_or(|ends| ends <= now)
    }
}

impl From<&StoredTicketGrant> for TicketGrant {
    fn from(stored: &StoredTicketGrant) -> TicketGrant {
        let StoredTicketGrant { id, admin, role, ticket, customer, ends, .. } = stored.clone();
        // The column holds numbers.
        let customer = customer.parse().unwrap_or_default();
        TicketGrant { id, admin, role, ticket, customer, ends }
    }
}

#[derive(sqlx::FromRow)]
struct Fact {
    kind: String,
    #[sqlx(try_from = "Lenient<String>")]
    name: Option<String>,
    /// Of a grant the admin, of a role or permission the grant.
    #[sqlx(try_from = "Lenient<String>")]
    source: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    until: Option<DateTime<Utc>>,
}

impl Store {
    /// What `admin` is granted for exactly this ticket and this customer at `now`, with the epoch of the same snapshot. It is
    /// read anew for each request.
    pub async fn ticket_access(
        &self,
        admin: &AdminId,
        name: &TicketName,
        now: DateTime<Utc>,
    ) -> Result<TicketAccess, StoreError> {
        let (first, last) = readable_times();
        let read = sql(ACCESS)
            .bind(admin.as_str())
            .bind(name.ticket.as_str())
            .bind(name.customer.to_string())
            .bind(first)
            .bind(last);
        let facts: Vec<Fact> =
            self.bounded(async { self.access_pool.acquire().await?.all(read).await }).await?;
        assemble(facts, admin, now)
    }

    /// The grants that were not revoked: all, or those of one ticket.
    pub async fn ticket_grants(&self, ticket: Option<&str>) -> Result<Vec<StoredTicketGrant>, StoreError> {
        let (first, last) = readable_times();
        self.all(sql(GRANTS).bind(ticket).bind(first).bind(last)).await
    }

    /// Whether grants for tickets are switched on; `None` where the flag was never set.
    pub async fn ticket_grants_flag(&self) -> Result<Option<bool>, StoreError> {
        let row: Option<(bool,)> = self.first(sql(FLAG)).await?;
        Ok(row.map(|(enabled,)| enabled))
    }

    /// Sets `FLAG_TICKET_SCOPED_GRANTS` and writes `note` in the same transaction; the epoch rises with it.
    pub async fn set_ticket_grants_flag(
        &self,
        enabled: bool,
        by: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<(), StoreError> {
        let set = sql(SET_FLAG).bind(enabled).bind(by).bind(now);
        self.change(note, async |change| change.execute(set).await.map(drop)).await
    }
}

fn assemble(facts: Vec<Fact>, admin: &AdminId, now: DateTime<Utc>) -> Result<TicketAccess, StoreError> {
    let (mut epoch, mut is_enabled) = (None, true);
    let mut live: BTreeSet<String> = BTreeSet::new();
    let mut brought: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    for Fact { kind, name, source, until } in facts {
        let (Some(name), source) = (name, source.unwrap_or_default()) else { continue };
        match kind.as_str() {
            "epoch" => epoch = name.parse().ok().map(Epoch),
            "flag" => is_enabled = matches!(name.as_str(), "true" | "1"),
            // Compared here, byte by byte: a column may have a collation to which other ids are the same.
            "grant" if source == admin.as_str() => drop(live.insert(name)),
            "limited_grant" if source == admin.as_str() && until.is_some_and(|until| until > now) => {
                live.insert(name);
            }
            "grant" | "limited_grant" => {}
            "role" => brought.entry(source).or_default().push((true, name)),
            "permission" => brought.entry(source).or_default().push((false, name)),
            other => return Err(StoreError::Broken(format!("a ticket's fact of the kind `{other}`"))),
        }
    }
    let Some(epoch) = epoch else { return Err(StoreError::Broken("the epoch is missing".into())) };
    let mut holding = TicketHolding::default();
    for (is_role, name) in live.iter().filter_map(|id| brought.remove(id)).flatten() {
        let names = if is_role { &mut holding.roles } else { &mut holding.permissions };
        names.insert(name.into());
    }
    Ok(TicketAccess { epoch, is_enabled, holding })
}

/// As access is read: roles by their rows, and only those that have a name.
const ACCESS: &str = "
    WITH RECURSIVE gate__live(id, admin, role_id, expires_at_utc) AS (
        SELECT CAST(k.id AS TEXT), CAST(k.user_id AS TEXT), k.role_id, k.expires_at_utc
          FROM rbac_ticket_grants k
         WHERE k.revoked_at_utc IS NULL AND CAST(k.user_id AS TEXT) = $1
           AND CAST(k.ticket_id AS TEXT) = $2 AND CAST(k.customer_id AS TEXT) = $3
    ), gate__held(role_id, source) AS (
        SELECT r.id, l.id FROM gate__live l JOIN rbac_roles r ON r.id = l.role_id WHERE r.name IS NOT NULL
        UNION
        SELECT p.id, h.source
          FROM gate__held h
          JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
          JOIN rbac_roles p ON p.id = i.parent_role_id
         WHERE p.name IS NOT NULL
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TEXT) AS source,
           CAST(NULL AS TIMESTAMPTZ) AS until
      FROM gate_epoch
    UNION ALL
    SELECT 'flag', CAST(enabled AS TEXT), NULL, NULL FROM gate_flags WHERE name = 'FLAG_TICKET_SCOPED_GRANTS'
    UNION ALL
    SELECT CASE WHEN expires_at_utc IS NULL THEN 'grant' ELSE 'limited_grant' END, id, admin,
           CASE WHEN expires_at_utc > $4 AND expires_at_utc < $5 THEN expires_at_utc END
      FROM gate__live
    UNION ALL
    SELECT 'role', CAST(r.name AS TEXT), h.source, NULL FROM gate__held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT 'permission', CAST(p.name AS TEXT), h.source, NULL
      FROM gate__held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

const GRANTS: &str = "
    SELECT CAST(k.id AS TEXT) AS id, CAST(k.user_id AS TEXT) AS admin, CAST(r.name AS TEXT) AS role,
           CAST(k.ticket_id AS TEXT) AS ticket, CAST(k.customer_id AS TEXT) AS customer,
           CASE WHEN k.granted_at_utc > $2 AND k.granted_at_utc < $3 THEN k.granted_at_utc END AS granted_at,
           k.expires_at_utc IS NOT NULL AS is_limited,
           CASE WHEN k.expires_at_utc > $2 AND k.expires_at_utc < $3 THEN k.expires_at_utc END AS ends
      FROM rbac_ticket_grants k JOIN rbac_roles r ON r.id = k.role_id
     WHERE k.revoked_at_utc IS NULL AND k.id IS NOT NULL AND k.user_id IS NOT NULL AND r.name IS NOT NULL
       AND k.ticket_id IS NOT NULL AND k.customer_id IS NOT NULL
       AND (CAST($1 AS TEXT) IS NULL OR CAST(k.ticket_id AS TEXT) = $1)
     ORDER BY 4, 2, 1";

const FLAG: &str = "SELECT enabled FROM gate_flags WHERE name = 'FLAG_TICKET_SCOPED_GRANTS'";

const SET_FLAG: &str = "
    INSERT INTO gate_flags (name, enabled, changed_by, changed_at_utc)
    VALUES ('FLAG_TICKET_SCOPED_GRANTS', $1, $2, $3)
    ON CONFLICT (name) DO UPDATE
       SET enabled = excluded.enabled, changed_by = excluded.changed_by, changed_at_utc = excluded.changed_at_utc";
