//! `console-gate serve`

use clap::Args;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use workbench::report::style::Style;

use super::help::Examples;
use super::overrides::Overrides;
use super::{Common, Ended};
use crate::logged::KeepRecent;
use crate::outbound::sentry::{self, Dsn, FlushOnDrop, Tracker};
use crate::server::{self, Start};
use crate::settings::secrets::Secrets;
use crate::settings::{HOSTS_ARE_NEEDED, Settings};
use crate::version::version;

pub(super) const EXAMPLES: Examples = &[(
    "serve",
    &[
        "console-gate --config /etc/console-gate/gate.toml serve",
        "console-gate serve --listen 0.0.0.0:8080 --upstream unix:/run/console/console.sock",
        "console-gate --config gate.toml serve --upgrade",
    ],
)];

/// Run the gate
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    overrides: Overrides,
    /// Take over the listening sockets from a running gate; then send it SIGQUIT
    #[arg(long)]
    upgrade: bool,
    /// The format of the log
    #[arg(long, env = "CONSOLE_GATE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

/// The forms of the log.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

pub(super) fn run(command: &Serve, common: &Common) -> anyhow::Result<Ended> {
    let settings = command.overrides.settings(common)?;
    // Dropped last, so that errors at the end are reported too.
    let _flush = ready(&settings, common, command.log_format)?;
    let secrets = Secrets::load(&settings, |name| std::env::var(name).ok())?;
    let start = Start { upgrade: command.upgrade, replaces_itself: true, ..flags_at_start()? };
    server::run(&settings, &secrets, start, || ())?;
    Ok(Ended::Clean)
}

/// Refuses settings that no gate may serve with, and starts the log.
pub(super) fn ready(
    settings: &Settings,
    common: &Common,
    log_format: LogFormat,
) -> anyhow::Result<Option<FlushOnDrop>> {
    // A flag or a variable can turn it into a production gate after the file was checked.
    anyhow::ensure!(!settings.lacks_hosts(), "[firewall] {HOSTS_ARE_NEEDED}");
    let (tracker, flush) = tracker(settings)?.unzip();
    start_log(log_format, tracker);
    tracing::info!(
        version = version(),
        settings = common.config.as_ref().map(|file| file.display().to_string()),
        mapping = %settings.mapping.file.display(),
        database = settings.database.url.0.in_words(),
        environment = settings.environment.word(),
        "the gate starts"
    );
    if !settings.log.access {
        tracing::info!("requests are not logged: `access = true` in [log] adds a line for each");
    }
    Ok(flush)
}

/// A start with the kill-switches of the environment.
pub(super) fn flags_at_start() -> anyhow::Result<Start> {
    Ok(Start {
        flag_rbac_v2: flag_at_start("FLAG_RBAC_V2")?,
        flag_ticket_grants: flag_at_start("FLAG_TICKET_SCOPED_GRANTS")?,
        ..Start::default()
    })
}

/// The error tracker that `SENTRY_DSN` names, if it is set.
fn tracker(settings: &Settings) -> anyhow::Result<Option<(Tracker, FlushOnDrop)>> {
    let dsn = std::env::var("SENTRY_DSN").unwrap_or_default();
    if dsn.is_empty() {
        return Ok(None);
    }
    Ok(Some(sentry::start(Dsn::parse(&dsn)?, settings.environment.word())?))
}

/// Starts the log on standard error, which `RUST_LOG` filters, and the error tracker, which it does not.
pub(super) fn start_log(format: LogFormat, tracker: Option<Tracker>) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // pingora logs the client's bytes at some of its levels; the gate itself logs what an operator needs.
        .unwrap_or_else(|_| "info,pingora_core=off,pingora_proxy=off,pingora=off,sqlx=warn".into());
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(Style::of(&std::io::stderr()) == Style::Coloured)
        .with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().boxed(),
    };
    tracing_subscriber::registry().with(log.with_filter(filter)).with(tracker).with(KeepRecent).init();
}

/// A flag in the environment, as `FLAG_RBAC_V2`: the kill-switch at start.
pub(super) fn flag_at_start(name: &str) -> anyhow::Result<Option<bool>> {
    match std::env::var(name).as_deref() {
        Err(_) | Ok("") => Ok(None),
        Ok("1" | "true" | "on") => Ok(Some(true)),
        Ok("0" | "false" | "off") => Ok(Some(false)),
        Ok(_) => anyhow::bail!("{name} must be 1 or 0"),
    }
}
