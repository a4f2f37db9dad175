//! A database, a clock that the tests turn, and channels that answer as they are told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clock::{Clock as _, ManualClock};
use grants::alerts::{Alert, Alerts, Channel, ChannelError, Message};
use ledger::Notary;
use ledger::keys::KeyRing;
use store::alerts::StoredAlert;

use crate::database::{Database, noon};

/// Far above what any answer takes that comes at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a channel does with the next message.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Accept,
    Refuse,
    Throttle(Duration),
    Never,
}

/// What a channel was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) to: Option<String>,
}

/// A channel of the tests; it accepts what no answer was given for.
pub(crate) struct Fake {
    name: &'static str,
    is_mail: bool,
    answers: Mutex<VecDeque<Answer>>,
    sent: Mutex<Vec<Sent>>,
}

impl Fake {
    pub(crate) fn new(name: &'static str) -> Arc<Fake> {
        let (answers, sent) = (Mutex::default(), Mutex::default());
        Arc::new(Fake { name, is_mail: name == "smtp", answers, sent })
    }

    pub(crate) fn will(&self, answers: &[Answer]) {
        self.answers.lock().unwrap().extend(answers.iter().cloned());
    }

    /// What it was sent since this was asked last.
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

#[async_trait::async_trait]
impl Channel for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reaches_admins(&self) -> bool {
        self.is_mail
    }

    async fn send(&self, message: Message<'_>) -> Result<String, ChannelError> {
        let sent = Sent {
            subject: message.subject.to_owned(),
            text: message.text.to_owned(),
            to: message.to.map(ToOwned::to_owned),
        };
        self.sent.lock().unwrap().push(sent);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Accept);
        match answer {
            Answer::Accept => Ok(format!("{} took {}", self.name, message.key)),
            Answer::Refuse => Err(ChannelError::Refused("no".into())),
            Answer::Throttle(pause) => Err(ChannelError::Throttled { why: "too many".into(), pause }),
            Answer::Never => std::future::pending().await,
        }
    }
}

/// A database with two channels.
pub(crate) struct Scene {
    pub(crate) database: Database,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) slack: Arc<Fake>,
    pub(crate) smtp: Arc<Fake>,
}

impl Scene {
    pub(crate) fn new(database: Database) -> Scene {
        let clock = Arc::new(ManualClock::starting_at(noon()));
        Scene { database, clock, slack: Fake::new("slack"), smtp: Fake::new("smtp") }
    }

    /// Those who send, with a deadline for each attempt.
    pub(crate) fn alerts_within(&self, deadline: Duration) -> Alerts {
        let channels: Vec<Arc<dyn Channel>> = vec![self.slack.clone(), self.smtp.clone()];
        Alerts::new(self.database.store.clone(), self.clock.clone(), channels, deadline)
    }

    pub(crate) fn alerts(&self) -> Alerts {
        self.alerts_within(PATIENCE)
    }

    pub(crate) fn turn(&self, by: TimeDelta) {
        self.clock.turn(by);
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Every alert that is kept.
    pub(crate) async fn kept(&self) -> Vec<StoredAlert> {
        let mut kept = self.database.store.alerts(None, noon() - TimeDelta::days(365), 1000).await.unwrap();
        kept.sort_by(|one, other| (&one.key, &one.channel).cmp(&(&other.key, &other.channel)));
        kept
    }
}

pub(crate) fn alert(key: &str) -> Alert {
    Alert {
        key: key.into(),
        kind: "break_glass",
        subject: "Anna breaks the glass".into(),
        text: "For an hour.".into(),
    }
}

pub(crate) fn notary() -> Notary {
    Notary::new(KeyRing::parse(&format!("test:{}", "A".repeat(43) + "=")).expect("32 zero bytes"))
}
