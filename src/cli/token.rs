//! `console-gate token create|enroll|rotate|revoke|list`

use std::io::Write as _;
use std::sync::Arc;

use crate::random::machine_token;
use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use grants::apart::Known;
use ledger::AuditEvent;
use policy::identity::machine_token::TokenDigest;
use policy::ids::MachineTokenId;
use policy::rbac::LegacyRole;
use policy::rbac::census::{CallerKind, Person};
use store::SharedStore;
use store::tokens::NewToken;

use super::help::Examples;
use super::people;
use super::settled::wait_and_report;
use super::time::days;
use super::{Common, Ended, TextOrJson, announce, checkpoint, operator, with_notary, with_store};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[
    ("token", &["console-gate --config gate.toml token list"]),
    (
        "token create",
        &["console-gate --config gate.toml token create raptor --group raptor-machines --days 90d"],
    ),
    (
        "token enroll",
        &["console-gate --config gate.toml token enroll --name raptor --sha256 \
             9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    ),
    ("token rotate", &["console-gate --config gate.toml token rotate raptor"]),
    ("token revoke", &["console-gate --config gate.toml token revoke raptor"]),
    ("token list", &["console-gate --config gate.toml token list"]),
];

/// Create, enroll, rotate, revoke and list machine tokens
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
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        grants: Grants,
    },
    /// Enroll a token that Console issued, by its SHA-256: nobody needs the token itself
    Enroll {
        /// The SHA-256 of the token as the machine sends it after `Bearer `, as 64 hexadecimal digits
        #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
        sha256: TokenDigest,
        /// The name of the token
        #[arg(long)]
        name: String,
        #[command(flatten)]
        grants: Grants,
    },
    /// Replace a token by a new one with the same name, groups, roles and end, and print it, once
    ///
    /// When this returns, no gate accepts the old one any more.
    Rotate {
        /// The name of the token
        #[arg(value_parser = name)]
        name: String,
    },
    /// Revoke a token by name; when this returns, no gate accepts it any more
    Revoke {
        /// The name of the token
        #[arg(value_parser = name)]
        name: String,
    },
    /// List tokens
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

/// What a token holds, and for how long.
#[derive(Debug, Args)]
struct Grants {
    /// A group that the token is a member of; may be repeated
    #[arg(long = "group")]
    groups: Vec<String>,
    /// A legacy role of the token, for rows on their legacy gate; may be repeated
    #[arg(long = "legacy-role")]
    legacy: Vec<LegacyRole>,
    /// Days until it expires: `90`, `90d`
    #[arg(long, value_parser = days)]
    days: Option<u32>,
    /// Show which routes this opens, and which an enrolled token is cut off from; change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Token {
    pub(super) fn only_reads(&self) -> bool {
        match &self.action {
            Action::List { .. } => true,
            Action::Create { grants, .. } | Action::Enroll { grants, .. } => grants.dry_run,
            Action::Rotate { .. } | Action::Revoke { .. } => false,
        }
    }
}

/// The settings refer to callers by this name.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err("a token needs a name, without spaces around it".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_sha256(hex: &str) -> Result<TokenDigest, &'static str> {
    let digest = TokenDigest::parse(hex).ok_or("a SHA-256 is 64 hexadecimal digits")?;
    if digest == TokenDigest::of("") {
        return Err("this is the SHA-256 of an empty text: the token was not read");
    }
    Ok(digest)
}

pub(super) fn run(command: &Token, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let now = Utc::now();
    if let Action::List { format } = command.action {
        return list(&settings, now, format);
    }
    if command.only_reads() {
        return with_store(&settings, async |store| {
            if let Action::Create { name, grants } | Action::Enroll { name, grants, .. } = &command.action {
                let is_enrolled = matches!(command.action, Action::Enroll { .. });
                for line in impact(&store, &settings, common, (name, grants), is_enrolled).await? {
                    announce(line);
                }
                announce("\nNothing was changed (--dry-run).");
            }
            Ok(Ended::Clean)
        });
    }
    with_notary(&settings, async |store, notary| {
        match &command.action {
            Action::Create { name, grants } => {
                let token = machine_token()?;
                let new = new_token(name, TokenDigest::of(&token), grants, now);
                store.create_token(&new, &notary.note(created(&new).into_record(now))).await?;
                checkpoint::keep(&settings, &store, &notary).await;
                show(name, &token)?;
                // Standard output carries only the token.
                for line in impact(&store, &settings, common, (name, grants), false).await? {
                    eprintln!("{line}");
                }
            }
            Action::Rotate { name } => {
                let token = machine_token()?;
                let id = MachineTokenId::new(uuid::Uuid::now_v7().to_string());
                let revoked = AuditEvent::TokenRevoked { name: name.clone(), by: operator() };
                let (groups, by) = (Vec::new(), operator());
                let made = AuditEvent::TokenCreated {
                    id: id.to_string(),
                    name: name.clone(),
                    groups,
                    by,
                    rotated: true,
                };
                let notes = (&notary.note(revoked.into_record(now)), &notary.note(made.into_record(now)));
                let new = (&id, TokenDigest::of(&token));
                if !store.rotate_token(name, new, now, notes).await? {
                    anyhow::bail!("there is no active token `{name}`");
                }
                checkpoint::keep(&settings, &store, &notary).await;
                show(name, &token)?;
                wait_and_report(store).await?;
            }
            Action::Enroll { sha256, name, grants } => {
                let new = new_token(name, *sha256, grants, now);
                store.create_token(&new, &notary.note(created(&new).into_record(now))).await?;
                checkpoint::keep(&settings, &store, &notary).await;
                announce(format_args!("`{name}` is enrolled"));
                for line in impact(&store, &settings, common, (name, grants), true).await? {
                    announce(line);
                }
            }
            Action::Revoke { name } => {
                let event = AuditEvent::TokenRevoked { name: name.clone(), by: operator() };
                if !store.revoke_token(name, now, &notary.note(event.into_record(now))).await? {
                    anyhow::bail!("there is no active token `{name}`");
                }
                checkpoint::keep(&settings, &store, &notary).await;
                announce(format_args!("`{name}` is revoked"));
                wait_and_report(store).await?;
            }
            Action::List { .. } => {}
        }
        Ok(Ended::Clean)
    })
}

/// Prints a new token.
fn show(name: &str, token: &str) -> anyhow::Result<()> {
    eprintln!("The token of `{name}`. It is shown only once; the database stores only its SHA-256:");
    writeln!(std::io::stdout(), "{token}")
        .with_context(|| format!("the token could not be shown: revoke `{name}` and create another"))
}

/// The impact on the machine, in sentences.
async fn impact(
    store: &SharedStore,
    settings: &Settings,
    common: &Common,
    (name, grants): (&str, &Grants),
    is_enrolled: bool,
) -> anyhow::Result<Vec<String>> {
    let judged = match people::mapping(store, settings, common).await {
        Ok(judged) => judged,
        Err(problem) => {
            return Ok(vec![format!("Which routes this opens and closes is not known: {problem}")]);
        }
    };
    let machine = Person {
        kind: CallerKind::Machine,
        id: name.into(),
        legacy: Arc::new(grants.legacy.iter().cloned().collect()),
        groups: Arc::new(grants.groups.iter().map(|group| group.as_str().into()).collect()),
        break_glass: false,
    };
    let known = Known::of(&judged.mapping, &store.catalog().await?, &machine);
    let lines = known.in_words(name, is_enrolled);
    Ok(lines.into_iter().map(|line| format!("{}: {line}", judged.name)).collect())
}

fn new_token(name: &str, digest: TokenDigest, grants: &Grants, now: DateTime<Utc>) -> NewToken {
    NewToken {
        id: MachineTokenId::new(uuid::Uuid::now_v7().to_string()),
        name: name.to_owned(),
        digest,
        groups: grants.groups.clone(),
        legacy: grants.legacy.clone(),
        created_by: operator(),
        created_at: now,
        expires_at: grants.days.map(|days| now + TimeDelta::days(i64::from(days))),
    }
}

fn created(token: &NewToken) -> AuditEvent {
    AuditEvent::TokenCreated {
        id: token.id.to_string(),
        name: token.name.clone(),
        groups: token.groups.clone(),
        by: operator(),
        rotated: false,
    }
}

fn list(settings: &Settings, now: DateTime<Utc>, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(settings, async |store| {
        let tokens = store.tokens().await?;
        if format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&tokens)?);
            return Ok(Ended::Clean);
        }
        for token in tokens {
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
