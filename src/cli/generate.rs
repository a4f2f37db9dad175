//! `console-gate completions SHELL` and `console-gate man FOLDER`: made from the same definitions as `--help`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use clap_complete::Shell;

use super::help::Examples;
use super::{Common, Ended};

pub(super) const EXAMPLES: Examples = &[
    ("completions", &["console-gate completions bash"]),
    ("man", &["console-gate man /usr/local/share/man/man1"]),
];

const NAME: &str = "console-gate";

/// Print completions for a shell
///
/// `console-gate completions bash > /etc/bash_completion.d/console-gate`
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn completions(command: &Completions, _: &Common) -> anyhow::Result<Ended> {
    clap_complete::generate(command.shell, &mut super::command(), NAME, &mut std::io::stdout());
    Ok(Ended::Clean)
}

/// Write a man page for each command into a folder
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder, such as /usr/local/share/man/man1
    folder: PathBuf,
}

pub(super) fn man(command: &Man, _: &Common) -> anyhow::Result<Ended> {
    std::fs::create_dir_all(&command.folder).with_context(|| command.folder.display().to_string())?;
    clap_mangen::generate_to(super::command(), &command.folder)
        .with_context(|| command.folder.display().to_string())?;
    Ok(Ended::Clean)
}
