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
mod exec;
mod explain;
mod findings;
mod flag;
mod generate;
mod grant;
mod grantors;
mod group;
mod healthcheck;
mod help;
mod history;
mod import;
mod kept;
mod keygen;
mod lint;
mod migrate;
mod overrides;
mod pages;
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
mod session;
mod settled;
mod soak;
mod test;
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
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _};
use ledger::Notary;
use policy::mapping::Mapping;
use store::{SharedStore, StoreError, StoreOptions};
use workbench::report::style::{Colours, USUAL_COLUMNS, wrap_at};

use self::help::Examples;
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
#[command(next_help_heading = "Global options")]
struct Common {
    /// The settings file
    #[arg(long, global = true, env = "CONSOLE_GATE_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The database: `sqlite:FILE` or `postgres://...`
    #[arg(
        long,
        global = true,
        env = "CONSOLE_GATE_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database: Option<String>,
    /// The mapping, routes.toml
    #[arg(long, global = true, env = "CONSOLE_GATE_MAPPING", value_name = "FILE", hide_env_values = true)]
    mapping: Option<PathBuf>,
    /// development, staging, or production, where V2 is enforced only once it is promoted
    #[arg(
        long,
        global = true,
        env = "CONSOLE_GATE_ENVIRONMENT",
        value_name = "NAME",
        hide_env_values = true,
        hide_possible_values = true
    )]
    environment: Option<Environment>,
    /// When to use colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    color: Colours,
    /// All of it as it was given, for `config show`, which names each source.
    #[arg(skip)]
    matches: Option<ArgMatches>,
}

/// Declares the subcommands: under a heading of `--help`, each with its file, its arguments, the function that runs it,
/// and whether it only `reads` (prints, and changes nothing that a closed pipe could leave half done), `acts`, or
/// `depends` on its arguments.
macro_rules! commands {
    ($($heading:literal { $($file:ident::{$name:ident, $run:ident} $kind:ident;)* })*) => {
        // `--help` prints the doc comment of the subcommand's own type: a doc comment here would replace it.
        #[derive(Debug, Subcommand)]
        enum Command {
            $($($name($file::$name),)*)*
        }

        impl Command {
            /// The headings of `--help`, each with the number of its subcommands, which follow each other.
            const HEADINGS: &[(&str, usize)] = &[$(($heading, [$(stringify!($name)),*].len()),)*];

            const EXAMPLES: &[Examples] = &[$($($file::EXAMPLES,)*)*];

            fn only_reads(&self) -> bool {
                match self {
                    $($(Command::$name(command) => only_reads!($kind, command),)*)*
                }
            }

            fn run(&self, common: &Common) -> anyhow::Result<Ended> {
                match self {
                    $($(Command::$name(command) => $file::$run(command, common),)*)*
                }
            }
        }
    };
}

macro_rules! only_reads {
    (reads, $command:expr) => {{
        let _ = $command;
        true
    }};
    (acts, $command:expr) => {{
        let _ = $command;
        false
    }};
    (depends, $command:expr) => {
        $command.only_reads()
    };
}

commands! {
    "Run the gate" {
        serve::{Serve, run} acts;
        exec::{Exec, run} acts;
        demo::{Demo, run} acts;
        migrate::{Migrate, run} acts;
        adopt::{Adopt, run} reads;
        doctor::{Doctor, run} reads;
        config::{Config, run} reads;
        healthcheck::{Healthcheck, run} reads;
        backup::{Backup, backup} acts;
        backup::{Restore, restore} acts;
        keygen::{Keygen, run} acts;
        generate::{Completions, completions} reads;
        generate::{Man, man} acts;
    }
    "The mapping" {
        check::{Check, run} reads;
        test::{Test, run} depends;
        diff::{Diff, run} reads;
        explain::{Explain, run} reads;
        coverage::{Coverage, run} reads;
        lint::{Lint, run} reads;
        import::{Import, run} acts;
        pages::{Pages, run} depends;
        history::{History, run} reads;
        rollback::{Rollback, run} acts;
    }
    "The cutover" {
        drift::{Drift, run} depends;
        soak::{Soak, run} reads;
        replay::{Replay, run} reads;
        verify::{Verify, run} acts;
        flag::{Flag, run} depends;
        promote::{Promote, run} depends;
        backfill::{Backfill, run} depends;
    }
    "People and grants" {
        who::{Who, run} reads;
        admin::{Admin, run} depends;
        group::{Group, run} depends;
        role::{Role, run} depends;
        grantors::{Grantors, run} depends;
        grant::{Grant, run} depends;
        ticket::{Ticket, run} depends;
        review::{Review, run} depends;
        change_window::{ChangeWindow, run} depends;
        passkey::{Passkey, run} depends;
        session::{Session, run} depends;
        break_glass::{BreakGlass, run} depends;
        token::{Token, run} depends;
    }
    "The audit" {
        audit::{Audit, run} acts;
        retention::{Retention, run} acts;
        alert::{Alert, run} depends;
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

/// The outcome of a subcommand.
enum Ended {
    Clean,
    Findings,
    /// With the exit code of another process.
    Code(u8),
}

/// The maximum width of `--help`.
const HELP_COLUMNS: usize = 80;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let columns = columns();
    let color = match chosen_before_parsing(std::env::args_os().map(|one| one.to_string_lossy().into_owned()))
    {
        Some(Colours::Always) => clap::ColorChoice::Always,
        Some(Colours::Never) => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    };
    let matches =
        command().term_width(columns.unwrap_or(HELP_COLUMNS).min(HELP_COLUMNS)).color(color).get_matches();
    let mut arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.format(&mut command()).exit(),
    };
    arguments.common.color.choose();
    arguments.common.matches = Some(matches);
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
        // `console-gate diff ... | head` ends when the reader closes the pipe, as other tools do.
        sigpipe::reset();
    }
    match arguments.command.run(&arguments.common) {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::Findings) => ExitCode::from(1),
        Ok(Ended::Code(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("console-gate: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The command line with its examples, and its subcommands under headings.
fn command() -> clap::Command {
    help::arranged(Arguments::command())
}

/// The columns of standard output: the value of `COLUMNS`, else the terminal's width; `None` if nothing is to be
/// wrapped.
fn columns() -> Option<usize> {
    let said =
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|said| *said > 0);
    said.or_else(|| {
        let stdout = std::io::stdout();
        let width = || terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        stdout.is_terminal().then(|| width().filter(|width| *width > 0).unwrap_or(USUAL_COLUMNS))
    })
}

/// `--color`, which the parser's own messages need before anything is parsed.
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

/// Like a gate's, with a command's timeout: no request waits for a command, and a command may read everybody.
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
            // The first question is which database it is.
            Some(StoreError::Unavailable(_) | StoreError::Timeout(_)) => {
                error.context(settings.database.url.0.in_words())
            }
            _ => error,
        })
    })
}

/// Runs a subcommand that changes something: its changes are recorded, so it needs the keys of the audit.
fn with_notary<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(SharedStore, Notary) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    with_store(settings, async |store| {
        let keys = crate::server::audit_keys(settings).await?;
        crate::server::refuse_other_keys(&store, &keys).await?;
        let notary = Notary::new(keys);
        let outcome = work(store.clone(), notary.clone()).await;
        // Also after a failure: it may have recorded something before.
        checkpoint::keep(settings, &store, &notary).await;
        outcome
    })
}

/// Prints what a command has done. A commit does not depend on a reader: a reader that has gone stops nothing.
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

/// The same with the host's name, for changes that concern every gate.
fn operator_here() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    match host.filter(|host| !host.is_empty()) {
        Some(host) => format!("{}@{host}", operator()),
        None => operator(),
    }
}
