//! `console-gate token create|revoke|list`

use std::io::Write as _;

use crate::random::machine_token;
use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use ledger::AuditEvent;
use policy::identity::machine_token::TokenDigest;
use policy::ids::MachineTokenId;
use policy::rbac::LegacyRole;

use super::settled::wait_and_tell;
use super::{Common, Ended, announce, checkpoint, operator, with_notary, with_store};
use crate::settings::MAX_DAYS;
use crate::settings::Settings;
use crate::store::tokens::NewToken;

/// Create, revoke and list machine tokens
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a token for a machine and print it, once
    Create {
        /// The name of the token
        name: String,
        /// A group that the token is a member of; may be repeated
        #[arg(long = "group")]
        groups: Vec<String>,
        /// A legacy role of the token, for rows on their legacy gate; may be repeated
        #[arg(long = "legacy-role")]
        legacy: Vec<LegacyRole>,
        /// Days until it expires
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
        days: Option<u32>,
    },
    /// Revoke a token by name; when this returns, no gate accepts it any more
    Revoke {
        /// The name of the token
        name: String,
    },
    /// List tokens
    List,
}

impl Token {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::List)
    }
}

pub(super) fn run(command: &Token, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let now = Utc::now();
    if let Action::List = command.action {
        return list(&settings, now);
    }
    with_notary(&settings, async |store, notary| {
        match &command.action {
            Action::Create { name, groups, legacy, days } => {
                let token = machine_token()?;
                let id = MachineTokenId::new(uuid::Uuid::now_v7().to_string());
                let event = AuditEvent::TokenCreated {
                    id: id.to_string(),
                    name: name.clone(),
                    groups: groups.clone(),
                    by: operator(),
                };
                let new = NewToken {
                    id,
                    name: name.clone(),
                    digest: TokenDigest::of(&token),
                    groups: groups.clone(),
                    legacy: legacy.clone(),
                    created_by: operator(),
                    created_at: now,
                    expires_at: days.map(|days| now + TimeDelta::days(i64::from(days))),
                };
                store.create_token(&new, &notary.note(event.into_record(now))).await?;
                checkpoint::keep(&settings, &store, &notary).await;
                eprintln!(
                    "The token of `{name}`. It is shown only once; the database stores only its SHA-256:"
                );
                writeln!(std::io::stdout(), "{}", *token).with_context(|| {
                    format!("the token could not be shown: revoke `{name}` and create another")
                })?;
            }
            Action::Revoke { name } => {
                let event = AuditEvent::TokenRevoked { name: name.clone(), by: operator() };
                if !store.revoke_token(name, now, &notary.note(event.into_record(now))).await? {
                    anyhow::bail!("there is no active token `{name}`");
                }
                checkpoint::keep(&settings, &store, &notary).await;
                announce(format_args!("`{name}` is revoked"));
                wait_and_tell(store).await?;
            }
            Action::List => {}
        }
        Ok(Ended::Clean)
    })
}

fn list(settings: &Settings, now: DateTime<Utc>) -> anyhow::Result<Ended> {
    with_store(settings, async |store| {
        for token in store.tokens().await? {
            let at = |time: Option<DateTime<Utc>>| {
                time.map_or_else(|| "at an unreadable time".to_owned(), |time| time.to_string())
            };
            let state = match token.expires_at_utc {
                _ if token.is_revoked => format!("revoked {}", at(token.revoked_at_utc)),
                Some(end) if end > now => format!("until {end}"),
                end if token.is_limited => format!("expired {}", at(end)),
                _ => "active".to_owned(),
            };
            println!("{}  {}  by {}  {state}", token.name, token.id, token.created_by);
        }
        Ok(Ended::Clean)
    })
}
