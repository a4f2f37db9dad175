//! `console-gate passkey invite|list|revoke`

use chrono::Utc;
use clap::{Args, Subcommand};
use grants::passkeys::{self, Asking};
use store::passkeys::StoredPasskey;

use super::help::Examples;
use super::{Common, Ended, TextOrJson, announce, operator, with_notary, with_store};

pub(super) const EXAMPLES: Examples = &[
    ("passkey", &["console-gate --config gate.toml passkey list"]),
    ("passkey invite", &["console-gate --config gate.toml passkey invite admin-07"]),
    ("passkey list", &["console-gate --config gate.toml passkey list --of admin-07"]),
    (
        "passkey revoke",
        &["console-gate --config gate.toml passkey revoke 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"],
    ),
];

/// Invite admins to register passkeys, list and revoke them
///
/// A passkey is what a break-glass session is started with. The gate keeps public keys alone.
#[derive(Debug, Args)]
pub(super) struct Passkey {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a code with which an admin registers a first passkey within 10 minutes. It is shown once and replaces the one before
    Invite {
        /// The admin's id
        #[arg(id = "of_admin", value_name = "ADMIN")]
        admin: String,
    },
    /// List passkeys
    List {
        /// Only those of this admin
        #[arg(id = "of_admin", long = "of", value_name = "ADMIN")]
        admin: Option<String>,
        /// Also those that are revoked
        #[arg(long)]
        all: bool,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Revoke a passkey: it starts no session any more, and registers no other
    Revoke {
        /// The passkey's id, as `passkey list` shows it
        id: String,
    },
}

impl Passkey {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::List { .. })
    }
}

pub(super) fn run(command: &Passkey, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Invite { admin } => invite(common, admin),
        Action::List { admin, all, format } => list(common, admin.as_deref(), *all, *format),
        Action::Revoke { id } => revoke(common, id),
    }
}

fn invite(common: &Common, admin: &str) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    if settings.break_glass.origin.is_none() {
        anyhow::bail!(
            "no passkey can be registered: set `origin` in [break_glass] to the origin of Console's pages"
        );
    }
    with_notary(&settings, async |store, notary| {
        let asking = Asking { store: &store, notary: &notary, admin, now: Utc::now() };
        let code = passkeys::invite(asking, &operator()).await?;
        announce(code.as_str());
        let place = match &settings.identity {
            Some(identity) => format!("{}/enrol", identity.path),
            None => "/console/rbac/break-glass, logged in,".to_owned(),
        };
        eprintln!(
            "`{admin}` registers a passkey with it at {place} within 10 minutes. Pass it on by a way on which you know who gets it"
        );
        Ok(Ended::Clean)
    })
}

fn list(common: &Common, admin: Option<&str>, all: bool, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let passkeys = store.passkeys(admin, all).await?;
        if format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&passkeys)?);
            return Ok(Ended::Clean);
        }
        for passkey in &passkeys {
            println!("{}", in_words(passkey));
        }
        if passkeys.is_empty() {
            println!("no passkeys");
        }
        Ok(Ended::Clean)
    })
}

fn in_words(passkey: &StoredPasskey) -> String {
    let StoredPasskey { id, admin, label, registered_at, last_used_at, revoked_at, .. } = passkey;
    let minutes = |time: &chrono::DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC").to_string();
    let used =
        last_used_at.as_ref().map_or_else(|| "never used".to_owned(), |at| format!("used {}", minutes(at)));
    let revoked = revoked_at.as_ref().map_or_else(String::new, |at| format!("  revoked {}", minutes(at)));
    let (admin, label) = (admin.escape_debug(), label.escape_debug());
    format!("{id}  {admin}  \"{label}\"  registered {}  {used}{revoked}", minutes(registered_at))
}

fn revoke(common: &Common, id: &str) -> anyhow::Result<Ended> {
    with_notary(&common.settings()?, async |store, notary| {
        let all = store.passkeys(None, true).await?;
        let Some(passkey) = all.into_iter().find(|passkey| passkey.id == *id) else {
            anyhow::bail!(
                "there is no passkey `{}`: `console-gate passkey list` shows them",
                id.escape_debug()
            );
        };
        let asking = Asking { store: &store, notary: &notary, admin: &passkey.admin, now: Utc::now() };
        match passkeys::revoke(asking, id, &operator()).await? {
            true => announce(format_args!("revoked {}", in_words(&passkey))),
            false => announce("it is revoked already"),
        }
        Ok(Ended::Clean)
    })
}
