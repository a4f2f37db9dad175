//! `console-gate config`: the settings in force, and the schemas of the files.

mod show;

use clap::{Args, Subcommand};
use policy::mapping::Mapping;

use self::show::Show;
use super::help::Examples;
use super::{Common, Ended, announce};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[
    ("config", &["console-gate --config gate.toml config show"]),
    (
        "config show",
        &[
            "console-gate --config gate.toml config show",
            "console-gate --config gate.toml config show --format json",
        ],
    ),
    ("config schema", &["console-gate config schema routes", "console-gate config schema gate"]),
];

/// Show the settings in force and their sources, or a JSON Schema
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Show(Show),
    /// Print the JSON Schema of routes.toml or gate.toml, for editors
    Schema {
        /// The file
        #[arg(value_enum)]
        file: File,
    },
}

/// A file that has a schema.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum File {
    /// routes.toml
    Routes,
    /// gate.toml
    Gate,
}

pub(super) fn run(command: &Config, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Show(show) => show::run(show, common),
        Action::Schema { file } => {
            let schema = match file {
                File::Routes => Mapping::schema(),
                File::Gate => Settings::schema(),
            };
            announce(serde_json::to_string_pretty(&schema)?);
            Ok(Ended::Clean)
        }
    }
}
