//! Machine tokens: only their hashes are here.

use chrono::{DateTime, Utc};
use ledger::Note;
use policy::identity::machine_token::TokenDigest;
use policy::ids::MachineTokenId;
use policy::rbac::LegacyRole;

use crate::engine::sql::sql;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::{Store, StoreError};

impl Store {
    /// Stores a token's hash and its groups, with an audit record, in one transaction. A name is taken by a token that is
    /// active; one that has ended gives it up.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when the token is there already, the name is taken or a group does not exist.
    pub async fn create_token(&self, token: &NewToken, note: &Note) -> Result<(), StoreError> {
        let NewToken { name, created_by, created_at, .. } = token;
        let id = token.id.as_str();
        self.change(note, async |change| {
            let known: Option<(String, bool)> = change.first(sql(KNOWN).bind(token.digest.to_hex())).await?;
            if let Some((known, is_revoked)) = known {
                let revoked = if is_revoked { " and revoked" } else { "" };
                let message = format!("this token is enrolled already as `{known}`{revoked}");
                return Err(StoreError::Conflict(message));
            }
            change.execute(sql(RETIRE).bind(name).bind(*created_at)).await?;
            let create = sql(CREATE)
                .bind(id)
                .bind(name)
                .bind(token.digest.to_hex())
                .bind(created_by)
                .bind(*created_at)
                .bind(token.expires_at);
            change.execute(create).await?;
            for group in &token.groups {
                let enrol = sql(ENROL).bind(id).bind(group).bind(created_by).bind(*created_at);
                if change.execute(enrol).await? != 1 {
                    return Err(StoreError::Conflict(format!("there is no group `{group}`")));
                }
            }
            for role in &token.legacy {
                change.execute(sql(LEGACY).bind(id).bind(role.as_str())).await?;
            }
            Ok(())
        })
        .await
    }

    /// Revokes a token by name; `false` when no live token has that name.
    pub async fn revoke_token(
        &self,
        name: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let revoke = sql(REVOKE).bind(name).bind(now);
        self.change(note, async |change| change.execute_or_undo(revoke).await).await
    }

    /// Replaces a token by a new one, which has its name, groups, legacy roles and end; the old one is revoked at once. `false`
    /// when no live token has that name.
    pub async fn rotate_token(
        &self,
        name: &str,
        (id, digest): (&MachineTokenId, TokenDigest),
        now: DateTime<Utc>,
        (revoked, created): (&Note, &Note),
    ) -> Result<bool, StoreError> {
        self.change(revoked, async |change| {
            let old: Option<(String,)> = change.first(sql(LIVE).bind(name).bind(now)).await?;
            let Some((old,)) = old else {
                change.undo();
                return Ok(false);
            };
            change.enter(created).await?;
            change.execute(sql(REVOKE).bind(name).bind(now)).await?;
            change.execute(sql(RETIRE).bind(name).bind(now)).await?;
            let replace = sql(REPLACE).bind(id.as_str()).bind(name).bind(digest.to_hex()).bind(now);
            change.execute(replace.bind(old.as_str())).await?;
            for copy in [COPY_GROUPS, COPY_LEGACY] {
                change.execute(sql(copy).bind(id.as_str()).bind(old.as_str())).await?;
            }
            Ok(true)
        })
        .await
    }

    /// Every token, by name.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        let (first, last) = readable_times();
        self.all(sql(LIST).bind(first).bind(last)).await
    }
}

/// A token that is being enrolled.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub id: MachineTokenId,
    pub name: String,
    pub digest: TokenDigest,
    pub groups: Vec<String>,
    /// What it holds while a row is on its legacy gate.
    pub legacy: Vec<LegacyRole>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token as it is listed. Its hash is left out. A time that cannot be read is none.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredToken {
    pub id: String,
    pub name: String,
    pub created_by: String,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub created_at_utc: Option<DateTime<Utc>>,
    /// Whether it ends by itself; if its end cannot be read, it has ended.
    pub is_limited: bool,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub expires_at_utc: Option<DateTime<Utc>>,
    pub is_revoked: bool,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    pub revoked_at_utc: Option<DateTime<Utc>>,
}

const CREATE: &str = "
    INSERT INTO gate_machine_tokens (id, name, token_sha256, created_by, created_at_utc, expires_at_utc)
    VALUES ($1, $2, $3, $4, $5, $6)";

const KNOWN: &str = "
    SELECT name, revoked_at_utc IS NOT NULL AS is_revoked FROM gate_machine_tokens WHERE token_sha256 = $1";

const ENROL: &str = "
    INSERT INTO gate_machine_token_groups (token_id, group_id, granted_by, granted_at_utc)
    SELECT $1, CAST(g.id AS TEXT), $3, $4 FROM rbac_groups g WHERE g.name = $2";

const LEGACY: &str = "INSERT INTO gate_machine_token_legacy_roles (token_id, role) VALUES ($1, $2)";

const REVOKE: &str =
    "UPDATE gate_machine_tokens SET revoked_at_utc = $2 WHERE name = $1 AND revoked_at_utc IS NULL";

/// A token that has ended keeps its row, under a name that no setting has.
const RETIRE: &str = "
    UPDATE gate_machine_tokens SET name = name || ' (ended, ' || id || ')'
     WHERE name = $1 AND (revoked_at_utc IS NOT NULL OR expires_at_utc <= $2)";

const LIVE: &str = "
    SELECT id FROM gate_machine_tokens
     WHERE name = $1 AND revoked_at_utc IS NULL AND (expires_at_utc IS NULL OR expires_at_utc > $2)";

const REPLACE: &str = "
    INSERT INTO gate_machine_tokens (id, name, token_sha256, created_by, created_at_utc, expires_at_utc)
    SELECT $1, $2, $3, created_by, $4, expires_at_utc FROM gate_machine_tokens WHERE id = $5";

const COPY_GROUPS: &str = "
    INSERT INTO gate_machine_token_groups (token_id, group_id, granted_by, granted_at_utc)
    SELECT $1, group_id, granted_by, granted_at_utc FROM gate_machine_token_groups WHERE token_id = $2";

const COPY_LEGACY: &str = "
    INSERT INTO gate_machine_token_legacy_roles (token_id, role)
    SELECT $1, role FROM gate_machine_token_legacy_roles WHERE token_id = $2";

const LIST: &str = "
    SELECT id, name, created_by,
           CASE WHEN created_at_utc > $1 AND created_at_utc < $2 THEN created_at_utc END AS created_at_utc,
           expires_at_utc IS NOT NULL AS is_limited,
           CASE WHEN expires_at_utc > $1 AND expires_at_utc < $2 THEN expires_at_utc END AS expires_at_utc,
           revoked_at_utc IS NOT NULL AS is_revoked,
           CASE WHEN revoked_at_utc > $1 AND revoked_at_utc < $2 THEN revoked_at_utc END AS revoked_at_utc
      FROM gate_machine_tokens
     ORDER BY name";
