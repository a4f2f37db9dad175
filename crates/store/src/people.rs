//! Admins, their sessions, groups and roles: what the demo and the tests set up, and the grant API will.

use chrono::{DateTime, Utc};
use policy::identity::Subject;
use policy::ids::{AdminId, SessionId};
use policy::rbac::{LegacyRole, Standing};

use crate::console::{Relation, composed};
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError};

/// Every change of these raises the epoch, by trigger.
impl Store {
    /// Adds an admin.
    pub async fn add_admin(&self, id: &AdminId, email: &str, display_name: &str) -> Result<(), StoreError> {
        self.execute(sql(ADD_ADMIN).bind(id.as_str()).bind(email).bind(display_name)).await.map(drop)
    }

    /// Gives an admin one of the flat roles.
    pub async fn add_legacy_role(&self, id: &AdminId, role: &LegacyRole, by: &str) -> Result<(), StoreError> {
        self.execute(sql(ADD_LEGACY).bind(id.as_str()).bind(role.as_str()).bind(by)).await.map(drop)
    }

    /// Puts an admin into a group, by the group's name; again is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when there is no such group or admin.
    pub async fn join_group(&self, id: &AdminId, group: &str, by: &str) -> Result<(), StoreError> {
        // The gate's memberships have no foreign key to Console's admins.
        let subject = Subject::Admin { id: id.clone(), session: None };
        if Box::pin(self.access(&subject, chrono::Utc::now())).await?.standing == Standing::Unknown {
            return Err(StoreError::Conflict(format!("there is no admin `{id}`")));
        }
        let join = JOIN.replace("{id}", &self.member_argument().await?);
        self.change_group(group, composed(join).bind(id.as_str()).bind(group).bind(by)).await
    }

    /// Takes an admin out of a group, by the group's name; again is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when there is no such group: a misspelt name must not pass for a revocation.
    pub async fn leave_group(&self, id: &AdminId, group: &str) -> Result<(), StoreError> {
        let leave = LEAVE.replace("{id}", &self.member_argument().await?);
        self.change_group(group, composed(leave).bind(id.as_str()).bind(group)).await
    }

    /// The first argument, an admin's id, as what memberships hold.
    async fn member_argument(&self) -> Result<String, StoreError> {
        self.bounded(self.id_argument("rbac_user_groups", "user_id", 1)).await
    }

    async fn change_group(&self, group: &str, change: Statement<'_>) -> Result<(), StoreError> {
        self.bounded(async {
            let mut connection = self.pool.acquire().await?;
            let (exists,): (bool,) = connection.one(sql(GROUP_EXISTS).bind(group)).await?;
            if !exists {
                return Err(no_group(group));
            }
            connection.execute(change).await.map(drop)
        })
        .await
    }

    /// Records a session.
    pub async fn add_session(
        &self,
        session: &SessionId,
        id: &AdminId,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let add = sql(ADD_SESSION).bind(session.as_str()).bind(id.as_str()).bind(expires_at);
        self.execute(add).await.map(drop)
    }

    /// Ends a session at `now`.
    pub async fn revoke_session(&self, session: &SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.execute(sql(REVOKE_SESSION).bind(session.as_str()).bind(now)).await.map(drop)
    }

    /// Creates a group that holds exactly `roles`, all by name.
    pub async fn add_group(&self, group: &str, roles: &[&str]) -> Result<(), StoreError> {
        self.bounded(async {
            let mut transaction = self.pool.begin().await?;
            transaction.execute(sql(ADD_GROUP).bind(group)).await?;
            for role in roles {
                if transaction.execute(sql(ADD_GROUP_ROLE).bind(group).bind(*role)).await? != 1 {
                    return Err(StoreError::Conflict(format!("there is no role `{role}`")));
                }
            }
            transaction.commit().await
        })
        .await
    }

    /// Lets `child` inherit `parent`, both by name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] when it would close a cycle: the database itself refuses that.
    pub async fn add_inheritance(&self, child: &str, parent: &str) -> Result<(), StoreError> {
        if self.execute(sql(ADD_INHERITANCE).bind(child).bind(parent)).await? == 1 {
            return Ok(());
        }
        Err(StoreError::Conflict(format!("there is no role `{child}` or `{parent}`")))
    }

    /// The admins with their names, in the order of their ids.
    pub async fn admins(&self) -> Result<Vec<StoredAdmin>, StoreError> {
        self.bounded(async {
            let mut connection = self.access_pool.acquire().await?;
            if self.console.relations.is_documented(Relation::AllAdmins) {
                return connection.all(sql(ADMINS)).await;
            }
            let Some(admins) = self.console.listed(&mut connection, Relation::AllAdmins).await? else {
                return Ok(Vec::new());
            };
            let text = format!(
                "SELECT CAST(c.id AS TEXT) AS id, COALESCE(CAST(c.label AS TEXT), '') AS email,
                        CAST(NULL AS TEXT) AS display_name
                   FROM (\n{}) c WHERE c.id IS NOT NULL ORDER BY 1",
                admins.text
            );
            connection.all(composed(text).once()).await
        })
        .await
    }
}

/// An admin as listed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredAdmin {
    pub id: String,
    pub email: String,
    pub display_name: Option<String>,
}

const ADD_ADMIN: &str = "INSERT INTO admins (id, email, display_name) VALUES ($1, $2, $3)";
const ADD_LEGACY: &str = "INSERT INTO admin_roles (admin_id, role, granted_by) VALUES ($1, $2, $3)";
const JOIN: &str = "
    INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
    SELECT {id}, g.id, $3 FROM rbac_groups g WHERE g.name = $2
    ON CONFLICT DO NOTHING";
const GROUP_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM rbac_groups WHERE name = $1)";
const LEAVE: &str = "
    DELETE FROM rbac_user_groups
     WHERE user_id = {id} AND group_id IN (SELECT g.id FROM rbac_groups g WHERE g.name = $2)";
const ADD_SESSION: &str = "INSERT INTO admin_sessions (id, admin_id, expires_at_utc) VALUES ($1, $2, $3)";
const REVOKE_SESSION: &str = "UPDATE admin_sessions SET revoked_at_utc = $2 WHERE id = $1";
const ADD_GROUP: &str = "INSERT INTO rbac_groups (id, name) VALUES ($1, $1)";
const ADD_GROUP_ROLE: &str = "
    INSERT INTO rbac_group_roles (group_id, role_id)
    SELECT g.id, r.id FROM rbac_groups g, rbac_roles r WHERE g.name = $1 AND r.name = $2";
const ADD_INHERITANCE: &str = "
    INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
    SELECT c.id, p.id FROM rbac_roles c, rbac_roles p WHERE c.name = $1 AND p.name = $2";
const ADMINS: &str = "SELECT CAST(id AS TEXT) AS id, email, display_name FROM admins ORDER BY id";

fn no_group(group: &str) -> StoreError {
    StoreError::Conflict(format!("there is no group `{group}`"))
}
