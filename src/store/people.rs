//! Admins, their sessions, groups and roles: what the demo and the tests set up, and the grant API will.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use policy::ids::{AdminId, SessionId};
use policy::rbac::LegacyRole;

use super::{PostgresStore, SqliteStore, StoreError, bounded};

/// Writes who is who. Every one of these raises the epoch, by trigger.
#[async_trait]
pub trait PeopleStore {
    /// Adds an admin.
    async fn add_admin(&self, id: &AdminId, email: &str, display_name: &str) -> Result<(), StoreError>;

    /// Gives an admin one of the flat roles.
    async fn add_legacy_role(&self, id: &AdminId, role: LegacyRole, by: &str) -> Result<(), StoreError>;

    /// Puts an admin into a group, by the group's name; again is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when there is no such group or admin.
    async fn join_group(&self, id: &AdminId, group: &str, by: &str) -> Result<(), StoreError>;

    /// Takes an admin out of a group, by the group's name; again is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when there is no such group: a misspelt name must not pass for a revocation.
    async fn leave_group(&self, id: &AdminId, group: &str) -> Result<(), StoreError>;

    /// Records a session.
    async fn add_session(
        &self,
        session: &SessionId,
        id: &AdminId,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError>;

    /// Ends a session at `now`.
    async fn revoke_session(&self, session: &SessionId, now: DateTime<Utc>) -> Result<(), StoreError>;

    /// Creates a group that holds exactly `roles`, all by name.
    async fn add_group(&self, group: &str, roles: &[&str]) -> Result<(), StoreError>;

    /// Lets `child` inherit `parent`, both by name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] when it would close a cycle: the database itself refuses that.
    async fn add_inheritance(&self, child: &str, parent: &str) -> Result<(), StoreError>;

    /// Adds admins, each with legacy roles and groups, in one transaction: all or none.
    async fn add_people(&self, people: &[NewPerson], by: &str) -> Result<(), StoreError>;

    /// Removes every admin and every group whose id or name begins so, with what was granted to them, in one transaction;
    /// how many admins.
    async fn remove_people(&self, prefix: &str) -> Result<u64, StoreError>;

    /// The admins with their names, in the order of their ids.
    async fn admins(&self) -> Result<Vec<StoredAdmin>, StoreError>;
}

/// An admin to be added.
#[derive(Clone, Debug)]
pub struct NewPerson {
    pub id: AdminId,
    pub legacy: Vec<LegacyRole>,
    /// By name.
    pub groups: Vec<String>,
    /// Its recorded session, for a Console that keeps some.
    pub session: Option<SessionId>,
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
    SELECT $1, g.id, $3 FROM rbac_groups g WHERE g.name = $2
    ON CONFLICT DO NOTHING";
const GROUP_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM rbac_groups WHERE name = $1)";
const LEAVE: &str = "
    DELETE FROM rbac_user_groups
     WHERE user_id = $1 AND group_id IN (SELECT g.id FROM rbac_groups g WHERE g.name = $2)";
const ADD_SESSION: &str = "INSERT INTO admin_sessions (id, admin_id, expires_at_utc) VALUES ($1, $2, $3)";
const REVOKE_SESSION: &str = "UPDATE admin_sessions SET revoked_at_utc = $2 WHERE id = $1";
const ADD_GROUP: &str = "INSERT INTO rbac_groups (id, name) VALUES ($1, $1)";
const ADD_GROUP_ROLE: &str = "
    INSERT INTO rbac_group_roles (group_id, role_id)
    SELECT g.id, r.id FROM rbac_groups g, rbac_roles r WHERE g.name = $1 AND r.name = $2";
const ADD_INHERITANCE: &str = "
    INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
    SELECT c.id, p.id FROM rbac_roles c, rbac_roles p WHERE c.name = $1 AND p.name = $2";
/// What refers to the admins and groups that go: tables of Console's own may lack the cascades.
const REMOVE_GRANTS: [&str; 5] = [
    "DELETE FROM admin_sessions WHERE substr(admin_id, 1, length($1)) = $1",
    "DELETE FROM admin_roles WHERE substr(admin_id, 1, length($1)) = $1",
    "DELETE FROM rbac_user_groups WHERE substr(user_id, 1, length($1)) = $1",
    "DELETE FROM rbac_group_roles
      WHERE group_id IN (SELECT g.id FROM rbac_groups g WHERE substr(g.name, 1, length($1)) = $1)",
    "DELETE FROM rbac_groups WHERE substr(name, 1, length($1)) = $1",
];
const REMOVE_ADMINS: &str = "DELETE FROM admins WHERE substr(id, 1, length($1)) = $1";
const ADMINS: &str = "SELECT id, email, display_name FROM admins ORDER BY id";

macro_rules! people_store {
    ($store:ty) => {
        impl $store {
            async fn expect_group(&self, group: &str) -> Result<(), StoreError> {
                if sqlx::query_scalar(GROUP_EXISTS).bind(group).fetch_one(&self.pool).await? {
                    return Ok(());
                }
                Err(StoreError::Conflict(format!("there is no group `{group}`")))
            }
        }

        #[async_trait]
        impl PeopleStore for $store {
            async fn add_admin(
                &self,
                id: &AdminId,
                email: &str,
                display_name: &str,
            ) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    sqlx::query(ADD_ADMIN)
                        .bind(id.as_str())
                        .bind(email)
                        .bind(display_name)
                        .execute(&self.pool)
                        .await?;
                    Ok(())
                })
                .await
            }

            async fn add_legacy_role(
                &self,
                id: &AdminId,
                role: LegacyRole,
                by: &str,
            ) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let query = sqlx::query(ADD_LEGACY).bind(id.as_str()).bind(role.as_str()).bind(by);
                    query.execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }

            async fn join_group(&self, id: &AdminId, group: &str, by: &str) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    self.expect_group(group).await?;
                    sqlx::query(JOIN).bind(id.as_str()).bind(group).bind(by).execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }

            async fn leave_group(&self, id: &AdminId, group: &str) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    self.expect_group(group).await?;
                    sqlx::query(LEAVE).bind(id.as_str()).bind(group).execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }

            async fn add_session(
                &self,
                session: &SessionId,
                id: &AdminId,
                expires_at: Option<DateTime<Utc>>,
            ) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let query = sqlx::query(ADD_SESSION).bind(session.as_str()).bind(id.as_str());
                    query.bind(expires_at).execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }

            async fn revoke_session(
                &self,
                session: &SessionId,
                now: DateTime<Utc>,
            ) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    sqlx::query(REVOKE_SESSION).bind(session.as_str()).bind(now).execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }

            async fn add_group(&self, group: &str, roles: &[&str]) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    sqlx::query(ADD_GROUP).bind(group).execute(&mut *transaction).await?;
                    for role in roles {
                        let added = sqlx::query(ADD_GROUP_ROLE).bind(group).bind(*role);
                        if added.execute(&mut *transaction).await?.rows_affected() != 1 {
                            return Err(StoreError::Conflict(format!("there is no role `{role}`")));
                        }
                    }
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn add_inheritance(&self, child: &str, parent: &str) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let added =
                        sqlx::query(ADD_INHERITANCE).bind(child).bind(parent).execute(&self.pool).await?;
                    if added.rows_affected() != 1 {
                        return Err(StoreError::Conflict(format!(
                            "there is no role `{child}` or `{parent}`"
                        )));
                    }
                    Ok(())
                })
                .await
            }

            async fn add_people(&self, people: &[NewPerson], by: &str) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    for person in people {
                        let id = person.id.as_str();
                        let added = sqlx::query(ADD_ADMIN).bind(id).bind(format!("{id}@invalid")).bind(by);
                        added.execute(&mut *transaction).await?;
                        for role in &person.legacy {
                            let added = sqlx::query(ADD_LEGACY).bind(id).bind(role.as_str()).bind(by);
                            added.execute(&mut *transaction).await?;
                        }
                        for group in &person.groups {
                            let joined = sqlx::query(JOIN).bind(id).bind(group).bind(by);
                            if joined.execute(&mut *transaction).await?.rows_affected() != 1 {
                                return Err(StoreError::Conflict(format!("there is no group `{group}`")));
                            }
                        }
                        if let Some(session) = &person.session {
                            let added = sqlx::query(ADD_SESSION).bind(session.as_str()).bind(id);
                            added.bind(None::<DateTime<Utc>>).execute(&mut *transaction).await?;
                        }
                    }
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn remove_people(&self, prefix: &str) -> Result<u64, StoreError> {
                if prefix.is_empty() {
                    return Err(StoreError::Conflict("every admin's id begins with nothing".into()));
                }
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    for statement in REMOVE_GRANTS {
                        sqlx::query(statement).bind(prefix).execute(&mut *transaction).await?;
                    }
                    let gone = sqlx::query(REMOVE_ADMINS).bind(prefix).execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(gone.rows_affected())
                })
                .await
            }

            async fn admins(&self) -> Result<Vec<StoredAdmin>, StoreError> {
                bounded(self.limit, async { Ok(sqlx::query_as(ADMINS).fetch_all(&self.pool).await?) }).await
            }
        }
    };
}

people_store!(PostgresStore);
people_store!(SqliteStore);
