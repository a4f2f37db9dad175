//! `console-gate config show`

use std::fmt::Write as _;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use policy::diagnostic::Lines;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::overrides::Overrides;
use super::super::{Common, Ended, TextOrJson, announce};
use crate::settings::Settings;
use crate::settings::load::Looked;
use crate::settings::shown::masked;

/// Show the settings in force, and where each comes from
///
/// What `serve` would use: flags override environment variables, which override the file, which overrides the defaults.
/// The text is a settings file, in which passwords are masked. Secrets are never read: a comment says whether the variable
/// or the file is there that holds one.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    overrides: Overrides,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

/// The keys that flags and variables override, by the flag.
const OVERRIDDEN: [(&str, &str); 6] = [
    ("environment", "environment"),
    ("database.url", "database"),
    ("mapping.file", "mapping"),
    ("listen.proxy", "listen"),
    ("listen.admin", "admin"),
    ("upstream.servers", "upstream"),
];

/// Where a value comes from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum Source {
    Default,
    File { file: String, line: usize },
    Environment { variable: String },
    Flag { flag: String },
}

/// A setting.
#[derive(Debug, Serialize)]
struct Setting {
    key: String,
    /// `null` where it is not set.
    value: Value,
    source: Source,
    /// Whether the variable or file that the value names exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    there: Option<bool>,
}

pub(super) fn run(command: &Show, common: &Common) -> anyhow::Result<Ended> {
    let looked = common.config.as_deref().map(Settings::look).transpose()?.unwrap_or_default();
    let settings = command.overrides.settings(common)?;
    let mut leaves = Vec::new();
    collect(serde_json::to_value(&settings)?, String::new(), &mut leaves);
    let matches = common.matches.as_ref().map(deepest);
    let settings: Vec<Setting> = leaves
        .into_iter()
        .map(|(key, value)| {
            let source = matches
                .and_then(|matches| overriding(&key, matches))
                .unwrap_or_else(|| in_files(&key, &looked));
            let there = there(&key, &value);
            Setting { value, source, there, key }
        })
        .collect();
    match command.format {
        TextOrJson::Text => announce(text(&settings).trim_end()),
        TextOrJson::Json => {
            let files: Vec<&str> = looked.iter().map(|file| file.name.as_str()).collect();
            announce(serde_json::to_string_pretty(&json!({ "files": files, "settings": settings }))?);
        }
    }
    Ok(Ended::Clean)
}

/// The arguments of the subcommand itself, to which global flags are passed down.
fn deepest(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| deepest(inner))
}

/// Collects each key with a value of its own, without secrets.
fn collect(value: Value, key: String, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (name, value) in table {
                let key = if key.is_empty() { quoted(&name) } else { format!("{key}.{}", quoted(&name)) };
                collect(value, key, leaves);
            }
        }
        value => leaves.push((key, without_secrets(value))),
    }
}

/// A name as a key of TOML.
fn quoted(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(is_bare) {
        return name.to_owned();
    }
    toml::Value::from(name).to_string()
}

fn without_secrets(value: Value) -> Value {
    match value {
        Value::String(text) => masked(&text).into(),
        Value::Array(items) => items.into_iter().map(without_secrets).collect(),
        other => other,
    }
}

/// The flag or variable that sets the key.
fn overriding(key: &str, matches: &ArgMatches) -> Option<Source> {
    let (_, flag) = OVERRIDDEN.iter().find(|(overridden, _)| *overridden == key)?;
    match matches.value_source(flag)? {
        ValueSource::CommandLine => Some(Source::Flag { flag: format!("--{flag}") }),
        ValueSource::EnvVariable => {
            let variable = match *flag {
                "database" => "CONSOLE_GATE_DATABASE_URL".to_owned(),
                flag => format!("CONSOLE_GATE_{}", flag.to_uppercase()),
            };
            Some(Source::Environment { variable })
        }
        _ => None,
    }
}

/// The line of the file that sets the key.
fn in_files(key: &str, looked: &[Looked]) -> Source {
    let named = looked.iter().enumerate().find_map(|(number, file)| {
        // The second file contains only the keys of `[console]`.
        let name = if number == 0 { Some(key) } else { key.strip_prefix("console.") }?;
        let (_, place) =
            file.places.iter().find(|(written, _)| written == name || name.replace('"', "") == *written)?;
        Some((file, place))
    });
    named.map_or(Source::Default, |(file, place)| {
        let (line, _) = Lines::new(&file.source).position(place.start);
        Source::File { file: file.name.clone(), line }
    })
}

/// Whether the variable or file that the key names exists; `None` for other keys.
fn there(key: &str, value: &Value) -> Option<bool> {
    let name = value.as_str()?;
    if key.ends_with("_env") {
        return Some(std::env::var_os(name).is_some());
    }
    key.ends_with("_file").then(|| Path::new(name).exists())
}

fn text(settings: &[Setting]) -> String {
    /// The column of the comments, unless the setting is longer.
    const BESIDE: usize = 40;
    let mut text = String::new();
    let mut section = "";
    // Keys outside of sections precede all sections.
    let (plain, others): (Vec<&Setting>, Vec<_>) = settings.iter().partition(|one| !one.key.contains('.'));
    for setting in plain.into_iter().chain(others) {
        let (of, name) = setting.key.split_once('.').unwrap_or(("", &setting.key));
        if of != section {
            section = of;
            let _ = writeln!(text, "\n[{section}]");
        }
        let value = toml::Value::try_from(&setting.value).ok();
        let source = match &setting.source {
            Source::Default => "default".to_owned(),
            Source::File { file, line } => format!("{file}:{line}"),
            Source::Environment { variable } => format!("environment variable {variable}"),
            Source::Flag { flag } => flag.clone(),
        };
        let there = match (setting.there, name.ends_with("_env")) {
            (None, _) => "",
            (Some(true), true) => "; the variable is set",
            (Some(false), true) => "; the variable is not set",
            (Some(true), false) => "; the file is there",
            (Some(false), false) => "; the file is not there",
        };
        let line = match value {
            // An empty section has nothing to show.
            None if setting.value.is_null() => format!("# {name} is not set"),
            None => continue,
            Some(toml::Value::Table(table)) if table.is_empty() => format!("# {name} is empty"),
            Some(value) => format!("{name} = {value}"),
        };
        let _ = writeln!(text, "{line:BESIDE$} # {source}{there}");
    }
    text
}
