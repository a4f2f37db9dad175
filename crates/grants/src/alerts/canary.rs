//! The canary: a periodic message to each channel, so that a broken channel is noticed before it is needed.
//!
//! It is a real message, because a probe of the API proves less. It is never retried: a late canary proves nothing.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use metrics::gauge;
use store::StoreError;
use store::alerts::{NewAlert, OutboxState, StoredAlert};
use store::jobs::TimedWork;

use super::{Alert, Alerts, row};

/// The kind of its alerts.
pub const KIND: &str = "canary";
/// Canaries older than this many periods no longer show anything.
const PERIODS: i32 = 2;
/// The longest time that a canary may take, in addition to its period.
const SLACK: TimeDelta = TimeDelta::minutes(2);

/// A channel, and whether its last canary was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    pub channel: &'static str,
    /// `None` if there was no recent one.
    pub last: Option<Result<DateTime<Utc>, String>>,
}

impl Sign {
    /// Whether the channel recently accepted an alert.
    pub fn is_good(&self) -> bool {
        matches!(self.last, Some(Ok(_)))
    }
}

/// The timed work of sending a canary.
pub const fn work(period: Duration) -> TimedWork {
    TimedWork { name: "alert-canary", period, lease: Duration::from_secs(120) }
}

/// Sends canaries, one gate at a time, as long as the task runs, and publishes the result of the last one.
pub async fn follow(alerts: Alerts, gate: String, period: Duration) {
    loop {
        if let Err(error) = look_when_due(&alerts, work(period), &gate).await {
            tracing::warn!(%error, "whether alerts reach anybody is not known");
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
}

/// Sends a canary if it is this gate's turn, and publishes the result of the last one.
///
/// # Errors
///
/// The database did not answer.
pub async fn look_when_due(alerts: &Alerts, work: TimedWork, gate: &str) -> Result<Vec<Sign>, StoreError> {
    if alerts.store.take_on(work, gate, alerts.clock.now()).await? {
        let sent = send(alerts).await;
        alerts.store.has_done(work, gate, alerts.clock.now()).await?;
        sent?;
    }
    let signs = signs(alerts, work.period).await?;
    let number = |is_so: bool| if is_so { 1.0 } else { 0.0 };
    for sign in &signs {
        gauge!("gate_alert_channel_usable", "channel" => sign.channel).set(number(sign.is_good()));
    }
    gauge!("gate_break_glass_usable").set(number(signs.iter().any(Sign::is_good)));
    Ok(signs)
}

async fn send(alerts: &Alerts) -> Result<(), StoreError> {
    let now = alerts.clock.now();
    let others = alerts.channels().join(", ");
    let alert = Alert {
        key: format!("canary {}", now.to_rfc3339_opts(SecondsFormat::Micros, true)),
        kind: KIND,
        subject: "console-gate: break-glass is usable".to_owned(),
        text: format!(
            "Alerts reach this channel, so a break-glass session could start. Configured channels: {others}. Nothing is to \
             be done; if this message stays away, run `console-gate alert test`."
        ),
    };
    let mut rows: Vec<NewAlert> = Vec::new();
    for (channel, outcome) in alerts.try_each(&alert).await {
        let state = match outcome {
            Ok(receipt) => OutboxState::accepted(receipt.reference, receipt.at),
            Err(error) => {
                tracing::warn!(
                    channel,
                    %error,
                    "an alert channel failed its hourly test: repair it, and run `console-gate alert test`; without any \
                     channel no break-glass session can start"
                );
                // The next one follows anyway: an old one that arrives late would prove nothing.
                OutboxState::given_up(error.to_string())
            }
        };
        rows.push(row(&alert, channel, state, now));
    }
    alerts.store.add_alerts(&rows).await
}

/// The result of the last canary on each channel.
///
/// # Errors
///
/// The database did not answer.
pub async fn signs(alerts: &Alerts, period: Duration) -> Result<Vec<Sign>, StoreError> {
    let lately = TimeDelta::from_std(period).unwrap_or(TimeDelta::days(1)) * PERIODS + SLACK;
    let since = alerts.clock.now() - lately;
    let known = alerts.store.alerts(Some(KIND), since, 500).await?;
    let last = |channel: &str| known.iter().find(|alert| alert.channel == channel);
    let outcome = |alert: &StoredAlert| match alert.sent_at_utc {
        Some(at) => Ok(at),
        None => Err(alert.error.clone().unwrap_or_default()),
    };
    Ok(alerts
        .channels()
        .into_iter()
        .map(|channel| Sign { channel, last: last(channel).map(outcome) })
        .collect())
}
