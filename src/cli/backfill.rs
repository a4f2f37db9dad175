//! `console-gate backfill --map ROLE=GROUP,... [--plan FILE]`, `backfill --apply FILE`

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::Utc;
use clap::Args;
use grants::backfill::{Applied, Backfill as Plan};
use grants::registry::{LegacyAsArgument, legacy_as};
use grants::{AdminTable, By, State, Terms, plan};
use ledger::event::Way;
use serde_json::json;

use super::help::Examples;
use super::people::{self as shared, Judged};
use super::{Common, Ended, TextOrJson, announce, checkpoint, diff, operator, with_notary, with_store};
use workbench::impact::text::View;

pub(super) const EXAMPLES: Examples = &[(
    "backfill",
    &[
        "console-gate --config gate.toml backfill --map ops=raxx-support-team --plan backfill.json",
        "console-gate --config gate.toml backfill --apply backfill.json --reason 'cutover of S3'",
    ],
)];

/// Put the holders of legacy roles into groups
///
/// With `--map`, works out the memberships and shows which routes they open and close for whom: now, and with every
/// cluster on V2. `--plan FILE` writes them to a file to be reviewed, and `--apply FILE` adds exactly these, or nothing if
/// admins, legacy roles, memberships or roles have changed since.
#[derive(Debug, Args)]
pub(super) struct Backfill {
    /// The groups of the admins with a legacy role: `superadmin=raxx-platform-admins,...`; a role may be repeated
    #[arg(long, value_name = "ROLE=GROUP", value_delimiter = ',', required_unless_present = "apply")]
    map: Vec<LegacyAsArgument>,
    /// Write the plan to this file; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    plan: Option<PathBuf>,
    /// Apply this plan
    #[arg(long, value_name = "FILE", conflicts_with = "map")]
    apply: Option<PathBuf>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

impl Backfill {
    pub(super) fn only_reads(&self) -> bool {
        self.apply.is_none() && self.plan.is_none()
    }
}

pub(super) fn run(command: &Backfill, common: &Common) -> anyhow::Result<Ended> {
    match &command.apply {
        Some(file) => apply(command, file, common),
        None => compute(command, common),
    }
}

fn compute(command: &Backfill, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    with_store(&settings, async |store| {
        let state = State::read(&store, &[], Utc::now()).await?;
        let mapping = shared::mapping(&store, &settings, common).await;
        let mappings: Vec<_> = mapping.iter().map(|judged| &judged.mapping).collect();
        let map = legacy_as(&command.map, &state.registry, &mappings)?;
        let plan = Plan::of(&state, &map);
        let text = serde_json::to_string_pretty(&plan)? + "\n";
        if command.plan.as_ref().is_some_and(|file| file.as_os_str() == "-") {
            announce(text.trim_end());
            return Ok(Ended::Clean);
        }
        if let Some(file) = &command.plan {
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        match command.format {
            TextOrJson::Json => {
                announce(serde_json::to_string_pretty(&as_json(&state, &plan, mapping.as_ref())?)?);
            }
            TextOrJson::Text => {
                print_text(&state, &plan, mapping.as_ref())?;
                match &command.plan {
                    Some(file) => announce(format_args!(
                        "\nThe plan is in {0}: review it, then `console-gate backfill --apply {0}`.",
                        file.display()
                    )),
                    None => announce("\nNothing was changed: `--plan FILE` writes a plan to be applied."),
                }
            }
        }
        Ok(Ended::Clean)
    })
}

/// Prints the memberships and their impact on access.
fn print_text(state: &State, plan: &Plan, mapping: Result<&Judged, &String>) -> anyhow::Result<()> {
    announce(format_args!("{} membership(s) to add", plan.add.len()));
    for one in &plan.add {
        let because: Vec<&str> = one.because.iter().map(String::as_str).collect();
        announce(format_args!("  {} to {}, for legacy role {}", one.admin, one.group, because.join(", ")));
    }
    if !plan.without_group.is_empty() {
        let admins: Vec<&str> = plan.without_group.iter().map(String::as_str).collect();
        announce(format_args!("In no group by this map: {}", admins.join(", ")));
    }
    let judged = match mapping {
        Ok(judged) => judged,
        Err(problem) => {
            announce(format_args!("Which routes this opens and closes is not known: {problem}"));
            return Ok(());
        }
    };
    let changed = changed(state, plan)?;
    let mut text = Vec::new();
    grants::impact_of(&judged.mapping, state, &changed, |impact| {
        diff::write_text(&mut text, impact, &judged.name, View::default())
    })?;
    announce(format_args!("\nAs soon as it is applied:\n{}", String::from_utf8_lossy(&text).trim_end()));
    let mut text = Vec::new();
    grants::impact_of_v2(&judged.mapping, &changed.after, |impact| {
        diff::write_text(&mut text, impact, &judged.name, View::default())
    })?;
    announce(format_args!(
        "\nWhen every cluster is on V2 afterwards, compared with now:\n{}",
        String::from_utf8_lossy(&text).trim_end()
    ));
    Ok(())
}

fn as_json(
    state: &State,
    plan: &Plan,
    mapping: Result<&Judged, &String>,
) -> anyhow::Result<serde_json::Value> {
    let judged = mapping.ok();
    let changed = changed(state, plan)?;
    let now = judged.and_then(|judged| {
        grants::impact_of(&judged.mapping, state, &changed, |impact| {
            serde_json::to_value(impact.report()).ok()
        })
    });
    let on_v2 = judged.and_then(|judged| {
        grants::impact_of_v2(&judged.mapping, &changed.after, |impact| {
            serde_json::to_value(impact.report()).ok()
        })
    });
    Ok(json!({
        "plan": plan, "mapping": judged.map(|judged| &judged.name), "impact": now, "impact_on_v2": on_v2,
    }))
}

fn changed(state: &State, plan: &Plan) -> anyhow::Result<grants::Plan> {
    let terms = Terms { admins: AdminTable::Console, unknown_admins: false };
    Ok(plan::plan(state, &plan.changes(), terms)?)
}

fn apply(command: &Backfill, file: &std::path::Path, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let text = crate::text_file::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let plan = Plan::parse(&text).with_context(|| file.display().to_string())?;
    with_notary(&settings, async |store, notary| {
        let by =
            By { name: &operator(), reason: command.reason.as_deref(), way: Way::Command, now: Utc::now() };
        let applied = plan.apply(&store, &notary, by).await?;
        checkpoint::keep(&settings, &store, &notary).await;
        let added = match &applied {
            Applied::Now(made) => made.1.changes.len(),
            Applied::Before => 0,
        };
        match (command.format, &applied) {
            (TextOrJson::Json, _) => {
                announce(serde_json::to_string_pretty(&json!({ "added": added, "of": plan.add.len() }))?);
            }
            (TextOrJson::Text, Applied::Before) => {
                announce(format_args!("All {} membership(s) are there already.", plan.add.len()));
            }
            (TextOrJson::Text, Applied::Now(made)) => {
                let (state, changed) = &**made;
                announce(format_args!("{added} membership(s) added"));
                let mapping = shared::mapping(&store, &settings, common).await;
                shared::impact_in_words(state, changed, mapping.as_ref(), false)?;
            }
        }
        Ok(Ended::Clean)
    })
}
