//! `console-gate pages enable`: the rows that turn the gate's pages and their API on, written into the mapping.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use policy::mapping::{Mapping, counted};

use super::help::Examples;
use super::{Common, Ended};
use crate::text_file::Replacement;

pub(super) const EXAMPLES: Examples = &[
    ("pages", &["console-gate pages enable"]),
    (
        "pages enable",
        &[
            "console-gate pages enable",
            "console-gate pages enable --write",
            "console-gate pages enable --reader console-user --writer console-manager --write",
        ],
    ),
];

/// The role that reads who holds what, where none is named: of the seed.
pub(super) const READER: &str = "console-audit-user";
/// The role that changes it.
pub(super) const WRITER: &str = "console-invite-admin";

/// What a row requires of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// A session: the answer is about its admin, or decided by another row.
    Session,
    Reader,
    Writer,
}

/// The rows, in the order in which they are written.
const ROWS: [(&str, Needs); 10] = [
    ("GET /api/rbac/me", Needs::Session),
    ("GET /api/rbac/openapi.json", Needs::Session),
    ("GET /api/rbac/permissions/check", Needs::Reader),
    ("GET,POST /api/rbac/requests", Needs::Session),
    ("GET /api/rbac/requests/<id>", Needs::Session),
    ("POST /api/rbac/requests/<id>/<step>", Needs::Session),
    ("DELETE /api/rbac/me/grants/<id>", Needs::Session),
    ("GET /api/rbac/*", Needs::Reader),
    ("POST,PUT,DELETE /api/rbac/*", Needs::Writer),
    (PAGES, Needs::Session),
];
const PAGES: &str = "GET,POST /console/rbac/*";
/// The row that leaves the grants to Console, as the shipped mapping has it: it would win over the gate's.
const OF_CONSOLE: &str = "* /api/rbac/grants/*";

/// Turn the pages for people on
#[derive(Debug, Args)]
pub(super) struct Pages {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the rows of the pages at /console/rbac and of their API into the mapping
    ///
    /// Prints the lines that are added and removed; `--write` replaces the file. Rows that are there already stay as
    /// they are. The gates activate the file as any other change of it.
    Enable {
        /// The role that may read who holds what
        #[arg(long, value_name = "ROLE", default_value = READER)]
        reader: String,
        /// The role that may change it, within the rule about who may give what
        #[arg(long, value_name = "ROLE", default_value = WRITER)]
        writer: String,
        /// Replace the file
        #[arg(long)]
        write: bool,
    },
}

impl Pages {
    pub(super) fn only_reads(&self) -> bool {
        let Action::Enable { write, .. } = &self.action;
        !write
    }
}

pub(super) fn run(command: &Pages, common: &Common) -> anyhow::Result<Ended> {
    let Action::Enable { reader, writer, write } = &command.action;
    let file = common.settings()?.mapping.file;
    let name = file.display();
    let source = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
    let enabled = enabled(&name.to_string(), &source, reader, writer)?;
    if enabled.lines.is_empty() {
        println!("{name}: the pages are on already");
        return Ok(Ended::Clean);
    }
    for line in &enabled.lines {
        println!("{line}");
    }
    if *write {
        Replacement::prepare(&file, &enabled.text)
            .and_then(Replacement::put)
            .with_context(|| format!("cannot write {name}"))?;
        println!("{name}: written. `console-gate check` looks whether the registry has its roles");
    } else {
        println!("{name}: not changed; `--write` replaces it");
    }
    Ok(Ended::Clean)
}

/// A mapping with the pages on.
pub(super) struct Enabled {
    pub(super) text: String,
    /// The lines that are added and removed, each with its sign.
    pub(super) lines: Vec<String>,
}

/// The mapping with the rows of the pages: in place of the comments that have them, otherwise at the end.
///
/// # Errors
///
/// The mapping is not sound, before or afterwards.
pub(super) fn enabled(name: &str, source: &str, reader: &str, writer: &str) -> anyhow::Result<Enabled> {
    Mapping::parse(name, source)?;
    for role in [reader, writer] {
        if role.is_empty() || role.chars().any(|one| one.is_control() || matches!(one, '"' | '\\')) {
            bail!("`{}` cannot be the name of a role", role.escape_debug());
        }
    }
    let row = |key: &str, needs: Needs| match needs {
        Needs::Session if key == PAGES => format!("\"{key}\" = {{ session = true, gate = true }}"),
        Needs::Session => format!("\"{key}\" = {{ session = true, gate = true, unauthenticated = \"401\" }}"),
        Needs::Reader | Needs::Writer => {
            let role = if needs == Needs::Reader { reader } else { writer };
            format!(
                "\"{key}\" = {{ role = \"{role}\", machine_or_session = true, gate = true, unauthenticated = \"401\" }}"
            )
        }
    };
    let is_row = |line: &str, key: &str| line.trim_start().starts_with(&format!("\"{key}\""));
    let mut left: Vec<(&str, Needs)> =
        ROWS.into_iter().filter(|(key, _)| !source.lines().any(|line| is_row(line, key))).collect();
    let (mut text, mut lines) = (String::new(), Vec::new());
    if left.is_empty() {
        return Ok(Enabled { text: source.to_owned(), lines });
    }
    for line in source.split_inclusive('\n') {
        let comment = line.trim_start().strip_prefix('#').map(str::trim_start);
        let place = comment.and_then(|rest| left.iter().position(|(key, _)| is_row(rest, key)));
        if let Some(place) = place {
            let (key, needs) = left.remove(place);
            let row = row(key, needs);
            text.push_str(&format!("{row}\n"));
            lines.push(format!("+ {row}"));
        } else if is_row(line, OF_CONSOLE) && line.contains("upstream = true") {
            lines.push(format!("- {}", line.trim()));
        } else {
            text.push_str(line);
        }
    }
    if !left.is_empty() {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut further = vec!["[blueprints.console_gate_pages.routes]".to_owned()];
        further.extend(left.into_iter().map(|(key, needs)| row(key, needs)));
        text.push_str(&format!(
            "\n# The pages of the gate and their API (docs/pages.md).\n{}\n",
            further.join("\n")
        ));
        lines.extend(further.iter().map(|line| format!("+ {line}")));
    }
    // Without its count, a sound file counts its rows anew; with a mistake, the parser says which.
    let uncounted: String = text.split_inclusive('\n').filter(|line| !line.starts_with("rows = ")).collect();
    Mapping::parse(name, &uncounted).context("the rows of the pages do not go with the others")?;
    if let Some(counted) = counted(&text).filter(|_| uncounted != text) {
        text = counted.text;
        lines.push(format!("+ rows = {}", counted.rows));
    }
    Ok(Enabled { text, lines })
}

#[cfg(test)]
mod tests {
    use policy::method::Method;

    use super::*;

    const SHIPPED: &str = include_str!("../../routes.toml");

    #[test]
    fn the_shipped_mapping_has_the_rows_in_place_of_its_comments() {
        let with = enabled("routes.toml", SHIPPED, READER, WRITER).unwrap();
        let (before, after) =
            (Mapping::parse("b", SHIPPED).unwrap(), Mapping::parse("a", &with.text).unwrap());
        assert_eq!(after.rows().len(), before.rows().len() + ROWS.len() - 1);
        assert!(with.text.contains(&format!("rows = {}", after.rows().len())));
        for (path, method, role) in [
            ("/console/rbac/groups", Method::Get, None),
            ("/api/rbac/grants", Method::Get, Some(READER)),
            ("/api/rbac/grants/x", Method::Delete, Some(WRITER)),
            ("/api/rbac/me", Method::Get, None),
        ] {
            let row = after.find(path, method).row().unwrap();
            assert!(row.gate, "{path}");
            let required = row.kind.requirements();
            assert_eq!(required.first().map(|one| &**one.name()), role, "{path}");
        }
        // Again, it changes nothing; each line of the difference is shown.
        let again = enabled("routes.toml", &with.text, READER, WRITER).unwrap();
        assert!(again.lines.is_empty() && again.text == with.text);
        assert_eq!(with.lines.iter().filter(|line| line.starts_with('-')).count(), 1, "{:#?}", with.lines);
        assert_eq!(with.lines.len(), ROWS.len() + 2);
    }

    #[test]
    fn another_mapping_gets_them_at_its_end() {
        let plain = "version = 1\n[blueprints.a.routes]\n\"GET /x\" = { public = true }\n\
                     \"GET /api/rbac/*\" = { role = \"mine\", gate = true }";
        let with = enabled("m", plain, "readers", "writers").unwrap();
        let after = Mapping::parse("m", &with.text).unwrap();
        assert_eq!(after.rows().len(), 1 + ROWS.len());
        // What is there stays as it is.
        let read = after.find("/api/rbac/groups", Method::Get).row().unwrap();
        assert_eq!(&**read.kind.requirements()[0].name(), "mine");
        assert!(enabled("m", "version = 1\nnonsense", READER, WRITER).is_err());
        assert!(enabled("m", plain, "a\"b", WRITER).is_err());
    }
}
