//! The records about grants beside their own rows: why a membership or a grant for a ticket was given, and the last use of
//! each row of the mapping by its holder.

use chrono::{DateTime, Utc};

use crate::engine::sql::Statement;
use crate::{Store, StoreError};

/// A sealed row about a membership without an end, or about a grant for a ticket.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct GrantRecord {
    pub admin: String,
    /// `grant`, `revoke` or `ticket_grant`.
    pub event: String,
    /// The group of a membership.
    #[sqlx(rename = "group")]
    pub group: Option<String>,
    /// The id of a grant for a ticket.
    pub grant: Option<String>,
    pub by: Option<String>,
    pub reason: Option<String>,
    pub at: DateTime<Utc>,
}

/// When a request of an admin was last allowed on a row of the mapping, by the decision log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LastUse {
    pub admin: String,
    pub route: String,
    pub at: DateTime<Utc>,
}

/// SQLite takes 32,766 values in a statement, Postgres 65,535.
const MOST_ADMINS: usize = 10_000;

impl Store {
    /// The sealed rows about the memberships without an end and the ticket grants of `admins`, the oldest first.
    pub async fn grant_records(&self, admins: &[&str]) -> Result<Vec<GrantRecord>, StoreError> {
        self.about(admins, RECORDS).await
    }

    /// The last use of each row by each of `admins`.
    pub async fn last_uses(&self, admins: &[&str]) -> Result<Vec<LastUse>, StoreError> {
        self.about(admins, USES).await
    }

    async fn about<T: crate::engine::sql::Record>(
        &self,
        admins: &[&str],
        [head, tail]: [&'static str; 2],
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        for admins in admins.chunks(MOST_ADMINS) {
            let mut read = Statement::among(head, tail).once();
            for admin in admins {
                read.push(crate::storable(admin));
            }
            all.extend(self.all(read).await?);
        }
        Ok(all)
    }
}

/// `rbac_grants_audit` can be written by its owner; these rows are sealed.
const RECORDS: [&str; 2] = [
    "SELECT subject_id AS admin, detail ->> 'event' AS event, detail ->> 'group' AS \"group\", detail ->> 'grant' AS \"grant\",
            actor_id AS by, note AS reason, occurred_at_utc AS at
       FROM gate_audit_events
      WHERE event_type = 'grant_recorded'
        AND (detail ->> 'event' = 'ticket_grant'
             OR (detail ->> 'event' IN ('grant', 'revoke') AND detail ->> 'grant' IS NULL AND detail ->> 'role' IS NULL
                 AND detail ->> 'ends_at_utc' IS NULL))
        AND subject_id IN ",
    " ORDER BY occurred_at_utc, chain_id, sequence",
];

const USES: [&str; 2] = [
    "SELECT actor_id AS admin, route, MAX(last_seen_at_utc) AS at
       FROM gate_decisions
      WHERE actor_kind = 'admin' AND answer = 'allow' AND route <> '' AND actor_id IN ",
    " GROUP BY actor_id, route",
];
