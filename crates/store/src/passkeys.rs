//! Passkeys: public keys of admins, codes to register a first one, and challenges that wait for an answer.

use chrono::{DateTime, Utc};
use ledger::Note;
use serde::Serialize;

use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError};

/// A passkey as it is stored: the key that verifies signatures, never one that signs.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredPasskey {
    /// A UUID v4.
    pub id: String,
    pub admin: String,
    /// A UUID, the same for all passkeys of an admin.
    #[serde(skip)]
    pub user_handle: String,
    /// In base64url.
    #[serde(skip)]
    pub credential_id: String,
    /// JSON.
    #[serde(skip)]
    pub credential: String,
    #[serde(skip)]
    pub counter: i64,
    pub label: String,
    pub registered_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_by: Option<String>,
}

/// A one-time code for a first passkey.
#[derive(Clone, Copy, Debug)]
pub struct NewInvite<'i> {
    pub id: &'i str,
    pub admin: &'i str,
    pub code_sha256: &'i str,
    pub by: &'i str,
    pub at: DateTime<Utc>,
    pub expires: DateTime<Utc>,
}

/// A challenge that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct NewChallenge<'c> {
    pub id: &'c str,
    pub admin: &'c str,
    pub purpose: &'static str,
    pub bound_sha256: &'c str,
    pub state: &'c str,
    pub expires: DateTime<Utc>,
}

/// A challenge that was taken: it cannot be answered again.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct TakenChallenge {
    pub admin: String,
    pub purpose: String,
    pub bound_sha256: String,
    pub state: String,
    pub expires: DateTime<Utc>,
}

/// The result of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    Done,
    /// The code was used meanwhile, or its time is over.
    NoInvite,
}

impl Store {
    /// The passkeys that were not revoked, of one admin or of all, the oldest first; with `revoked`, the others too.
    pub async fn passkeys(
        &self,
        admin: Option<&str>,
        revoked: bool,
    ) -> Result<Vec<StoredPasskey>, StoreError> {
        self.all(Statement::joined(&[COLUMNS, OF_ADMIN]).bind(admin).bind(revoked)).await
    }

    /// The passkey with this credential id, whether or not it is live.
    pub async fn passkey_of(&self, credential_id: &str) -> Result<Option<StoredPasskey>, StoreError> {
        self.first(Statement::joined(&[COLUMNS, " WHERE credential_id = $1"]).bind(credential_id)).await
    }

    /// The admin whom a code invites, if it can be used at `now`.
    pub async fn invited(&self, code_sha256: &str, now: DateTime<Utc>) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = self.first(sql(INVITED).bind(code_sha256).bind(now)).await?;
        Ok(row.map(|(admin,)| admin))
    }

    /// Gives a passkey another name; `false` where it is not the admin's or not live.
    pub async fn name_passkey(&self, id: &str, admin: &str, label: &str) -> Result<bool, StoreError> {
        Ok(self.execute(sql(NAME).bind(id).bind(admin).bind(label)).await? == 1)
    }

    /// Revokes a passkey of the admin, unless it is the last live one; `false` where it is that, or is not the admin's.
    pub async fn revoke_own_passkey(
        &self,
        id: &str,
        admin: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let revoke = sql(REVOKE_OWN).bind(id).bind(admin).bind(now);
        // Changes wait for each other, so two requests cannot each take one of the last two.
        self.change(note, async |change| change.execute_or_undo(revoke).await).await
    }

    /// Keeps a code for a first passkey; those of the admin before it are void.
    pub async fn invite_passkey(&self, invite: &NewInvite<'_>, note: &Note) -> Result<(), StoreError> {
        let NewInvite { id, admin, code_sha256, by, at, expires } = *invite;
        self.change(note, async |change| {
            change.execute(sql(FORGET_INVITES).bind(admin)).await?;
            let add = sql(INVITE).bind(id).bind(admin).bind(code_sha256).bind(by).bind(at).bind(expires);
            change.execute(add).await.map(drop)
        })
        .await
    }

    /// Whether a code is one of the admin's that can be used at `now`.
    pub async fn is_passkey_invite(
        &self,
        admin: &str,
        code_sha256: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let row: Option<(String,)> =
            self.first(sql(IS_INVITE).bind(admin).bind(code_sha256).bind(now)).await?;
        Ok(row.is_some())
    }

    /// Keeps a passkey, and uses up the code that it was registered with, where that is the admin's first.
    pub async fn add_passkey(
        &self,
        passkey: &StoredPasskey,
        code_sha256: Option<&str>,
        note: &Note,
    ) -> Result<Registered, StoreError> {
        self.change(note, async |change| {
            if let Some(code) = code_sha256 {
                let take =
                    sql(TAKE_INVITE).bind(passkey.admin.as_str()).bind(code).bind(passkey.registered_at);
                if !change.execute_or_undo(take).await? {
                    return Ok(Registered::NoInvite);
                }
            }
            let add = sql(ADD)
                .bind(passkey.id.as_str())
                .bind(passkey.admin.as_str())
                .bind(passkey.user_handle.as_str())
                .bind(passkey.credential_id.as_str())
                .bind(passkey.credential.as_str())
                .bind(passkey.counter)
                .bind(passkey.label.as_str())
                .bind(passkey.registered_at);
            change.execute(add).await?;
            Ok(Registered::Done)
        })
        .await
    }

    /// Revokes a passkey, and ends the sessions that it began or signed in; `false` where it is none, or revoked already.
    pub async fn revoke_passkey(
        &self,
        id: &str,
        by: &str,
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let revoke = sql(REVOKE).bind(id).bind(now).bind(by);
        let end = sql(END_WITH).bind(format!("%\"{id}\"%")).bind(now).bind("passkey_revoked").bind(by);
        self.change(note, async |change| {
            let is_revoked = change.execute_or_undo(revoke).await?;
            if is_revoked {
                change.execute(end).await?;
            }
            Ok(is_revoked)
        })
        .await
    }

    /// Notes that a passkey has signed, with its credential as it is now. `false` where it was revoked meanwhile, or has signed
    /// something with a higher number of signatures: then there are two of it.
    pub async fn use_passkey(
        &self,
        id: &str,
        credential: &str,
        counter: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let used = sql(USE).bind(id).bind(credential).bind(counter).bind(now);
        Ok(self.execute(used).await? == 1)
    }

    /// Keeps a challenge, and forgets those whose time was over at `now`.
    pub async fn add_challenge(
        &self,
        challenge: &NewChallenge<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.execute(sql(FORGET_CHALLENGES).bind(now)).await?;
        let add = sql(CHALLENGE)
            .bind(challenge.id)
            .bind(challenge.admin)
            .bind(challenge.purpose)
            .bind(challenge.bound_sha256)
            .bind(challenge.state)
            .bind(challenge.expires);
        self.execute(add).await.map(drop)
    }

    /// Takes a challenge, so that it cannot be taken again; `None` where there is none of that id.
    pub async fn take_challenge(&self, id: &str) -> Result<Option<TakenChallenge>, StoreError> {
        self.first(sql(TAKE_CHALLENGE).bind(id)).await
    }
}

const COLUMNS: &str = "
    SELECT id, admin_id AS admin, user_handle, credential_id, credential, counter, label, registered_at_utc AS registered_at,
           last_used_at_utc AS last_used_at, revoked_at_utc AS revoked_at, revoked_by
      FROM gate_passkeys";
const OF_ADMIN: &str = "
     WHERE (CAST($1 AS TEXT) IS NULL OR admin_id = $1)
       AND (CAST($2 AS BOOLEAN) OR revoked_at_utc IS NULL)
     ORDER BY registered_at_utc, id";
const INVITED: &str =
    "SELECT admin_id FROM gate_passkey_invites WHERE code_sha256 = $1 AND expires_at_utc > $2";
const END_WITH: &str = "
    UPDATE gate_sessions SET ended_at_utc = $2, end_reason = $3, ended_by = $4
     WHERE ended_at_utc IS NULL AND methods LIKE $1";
const NAME: &str =
    "UPDATE gate_passkeys SET label = $3 WHERE id = $1 AND admin_id = $2 AND revoked_at_utc IS NULL";
const REVOKE_OWN: &str = "
    UPDATE gate_passkeys SET revoked_at_utc = $3, revoked_by = $2
     WHERE id = $1 AND admin_id = $2 AND revoked_at_utc IS NULL
       AND EXISTS (SELECT 1 FROM gate_passkeys o
                    WHERE o.admin_id = $2 AND o.id <> $1 AND o.revoked_at_utc IS NULL)";
const FORGET_INVITES: &str = "DELETE FROM gate_passkey_invites WHERE admin_id = $1";
const INVITE: &str = "
    INSERT INTO gate_passkey_invites (id, admin_id, code_sha256, invited_by, invited_at_utc, expires_at_utc)
    VALUES ($1, $2, $3, $4, $5, $6)";
const IS_INVITE: &str = "
    SELECT id FROM gate_passkey_invites WHERE admin_id = $1 AND code_sha256 = $2 AND expires_at_utc > $3";
const TAKE_INVITE: &str = "
    DELETE FROM gate_passkey_invites WHERE admin_id = $1 AND code_sha256 = $2 AND expires_at_utc > $3";
const ADD: &str = "
    INSERT INTO gate_passkeys
           (id, admin_id, user_handle, credential_id, credential, counter, label, registered_at_utc)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const REVOKE: &str =
    "UPDATE gate_passkeys SET revoked_at_utc = $2, revoked_by = $3 WHERE id = $1 AND revoked_at_utc IS NULL";
const USE: &str = "
    UPDATE gate_passkeys SET credential = $2, counter = $3, last_used_at_utc = $4
     WHERE id = $1 AND revoked_at_utc IS NULL AND (counter < $3 OR (counter = 0 AND $3 = 0))";
const FORGET_CHALLENGES: &str = "DELETE FROM gate_webauthn_challenges WHERE expires_at_utc <= $1";
const CHALLENGE: &str = "
    INSERT INTO gate_webauthn_challenges (id, admin_id, purpose, bound_sha256, state, expires_at_utc)
    VALUES ($1, $2, $3, $4, $5, $6)";
const TAKE_CHALLENGE: &str = "
    DELETE FROM gate_webauthn_challenges WHERE id = $1
    RETURNING admin_id AS admin, purpose, bound_sha256, state, expires_at_utc AS expires";
