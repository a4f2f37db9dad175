//! `console-gate import --console-src DIR`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use console_source::import::import;
use policy::mapping::Mapping;

use super::console_files::{GuardNames, Names, console_source};
use super::help::Examples;
use super::lint::summary;
use super::{Common, Ended};

pub(super) const EXAMPLES: Examples = &[(
    "import",
    &[
        "console-gate import --console-src ./console --output routes.toml",
        "console-gate import --console-src ./console --guard api_or_session=machine-or-session --guard login_required=session",
    ],
)];

/// Write a first mapping from Console's source
///
/// The rows have today's legacy gates, and no V2 roles yet. What a row cannot express, and routes whose gate was not
/// understood and is left to Console, are printed on standard error and noted in the file; the exit code is then 1.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The folder with Console's Python source
    #[arg(long, value_name = "DIR")]
    console_src: PathBuf,
    #[command(flatten)]
    guards: GuardNames,
    /// The output file; without it, the mapping is printed
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "output")]
    force: bool,
}

pub(super) fn run(command: &Import, _: &Common) -> anyhow::Result<Ended> {
    let source = console_source(&command.console_src, Names::BelowFolder, &command.guards.guards())?;
    let import = import(&source);
    let mapping = Mapping::parse("the imported mapping", &import.text)?;
    match &command.output {
        None => print!("{}", import.text),
        Some(file) => write(file, &import.text, command.force)?,
    }
    eprintln!("{}, {} routes", summary(&source), source.routes.len());
    eprintln!(
        "{} rows: {} with a legacy gate, {} left to Console",
        mapping.rows().len(),
        import.gated,
        import.rows - import.gated
    );
    for (place, reason) in &import.left_out {
        eprintln!("{}:{}:{}: {reason}", place.file, place.line, place.column);
    }
    Ok(if import.left_out.is_empty() { Ended::Clean } else { Ended::Findings })
}

/// Replaces an existing file in one step, because a gate may watch it.
fn write(file: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let context = || format!("cannot write `{}`", file.display());
    let target =
        if force { file.with_extension(format!("new.{}", std::process::id())) } else { file.to_owned() };
    let opened = OpenOptions::new().write(true).create_new(true).open(&target);
    let mut opened = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && !force => {
            bail!("`{}` already exists (use --force to replace it)", file.display())
        }
        other => other.with_context(context)?,
    };
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).with_context(context)?;
    if force {
        std::fs::rename(&target, file).with_context(context)?;
    }
    Ok(())
}
