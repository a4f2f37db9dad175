//! A first test file, from what holds now.

use std::fmt::Write as _;

use policy::diagnostic::Diagnostics;
use policy::mapping::{Mapping, RowKind};

use super::caller::{Caller, Resolved};
use super::judge::{Answer, Body, Ground, Sent, Under};
use super::names::Names;
use super::requests::{Selected, Selector};
use super::{TestFile, World};

/// The text of a test file that holds for this mapping: for each blueprint, who reaches it under the legacy gates and under
/// V2. Where the rows of a blueprint differ, the first row of each kind represents the others.
///
/// # Errors
///
/// The written file would not be sound.
pub fn first_file(path: &str, registry: Option<&str>, world: &World<'_>) -> Result<String, Diagnostics> {
    let mut text = "# Tests of the mapping, as it was when `console-gate test --init` wrote them. Review each line: is that what you\n\
                    # want? Then add what must never happen, and see what no test would notice: `console-gate test --mutants`.\n\n\
                    version = 1\n"
        .to_owned();
    if let Some(registry) = registry {
        let _ = writeln!(text, "registry = {}", quoted(registry));
    }
    let names = Names::new(world.mapping, world.catalog, &[]);
    let legacy = world.mapping.legacy_roles().into_iter().map(|role| format!("legacy:{role}"));
    let legacy: Vec<String> = ["anonymous".to_owned()].into_iter().chain(legacy).collect();
    let groups = world.catalog.groups.iter().filter(|group| !world.catalog.roles_of_group(group).is_empty());
    let groups: Vec<String> = groups.map(|group| format!("group:{group}")).collect();
    for (under, names_of, title) in [
        (Under::Legacy, legacy, "On the legacy gates."),
        (Under::V2, groups, "With V2 in force: members of one group."),
    ] {
        let callers: Vec<(String, Caller)> = names_of
            .into_iter()
            .filter_map(|name| {
                let short = name.split_once(':').map_or(name.as_str(), |(_, short)| short);
                let written = if names.caller(short).is_ok() { short.to_owned() } else { name.clone() };
                names.caller(&name).ok().map(|caller| (written, caller))
            })
            .collect();
        if !callers.is_empty() {
            table(&mut text, title, under, &callers, world);
        }
    }
    text.push_str(
        "\n# Statements about all possible callers (docs/mapping-tests.md), for example:\n\
         # [[only]]\n# \"POST /refunds\" = [\"group:finance\"]\n",
    );
    TestFile::read(path, &text, world)?;
    Ok(text)
}

/// A text in TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn table(text: &mut String, title: &str, under: Under, callers: &[(String, Caller)], world: &World<'_>) {
    let resolved: Vec<(&Caller, Resolved)> =
        callers.iter().map(|(_, caller)| (caller, Resolved::of(caller, world.catalog))).collect();
    let ground = Ground::of(world.mapping, world.catalog, world.control);
    let mut selector = Selector::new(world.mapping, world.policy);
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for blueprint in blueprints(world.mapping) {
        let whole = format!("blueprint:{blueprint}");
        let mut answers = |name: &str| {
            let requests = selector.select(name).ok().filter(|requests| !requests.is_empty())?;
            let all = resolved
                .iter()
                .map(|(caller, resolved)| uniform(&ground, &requests, (caller, resolved), under));
            all.map(|answer| answer.map(|answer| quoted(answer.word()))).collect::<Option<Vec<String>>>()
        };
        if let Some(answers) = answers(&whole) {
            lines.push((whole, answers));
            continue;
        }
        let mut seen = Vec::new();
        for row in world.mapping.rows().iter().filter(|row| *row.blueprint == *blueprint) {
            if let Some(answers) = answers(&row.route).filter(|answers| !seen.contains(answers)) {
                seen.push(answers.clone());
                lines.push((row.route.to_string(), answers));
            }
        }
    }
    let heads: Vec<String> = callers.iter().map(|(name, _)| quoted(name)).collect();
    lines.insert(0, ("as".to_owned(), heads));
    let widths: Vec<usize> = (0..callers.len())
        .map(|at| lines.iter().map(|(_, cells)| cells[at].len()).max().unwrap_or(0))
        .collect();
    let key = |name: &str| if name == "as" { name.to_owned() } else { quoted(name) };
    let longest = lines.iter().map(|(name, _)| key(name).len()).max().unwrap_or(0);
    let _ = writeln!(text, "\n# {title}\n[[case]]\nunder = \"{}\"", under.word());
    for (name, cells) in &lines {
        let last = cells.len() - 1;
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (cell, width))| {
                if at == last {
                    cell.clone()
                } else {
                    format!("{:width$}", format!("{cell},"), width = width + 1)
                }
            })
            .collect();
        let _ = writeln!(text, "{:longest$} = [{}]", key(name), cells.join(" "));
    }
}

/// The answer that every request gets with every body; `None` if they differ.
fn uniform(
    ground: &Ground<'_>,
    requests: &Selected,
    (caller, resolved): (&Caller, &Resolved),
    under: Under,
) -> Option<Answer> {
    let mut answer = None;
    for asked in requests.iter() {
        let row = asked.row.and_then(|index| ground.mapping.rows().get(index));
        let sent = Sent { caller, resolved, body: &Body::Every, under };
        for decided in ground.answers(asked, row, sent) {
            if *answer.get_or_insert(decided.answer) != decided.answer {
                return None;
            }
        }
    }
    answer
}

/// The blueprints with a row that asks for a role, in the order of the file.
fn blueprints(mapping: &Mapping) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for row in mapping.rows() {
        if matches!(row.kind, RowKind::Gated { .. }) && !all.contains(&&*row.blueprint) {
            all.push(&row.blueprint);
        }
    }
    all
}
