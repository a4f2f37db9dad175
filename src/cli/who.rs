//! `console-gate who METHOD PATH [--at TIME | --from TIME --to TIME] [--did]`

use std::io::Write as _;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use workbench::report::style::{Style, columns};
use workbench::report::text::{harmless, wrapped};
use workbench::who::text::{in_seconds, notes, text, through};
use workbench::who::{Interval, Period};

use super::help::Examples;
use super::serve::flag_at_start;
use super::time::time;
use super::{Common, Ended, read_mapping, with_store};
use crate::facts::who::{Answer, Asked, Did, Use, could, did};
use crate::freshness::Posture;
use crate::settings::Environment;
use crate::sheet::{cell, line};

pub(super) const EXAMPLES: Examples = &[(
    "who",
    &[
        "console-gate --config gate.toml who GET /secrets",
        "console-gate --config gate.toml who GET /secrets --at 2026-11-17T06:00:00Z",
        "console-gate --config gate.toml who GET /secrets --from 2026-11-01 --to 2026-12-01 --did --format csv",
    ],
)];

/// Show who could make a request, at a time or in a period
///
/// Lists every admin and machine token that the row of the request would let in, through what, and from when until when.
/// Without a time, that is now. The past is worked out from what was recorded: activations of mappings, flips of switches,
/// changes of memberships and roles, and the times of grants, sessions, tickets and tokens. What was not recorded is
/// named as an assumption.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// The request's method
    method: String,
    /// The request's path, as a browser would send it
    path: String,
    /// Answer for this moment: `2026-11-17` or `2026-11-17T06:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["from", "to"])]
    at: Option<DateTime<Utc>>,
    /// Answer for the period from this time on
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<DateTime<Utc>>,
    /// End of the period (exclusive); without it, now
    #[arg(long, value_name = "TIME", value_parser = time, requires = "from")]
    to: Option<DateTime<Utc>>,
    /// List also who did, from the decision log and the audit, and what these lack
    #[arg(long)]
    did: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For a person
    Text,
    /// For a program
    Json,
    /// For a spreadsheet; the assumptions are printed on standard error
    Csv,
}

pub(super) fn run(command: &Who, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let now = Utc::now();
    let period = command.period(now)?;
    let posture = Posture {
        flag_at_start: flag_at_start("FLAG_RBAC_V2")?,
        production: settings.environment == Environment::Production,
    };
    let policy = crate::server::policy(&settings);
    let mapping = common.mapping.as_deref().map(read_mapping).transpose()?;
    let answer = with_store(&settings, async |store| {
        let asked = Asked {
            method: &command.method,
            path: &command.path,
            period,
            now,
            policy: &policy,
            posture,
            production_words: &settings.environments.production,
            mapping: mapping.as_ref(),
        };
        Ok(match command.did {
            true => did(&store, &asked, &settings.decisions).await?,
            false => could(&store, &asked).await?,
        })
    })?;
    let mut out = std::io::stdout().lock();
    match command.format {
        Format::Text => out.write_all(in_text(&answer).as_bytes())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?,
        Format::Csv => {
            out.write_all(&in_csv(&answer)?)?;
            let did = answer.did.iter().flat_map(|did| &did.gaps);
            for note in answer.assumptions.iter().chain(did) {
                eprintln!("console-gate: {}", harmless(note));
            }
        }
    }
    Ok(Ended::Clean)
}

impl Who {
    fn period(&self, now: DateTime<Utc>) -> anyhow::Result<Period> {
        let period = match (self.at, self.from) {
            (Some(at), _) => Period { from: at, until: None },
            (None, Some(from)) => Period { from, until: Some(self.to.unwrap_or(now)) },
            (None, None) => Period { from: now, until: None },
        };
        let last = period.until.unwrap_or(period.from);
        anyhow::ensure!(
            last <= now,
            "{} is in the future: nobody knows who will hold what then",
            in_seconds(last)
        );
        anyhow::ensure!(
            period.until.is_none_or(|until| until > period.from),
            "--to must be later than --from"
        );
        Ok(period)
    }
}

fn in_text(answer: &Answer) -> String {
    let style = Style::of(&std::io::stdout());
    let mut page = text(&answer.who, style);
    if let Some(did) = &answer.did {
        page.push_str(&did_in_text(did, style));
    }
    if !answer.assumptions.is_empty() {
        page.push_str(&notes("Assumptions", &answer.assumptions, style));
    }
    page
}

fn did_in_text(did: &Did, style: Style) -> String {
    let [from, until] = [did.from, did.until].map(in_seconds);
    let heading = format!("Who did, from {from} until {until}, by the hour");
    let mut page = format!("\n{}\n", style.bold(&heading));
    let mut line = |indent: usize, text: &str| {
        page.push_str(&wrapped(&harmless(text), columns(), indent, indent + 2));
        page.push('\n');
    };
    for one in &did.uses {
        line(2, &used(one));
    }
    match (did.uses.is_empty(), did.gaps.is_empty()) {
        (true, true) => line(2, "nobody: the log of these hours is complete and has no request of the row"),
        (true, false) => line(2, "nothing is recorded, which proves nothing:"),
        _ => {}
    }
    for gap in &did.gaps {
        line(4, gap);
    }
    page
}

fn used(one: &Use) -> String {
    let whom = match one.actor_id.is_empty() {
        true => format!("{} (not known by name)", one.actor_kind),
        false => format!("{} {}", one.actor_kind, one.actor_id),
    };
    let mut counts = vec![format!("{} let in, {} on this path", one.allowed, one.allowed_on_path)];
    if one.break_glass > 0 {
        counts.push(format!("{} by break-glass", one.break_glass));
    }
    if one.denied > 0 {
        counts.push(format!("{} denied", one.denied));
    }
    let unexpected = match one.unexpected {
        Some(true) => "; nothing recorded shows how",
        _ => "",
    };
    let [first, last] = [one.first_seen, one.last_seen].map(in_seconds);
    format!("{whom}: {}, from {first} until {last}{unexpected}", counts.join(", "))
}

/// The first row names the columns.
const COLUMNS: [&str; 12] = [
    "record",
    "kind",
    "id",
    "name",
    "from",
    "until",
    "through",
    "note",
    "allowed",
    "allowed_on_path",
    "denied",
    "break_glass",
];

fn in_csv(answer: &Answer) -> anyhow::Result<Vec<u8>> {
    let mut table = line(&COLUMNS.map(str::to_owned))?;
    let mut row = |values: Value| {
        let cells: Vec<String> = COLUMNS.iter().map(|column| cell(&values[*column])).collect();
        line(&cells).map(|line| table.extend(line))
    };
    let who = &answer.who;
    for (kind, intervals) in [("anybody", &who.anybody), ("machine_of_console", &who.machines_of_console)] {
        for Interval { from, until } in intervals {
            row(json!({ "record": "could", "kind": kind, "from": from, "until": until }))?;
        }
    }
    for person in &who.people {
        for could in &person.times {
            let ways: Vec<String> = could.through.iter().map(through).collect();
            let note = match (&person.unless, could.with_some_bodies) {
                (Some(unless), _) => serde_json::to_value(unless)?,
                (None, true) => json!("with_some_bodies"),
                (None, false) => Value::Null,
            };
            row(json!({
                "record": "could", "kind": person.kind, "id": person.id, "name": person.name, "from": could.at.from,
                "until": could.at.until, "through": ways.join("; "), "note": note,
            }))?;
        }
    }
    for one in answer.did.iter().flat_map(|did| &did.uses) {
        row(json!({
            "record": "did", "kind": one.actor_kind, "id": one.actor_id, "from": one.first_seen,
            "until": one.last_seen, "note": one.unexpected.filter(|is| *is).map(|_| "unexpected"),
            "allowed": one.allowed, "allowed_on_path": one.allowed_on_path, "denied": one.denied,
            "break_glass": one.break_glass,
        }))?;
    }
    Ok(table)
}
