//! `console-gate adopt --inspect`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{Common, Ended, announce, with_store};
use crate::settings::Settings;
use crate::store::StoreOptions;
use crate::store::console::{Shown, propose};

/// Propose how to read Console's tables
///
/// Looks at the tables of the database, prints a `[console]` section ready to paste, and ten people with the roles that they
/// would have. Changes nothing.
#[derive(Debug, Args)]
pub(super) struct Adopt {
    /// Look, and propose the [console] section
    #[arg(long, required = true)]
    inspect: bool,
    /// Console's source, to find out which model is its user
    #[arg(long, value_name = "DIR")]
    console_src: Option<PathBuf>,
}

/// How many people are shown.
const PEOPLE: usize = 10;

pub(super) fn run(command: &Adopt, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let hinted = match &command.console_src {
        Some(folder) => users_of(folder).with_context(|| format!("cannot read {}", folder.display()))?,
        None => BTreeSet::new(),
    };
    with_store(&settings, async |store| {
        let tables = store.console_tables().await?;
        let proposal = propose(&tables, store.is_postgres(), &hinted);
        announce(
            "# Proposed by `console-gate adopt --inspect`. Read it, correct it, and compare the people below.",
        );
        for note in &proposal.notes {
            announce(format_args!("# Note: {note}."));
        }
        announce(&proposal.section);
        // Parses the section as the settings would, so that one which cannot be pasted is found here.
        let section = if proposal.section.is_empty() { "[console]" } else { proposal.section.as_str() };
        let proposed = Settings::parse("the proposal", section)?;
        let options = StoreOptions { console: proposed.console.0, ..super::store_options(&settings) };
        let store = crate::store::open(&options).await.context("the database")?;
        let mismatches = store.console_mismatches().await?;
        for mismatch in &mismatches {
            announce(format_args!("# To correct: {mismatch}"));
        }
        if mismatches.iter().any(|mismatch| !mismatch.is_warning) {
            return Ok(Ended::Findings);
        }
        let people = store.console_people(PEOPLE).await?;
        announce(format_args!(
            "# {} people as these SELECTs show them. Are their roles right?",
            people.len()
        ));
        for person in &people {
            announce(format_args!("#   {}", person_in_words(person)));
        }
        Ok(Ended::Clean)
    })
}

fn person_in_words(person: &Shown) -> String {
    // As a literal: a name in the database must not begin a line.
    let label = person.label.escape_debug();
    let roles = if person.roles.is_empty() { "no role".to_owned() } else { person.roles.join(", ") };
    let disabled = if person.is_disabled { "disabled; " } else { "" };
    format!("{} ({label}): {disabled}{}", person.id.escape_debug(), roles.escape_debug())
}

/// The tables of the models that Console's source calls its users: by `UserMixin`, `AbstractUser` or a `user_loader`.
fn users_of(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut tables = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() && !name.starts_with('.') && name != "node_modules" && name != "venv" {
                folders.push(entry.path());
            } else if kind.is_file() && name.ends_with(".py") {
                tables.extend(users_in(&String::from_utf8_lossy(&std::fs::read(entry.path())?)));
            }
        }
    }
    Ok(tables)
}

fn users_in(source: &str) -> Vec<String> {
    let mut tables = Vec::new();
    let mut is_user = false;
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("class ") {
            is_user =
                ["UserMixin", "AbstractUser", "AbstractBaseUser"].iter().any(|base| rest.contains(base));
            if is_user {
                // Flask-SQLAlchemy names a table after its class.
                tables.extend(rest.split(['(', ':']).next().map(str::to_lowercase));
            }
        } else if is_user && line.trim_start().starts_with("__tablename__") {
            tables.extend(line.split(['"', '\'']).nth(1).map(str::to_lowercase));
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_users_is_found_in_the_source() {
        let source = "class Base:\n    pass\n\nclass Person(UserMixin, db.Model):\n    __tablename__ = \"persons\"\n    id = 1\n\n\
                      class Other(db.Model):\n    __tablename__ = 'others'\n";
        assert_eq!(users_in(source), ["person", "persons"]);
    }
}
