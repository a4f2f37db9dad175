//! `console-gate history`

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use clap::Args;
use grants::registry::Registry;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use serde_json::json;
use store::SharedStore;
use store::mappings::StoredActivation;
use workbench::impact::text::View;
use workbench::report::style::columns;
use workbench::report::text::{harmless, wrapped};

use super::help::Examples;
use super::{Common, Ended, TextOrJson, diff, kept, people, with_store};
use crate::facts::compared;

pub(super) const EXAMPLES: Examples = &[(
    "history",
    &["console-gate --config gate.toml history", "console-gate --config gate.toml history --show 3f9a1c"],
)];

/// List activated and refused mappings
///
/// Lists the latest first, with what each changed and who activated it. Above the list is the rollback in force, if
/// any, and the gates that follow it. What a mapping changed is computed with today's admins and grants.
#[derive(Debug, Args)]
pub(super) struct History {
    /// The maximum number of entries
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Show one change in full: give the beginning of the SHA-256 of the mapping that it activated
    #[arg(long, value_name = "SHA")]
    show: Option<String>,
    /// List instead who was granted what and what was revoked, and what others wrote to these tables
    #[arg(long, conflicts_with = "show")]
    people: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text", conflicts_with = "show")]
    format: TextOrJson,
}

pub(super) fn run(command: &History, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    with_store(&settings, async |store| {
        if command.people {
            let grants = store.grants_audit(None, None, command.limit).await?;
            let writes = store.rbac_writes(None, command.limit).await?;
            match command.format {
                TextOrJson::Text => people::print_history(&grants, &writes),
                TextOrJson::Json => {
                    let shown = json!({ "grants": grants, "writes_around_the_gate": writes });
                    println!("{}", serde_json::to_string_pretty(&shown)?);
                }
            }
            return Ok(Ended::Clean);
        }
        let registry = Registry::read(&store, chrono::Utc::now()).await?;
        match &command.show {
            Some(beginning) => show(&store, &registry, beginning).await?,
            None if command.format == TextOrJson::Json => json(&store, &registry, command.limit).await?,
            None => list(&store, &registry, command.limit).await?,
        }
        Ok(Ended::Clean)
    })
}

async fn list(store: &SharedStore, registry: &Registry, limit: u32) -> anyhow::Result<()> {
    if let Some(notice) = rollback(store).await? {
        println!("{}\n", wrapped(&notice, columns(), 0, 4));
    }
    for activation in store.activations(limit).await? {
        println!(
            "{}  {:9}  {}  {} on {}",
            activation.activated_at_utc.format("%Y-%m-%d %H:%M:%SZ"),
            activation.outcome,
            short(&activation.sha256),
            activation.activated_by,
            activation.instance,
        );
        for line in activation.diagnostics.iter().flat_map(|text| text.lines()) {
            println!("    {line}");
        }
        for line in step(store, registry, &activation).await {
            println!("{}", wrapped(&line, columns(), 4, 6));
        }
    }
    Ok(())
}

/// The same as JSON: `changes` lists what each activation changed, as text for a person.
async fn json(store: &SharedStore, registry: &Registry, limit: u32) -> anyhow::Result<()> {
    let mut activations = Vec::new();
    for activation in store.activations(limit).await? {
        let mut shown = json!(activation);
        shown["changes"] = json!(step(store, registry, &activation).await);
        activations.push(shown);
    }
    let shown = json!({ "rollback": rollback(store).await?, "activations": activations });
    println!("{}", serde_json::to_string_pretty(&shown)?);
    Ok(())
}

/// The latest rollback, unless it was released since, and the gates where it is in force.
async fn rollback(store: &SharedStore) -> anyhow::Result<Option<String>> {
    let pin = store.pin().await?;
    let Some(sha256) = &pin.sha256 else { return Ok(None) };
    let gates = store.running_gates().await?;
    let held = gates.iter().filter(|gate| gate.runs.pin == pin.id && gate.runs.is_held);
    let held: Vec<&str> = held.map(|gate| gate.name.as_str()).collect();
    let place = match (held.as_slice(), gates.len()) {
        (_, 0) => "no gate is running".to_owned(),
        ([], _) => "every gate's file is newer and in force".to_owned(),
        (held, all) => format!("in force at {} of {all} gate(s), {}", held.len(), held.join(", ")),
    };
    let at = pin.at.format("%Y-%m-%d %H:%M:%SZ");
    Ok(Some(format!("rolled back to {} by {} on {at}: {place}", sha256.short(), pin.by)))
}

/// The changes by an activation: who gains and loses in one line, then each decision that it added. Empty if it
/// replaced nothing, or the same mapping.
async fn step(store: &SharedStore, registry: &Registry, activation: &StoredActivation) -> Vec<String> {
    let previous = activation.previous_sha256.as_ref().filter(|sha256| **sha256 != activation.sha256);
    let Some(previous) = previous.filter(|_| activation.outcome == "activated") else { return Vec::new() };
    let from = format!("from {}", short(previous));
    let old = kept::mapping(store, &MappingSha256::new(previous.as_str())).await;
    let new = kept::mapping(store, &MappingSha256::new(activation.sha256.as_str())).await;
    match (old, new) {
        (Ok(old), Ok(new)) => {
            let line = compared(&old, &new, registry, |impact| format!("{from}: {}", impact.in_one_line()));
            std::iter::once(line).chain(decisions(&old, &new)).collect()
        }
        (Err(error), _) | (_, Err(error)) => vec![format!("{from}: cannot be compared: {error:#}")],
    }
}

/// The decisions of a mapping that the previous one does not have.
fn decisions(old: &Mapping, new: &Mapping) -> Vec<String> {
    let decisions_of = |mapping: &Mapping| -> BTreeSet<String> {
        let decided = mapping.rows().iter().filter_map(|row| Some((&row.route, row.decided.as_ref()?)));
        decided.map(|(route, decided)| format!("decided `{route}`: {decided}")).collect()
    };
    decisions_of(new).difference(&decisions_of(old)).map(|decision| harmless(decision)).collect()
}

async fn show(store: &SharedStore, registry: &Registry, beginning: &str) -> anyhow::Result<()> {
    let sha256 = kept::beginning(store, beginning).await?;
    let step = store.latest_step_to(&sha256).await?;
    let Some(previous) = step.and_then(|activation| activation.previous_sha256) else {
        println!("{} did not replace a mapping", sha256.short());
        return Ok(());
    };
    let old = kept::mapping(store, &MappingSha256::new(previous)).await?;
    let new = kept::mapping(store, &sha256).await?;
    let mut out = io::stdout().lock();
    compared(&old, &new, registry, |impact| {
        diff::write_text(&mut out, impact, sha256.short(), View::default())
    })?;
    Ok(out.flush()?)
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shows_the_decisions_that_it_brought() {
        let with = |rest: &str| {
            let text = format!(
                "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.b]\ncluster = \"V\"\n[blueprints.b.routes]\n\
                 \"GET /x\" = {{ legacy = [\"ops\"], options = {{ A = \"r0\" }}, {rest} }}\n"
            );
            Mapping::parse("t", &text).unwrap()
        };
        let open = with("undecided = \"Q-1\"");
        let by_ann = with("role = \"r0\", decided = { option = \"A\", by = \"ann\", ref = \"#7\" }");
        let by_ben = with(
            "role = \"r1\", decided = { option = \"custom\", by = \"ben\", ref = \"#8\", reason = \"no fit\" }",
        );
        assert_eq!(decisions(&open, &by_ann), ["decided `GET /x`: option A by ann (#7)"]);
        let custom = decisions(&by_ann, &by_ben);
        assert!(custom.len() == 1 && custom[0].starts_with("decided `GET /x`: custom by ben"), "{custom:?}");
        assert!(custom[0].contains("#8") && custom[0].contains("no fit"), "{custom:?}");
        assert_eq!(decisions(&by_ben, &open), [""; 0]);
        assert_eq!(decisions(&by_ann, &by_ann), [""; 0]);
    }
}
