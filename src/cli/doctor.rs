//! `console-gate doctor`: checks everything that a gate needs, in the order in which a request needs it.
//!
//! It changes nothing. Each line names the checked item, the finding and, if something is wrong, the remedy. An item
//! that depends on a failed one is skipped, so that the first failure is the one to fix.

mod access;
mod bundle;
mod database;
mod gate;
mod mapping;
mod place;
mod report;
mod secrets;
mod session;
mod upstream;

use std::path::{Path, PathBuf};

use clap::Args;

use self::report::Report;
use super::help::Examples;
use super::{Common, Ended, TextOrJson};
use crate::settings::secrets::Secrets;
use crate::settings::{HOSTS_ARE_NEEDED, Settings};

pub(super) const EXAMPLES: Examples = &[(
    "doctor",
    &[
        "console-gate --config gate.toml doctor",
        "console-gate --config gate.toml doctor --cookie - --bundle report.tar.gz",
    ],
)];

/// Check everything that a gate needs, and how to mend it
///
/// Looks at the settings, secrets, addresses, the gate that runs with these settings, database, schema and rights, Console's
/// tables, sessions, Console itself, the mapping with everything that `check` finds, the flag, the audit, its mirror, the
/// buffers and the certificate, in the order in which a request needs them. Changes nothing: what it writes to the database
/// is rolled back, and its files have no names. Exits 1 if something is wrong.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The value of a session cookie, as a browser sends it: says whose it is, or why it is nobody's. `-` reads it from
    /// standard input
    #[arg(long, value_name = "VALUE")]
    cookie: Option<String>,
    /// Also write what was found, the settings without secrets and the mapping into this file, for a bug report
    #[arg(long, value_name = "FILE.tar.gz")]
    bundle: Option<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

pub(super) fn run(command: &Doctor, common: &Common) -> anyhow::Result<Ended> {
    let cookie = command.cookie.as_deref().map(cookie).transpose()?;
    let mut report = Report::default();
    let settings = settings(common, &mut report);
    if let Some(settings) = &settings {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(examine(settings, common.config.as_deref(), cookie.as_deref(), &mut report));
    }
    match command.format {
        TextOrJson::Text => report.print()?,
        TextOrJson::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if let Some(file) = &command.bundle {
        bundle::write(file, common.config.as_deref(), settings.as_ref(), &report)?;
        super::announce(format!("wrote {}: look through it before you send it", file.display()));
    }
    Ok(if report.is_sound() { Ended::Clean } else { Ended::Findings })
}

/// A whole `Cookie` field, a pair or a value alone; for `-` from standard input, which keeps it out of the shell's
/// history.
fn cookie(given: &str) -> anyhow::Result<String> {
    if given != "-" {
        return Ok(given.trim().to_owned());
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn settings(common: &Common, report: &mut Report) -> Option<Settings> {
    const SUBJECT: &str = "settings";
    let from = common.config.as_ref().map_or_else(
        || "no settings file is named: the defaults and the environment".to_owned(),
        |file| file.display().to_string(),
    );
    match common.settings() {
        Err(error) => {
            report.fail(SUBJECT, format!("{error:#}"), "correct the settings; every mistake is listed above");
            None
        }
        Ok(settings) if settings.lacks_hosts() => {
            report.fail(
                SUBJECT,
                HOSTS_ARE_NEEDED,
                "set `allowed_hosts` in [firewall] to the names of Console",
            );
            Some(settings)
        }
        Ok(settings) => {
            report.good(SUBJECT, from);
            Some(settings)
        }
    }
}

async fn examine(settings: &Settings, config: Option<&Path>, cookie: Option<&str>, report: &mut Report) {
    secrets::examine(settings, report).await;
    place::examine(settings, report);
    gate::examine(settings, report).await;
    let opened = database::examine(settings, report).await;
    let secrets = Secrets::load(settings, |name| std::env::var(name).ok()).ok();
    access::examine(opened.as_ref(), report).await;
    session::examine(settings, secrets.as_ref(), opened.as_ref(), cookie, report).await;
    upstream::examine(settings, report).await;
    mapping::examine(settings, config, opened.as_ref(), report).await;
    place::audit(settings, report).await;
    database::mirror(settings, opened.as_ref(), report).await;
    place::buffers(settings, report);
    place::certificate(settings, report);
}
