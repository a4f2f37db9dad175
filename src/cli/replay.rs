//! `console-gate replay --since T`

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use grants::registry::Registry;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use policy::rbac::census::CallerKind;
use store::SharedStore;
use workbench::replay::{self, Because, Changed, Recorded, replay};

use super::help::Examples;
use super::time::past;
use super::{Common, Ended, TextOrJson, kept, read_mapping, with_store};

pub(super) const EXAMPLES: Examples =
    &[("replay", &["console-gate --config gate.toml --mapping new.toml replay --since 2026-11-01"])];

/// Decide recorded requests again with a candidate mapping
///
/// The candidate is `--mapping FILE`. Uses the decision log of the gates on this database, with V2 in force and today's
/// grants. Bodies, and callers of unmapped paths, are not recorded: results that depend on them are reported as
/// possible. Exits 1 if the mapping changes, or may change, the result of a request.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Start of the period: `2026-11-01`, `2026-11-01T06:00:00Z`, or how long ago: `7d`
    #[arg(long, value_parser = past)]
    since: DateTime<Utc>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

pub(super) fn run(command: &Replay, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let candidate = read_mapping(&settings.mapping.file)?;
    with_store(&settings, async |store| {
        let registry = Registry::read(&store, chrono::Utc::now()).await?;
        let recorded = recorded(&store, command.since).await?;
        let replay = replay(&recorded, &candidate, &registry.catalog, &registry.people);
        match command.format {
            TextOrJson::Text => print_text(&replay, command.since),
            TextOrJson::Json => println!("{}", serde_json::to_string_pretty(&replay)?),
        }
        let by_mapping = replay.changed.iter().any(|one| one.because == Because::Mapping);
        Ok(if by_mapping { Ended::Findings } else { Ended::Clean })
    })
}

/// The recorded decisions, each with the mapping that decided it.
async fn recorded(store: &SharedStore, since: DateTime<Utc>) -> anyhow::Result<Vec<Recorded>> {
    let mut mappings: HashMap<String, Option<Arc<Mapping>>> = HashMap::new();
    let mut recorded = Vec::new();
    for decision in store.decisions(since).await? {
        let mapping = match mappings.get(&decision.mapping_sha256) {
            Some(known) => known.clone(),
            None => {
                let sha256 = MappingSha256::new(decision.mapping_sha256.as_str());
                // A mapping whose text is not stored, or that this gate can no longer read, cannot be asked.
                let mapping = kept::mapping(store, &sha256).await.ok().map(Arc::new);
                mappings.insert(decision.mapping_sha256, mapping.clone());
                mapping
            }
        };
        recorded.push(Recorded {
            method: decision.method,
            path: decision.path,
            caller: match decision.actor_kind.as_str() {
                "admin" => Some((CallerKind::Admin, decision.actor_id)),
                "machine" => Some((CallerKind::Machine, decision.actor_id)),
                _ => None,
            },
            gate: decision.gate,
            answer: decision.answer,
            count: decision.count.unsigned_abs(),
            mapping,
        });
    }
    Ok(recorded)
}

fn print_text(replay: &replay::Replay, since: DateTime<Utc>) {
    println!(
        "{} request(s) by {} caller(s) since {}",
        replay.requests,
        replay.callers,
        since.format("%Y-%m-%d %H:%M:%SZ"),
    );
    println!("{} newly allowed, {} newly denied", replay.newly(true), replay.newly(false));
    if replay.uncertain > 0 {
        println!("{} may change: depends on data that is not recorded", replay.uncertain);
    }
    if replay.without_a_path > 0 {
        println!("{} of them without a path, which cannot be replayed", replay.without_a_path);
    }
    replay.changed.iter().for_each(print_changed);
}

fn print_changed(one: &Changed) {
    println!("\n{} {}", one.method, one.path);
    println!("    row {}", one.route.as_deref().unwrap_or("none"));
    let may = if one.certain { "" } else { "may be " };
    println!("    {}: {} -> {may}{}, {} time(s)", one.caller, one.before, one.after, one.count);
    for body in &one.bodies {
        println!("    with {body}");
    }
    if one.depends_on_caller {
        println!("    depends on the caller: the path had no row, so the caller was not recorded");
    }
    if one.because == Because::Grants {
        println!("    because grants or flags have changed since, not because of the mapping");
    }
}
