//! Sessions that the gate begins itself, and values that work once.
//!
//! What such a session opens is read where all access is ([`crate::access`]). Here it begins, slides and ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ledger::Note;

use crate::engine::change::Change;
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError};

/// A session that begins.
#[derive(Clone, Debug)]
pub struct NewSession<'s> {
    /// A UUID v4.
    pub id: &'s str,
    pub token_sha256: &'s str,
    pub admin: &'s str,
    pub scope: &'static str,
    /// JSON.
    pub methods: &'s str,
    pub stepped_up_at: Option<DateTime<Utc>>,
    pub at: DateTime<Utc>,
    pub absolute_end: DateTime<Utc>,
    pub idle_end: DateTime<Utc>,
    pub device: &'s str,
    pub address: Option<&'s str>,
}

/// A session as it is stored, without its token.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredSession {
    pub id: String,
    pub admin: String,
    pub scope: String,
    pub methods: String,
    pub stepped_up_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub absolute_end: DateTime<Utc>,
    pub idle_end: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub device: String,
    pub address: Option<String>,
}

/// What a session replaces, and what it uses up, in the transaction in which it begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replacing<'r> {
    /// The session that the login came with: it ends.
    pub session: Option<&'r str>,
    /// The most live sessions of the admin, this one included: of more, the oldest end.
    pub most: i64,
    /// The SHA-256 of an invitation's code, which is used up.
    pub invitation: Option<&'r str>,
}

/// Whether a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    Yes,
    /// What it was to use up has been used up.
    UsedUp,
}

/// Which sessions are to end.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'e> {
    /// One.
    One(&'e str),
    /// All of the admin, except this one.
    Others(&'e str),
    /// All of the admin.
    All,
}

impl Store {
    /// Begins a session.
    pub async fn begin_session(
        &self,
        session: &NewSession<'_>,
        replacing: Replacing<'_>,
        note: &Note,
    ) -> Result<Begun, StoreError> {
        self.change(note, async |change| {
            if let Some(code) = replacing.invitation {
                let take = sql(TAKE_INVITATION).bind(session.admin).bind(code).bind(session.at);
                if !change.execute_or_undo(take).await? {
                    return Ok(Begun::UsedUp);
                }
            }
            if let Some(replaced) = replacing.session {
                // Whoever's it is: the browser is another person's now.
                change.execute(sql(REPLACE).bind(replaced).bind(session.at).bind(session.admin)).await?;
            }
            let displace = sql(DISPLACE).bind(session.admin).bind(session.at).bind(replacing.most - 1);
            change.execute(displace).await?;
            insert(change, session).await?;
            Ok(Begun::Yes)
        })
        .await
    }

    /// Uses up a value that was not stored, by its purpose and SHA-256; `false` where it has been used. It is remembered until
    /// `until`, when it is of no use anyway.
    pub async fn use_once(
        &self,
        purpose: &'static str,
        value_sha256: &str,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.execute(sql(FORGET_ONE_TIME).bind(now)).await?;
        Ok(self.execute(sql(MARK).bind(purpose).bind(value_sha256).bind(until)).await? == 1)
    }

    /// Gives a live session another token and new ends: `token_sha256` is the new one's. `false` where it has ended meanwhile.
    pub async fn rotate_session(&self, rotated: &NewSession<'_>, note: &Note) -> Result<bool, StoreError> {
        let rotate = sql(ROTATE)
            .bind(rotated.id)
            .bind(rotated.token_sha256)
            .bind(rotated.methods)
            .bind(rotated.stepped_up_at)
            .bind(rotated.at)
            .bind(rotated.absolute_end)
            .bind(rotated.idle_end);
        self.change(note, async |change| change.execute_or_undo(rotate).await).await
    }

    /// Ends sessions of an admin, and returns how many.
    pub async fn end_sessions(
        &self,
        admin: &str,
        which: Ending<'_>,
        (by, reason): (&str, &'static str),
        now: DateTime<Utc>,
        note: &Note,
    ) -> Result<u64, StoreError> {
        let end = |text: &'static str| sql(text);
        self.change(note, async |change| {
            let statement = match which {
                Ending::One(id) => {
                    end(END_ONE).bind(id.to_owned()).bind(now).bind(reason).bind(by.to_owned())
                }
                Ending::Others(id) => {
                    end(END_OTHERS).bind(id.to_owned()).bind(now).bind(reason).bind(by.to_owned())
                }
                Ending::All => end(END_OTHERS).bind("").bind(now).bind(reason).bind(by.to_owned()),
            };
            change.execute(statement.bind(admin.to_owned())).await
        })
        .await
    }

    /// The live session with this token.
    pub async fn session_of_token(
        &self,
        token_sha256: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<StoredSession>, StoreError> {
        self.first(Statement::joined(&[SESSIONS, " AND token_sha256 = $2"]).bind(now).bind(token_sha256))
            .await
    }

    /// The live sessions of an admin, the one that was used last first.
    pub async fn sessions_of(
        &self,
        admin: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<StoredSession>, StoreError> {
        let of = Statement::joined(&[SESSIONS, " AND admin_id = $2 ORDER BY last_used_at_utc DESC, id"]);
        self.all(of.bind(now).bind(admin)).await
    }

    /// Moves the idle ends of sessions to `idle` after the time at which each was used. One that has ended, or was idle for too
    /// long, stays over, and no end moves back.
    pub async fn slide_sessions(
        &self,
        used: &BTreeMap<Arc<str>, DateTime<Utc>>,
        idle: TimeDelta,
    ) -> Result<(), StoreError> {
        let slide = async {
            let mut transaction = self.pool.begin().await?;
            for (id, at) in used {
                transaction.execute(sql(SLIDE).bind(id.to_string()).bind(*at).bind(*at + idle)).await?;
            }
            transaction.commit().await
        };
        self.bounded(slide).await
    }

    /// Forgets sessions that have been over since `before`.
    pub async fn forget_sessions(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.execute(sql(FORGET).bind(before)).await
    }
}

async fn insert(change: &mut Change, session: &NewSession<'_>) -> Result<(), StoreError> {
    let insert = sql(BEGIN)
        .bind(session.id)
        .bind(session.token_sha256)
        .bind(session.admin)
        .bind(session.scope)
        .bind(session.methods)
        .bind(session.stepped_up_at)
        .bind(session.at)
        .bind(session.absolute_end)
        .bind(session.idle_end)
        .bind(session.device)
        .bind(session.address);
    change.execute(insert).await.map(drop)
}

const BEGIN: &str = "
    INSERT INTO gate_sessions
           (id, token_sha256, admin_id, scope, methods, stepped_up_at_utc, created_at_utc, absolute_ends_at_utc,
            idle_ends_at_utc, last_used_at_utc, device, address)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7, $10, $11)";
const ROTATE: &str = "
    UPDATE gate_sessions
       SET token_sha256 = $2, methods = $3, stepped_up_at_utc = $4, last_used_at_utc = $5, absolute_ends_at_utc = $6,
           idle_ends_at_utc = $7
     WHERE id = $1 AND ended_at_utc IS NULL AND idle_ends_at_utc > $5 AND absolute_ends_at_utc > $5";
const REPLACE: &str = "
    UPDATE gate_sessions SET ended_at_utc = $2, end_reason = 'replaced', ended_by = $3
     WHERE id = $1 AND ended_at_utc IS NULL";
const END_ONE: &str = "
    UPDATE gate_sessions SET ended_at_utc = $2, end_reason = $3, ended_by = $4
     WHERE id = $1 AND admin_id = $5 AND ended_at_utc IS NULL";
const END_OTHERS: &str = "
    UPDATE gate_sessions SET ended_at_utc = $2, end_reason = $3, ended_by = $4
     WHERE id <> $1 AND admin_id = $5 AND ended_at_utc IS NULL";
/// Those beyond the number that may live, the ones used longest ago first.
const DISPLACE: &str = "
    UPDATE gate_sessions SET ended_at_utc = $2, end_reason = 'displaced', ended_by = $1
     WHERE ended_at_utc IS NULL AND admin_id = $1
       AND id NOT IN (SELECT id FROM gate_sessions
                       WHERE admin_id = $1 AND ended_at_utc IS NULL AND idle_ends_at_utc > $2
                         AND absolute_ends_at_utc > $2
                       ORDER BY last_used_at_utc DESC, id LIMIT $3)";
const SESSIONS: &str = "
    SELECT id, admin_id AS admin, scope, methods, stepped_up_at_utc AS stepped_up_at, created_at_utc AS created_at,
           absolute_ends_at_utc AS absolute_end, idle_ends_at_utc AS idle_end, last_used_at_utc AS last_used_at, device,
           address
      FROM gate_sessions
     WHERE ended_at_utc IS NULL AND idle_ends_at_utc > $1 AND absolute_ends_at_utc > $1";
const SLIDE: &str = "
    UPDATE gate_sessions SET last_used_at_utc = $2, idle_ends_at_utc = $3
     WHERE id = $1 AND ended_at_utc IS NULL AND idle_ends_at_utc > $2 AND absolute_ends_at_utc > $2
       AND idle_ends_at_utc < $3";
const FORGET: &str = "DELETE FROM gate_sessions WHERE absolute_ends_at_utc < $1";
const MARK: &str = "
    INSERT INTO gate_one_time (purpose, value_sha256, expires_at_utc) VALUES ($1, $2, $3)
    ON CONFLICT (purpose, value_sha256) DO NOTHING";
const FORGET_ONE_TIME: &str = "DELETE FROM gate_one_time WHERE expires_at_utc <= $1";
const TAKE_INVITATION: &str = "
    DELETE FROM gate_passkey_invites WHERE admin_id = $1 AND code_sha256 = $2 AND expires_at_utc > $3";
