//! `console-gate break-glass list|end|requests|review|drill`

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use clock::{SharedClock, SystemClock};
use grants::By;
use grants::break_glass::{self as sessions, Ended as Outcome, GlassRequest};
use grants::record::ActorKind;
use ledger::event::Way;
use store::break_glass::StoredGlass;

use super::help::Examples;
use super::people;
use super::settled::{wait, wait_and_report};
use super::{Common, Ended, TextOrJson, announce, operator, with_notary, with_store};
use crate::server;
use crate::settings::secrets::alert_secrets;

pub(super) const EXAMPLES: Examples = &[
    ("break-glass", &["console-gate --config gate.toml break-glass list"]),
    ("break-glass list", &["console-gate --config gate.toml break-glass list --all"]),
    (
        "break-glass end",
        &["console-gate --config gate.toml break-glass end 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"],
    ),
    (
        "break-glass requests",
        &["console-gate --config gate.toml break-glass requests 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"],
    ),
    (
        "break-glass review",
        &[
            "console-gate --config gate.toml break-glass review 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10 --comment 'as agreed'",
        ],
    ),
    ("break-glass drill", &["console-gate --config gate.toml break-glass drill"]),
];

/// List, end and review break-glass sessions, or test a start
///
/// A session is started with a passkey, at /console/rbac/break-glass.
#[derive(Debug, Args)]
pub(super) struct BreakGlass {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List sessions that are live or whose reviews are open
    List {
        /// Also those whose reviews are closed
        #[arg(long)]
        all: bool,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// End a session; when this returns, no gate lets its admin in by it any more
    End {
        /// The session's id, as `break-glass list` shows it
        id: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// List the requests that a session has let in. That they were read is recorded
    Requests {
        /// The session's id
        id: String,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Close the review of a session that is over
    Review {
        /// The session's id
        id: String,
        /// What was found
        #[arg(long, value_name = "TEXT")]
        comment: String,
    },
    /// Test everything that a session needs: settings, roles, passkeys, an alert that a channel accepts, the audit. No session
    /// starts. Exits with 1 if something is missing
    Drill {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

impl BreakGlass {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::List { .. })
    }
}

pub(super) fn run(command: &BreakGlass, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::List { all, format } => list(common, *all, *format),
        Action::End { id, reason, format } => end(common, id, reason.as_deref(), *format),
        Action::Requests { id, format } => requests(common, id, *format),
        Action::Review { id, comment } => review(common, id, comment),
        Action::Drill { format } => drill(common, *format),
    }
}

fn list(common: &Common, all: bool, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let now = Utc::now();
        let mut sessions = store.glass_sessions(None).await?;
        sessions.retain(|session| all || session.is_live(now) || session.is_open());
        if format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&sessions)?);
            return Ok(Ended::Clean);
        }
        for session in &sessions {
            println!("{}", in_words(session, now));
        }
        if sessions.is_empty() {
            println!("no break-glass sessions");
        }
        Ok(Ended::Clean)
    })
}

fn in_words(session: &StoredGlass, now: DateTime<Utc>) -> String {
    let minutes = |time: Option<DateTime<Utc>>| {
        time.map_or_else(|| "unreadable".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string())
    };
    let state = if session.is_live(now) { "live until" } else { "over since" };
    let review = match (&session.closed_by, session.opened_at) {
        (Some(by), _) => format!("review closed by {}", by.escape_debug()),
        (None, Some(_)) => "review open".to_owned(),
        (None, None) => "no review".to_owned(),
    };
    let reason = session.reason.as_deref().unwrap_or_default().escape_debug();
    let (admin, over) = (session.admin.escape_debug(), minutes(session.over_at()));
    format!("{}  {admin}  {state} {over}  {review}  {reason}", session.id)
}

fn end(common: &Common, id: &str, reason: Option<&str>, format: TextOrJson) -> anyhow::Result<Ended> {
    with_notary(&common.settings()?, async |store, notary| {
        let name = operator();
        let by = By { name: &name, reason, way: Way::Command, now: Utc::now() };
        let outcome = sessions::end(&store, &notary, id, (by, ActorKind::System), None).await?;
        match format {
            TextOrJson::Text => {
                announce(match outcome {
                    Outcome::Now => "ended",
                    Outcome::Before => "it was over already",
                });
                wait_and_report(store).await?;
            }
            TextOrJson::Json => {
                announce(serde_json::json!({ "id": id, "ended_now": outcome == Outcome::Now }));
                wait(store).await?;
            }
        }
        Ok(Ended::Clean)
    })
}

fn requests(common: &Common, id: &str, format: TextOrJson) -> anyhow::Result<Ended> {
    with_notary(&common.settings()?, async |store, notary| {
        let requests = sessions::requests(&store, &notary, id, &operator(), Utc::now()).await?;
        if format == TextOrJson::Json {
            announce(serde_json::to_string_pretty(&requests)?);
            return Ok(Ended::Clean);
        }
        for GlassRequest { at, method, path, status, .. } in &requests {
            let text = |text: &Option<String>| text.as_deref().unwrap_or("-").escape_debug().to_string();
            let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            let at = at.format("%Y-%m-%d %H:%M:%S UTC");
            announce(format_args!("{at}  {status}  {} {}", text(method), text(path)));
        }
        announce(format_args!("{} requests", requests.len()));
        Ok(Ended::Clean)
    })
}

fn review(common: &Common, id: &str, comment: &str) -> anyhow::Result<Ended> {
    with_notary(&common.settings()?, async |store, notary| {
        sessions::review(&store, &notary, id, (&operator(), comment), Utc::now()).await?;
        announce("the review is closed");
        Ok(Ended::Clean)
    })
}

fn drill(common: &Common, format: TextOrJson) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let secrets = alert_secrets(&settings, |name| std::env::var(name).ok())?;
    with_notary(&settings, async |store, notary| {
        let clock: SharedClock = Arc::new(SystemClock);
        let alerts = server::alerts(&settings, &secrets, store.clone(), clock)?;
        let glass = server::break_glass(&settings, &store, &notary, &alerts)?;
        let mapping = people::mapping(&store, &settings, common).await;
        let mapping = mapping.as_ref().map(|judged| &judged.mapping).map_err(String::as_str);
        let steps = glass.drill(&operator(), mapping, Utc::now()).await?;
        if format == TextOrJson::Json {
            announce(serde_json::to_string_pretty(&steps)?);
        } else {
            for step in &steps {
                let word = if step.ok { "ok    " } else { "failed" };
                announce(format_args!("{word}  {}: {}", step.name, step.detail));
            }
        }
        Ok(if steps.iter().all(|step| step.ok) { Ended::Clean } else { Ended::Findings })
    })
}
