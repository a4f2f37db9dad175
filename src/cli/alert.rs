//! `console-gate alert test|list`

use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand};
use clock::SystemClock;
use grants::alerts::Alert as Message;

use super::help::Examples;
use super::time::days;
use super::{Common, Ended, TextOrJson, announce, operator, with_store};
use crate::server;
use crate::settings::secrets::alert_secrets;

pub(super) const EXAMPLES: Examples = &[
    ("alert", &["console-gate --config gate.toml alert test"]),
    ("alert test", &["console-gate --config gate.toml alert test"]),
    ("alert list", &["console-gate --config gate.toml alert list --days 30d"]),
];

/// Test the alert channels, and list sent and waiting alerts
#[derive(Debug, Args)]
pub(super) struct Alert {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send a message through each channel now; exits with 1 if one does not accept it
    Test,
    /// List alerts of the last days, the newest first; exits with 1 if one waits to be sent again
    List {
        /// Only those of this kind
        #[arg(long)]
        kind: Option<String>,
        /// How many days back: `30`, `30d`
        #[arg(long, default_value = "7", value_parser = days)]
        days: u32,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

impl Alert {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::List { .. })
    }
}

/// At most this many alerts are listed.
const MOST: u32 = 1_000;

pub(super) fn run(command: &Alert, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Test => test(common),
        Action::List { kind, days, format } => list(common, kind.as_deref(), *days, *format),
    }
}

fn test(common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let secrets = alert_secrets(&settings, |name| std::env::var(name).ok())?;
    with_store(&settings, async |store| {
        let alerts = server::alerts(&settings, &secrets, store, std::sync::Arc::new(SystemClock))?;
        anyhow::ensure!(
            !alerts.channels().is_empty(),
            "no channel for alerts is configured: set [alerts.slack], [alerts.smtp] or [alerts.postmark]"
        );
        let message = Message {
            key: format!("test {}", uuid::Uuid::new_v4()),
            kind: "test",
            subject: "console-gate: test of the alert channels".to_owned(),
            text: format!("`console-gate alert test` was run by {}. Nothing is to be done.", operator()),
        };
        let mut is_clean = true;
        for (channel, outcome) in alerts.try_each(&message).await {
            match outcome {
                Ok(receipt) => announce(format_args!("{channel}: accepted ({})", receipt.reference)),
                Err(error) => {
                    is_clean = false;
                    announce(format_args!("{channel}: {error}"));
                }
            }
        }
        Ok(if is_clean { Ended::Clean } else { Ended::Findings })
    })
}

fn list(common: &Common, kind: Option<&str>, days: u32, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let since = Utc::now() - TimeDelta::days(i64::from(days));
        let alerts = store.alerts(kind, since, MOST).await?;
        let is_clean = alerts.iter().all(|alert| alert.next_at_utc.is_none());
        if format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&alerts)?);
        } else {
            for alert in &alerts {
                let state = match (&alert.sent_at_utc, &alert.next_at_utc) {
                    (Some(at), _) => format!("accepted at {}", at.format("%F %T")),
                    (None, Some(next)) if alert.attempts > 0 => {
                        let error = alert.error.as_deref().unwrap_or_default();
                        format!("not accepted ({error}), again at {}", next.format("%F %T"))
                    }
                    (None, Some(_)) => "waits to be sent".to_owned(),
                    (None, None) => format!("not accepted ({})", alert.error.as_deref().unwrap_or_default()),
                };
                let created = alert.created_at_utc.format("%F %T");
                println!("{created}  {:<8}  {}  {state}", alert.channel, alert.subject.escape_debug());
            }
            if alerts.is_empty() {
                println!("no alerts");
            }
        }
        Ok(if is_clean { Ended::Clean } else { Ended::Findings })
    })
}
