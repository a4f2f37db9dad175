//! The outbox of alerts: a row for each alert and channel, until the channel has accepted it, and for a while after that.
//!
//! A row for each alert and channel: one that Slack accepted must still reach the mailbox, and not Slack again.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::engine::connection::Connection;
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError, storable};

/// Where an alert is on its way to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxState {
    attempts: i64,
    /// When it is sent next; `None` once it was accepted.
    pub next_at: Option<DateTime<Utc>>,
    sent_at: Option<DateTime<Utc>>,
    reference: Option<String>,
    error: Option<String>,
}

impl OutboxState {
    /// To be sent from `at` on.
    pub fn due(at: DateTime<Utc>) -> OutboxState {
        OutboxState { attempts: 0, next_at: Some(at), sent_at: None, reference: None, error: None }
    }

    /// Accepted, under the name that the channel gave it.
    pub fn accepted(reference: String, at: DateTime<Utc>) -> OutboxState {
        let reference = Some(reference);
        OutboxState { attempts: 1, next_at: None, sent_at: Some(at), reference, error: None }
    }

    /// Not accepted, and to be sent again from `next_at` on.
    pub fn failed(error: String, next_at: DateTime<Utc>) -> OutboxState {
        let (next_at, error) = (Some(next_at), Some(error));
        OutboxState { attempts: 1, next_at, sent_at: None, reference: None, error }
    }

    /// Not accepted, and not to be sent again.
    pub fn given_up(error: String) -> OutboxState {
        OutboxState { attempts: 1, next_at: None, sent_at: None, reference: None, error: Some(error) }
    }
}

/// An alert to one channel that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlert {
    pub key: String,
    pub channel: String,
    pub kind: String,
    pub subject: String,
    pub text: String,
    /// A mail address; `None` for the people on call.
    pub recipient: Option<String>,
    pub created_at: DateTime<Utc>,
    pub state: OutboxState,
}

/// An alert that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct WaitingAlert {
    pub key: String,
    pub subject: String,
    pub text: String,
    pub recipient: Option<String>,
    /// How often it was sent already.
    pub attempts: i64,
}

/// An alert to a channel, as it is listed: without its text.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize)]
pub struct StoredAlert {
    pub key: String,
    pub channel: String,
    pub kind: String,
    pub subject: String,
    pub created_at_utc: DateTime<Utc>,
    pub attempts: i64,
    pub next_at_utc: Option<DateTime<Utc>>,
    pub sent_at_utc: Option<DateTime<Utc>>,
    pub reference: Option<String>,
    pub error: Option<String>,
}

impl Store {
    /// Keeps alerts; those whose key and channel are known already stay as they are.
    pub async fn add_alerts(&self, alerts: &[NewAlert]) -> Result<(), StoreError> {
        if alerts.is_empty() {
            return Ok(());
        }
        self.execute(insert(alerts)).await.map(drop)
    }

    /// The alerts due on a channel at `now`, the oldest first.
    pub async fn alerts_due(
        &self,
        channel: &str,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WaitingAlert>, StoreError> {
        self.all(sql(DUE).bind(channel).bind(now).bind(i64::from(limit))).await
    }

    /// Lets nothing be due on a channel before `until`.
    pub async fn postpone_alerts(&self, channel: &str, until: DateTime<Utc>) -> Result<(), StoreError> {
        self.execute(sql(POSTPONE).bind(channel).bind(until)).await.map(drop)
    }

    /// Keeps how an attempt ended.
    pub async fn settle_alert(
        &self,
        key: &str,
        channel: &str,
        attempts: i64,
        state: &OutboxState,
    ) -> Result<(), StoreError> {
        let settle = sql(SETTLE)
            .bind(key)
            .bind(channel)
            .bind(attempts)
            .bind(state.next_at)
            .bind(state.sent_at)
            .bind(state.reference.as_deref().map(storable))
            .bind(state.error.as_deref().map(storable));
        self.execute(settle).await.map(drop)
    }

    /// How many alerts wait, and since when the oldest does.
    pub async fn alerts_waiting(&self) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
        let found: Option<(i64, Option<DateTime<Utc>>)> = self.first(sql(WAITING)).await?;
        Ok(found.unwrap_or_default())
    }

    /// The alerts of a kind since a time, or of all kinds, the newest first.
    pub async fn alerts(
        &self,
        kind: Option<&str>,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<StoredAlert>, StoreError> {
        self.all(sql(LIST).bind(kind).bind(since).bind(i64::from(limit))).await
    }

    /// Forgets alerts from before `end`, accepted or not.
    pub async fn forget_alerts(&self, end: DateTime<Utc>) -> Result<(), StoreError> {
        self.execute(sql("DELETE FROM gate_alerts WHERE created_at_utc < $1").bind(end)).await.map(drop)
    }
}

impl Connection {
    /// Keeps alerts in the transaction of what they are about.
    pub(super) async fn add_alerts(&mut self, alerts: &[NewAlert]) -> Result<(), StoreError> {
        if alerts.is_empty() {
            return Ok(());
        }
        self.execute(insert(alerts)).await.map(drop)
    }
}

fn insert(alerts: &[NewAlert]) -> Statement<'_> {
    let mut insert = Statement::insert(INSERT, 12, " ON CONFLICT (alert_key, channel) DO NOTHING").once();
    for alert in alerts {
        insert
            .push(storable(&alert.key))
            .push(alert.channel.as_str())
            .push(alert.kind.as_str())
            .push(storable(&alert.subject))
            .push(storable(&alert.text))
            .push(alert.recipient.as_deref().map(storable))
            .push(alert.created_at)
            .push(alert.state.attempts)
            .push(alert.state.next_at)
            .push(alert.state.sent_at)
            .push(alert.state.reference.as_deref().map(storable))
            .push(alert.state.error.as_deref().map(storable));
    }
    insert
}

const INSERT: &str = "
    INSERT INTO gate_alerts (alert_key, channel, kind, subject, text, recipient, created_at_utc, attempts, next_at_utc,
                             sent_at_utc, reference, error) ";
const DUE: &str = "
    SELECT alert_key AS key, subject, text, recipient, attempts
      FROM gate_alerts WHERE channel = $1 AND next_at_utc <= $2 ORDER BY next_at_utc, alert_key LIMIT $3";
const POSTPONE: &str = "UPDATE gate_alerts SET next_at_utc = $2 WHERE channel = $1 AND next_at_utc < $2";
const SETTLE: &str = "
    UPDATE gate_alerts SET attempts = $3, next_at_utc = $4, sent_at_utc = $5, reference = $6, error = $7
     WHERE alert_key = $1 AND channel = $2";
const WAITING: &str = "SELECT COUNT(*), MIN(created_at_utc) FROM gate_alerts WHERE next_at_utc IS NOT NULL";
const LIST: &str = "
    SELECT alert_key AS key, channel, kind, subject, created_at_utc, attempts, next_at_utc, sent_at_utc, reference, error
      FROM gate_alerts WHERE (CAST($1 AS TEXT) IS NULL OR kind = $1) AND created_at_utc >= $2
     ORDER BY created_at_utc DESC, alert_key, channel LIMIT $3";
