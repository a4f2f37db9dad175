//! What one caller holds: the algorithm of the RBAC V2 design, section 3.4, in one statement and one snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::identity::Subject;
use crate::ids::Epoch;
use crate::rbac::{Access, LegacyRole, Standing, TokenIdentity};

/// Resolves subjects.
#[async_trait]
pub trait AccessStore {
    /// Everything that `subject` holds at `now`, with the epoch of the same snapshot.
    ///
    /// # Errors
    ///
    /// The database is away, or holds a row that cannot be read; then nothing is known and nothing may be allowed.
    async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError>;
}

/// Direct roles come from groups and from a live break-glass session, the one grant that bypasses groups (I-3).
/// Ticket-scoped grants are not here: they count only for a request that names its ticket (section 3.4, step 2).
/// `UNION` removes repeats, so the walk ends on a cyclic graph too.
const ADMIN_ACCESS: &str = "
    WITH RECURSIVE direct(role_id) AS (
        SELECT gr.role_id
          FROM rbac_user_groups ug
          JOIN rbac_group_roles gr ON gr.group_id = ug.group_id
         WHERE ug.user_id = $1
        UNION
        SELECT gr.role_id
          FROM rbac_break_glass_sessions s
          JOIN rbac_groups g ON g.name = 'break-glass'
          JOIN rbac_group_roles gr ON gr.group_id = g.id
         WHERE s.user_id = $1 AND s.revoked_at_utc IS NULL AND s.expires_at_utc > $3
    ), held(role_id) AS (
        SELECT role_id FROM direct
        UNION
        SELECT i.parent_role_id FROM held h JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TIMESTAMPTZ) AS until FROM gate_epoch
    UNION ALL
    SELECT CASE WHEN disabled_at_utc IS NULL THEN 'active' ELSE 'disabled' END, id, NULL
      FROM admins WHERE id = $1
    UNION ALL
    SELECT 'session', id, expires_at_utc
      FROM admin_sessions
     WHERE id = $2 AND admin_id = $1 AND revoked_at_utc IS NULL
       AND (expires_at_utc IS NULL OR expires_at_utc > $3)
    UNION ALL
    SELECT 'legacy', role, NULL FROM admin_roles WHERE admin_id = $1
    UNION ALL
    SELECT 'group', g.name, NULL
      FROM rbac_user_groups ug JOIN rbac_groups g ON g.id = ug.group_id WHERE ug.user_id = $1
    UNION ALL
    SELECT 'break_glass', id, expires_at_utc
      FROM rbac_break_glass_sessions
     WHERE user_id = $1 AND revoked_at_utc IS NULL AND expires_at_utc > $3
    UNION ALL
    SELECT 'role', r.name, NULL FROM held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT 'permission', p.name, NULL
      FROM held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

const TOKEN_ACCESS: &str = "
    WITH RECURSIVE token(id, name, expires_at_utc, stands) AS (
        SELECT id, name, expires_at_utc,
               CASE WHEN revoked_at_utc IS NULL AND (expires_at_utc IS NULL OR expires_at_utc > $2)
                    THEN 1 ELSE 0 END
          FROM gate_machine_tokens
         WHERE token_sha256 = $1 OR id = $3
    ), held(role_id) AS (
        SELECT gr.role_id
          FROM token t
          JOIN gate_machine_token_groups tg ON tg.token_id = t.id
          JOIN rbac_group_roles gr ON gr.group_id = tg.group_id
        UNION
        SELECT i.parent_role_id FROM held h JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TIMESTAMPTZ) AS until FROM gate_epoch
    UNION ALL
    SELECT CASE WHEN stands = 1 THEN 'active' ELSE 'disabled' END, id, expires_at_utc FROM token
    UNION ALL
    SELECT 'token_name', name, NULL FROM token
    UNION ALL
    SELECT 'legacy', l.role, NULL FROM token t JOIN gate_machine_token_legacy_roles l ON l.token_id = t.id
    UNION ALL
    SELECT 'group', g.name, NULL
      FROM token t
      JOIN gate_machine_token_groups tg ON tg.token_id = t.id
      JOIN rbac_groups g ON g.id = tg.group_id
    UNION ALL
    SELECT 'role', r.name, NULL FROM held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT 'permission', p.name, NULL
      FROM held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

/// One fact about a subject.
#[derive(sqlx::FromRow)]
struct Fact {
    kind: String,
    name: String,
    until: Option<DateTime<Utc>>,
}

/// Puts the facts together. `asked_session` is whether the cookie named a session that has to be live.
fn assemble(facts: Vec<Fact>, asked_session: bool) -> Result<Access, StoreError> {
    let mut access = Access::nothing(Epoch(0));
    let mut epoch = None;
    let mut session_is_live = false;
    let (mut token_id, mut token_name) = (None, None);
    for Fact { kind, name, until } in facts {
        if let Some(until) = until {
            access.valid_until = Some(access.valid_until.map_or(until, |known| known.min(until)));
        }
        match kind.as_str() {
            "epoch" => epoch = name.parse().ok(),
            "active" | "disabled" => {
                access.standing = if kind == "active" { Standing::Active } else { Standing::Disabled };
                token_id = Some(Arc::from(name));
            }
            "token_name" => token_name = Some(Arc::from(name)),
            "session" => session_is_live = true,
            "legacy" => {
                let role = LegacyRole::parse(&name)
                    .ok_or_else(|| StoreError::Broken("admin_roles has a role that does not exist".into()))?;
                access.legacy.insert(role);
            }
            "group" => drop(access.groups.insert(Arc::from(name))),
            "role" => drop(access.roles.insert(Arc::from(name))),
            "permission" => drop(access.permissions.insert(Arc::from(name))),
            "break_glass" => {}
            other => return Err(StoreError::Broken(format!("an access fact of the kind `{other}`"))),
        }
    }
    access.epoch = Epoch(epoch.ok_or_else(|| StoreError::Broken("gate_epoch has no row".into()))?);
    if let (Some(id), Some(name)) = (token_id, token_name) {
        access.token = Some(TokenIdentity { id, name });
    }
    if asked_session && access.standing == Standing::Active && !session_is_live {
        access.standing = Standing::SessionEnded;
    }
    if access.standing != Standing::Active {
        // Somebody who does not stand holds nothing, whatever rows are left of them.
        access.legacy = BTreeSet::new();
        access.groups = BTreeSet::new();
        access.roles = BTreeSet::new();
        access.permissions = BTreeSet::new();
        // And nothing of it can end: with the past expiry of a dead token, every cached answer would have lapsed.
        access.valid_until = None;
    }
    Ok(access)
}

macro_rules! access_store {
    ($store:ty) => {
        #[async_trait]
        impl AccessStore for $store {
            async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError> {
                bounded(self.limit, async {
                    let nothing = None::<&str>;
                    let query = match subject {
                        Subject::Admin { id, session } => sqlx::query_as(ADMIN_ACCESS)
                            .bind(id.as_str())
                            .bind(session.as_ref().map(|session| session.as_str()))
                            .bind(now),
                        Subject::Machine(digest) => {
                            sqlx::query_as(TOKEN_ACCESS).bind(digest.to_hex()).bind(now).bind(nothing)
                        }
                        Subject::Enrolled(id) => {
                            sqlx::query_as(TOKEN_ACCESS).bind(nothing).bind(now).bind(id.as_str())
                        }
                    };
                    let facts: Vec<Fact> = query.fetch_all(&self.pool).await?;
                    assemble(facts, matches!(subject, Subject::Admin { session: Some(_), .. }))
                })
                .await
            }
        }
    };
}

access_store!(PostgresStore);
access_store!(SqliteStore);
