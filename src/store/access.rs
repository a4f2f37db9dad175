//! What one caller holds: the algorithm of the RBAC V2 design, section 3.4, in one statement and one snapshot.

mod assemble;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use policy::identity::Subject;
use policy::ids::{Epoch, InstanceId, SessionId};
use policy::rbac::Access;

use self::assemble::assemble;
use super::control::{ControlReading, ControlRow};
use super::instances::{ControlFeed, Lease};
use super::lenient::readable_times;
use super::sql::sql;
use super::{Store, StoreError};

/// What access is decided from: what callers hold, the control row, and the gates that have it pushed. A trait, because
/// the tests of freshness have a database of their own, which fails on purpose.
#[async_trait]
pub trait AccessSource: Send + Sync + 'static {
    /// As [`Store::access`].
    async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError>;

    /// As [`Store::control_since`].
    async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError>;

    /// As [`Store::control`].
    async fn control(&self) -> Result<ControlRow, StoreError> {
        Ok(self.control_since(None).await?.row)
    }

    /// As [`Store::feed`].
    async fn feed(&self) -> Result<Box<dyn ControlFeed>, StoreError>;

    /// As [`Store::leases`].
    async fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// As [`Store::end_leases`].
    async fn end_leases(&self, leases: &[Lease], now: DateTime<Utc>) -> Result<(), StoreError>;

    /// As [`Store::leave`].
    async fn leave(&self, instance: &InstanceId) -> Result<(), StoreError>;
}

#[async_trait]
impl AccessSource for Store {
    async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError> {
        Store::access(self, subject, now).await
    }

    async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
        Store::control_since(self, known).await
    }

    async fn feed(&self) -> Result<Box<dyn ControlFeed>, StoreError> {
        Store::feed(self).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        Store::leases(self).await
    }

    async fn end_leases(&self, leases: &[Lease], now: DateTime<Utc>) -> Result<(), StoreError> {
        Store::end_leases(self, leases, now).await
    }

    async fn leave(&self, instance: &InstanceId) -> Result<(), StoreError> {
        Store::leave(self, instance).await
    }
}

impl Store {
    /// Everything that `subject` holds at `now`, with the epoch of the same snapshot. A row that cannot be used grants
    /// nothing, and is among the flaws.
    ///
    /// # Errors
    ///
    /// The database is away, or has no epoch; then nothing is known and nothing may be allowed.
    pub async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError> {
        if let Subject::Machine(digest) = subject {
            let nobody: Option<(i64,)> = self.first(sql(NOBODYS_TOKEN).bind(digest.to_hex())).await?;
            if let Some((epoch,)) = nobody {
                return Ok(Access::nothing(Epoch(epoch)));
            }
        }
        let nothing = None::<&str>;
        let statement = match subject {
            Subject::Admin { id, session } => {
                sql(ADMIN_ACCESS).bind(id.as_str()).bind(session.as_ref().map(SessionId::as_str))
            }
            Subject::Machine(digest) => sql(TOKEN_ACCESS).bind(digest.to_hex()).bind(nothing),
            Subject::Enrolled(id) => sql(TOKEN_ACCESS).bind(nothing).bind(id.as_str()),
        };
        let (first, last) = readable_times();
        assemble(self.all(statement.bind(first).bind(last)).await?, subject, now)
    }
}

/// Direct roles come from groups and from a live break-glass session, the one grant that bypasses groups (I-3).
/// Ticket-scoped grants are not here: they count only for a request that names its ticket (section 3.4, step 2).
/// `UNION` removes repeats, so the walk ends on a cyclic graph too.
///
/// When something ends is for `assemble` to compare: as texts, which is what SQLite has for times, only those in one form
/// sort as times. What break-glass grants is therefore kept apart until then. Groups and roles are joined by their rows,
/// and only by those that have a name: an edge to nothing, or over it, grants nothing.
const ADMIN_ACCESS: &str = "
    WITH RECURSIVE direct(role_id, by_glass) AS (
        SELECT gr.role_id, 0
          FROM rbac_user_groups ug
          JOIN rbac_groups g ON g.id = ug.group_id
          JOIN rbac_group_roles gr ON gr.group_id = g.id
         WHERE ug.user_id = $1 AND g.name IS NOT NULL
        UNION
        SELECT gr.role_id, 1
          FROM rbac_break_glass_sessions s
          JOIN rbac_groups g ON g.name = 'break-glass'
          JOIN rbac_group_roles gr ON gr.group_id = g.id
         WHERE s.user_id = $1 AND s.revoked_at_utc IS NULL
    ), held(role_id, by_glass) AS (
        SELECT r.id, d.by_glass
          FROM direct d JOIN rbac_roles r ON r.id = d.role_id
         WHERE r.name IS NOT NULL
        UNION
        SELECT p.id, h.by_glass
          FROM held h
          JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
          JOIN rbac_roles p ON p.id = i.parent_role_id
         WHERE p.name IS NOT NULL
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TIMESTAMPTZ) AS until FROM gate_epoch
    UNION ALL
    SELECT CASE WHEN disabled_at_utc IS NULL THEN 'admin' ELSE 'disabled_admin' END, NULL, NULL
      FROM admins WHERE id = $1
    UNION ALL
    SELECT 'disabled_admin', NULL, NULL FROM gate_blocked_admins WHERE admin_id = $1
    UNION ALL
    SELECT CASE WHEN revoked_at_utc IS NOT NULL THEN 'revoked_session'
                WHEN expires_at_utc IS NULL THEN 'session' ELSE 'limited_session' END,
           NULL, CASE WHEN expires_at_utc > $3 AND expires_at_utc < $4 THEN expires_at_utc END
      FROM admin_sessions
     WHERE id = $2 AND admin_id = $1
    UNION ALL
    SELECT 'legacy', CAST(role AS TEXT), NULL FROM admin_roles WHERE admin_id = $1
    UNION ALL
    SELECT 'group', CAST(g.name AS TEXT), NULL
      FROM rbac_user_groups ug JOIN rbac_groups g ON g.id = ug.group_id WHERE ug.user_id = $1
    UNION ALL
    SELECT 'break_glass', NULL, CASE WHEN expires_at_utc > $3 AND expires_at_utc < $4 THEN expires_at_utc END
      FROM rbac_break_glass_sessions
     WHERE user_id = $1 AND revoked_at_utc IS NULL
    UNION ALL
    SELECT CASE WHEN h.by_glass = 1 THEN 'glass_role' ELSE 'role' END, CAST(r.name AS TEXT), NULL
      FROM held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT CASE WHEN h.by_glass = 1 THEN 'glass_permission' ELSE 'permission' END, CAST(p.name AS TEXT), NULL
      FROM held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

/// The epoch, if nobody has the token: anybody can present tokens that nobody has, so this is looked up by the index alone
/// before the walk through groups and roles.
const NOBODYS_TOKEN: &str = "
    SELECT epoch FROM gate_epoch
     WHERE NOT EXISTS (SELECT 1 FROM gate_machine_tokens WHERE token_sha256 = $1)";

const TOKEN_ACCESS: &str = "
    WITH RECURSIVE token(id, name, expires_at_utc, revoked_at_utc) AS (
        SELECT id, name, expires_at_utc, revoked_at_utc
          FROM gate_machine_tokens
         WHERE token_sha256 = $1 OR id = $2
    ), held(role_id) AS (
        SELECT r.id
          FROM token t
          JOIN gate_machine_token_groups tg ON tg.token_id = t.id
          JOIN rbac_groups g ON g.id = tg.group_id
          JOIN rbac_group_roles gr ON gr.group_id = g.id
          JOIN rbac_roles r ON r.id = gr.role_id
         WHERE g.name IS NOT NULL AND r.name IS NOT NULL
        UNION
        SELECT p.id
          FROM held h
          JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
          JOIN rbac_roles p ON p.id = i.parent_role_id
         WHERE p.name IS NOT NULL
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TIMESTAMPTZ) AS until FROM gate_epoch
    UNION ALL
    SELECT CASE WHEN revoked_at_utc IS NOT NULL THEN 'revoked_token'
                WHEN expires_at_utc IS NULL THEN 'token' ELSE 'limited_token' END,
           id, CASE WHEN expires_at_utc > $3 AND expires_at_utc < $4 THEN expires_at_utc END
      FROM token
    UNION ALL
    SELECT 'token_name', name, NULL FROM token
    UNION ALL
    SELECT 'legacy', l.role, NULL FROM token t JOIN gate_machine_token_legacy_roles l ON l.token_id = t.id
    UNION ALL
    SELECT 'group', CAST(g.name AS TEXT), NULL
      FROM token t
      JOIN gate_machine_token_groups tg ON tg.token_id = t.id
      JOIN rbac_groups g ON g.id = tg.group_id
    UNION ALL
    SELECT 'role', CAST(r.name AS TEXT), NULL FROM held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT 'permission', CAST(p.name AS TEXT), NULL
      FROM held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";
