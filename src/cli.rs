//! The subcommands, one file each.
//!
//! Exit codes: 0 clean, 1 findings, 2 usage or failure.

mod admin;
mod adopt;
mod alert;
mod audit;
mod backfill;
mod backup;
mod break_glass;
mod change_window;
mod check;
mod checkpoint;
mod config;
mod console_files;
mod coverage;
mod demo;
mod diff;
mod doctor;
mod drift;
mod environment;
mod examples;
mod exec;
mod explain;
mod findings;
mod flag;
mod generate;
mod grant;
mod grantors;
mod group;
mod healthcheck;
mod history;
mod import;
mod kept;
mod keygen;
mod lint;
mod migrate;
mod overrides;
mod passkey;
mod people;
mod progress;
mod promote;
mod replay;
mod retention;
mod review;
mod role;
mod rollback;
mod serve;
mod settled;
mod soak;
mod ticket;
mod time;
mod token;
mod verify;
mod watch;
mod who;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _};
use ledger::Notary;
use policy::mapping::Mapping;
use store::{SharedStore, StoreError, StoreOptions};
use workbench::report::style::{Colours, USUAL_COLUMNS, wrap_at};

use crate::settings::{DatabaseSetting, Environment, Settings};

/// An authorization gateway in front of Console, a Flask admin app
#[derive(Debug, Parser)]
#[command(name = "console-gate", version = crate::version::version())]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What most subcommands take. Flags override environment variables, which override the file.
#[derive(Debug, Args)]
struct Common {
    /// The settings file; without it, the defaults apply. Flags override environment variables, which override the file
    #[arg(long, global = true, env = "CONSOLE_GATE_CONFIG")]
    config: Option<PathBuf>,
    /// The database: `sqlite:FILE` or `postgres://...`
    #[arg(long, global = true, env = "CONSOLE_GATE_DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// The mapping file (routes.toml)
    #[arg(long, global = true, env = "CONSOLE_GATE_MAPPING")]
    mapping: Option<PathBuf>,
    /// The environment in which this gate runs
    #[arg(long, global = true, env = "CONSOLE_GATE_ENVIRONMENT")]
    environment: Option<Environment>,
    /// When to colour what is printed
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Colours,
}

// What `--help` prints for a subcommand is the doc comment of its own type: a doc comment here would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Exec(exec::Exec),
    Migrate(migrate::Migrate),
    Adopt(adopt::Adopt),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Diff(diff::Diff),
    Coverage(coverage::Coverage),
    Lint(lint::Lint),
    Import(import::Import),
    Drift(drift::Drift),
    Soak(soak::Soak),
    Explain(explain::Explain),
    Who(who::Who),
    Flag(flag::Flag),
    Rollback(rollback::Rollback),
    History(history::History),
    Audit(audit::Audit),
    Replay(replay::ReplayCommand),
    Retention(retention::Retention),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Verify(verify::Verify),
    Token(token::Token),
    Admin(admin::Admin),
    Group(group::Group),
    Grantors(grantors::Grantors),
    Grant(grant::Grant),
    Ticket(ticket::Ticket),
    Alert(alert::Alert),
    Review(review::Review),
    ChangeWindow(change_window::ChangeWindow),
    Role(role::Role),
    Backfill(backfill::Backfill),
    Passkey(passkey::Passkey),
    BreakGlass(break_glass::BreakGlass),
    Promote(promote::Promote),
    Keygen(keygen::Keygen),
    Healthcheck(healthcheck::Healthcheck),
    Completions(generate::Completions),
    Man(generate::Man),
    Demo(demo::Demo),
}

impl Command {
    /// Whether it reads and prints, and changes nothing that a closed pipe could leave half done.
    fn only_reads(&self) -> bool {
        match self {
            Command::Adopt(_)
            | Command::Check(_)
            | Command::Doctor(_)
            | Command::Config(_)
            | Command::Healthcheck(_)
            | Command::Completions(_)
            | Command::Diff(_)
            | Command::Coverage(_)
            | Command::Lint(_)
            | Command::Explain(_)
            | Command::Who(_)
            | Command::Soak(_)
            | Command::History(_)
            | Command::Replay(_) => true,
            Command::Drift(command) => command.only_reads(),
            Command::Flag(command) => command.only_reads(),
            Command::Token(command) => command.only_reads(),
            Command::Admin(command) => command.only_reads(),
            Command::Group(command) => command.only_reads(),
            Command::Grantors(command) => command.only_reads(),
            Command::Grant(command) => command.only_reads(),
            Command::Ticket(command) => command.only_reads(),
            Command::Alert(command) => command.only_reads(),
            Command::Review(command) => command.only_reads(),
            Command::ChangeWindow(command) => command.only_reads(),
            Command::Role(command) => command.only_reads(),
            Command::Backfill(command) => command.only_reads(),
            Command::Passkey(command) => command.only_reads(),
            Command::BreakGlass(command) => command.only_reads(),
            Command::Promote(command) => command.only_reads(),
            Command::Serve(_)
            | Command::Exec(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Migrate(_)
            | Command::Import(_)
            | Command::Rollback(_)
            | Command::Audit(_)
            | Command::Retention(_)
            | Command::Verify(_)
            | Command::Keygen(_)
            | Command::Man(_)
            | Command::Demo(_) => false,
        }
    }
}

/// How a report is printed that no code host reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TextOrJson {
    /// For a person
    Text,
    /// For a program
    Json,
}

/// What a subcommand found.
enum Ended {
    Clean,
    Findings,
    /// With the exit code of another process.
    Code(u8),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let columns = columns();
    let color = match chosen_before_parsing(std::env::args_os().map(|one| one.to_string_lossy().into_owned()))
    {
        Some(Colours::Always) => clap::ColorChoice::Always,
        Some(Colours::Never) => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    };
    let matches = command().term_width(columns.unwrap_or(0)).color(color).get_matches();
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.format(&mut command()).exit(),
    };
    arguments.common.color.choose();
    if !matches!(arguments.command, Command::Serve(_) | Command::Exec(_) | Command::Demo(_)) {
        wrap_at(columns);
    }
    for warning in environment::misspelt(
        &Arguments::command(),
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
    ) {
        eprintln!("console-gate: {warning}");
    }
    if arguments.command.only_reads() {
        // `console-gate diff ... | head` ends when the reader has seen enough, as other tools do.
        sigpipe::reset();
    }
    let outcome = match &arguments.command {
        Command::Serve(command) => serve::run(command, &arguments.common),
        Command::Exec(command) => exec::run(command, &arguments.common),
        Command::Migrate(command) => migrate::run(command, &arguments.common),
        Command::Adopt(command) => adopt::run(command, &arguments.common),
        Command::Check(command) => check::run(command, &arguments.common),
        Command::Doctor(command) => doctor::run(command, &arguments.common),
        Command::Config(command) => config::run(command, &arguments.common, &matches),
        Command::Diff(command) => diff::run(command, &arguments.common),
        Command::Coverage(command) => coverage::run(command, &arguments.common),
        Command::Lint(command) => lint::run(command, &arguments.common),
        Command::Import(command) => import::run(command),
        Command::Drift(command) => drift::run(command, &arguments.common),
        Command::Soak(command) => soak::run(command, &arguments.common),
        Command::Explain(command) => explain::run(command, &arguments.common),
        Command::Who(command) => who::run(command, &arguments.common),
        Command::Flag(command) => flag::run(command, &arguments.common),
        Command::Rollback(command) => rollback::run(command, &arguments.common),
        Command::History(command) => history::run(command, &arguments.common),
        Command::Audit(command) => audit::run(command, &arguments.common),
        Command::Replay(command) => replay::run(command, &arguments.common),
        Command::Retention(command) => retention::run(command, &arguments.common),
        Command::Backup(command) => backup::backup(command, &arguments.common),
        Command::Restore(command) => backup::restore(command, &arguments.common),
        Command::Verify(command) => verify::run(command, &arguments.common),
        Command::Token(command) => token::run(command, &arguments.common),
        Command::Admin(command) => admin::run(command, &arguments.common),
        Command::Group(command) => group::run(command, &arguments.common),
        Command::Grantors(command) => grantors::run(command, &arguments.common),
        Command::Grant(command) => grant::run(command, &arguments.common),
        Command::Ticket(command) => ticket::run(command, &arguments.common),
        Command::Alert(command) => alert::run(command, &arguments.common),
        Command::Review(command) => review::run(command, &arguments.common),
        Command::ChangeWindow(command) => change_window::run(command, &arguments.common),
        Command::Role(command) => role::run(command, &arguments.common),
        Command::Backfill(command) => backfill::run(command, &arguments.common),
        Command::Passkey(command) => passkey::run(command, &arguments.common),
        Command::BreakGlass(command) => break_glass::run(command, &arguments.common),
        Command::Promote(command) => promote::run(command, &arguments.common),
        Command::Keygen(command) => keygen::run(command),
        Command::Healthcheck(command) => healthcheck::run(command, &arguments.common),
        Command::Completions(command) => Ok(generate::completions(command)),
        Command::Man(command) => generate::man(command),
        Command::Demo(command) => demo::run(command),
    };
    match outcome {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::Findings) => ExitCode::from(1),
        Ok(Ended::Code(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("console-gate: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The command line with its examples.
fn command() -> clap::Command {
    examples::with_examples(Arguments::command())
}

/// The columns of standard output: those of the terminal, or what `COLUMNS` says; `None` where nothing is to be wrapped.
fn columns() -> Option<usize> {
    let said =
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|said| *said > 0);
    said.or_else(|| {
        let stdout = std::io::stdout();
        let width = || terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        stdout.is_terminal().then(|| width().filter(|width| *width > 0).unwrap_or(USUAL_COLUMNS))
    })
}

/// `--color`, which the messages of the parser need before anything is parsed.
fn chosen_before_parsing(mut arguments: impl Iterator<Item = String>) -> Option<Colours> {
    let word = loop {
        let argument = arguments.next()?;
        match argument.strip_prefix("--color") {
            Some("") => break arguments.next()?,
            Some(rest) => break rest.strip_prefix('=')?.to_owned(),
            None if argument == "--" => return None,
            None => {}
        }
    };
    Colours::from_str(&word, false).ok()
}

impl Common {
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = match &self.config {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        if let Some(url) = &self.database {
            settings.database.url = DatabaseSetting::try_from(url.clone()).map_err(anyhow::Error::msg)?;
        }
        if let Some(file) = &self.mapping {
            settings.mapping.file.clone_from(file);
        }
        if let Some(environment) = self.environment {
            settings.environment = environment;
        }
        Ok(settings)
    }
}

/// As a gate's, with a command's patience: nothing waits for it, and it may read everybody.
fn store_options(settings: &Settings) -> StoreOptions {
    StoreOptions { timeout: settings.database.command_timeout(), ..crate::server::store_options(settings) }
}

/// Runs a subcommand that needs the database.
fn with_store<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(SharedStore) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let placement = crate::server::placement(settings);
        let store = store::open_at(&store_options(settings), placement).await.context("the database")?;
        store.set_production_words(&settings.environments.production);
        store.set_break_glass_rules(settings.break_glass.rules());
        crate::server::set_mirror(&store, settings).await?;
        work(store).await.map_err(|error| match error.downcast_ref::<StoreError>() {
            // Which one it is, is the first question.
            Some(StoreError::Unavailable(_) | StoreError::Timeout(_)) => {
                error.context(settings.database.url.0.in_words())
            }
            _ => error,
        })
    })
}

/// Runs a subcommand that changes something: what it does is recorded, so it needs the keys of the audit.
fn with_notary<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(SharedStore, Notary) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    with_store(settings, async |store| {
        let keys = crate::server::audit_keys(settings).await?;
        crate::server::refuse_other_keys(&store, &keys).await?;
        let notary = Notary::new(keys);
        let outcome = work(store.clone(), notary.clone()).await;
        // When it failed too: it may have recorded something before.
        checkpoint::keep(settings, &store, &notary).await;
        outcome
    })
}

/// Prints what a command has done. What is committed does not depend on a reader: one that has gone stops nothing.
fn announce(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The mapping in a file.
fn read_mapping(file: &Path) -> anyhow::Result<Mapping> {
    let name = file.display().to_string();
    let source = crate::text_file::read(file).with_context(|| format!("cannot read {name}"))?;
    Ok(Mapping::parse(&name, &source)?)
}

/// Who runs the command, for audit rows: the login name, as the operating system has it.
fn operator() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"]
        .into_iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|name| !name.is_empty()));
    let of_process = || nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok().flatten();
    named.or_else(|| of_process().map(|user| user.name)).unwrap_or_else(|| "unknown".to_owned())
}

/// The same with the machine that it runs on, for what concerns every gate.
fn operator_here() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    match host.filter(|host| !host.is_empty()) {
        Some(host) => format!("{}@{host}", operator()),
        None => operator(),
    }
}
