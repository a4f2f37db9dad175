//! `console-gate adopt --inspect`

mod source;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use store::StoreOptions;
use store::console::{Relations, Shown, SourceHints, propose};

use super::console_files::{Names, python_files};
use super::help::Examples;
use super::{Common, Ended, announce, with_store};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[(
    "adopt",
    &["console-gate --database postgres://localhost/console adopt --inspect --console-src ./console"],
)];

/// Propose how to read Console's tables
///
/// Looks at the tables of the database and at Console's source, prints the sections `[console]` and `[session]` ready to paste, and ten people with the roles that they
/// would have. Changes nothing.
#[derive(Debug, Args)]
pub(super) struct Adopt {
    /// Look, and propose the sections
    #[arg(long, required = true)]
    inspect: bool,
    /// Console's source, to find out which model is its user and what its sessions are
    #[arg(long, value_name = "DIR")]
    console_src: Option<PathBuf>,
}

/// The number of people to show.
const PEOPLE: usize = 10;

pub(super) fn run(command: &Adopt, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let hints = match &command.console_src {
        Some(folder) => {
            let files = python_files(folder, Names::BelowFolder)?;
            source::hints(&folder.to_string_lossy(), &files)
        }
        None => SourceHints::default(),
    };
    with_store(&settings, async |store| {
        let tables = store.console_tables().await?;
        let proposal = propose(&tables, store.is_postgres(), &hints);
        announce(
            "# Proposed by `console-gate adopt --inspect`. Read it, correct it, and compare the people below.",
        );
        for note in &proposal.notes {
            announce(format_args!("# Note: {note}."));
        }
        announce(&proposal.section);
        announce(&proposal.session);
        // Parses the sections as settings, so that a section that cannot be pasted is found here.
        let section = if proposal.section.is_empty() { "[console]\n" } else { proposal.section.as_str() };
        let proposed = Settings::parse("the proposal", &format!("{section}{}", proposal.session))?;
        let session_payload = proposed.session.payload.is_some();
        let console = Relations { session_payload, ..proposed.console.0 };
        let options = StoreOptions { console, ..super::store_options(&settings) };
        let store = store::open(&options).await.context("the database")?;
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
    // Escaped: a name from the database must not begin a line.
    let label = person.label.escape_debug();
    let roles = if person.roles.is_empty() { "no role".to_owned() } else { person.roles.join(", ") };
    let disabled = if person.is_disabled { "disabled; " } else { "" };
    format!("{} ({label}): {disabled}{}", person.id.escape_debug(), roles.escape_debug())
}
