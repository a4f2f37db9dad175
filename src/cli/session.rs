//! `console-gate session list|end`

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;
use store::sessions::{Ending, StoredSession};

use super::help::Examples;
use super::settled::wait_and_report;
use super::{Common, Ended, TextOrJson, announce, operator, with_notary, with_store};
use crate::identity::sessions;

pub(super) const EXAMPLES: Examples = &[
    ("session", &["console-gate --config gate.toml session list admin-07"]),
    ("session list", &["console-gate --config gate.toml session list admin-07 --format json"]),
    (
        "session end",
        &[
            "console-gate --config gate.toml session end admin-07",
            "console-gate --config gate.toml session end admin-07 --id 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10",
        ],
    ),
];

/// List and end the login sessions of an admin
///
/// Sessions that the gate itself has begun ([identity]). Those of Console are Console's to end.
#[derive(Debug, Args)]
pub(super) struct Session {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the live sessions of an admin
    List {
        /// The admin's id
        #[arg(id = "of_admin", value_name = "ADMIN")]
        admin: String,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// End the sessions of an admin on every gate: all of them, or one
    End {
        /// The admin's id
        #[arg(id = "of_admin", value_name = "ADMIN")]
        admin: String,
        /// Only the session with this id, as `session list` shows it
        #[arg(long)]
        id: Option<String>,
    },
}

impl Session {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::List { .. })
    }
}

pub(super) fn run(command: &Session, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::List { admin, format } => list(common, admin, *format),
        Action::End { admin, id } => end(common, admin, id.as_deref()),
    }
}

fn list(common: &Common, admin: &str, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let sessions = store.sessions_of(admin, Utc::now()).await?;
        if format == TextOrJson::Json {
            let views: Vec<_> = sessions.iter().map(view).collect();
            println!("{}", serde_json::to_string_pretty(&views)?);
            return Ok(Ended::Clean);
        }
        for session in &sessions {
            println!("{}", in_words(session));
        }
        if sessions.is_empty() {
            println!("no live sessions");
        }
        Ok(Ended::Clean)
    })
}

fn view(session: &StoredSession) -> serde_json::Value {
    json!({
        "id": session.id,
        "admin": session.admin,
        "scope": session.scope,
        "device": session.device,
        "address": session.address,
        "began_at_utc": session.created_at,
        "last_used_at_utc": session.last_used_at,
        "ends_at_utc": session.idle_end.min(session.absolute_end),
    })
}

fn in_words(session: &StoredSession) -> String {
    let StoredSession { id, scope, device, created_at, last_used_at, .. } = session;
    let minutes = |time: &DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC").to_string();
    let device = device.escape_debug();
    format!("{id}  {scope}  {device}  began {}  used {}", minutes(created_at), minutes(last_used_at))
}

fn end(common: &Common, admin: &str, id: Option<&str>) -> anyhow::Result<Ended> {
    with_notary(&common.settings()?, async |store, notary| {
        let which = id.map_or(Ending::All, Ending::One);
        let ended = sessions::end(&store, &notary, Utc::now(), admin, which, &operator(), "ended_by").await?;
        match ended {
            0 => announce("there was no such session"),
            1 => announce("1 session ended"),
            count => announce(format_args!("{count} sessions ended")),
        }
        wait_and_report(store).await?;
        Ok(Ended::Clean)
    })
}
