//! Everybody at once: for reports on what a mapping would do to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::rbac::LegacyRole;
use crate::rbac::census::{CallerKind, Person};

/// Reads who there is.
#[async_trait]
pub trait CensusStore {
    /// Every enabled admin and live machine token with what was granted to each at `now`, in one snapshot, in the order
    /// of kind and id.
    async fn census(&self, now: DateTime<Utc>) -> Result<Vec<Person>, StoreError>;
}

const CENSUS: &str = "
    WITH token(id) AS (
        SELECT id FROM gate_machine_tokens
         WHERE revoked_at_utc IS NULL AND (expires_at_utc IS NULL OR expires_at_utc > $1)
    ), admin(id) AS (
        SELECT id FROM admins WHERE disabled_at_utc IS NULL
    )
    SELECT 'admin' AS kind, id, CAST(NULL AS TEXT) AS name FROM admin
    UNION ALL
    SELECT 'admin_legacy', a.id, r.role FROM admin a JOIN admin_roles r ON r.admin_id = a.id
    UNION ALL
    SELECT 'admin_group', a.id, g.name
      FROM admin a
      JOIN rbac_user_groups ug ON ug.user_id = a.id
      JOIN rbac_groups g ON g.id = ug.group_id
    UNION ALL
    SELECT 'break_glass', a.id, NULL
      FROM admin a
      JOIN rbac_break_glass_sessions s ON s.user_id = a.id
     WHERE s.revoked_at_utc IS NULL AND s.expires_at_utc > $1
    UNION ALL
    SELECT 'machine', id, NULL FROM token
    UNION ALL
    SELECT 'machine_legacy', t.id, l.role
      FROM token t JOIN gate_machine_token_legacy_roles l ON l.token_id = t.id
    UNION ALL
    SELECT 'machine_group', t.id, g.name
      FROM token t
      JOIN gate_machine_token_groups tg ON tg.token_id = t.id
      JOIN rbac_groups g ON g.id = tg.group_id";

/// One fact about somebody.
#[derive(sqlx::FromRow)]
struct Fact {
    kind: String,
    id: String,
    name: Option<String>,
}

fn assemble(facts: Vec<Fact>) -> Result<Vec<Person>, StoreError> {
    let mut people: BTreeMap<(CallerKind, Arc<str>), Person> = BTreeMap::new();
    for Fact { kind, id, name } in facts {
        let of_machine = kind.starts_with("machine");
        let caller = if of_machine { CallerKind::Machine } else { CallerKind::Admin };
        let id: Arc<str> = id.into();
        let person = people.entry((caller, id.clone())).or_insert_with(|| Person {
            kind: caller,
            id,
            legacy: [].into(),
            groups: [].into(),
            break_glass: false,
        });
        match (kind.as_str(), name) {
            ("admin" | "machine", None) => {}
            ("break_glass", None) => person.break_glass = true,
            ("admin_legacy" | "machine_legacy", Some(role)) => {
                let role = LegacyRole::parse(&role)
                    .ok_or_else(|| StoreError::Broken(format!("an unknown legacy role `{role}`")))?;
                person.legacy.insert(role);
            }
            ("admin_group" | "machine_group", Some(group)) => {
                person.groups.insert(group.into());
            }
            (other, _) => return Err(StoreError::Broken(format!("a fact of the kind `{other}`"))),
        }
    }
    Ok(people.into_values().collect())
}

macro_rules! census_store {
    ($store:ty) => {
        #[async_trait]
        impl CensusStore for $store {
            async fn census(&self, now: DateTime<Utc>) -> Result<Vec<Person>, StoreError> {
                bounded(self.limit, async {
                    assemble(sqlx::query_as(CENSUS).bind(now).fetch_all(&self.pool).await?)
                })
                .await
            }
        }
    };
}

census_store!(PostgresStore);
census_store!(SqliteStore);
