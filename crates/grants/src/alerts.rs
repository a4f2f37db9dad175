//! Alerts to the people on call: those that must be accepted before an action happens, and those that are sent after
//! it.
//!
//! ```text
//! deliver --> every channel, side by side --> accepted by one: receipts; the others retry through the outbox
//!                                        \--> accepted by none: an error, and the announced action does not happen
//! enqueue --> gate_alerts, a row for each channel --> one gate sends each when due, until it is accepted
//! ```
//!
//! An alert is sent at least once: a gate that dies between the acceptance and its row sends it again.

pub mod canary;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use futures::future::join_all;
use metrics::{counter, gauge};
use store::alerts::{NewAlert, OutboxState};
use store::jobs::TimedWork;
use store::{SharedStore, StoreError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a delivery waits for the other channels after one has accepted: the caller is in an emergency.
const OTHERS: Duration = Duration::from_millis(500);
/// The first pause before an alert is sent again; each further one is twice as long.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(30);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// The most alerts that one look at the outbox sends on each channel, one after the other.
const BATCH: u32 = 20;

/// A message to the people on call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The identity of the alert: alerts with the same key are sent only once to each channel.
    pub key: String,
    /// A stable word for metrics and the audit: `break_glass`, `canary`.
    pub kind: &'static str,
    /// One line.
    pub subject: String,
    pub text: String,
}

impl Alert {
    fn message(&self) -> Message<'_> {
        Message { key: &self.key, subject: &self.subject, text: &self.text, to: None }
    }
}

/// The proof that a channel accepted an alert.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Receipt {
    pub channel: String,
    /// The channel's name for the message, with which its operator can look it up.
    pub reference: String,
    pub at: DateTime<Utc>,
}

/// Why a channel did not accept an alert. None of these contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No connection, or no readable answer.
    #[error("{0}")]
    Unreachable(String),
    /// A permanent refusal: the answer stays the same until the configuration is changed.
    #[error("{0}")]
    Refused(String),
    /// A temporary refusal: a fault of the channel's own, or a greylist.
    #[error("{0}")]
    Deferred(String),
    /// The channel asks for a pause.
    #[error("{why}; it can be asked again in {pause:?}")]
    Throttled { why: String, pause: Duration },
    /// No answer within the deadline.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

impl ChannelError {
    /// The stable word for metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            ChannelError::Unreachable(_) => "unreachable",
            ChannelError::Refused(_) => "refused",
            ChannelError::Deferred(_) => "deferred",
            ChannelError::Throttled { .. } => "throttled",
            ChannelError::Late(_) => "late",
        }
    }
}

/// The message that a channel sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'m> {
    /// The same for the same alert, so that a mail that is sent twice is shown once.
    pub key: &'m str,
    pub subject: &'m str,
    pub text: &'m str,
    /// The recipient's mail address; `None` for the people on call.
    pub to: Option<&'m str>,
}

/// A way to the people on call.
#[async_trait::async_trait]
pub trait Channel: Send + Sync {
    /// Its stable name: `slack`.
    fn name(&self) -> &'static str;

    /// Whether it can send to an admin's own mail address.
    fn reaches_admins(&self) -> bool {
        false
    }

    /// Sends once. Returns the channel's name for the message.
    async fn send(&self, message: Message<'_>) -> Result<String, ChannelError>;
}

/// No channel accepted an alert.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.in_words())]
pub struct NoChannel {
    /// Each channel with its reason.
    pub failures: Vec<(&'static str, ChannelError)>,
}

impl NoChannel {
    fn in_words(&self) -> String {
        if self.failures.is_empty() {
            return "no channel for alerts is configured: set [alerts.slack], [alerts.smtp] or [alerts.postmark]"
                .to_owned();
        }
        let each: Vec<String> =
            self.failures.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        format!("no channel accepted the alert: {}", each.join("; "))
    }
}

/// Sends alerts.
#[derive(Clone)]
pub struct Alerts {
    store: SharedStore,
    clock: SharedClock,
    channels: Vec<Arc<dyn Channel>>,
    /// The deadline of one attempt on one channel.
    deadline: Duration,
}

/// A channel, and how an attempt on it ended.
pub type Attempt = (&'static str, Result<Receipt, ChannelError>);

impl Alerts {
    /// Sends to `channels`, each of which has to answer within `deadline`.
    pub fn new(
        store: SharedStore,
        clock: SharedClock,
        channels: Vec<Arc<dyn Channel>>,
        deadline: Duration,
    ) -> Alerts {
        Alerts { store, clock, channels, deadline }
    }

    /// The names of the channels.
    pub fn channels(&self) -> Vec<&'static str> {
        self.channels.iter().map(|channel| channel.name()).collect()
    }

    /// Sends now to every channel, in parallel. Returns the receipts as soon as there is one, including those that
    /// arrive shortly after it; channels that fail get the alert through the outbox.
    ///
    /// # Errors
    ///
    /// No channel accepted the alert within the deadline. In that case it is not in the outbox, and the announced
    /// action must not happen.
    pub async fn deliver(&self, alert: &Alert) -> Result<Vec<Receipt>, NoChannel> {
        let mut attempts = self.attempt_all(alert);
        let (mut receipts, mut failures) = (Vec::new(), Vec::new());
        let mut until = None;
        loop {
            let next = match until {
                None => attempts.join_next().await,
                Some(until) => timeout_at(until, attempts.join_next()).await.unwrap_or(None),
            };
            match next {
                None => break,
                Some(Ok((_, Ok(receipt)))) => {
                    until.get_or_insert_with(|| Instant::now() + OTHERS);
                    receipts.push(receipt);
                }
                Some(Ok((name, Err(error)))) => failures.push((name, error)),
                // A channel that panics has not accepted the alert; the panic is logged.
                Some(Err(_)) => {}
            }
        }
        if receipts.is_empty() {
            return Err(NoChannel { failures });
        }
        let known = receipts.iter().cloned().map(Ok).chain(failures.into_iter().map(Err)).collect();
        tokio::spawn(self.clone().record_all(alert.clone(), known, attempts));
        Ok(receipts)
    }

    /// Puts the alert into the outbox. One of the gates sends it from there until it is accepted.
    ///
    /// # Errors
    ///
    /// The database did not accept it.
    pub async fn enqueue(&self, alert: &Alert) -> Result<(), StoreError> {
        self.store.add_alerts(&self.rows(alert)).await
    }

    /// The rows of the outbox for an alert, for [`enqueue`](Self::enqueue) or for the transaction of a change.
    pub fn rows(&self, alert: &Alert) -> Vec<NewAlert> {
        if self.channels.is_empty() {
            counter!("gate_alerts_total", "channel" => "none", "outcome" => "lost").increment(1);
            tracing::error!(
                subject = %alert.subject,
                "an alert has no channel to go to: set [alerts.slack], [alerts.smtp] or [alerts.postmark]"
            );
        }
        let now = self.clock.now();
        self.channels.iter().map(|channel| row(alert, channel.name(), OutboxState::due(now), now)).collect()
    }

    /// The same for the mail address of one admin, or for the people on call if no channel sends mails.
    pub fn rows_for(&self, alert: &Alert, address: &str) -> Vec<NewAlert> {
        let Some(mail) = self.channels.iter().find(|channel| channel.reaches_admins()) else {
            return self.rows(alert);
        };
        let now = self.clock.now();
        let row = row(alert, mail.name(), OutboxState::due(now), now);
        vec![NewAlert { recipient: Some(address.to_owned()), ..row }]
    }

    /// Sends once to each channel, in parallel. Nothing is stored.
    pub async fn try_each(&self, alert: &Alert) -> Vec<Attempt> {
        let mut attempts = self.attempt_all(alert);
        let mut outcomes = Vec::new();
        while let Some(joined) = attempts.join_next().await {
            outcomes.extend(joined.ok());
        }
        outcomes.sort_by_key(|(name, _)| *name);
        outcomes
    }

    fn attempt_all(&self, alert: &Alert) -> JoinSet<Attempt> {
        let mut attempts = JoinSet::new();
        for channel in &self.channels {
            let (alerts, channel, alert) = (self.clone(), channel.clone(), alert.clone());
            attempts.spawn(async move { (channel.name(), alerts.attempt(&*channel, alert.message()).await) });
        }
        attempts
    }

    /// Sends once to one channel, within the deadline.
    async fn attempt(&self, channel: &dyn Channel, message: Message<'_>) -> Result<Receipt, ChannelError> {
        let late = Err(ChannelError::Late(self.deadline));
        let outcome = timeout(self.deadline, channel.send(message)).await.unwrap_or(late);
        let word = outcome.as_ref().map_or_else(ChannelError::word, |_| "accepted");
        counter!("gate_alerts_total", "channel" => channel.name(), "outcome" => word).increment(1);
        let channel = channel.name().to_owned();
        outcome.map(|reference| Receipt { channel, reference, at: self.clock.now() })
    }

    /// Stores the known results of a delivery, and waits for the channels that have not answered yet.
    async fn record_all(
        self,
        alert: Alert,
        known: Vec<Result<Receipt, (&'static str, ChannelError)>>,
        mut attempts: JoinSet<Attempt>,
    ) {
        let now = self.clock.now();
        let state = |outcome: Result<Receipt, (&'static str, ChannelError)>| match outcome {
            Ok(receipt) => (receipt.channel.clone(), OutboxState::accepted(receipt.reference, receipt.at)),
            Err((name, error)) => (name.to_owned(), failed(&error, 1, now)),
        };
        let mut rows: Vec<NewAlert> = Vec::new();
        for outcome in known {
            let (channel, state) = state(outcome);
            rows.push(row(&alert, &channel, state, now));
        }
        while let Some(joined) = attempts.join_next().await {
            let Ok((name, outcome)) = joined else { continue };
            let (channel, state) = state(outcome.map_err(|error| (name, error)));
            rows.push(row(&alert, &channel, state, now));
        }
        if let Err(error) = self.store.add_alerts(&rows).await {
            tracing::error!(%error, key = %alert.key, "who accepted an alert could not be kept, nor that it is to be sent again");
        }
    }

    /// Sends the due alerts of the outbox, and returns how many were accepted.
    ///
    /// # Errors
    ///
    /// The database did not answer. Alerts that were already accepted may be sent again.
    pub async fn send_due(&self) -> Result<usize, StoreError> {
        // In parallel: a slow channel delays only its own alerts.
        let sent = join_all(self.channels.iter().map(|channel| self.send_due_on(&**channel))).await;
        sent.into_iter().sum()
    }

    async fn send_due_on(&self, channel: &dyn Channel) -> Result<usize, StoreError> {
        let (name, begun, mut accepted) = (channel.name(), Instant::now(), 0);
        for waiting in self.store.alerts_due(name, self.clock.now(), BATCH).await? {
            // Another gate may take over the work once the lease has expired.
            if begun.elapsed() > OUTBOX.lease / 2 {
                break;
            }
            let (key, attempts) = (waiting.key.as_str(), waiting.attempts.saturating_add(1));
            let (subject, text, to) = (&waiting.subject, &waiting.text, waiting.recipient.as_deref());
            match self.attempt(channel, Message { key, subject, text, to }).await {
                Ok(receipt) => {
                    accepted += 1;
                    let state = OutboxState::accepted(receipt.reference, receipt.at);
                    self.store.settle_alert(key, name, attempts, &state).await?;
                }
                Err(error) => {
                    tracing::warn!(%error, channel = name, %key, attempts, "an alert was not accepted; it is sent again");
                    let state = failed(&error, attempts, self.clock.now());
                    self.store.settle_alert(key, name, attempts, &state).await?;
                    if let (ChannelError::Throttled { .. }, Some(next)) = (&error, state.next_at) {
                        self.store.postpone_alerts(name, next).await?;
                    }
                    // A channel that refuses one mail may accept the next; one that does not answer will not.
                    if !matches!(error, ChannelError::Refused(_)) {
                        break;
                    }
                }
            }
        }
        Ok(accepted)
    }

    /// Publishes the number of waiting alerts and the age of the oldest.
    async fn publish(&self) -> Result<(), StoreError> {
        let (waiting, oldest) = self.store.alerts_waiting().await?;
        let age = oldest.map_or(TimeDelta::zero(), |oldest| self.clock.now() - oldest);
        gauge!("gate_alerts_waiting").set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
        gauge!("gate_alerts_oldest_waiting_seconds")
            .set(f64::from(u32::try_from(age.num_seconds().max(0)).unwrap_or(u32::MAX)));
        Ok(())
    }
}

impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alerts").field("channels", &self.channels()).finish_non_exhaustive()
    }
}

fn row(alert: &Alert, channel: &str, state: OutboxState, now: DateTime<Utc>) -> NewAlert {
    NewAlert {
        key: alert.key.clone(),
        channel: channel.to_owned(),
        kind: alert.kind.to_owned(),
        subject: alert.subject.clone(),
        text: alert.text.clone(),
        recipient: None,
        created_at: now,
        state,
    }
}

/// The state after a failed attempt, with the time of the next one.
fn failed(error: &ChannelError, attempts: i64, now: DateTime<Utc>) -> OutboxState {
    let asked = match error {
        ChannelError::Throttled { pause, .. } => TimeDelta::from_std(*pause).unwrap_or(LONGEST_PAUSE),
        _ => TimeDelta::zero(),
    };
    OutboxState::failed(error.to_string(), now + pause(attempts).max(asked).min(LONGEST_PAUSE))
}

/// The pause after a number of failed attempts.
fn pause(attempts: i64) -> TimeDelta {
    let doubled = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    (FIRST_PAUSE * 2_i32.pow(doubled)).min(LONGEST_PAUSE)
}

/// Sends due alerts, one gate at a time, as long as the task runs; deletes alerts older than `keep`.
pub async fn follow(alerts: Alerts, gate: String, keep: Duration) {
    let work = OUTBOX;
    loop {
        if let Err(error) = look_when_due(&alerts, work, &gate, keep).await {
            tracing::warn!(%error, "alerts that wait to be sent are delayed");
        }
        tokio::time::sleep(work.period / 2).await;
    }
}

/// The timed work of sending due alerts.
pub const OUTBOX: TimedWork =
    TimedWork { name: "alerts", period: Duration::from_secs(10), lease: Duration::from_secs(300) };

/// Sends due alerts if it is this gate's turn; `None` if it is not.
///
/// # Errors
///
/// The database did not answer.
pub async fn look_when_due(
    alerts: &Alerts,
    work: TimedWork,
    gate: &str,
    keep: Duration,
) -> Result<Option<usize>, StoreError> {
    alerts.publish().await?;
    let now = alerts.clock.now();
    if !alerts.store.take_on(work, gate, now).await? {
        return Ok(None);
    }
    let sent = alerts.send_due().await;
    alerts.store.has_done(work, gate, alerts.clock.now()).await?;
    let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
    if let Some(end) = now.checked_sub_signed(keep) {
        alerts.store.forget_alerts(end).await?;
    }
    sent.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let seconds: Vec<i64> =
            [0, 1, 2, 3, 7, 8, 100].into_iter().map(|attempts| pause(attempts).num_seconds()).collect();
        assert_eq!(seconds, [30, 30, 60, 120, 1920, 3600, 3600]);
    }

    #[test]
    fn a_channel_that_asks_for_a_pause_gets_it_up_to_an_hour() {
        let now = DateTime::UNIX_EPOCH;
        for (asked, expected) in [(5, 30), (90, 90), (86_400, 3600)] {
            let pause = Duration::from_secs(asked);
            let state = failed(&ChannelError::Throttled { why: "slow down".into(), pause }, 1, now);
            assert_eq!(state.next_at, Some(now + TimeDelta::seconds(expected)), "{asked}");
        }
    }
}
