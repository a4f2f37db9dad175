//! `console-gate change-window open|close|list`

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand};
use store::break_glass_scope::ChangeWindow as Window;

use super::help::Examples;
use super::time::{Until, until};
use super::{Common, Ended, TextOrJson, announce, checkpoint, operator, with_notary, with_store};
use crate::upkeep::glass_roles;

pub(super) const EXAMPLES: Examples = &[
    ("change-window", &["console-gate --config gate.toml change-window list"]),
    (
        "change-window open",
        &["console-gate --config gate.toml change-window open --for 30m --reason 'new role, #1473'"],
    ),
    ("change-window close", &["console-gate --config gate.toml change-window close"]),
    ("change-window list", &["console-gate --config gate.toml change-window list"]),
];

/// Announce a change of break-glass roles, so it raises no alert
///
/// The roles of the group `break-glass`, with what they inherit and permit, are compared every night and at both ends of a
/// window. A change outside of a window raises an alert.
#[derive(Debug, Args)]
pub(super) struct ChangeWindow {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Open a window
    Open {
        /// For how long: `30m`, `1h`, at most a day
        #[arg(long = "for", value_parser = until, default_value = "1h")]
        time: Until,
        /// Why, for the audit
        #[arg(long)]
        reason: String,
    },
    /// Close the open windows, and show what was changed in them
    Close,
    /// List windows, the newest first
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

const LONGEST: TimeDelta = TimeDelta::days(1);

impl ChangeWindow {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::List { .. })
    }
}

pub(super) fn run(command: &ChangeWindow, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    match &command.action {
        Action::Open { time, reason } => with_notary(&settings, async |store, notary| {
            let now = Utc::now();
            let until = time.from(now).filter(|until| now < *until && *until - now <= LONGEST);
            let until = until.context("`--for` must be at most a day, and end in the future")?;
            let window = Window {
                id: uuid::Uuid::new_v4().to_string(),
                opened_at: now,
                until,
                opened_by: operator(),
                reason: reason.clone(),
                closed_at: None,
            };
            glass_roles::open(&store, &notary, &window).await?;
            checkpoint::keep(&settings, &store, &notary).await;
            announce(format_args!("the window {} is open until {}", window.id, until.format("%F %T UTC")));
            Ok(Ended::Clean)
        }),
        Action::Close => with_notary(&settings, async |store, notary| {
            let windows = store.open_windows().await?;
            anyhow::ensure!(
                !windows.is_empty(),
                "no window is open: `console-gate change-window list` shows them"
            );
            for window in windows {
                let changes = glass_roles::close(&store, &notary, &window, &operator(), Utc::now()).await?;
                let changes = changes.unwrap_or_default();
                let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join("; ") };
                announce(format_args!("the window {} is closed; changed: {changes}", window.id));
            }
            checkpoint::keep(&settings, &store, &notary).await;
            Ok(Ended::Clean)
        }),
        Action::List { format } => with_store(&settings, async |store| {
            let windows = store.windows(100).await?;
            if *format == TextOrJson::Json {
                println!("{}", serde_json::to_string_pretty(&windows)?);
                return Ok(Ended::Clean);
            }
            for window in &windows {
                let state = match window.closed_at {
                    Some(at) => format!("closed at {}", at.format("%F %T")),
                    None => format!("open until {}", window.until.format("%F %T")),
                };
                let opened = window.opened_at.format("%F %T");
                println!(
                    "{opened}  {}  {state}  {}",
                    window.opened_by.escape_debug(),
                    window.reason.escape_debug()
                );
            }
            if windows.is_empty() {
                println!("no windows");
            }
            Ok(Ended::Clean)
        }),
    }
}
