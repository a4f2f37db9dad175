//! Answers to requests that carry a key of their own, so that a repeat of one is answered and not made again.
//!
//! The answer is the last statement of the change it answers: kept afterwards, a gate that died between the two let a repeat
//! make the change twice.

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::connection::Connection;
use crate::engine::sql::sql;
use crate::{Store, StoreError};

/// Who asks for what. Both are digests: nothing personal is kept for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceKey {
    /// Of the principal and the key.
    pub key_sha256: String,
    /// Of the request.
    pub request_sha256: String,
}

/// The answer to a request with a key, which is kept in the transaction of what the request changes: where the answer is
/// lost, a repeat finds it, and where it cannot be kept, nothing has changed.
#[derive(Clone, Copy, Debug)]
pub struct OnceAnswer<'a> {
    pub key: &'a OnceKey,
    pub answer: &'a str,
    /// How long it is kept.
    pub until: DateTime<Utc>,
}

/// The state of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// New: the request is under way from now on, and the caller carries it out.
    Begun,
    /// The same request was answered with this.
    Answered(String),
    /// The same request is under way.
    UnderWay,
    /// It is the key of another request.
    OfAnother,
}

/// How long a request counts as under way of which nothing more is heard.
const MOST_UNDER_WAY: TimeDelta = TimeDelta::seconds(120);

impl Store {
    /// Notes that a request is under way, unless its key is known. What has expired is forgotten first.
    pub async fn begin_once(&self, key: &OnceKey, now: DateTime<Utc>) -> Result<Once, StoreError> {
        self.execute(sql("DELETE FROM gate_request_keys WHERE expires_at_utc <= $1").bind(now)).await?;
        let begin = sql(BEGIN)
            .bind(key.key_sha256.as_str())
            .bind(key.request_sha256.as_str())
            .bind(now + MOST_UNDER_WAY);
        if self.execute(begin).await? == 1 {
            return Ok(Once::Begun);
        }
        let found: Option<(String, Option<String>)> =
            self.first(sql(FIND).bind(key.key_sha256.as_str())).await?;
        Ok(match found {
            Some((request, _)) if request != key.request_sha256 => Once::OfAnother,
            Some((_, Some(answer))) => Once::Answered(answer),
            // It ended just now; a repeat finds how.
            Some((_, None)) | None => Once::UnderWay,
        })
    }

    /// Keeps the answer to a request that was begun and has none yet.
    pub async fn answer_once(
        &self,
        key: &OnceKey,
        answer: &str,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let done = sql(ANSWER)
            .bind(key.key_sha256.as_str())
            .bind(key.request_sha256.as_str())
            .bind(answer)
            .bind(until);
        self.execute(done).await.map(drop)
    }

    /// Forgets a request that was begun and changed nothing: it may be made again under its key.
    pub async fn forget_once(&self, key: &OnceKey) -> Result<(), StoreError> {
        self.execute(sql(FORGET).bind(key.key_sha256.as_str()).bind(key.request_sha256.as_str()))
            .await
            .map(drop)
    }
}

/// Keeps an answer within a transaction.
///
/// # Errors
///
/// [`StoreError::Conflict`] where the key is not under way any more: the request took so long that it counts as lost, and a
/// repeat of it may be made.
pub(super) async fn answer_in(
    connection: &mut Connection,
    answer: Option<OnceAnswer<'_>>,
) -> Result<(), StoreError> {
    let Some(OnceAnswer { key, answer, until }) = answer else { return Ok(()) };
    let keep =
        sql(ANSWER).bind(key.key_sha256.as_str()).bind(key.request_sha256.as_str()).bind(answer).bind(until);
    match connection.execute(keep).await? {
        0 => Err(StoreError::Conflict("the Idempotency-Key of the request is not under way any more".into())),
        _ => Ok(()),
    }
}

const BEGIN: &str = "
    INSERT INTO gate_request_keys (key_sha256, request_sha256, expires_at_utc) VALUES ($1, $2, $3)
    ON CONFLICT (key_sha256) DO NOTHING";
const FIND: &str = "SELECT request_sha256, answer FROM gate_request_keys WHERE key_sha256 = $1";
const ANSWER: &str = "
    UPDATE gate_request_keys SET answer = $3, expires_at_utc = $4 
     WHERE key_sha256 = $1 AND request_sha256 = $2 AND answer IS NULL";
const FORGET: &str = "
    DELETE FROM gate_request_keys WHERE key_sha256 = $1 AND request_sha256 = $2 AND answer IS NULL";
