//! `console-gate soak`

use chrono::Utc;
use clap::Args;
use serde::Serialize;
use workbench::report::style::columns;
use workbench::report::text::wrapped;
use workbench::soak::{ClusterState, Readiness, text};

use super::help::Examples;
use super::{Common, Ended, TextOrJson, kept, with_store};
use crate::facts::{self, GateRuns};

pub(super) const EXAMPLES: Examples = &[("soak", &["console-gate --config gate.toml soak --cluster S3"])];

/// Report whether a cluster in shadow is ready for V2
///
/// Shows days in shadow, hours without unexplained drift, and the requests and admins that both gates decided, compared
/// with the `[soak]` thresholds of the running mapping; whether evidence was lost; and whether Console refused what V2
/// allowed. Exits 1 if a cluster is not
/// ready or the gates run different mappings, so that CI can block a promotion.
#[derive(Debug, Args)]
pub(super) struct Soak {
    /// Only this cluster; may be repeated. Without it, every cluster in shadow must be ready
    #[arg(id = "clusters", long = "cluster", value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

pub(super) fn run(command: &Soak, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    with_store(&settings, async |store| {
        let running = facts::running(&store).await?;
        let mut states = facts::soak(&store, &running.mapping, Utc::now()).await?;
        let known: Vec<String> = states.iter().map(|state| state.cluster.clone()).collect();
        for cluster in &command.clusters {
            anyhow::ensure!(
                known.contains(cluster),
                "there is no cluster `{cluster}`; there are {}",
                known.join(", ")
            );
        }
        if !command.clusters.is_empty() {
            states.retain(|state| command.clusters.contains(&state.cluster));
        }
        match command.format {
            TextOrJson::Json => {
                let printed = |state| PrintedCluster { state, gates_differ: &running.differing };
                let printed: Vec<PrintedCluster<'_>> = states.iter().map(printed).collect();
                println!("{}", serde_json::to_string_pretty(&printed)?);
            }
            TextOrJson::Text => {
                kept::warn_where_gates_differ(&running);
                print_text(&states);
            }
        }
        let is_ready = states.iter().all(|state| match state.verdict {
            Readiness::Ready | Readiness::Enforced => true,
            Readiness::NotReady | Readiness::Refused => false,
            // It is not up for promotion, unless it was asked for.
            Readiness::Legacy => command.clusters.is_empty(),
        });
        // Evidence from some gates is not evidence about the others.
        Ok(if is_ready && running.differing.is_empty() { Ended::Clean } else { Ended::Findings })
    })
}

/// A cluster as it is printed as JSON.
#[derive(Serialize)]
struct PrintedCluster<'t> {
    #[serde(flatten)]
    state: &'t ClusterState,
    #[serde(skip_serializing_if = "<[GateRuns]>::is_empty")]
    gates_differ: &'t [GateRuns],
}

fn print_text(states: &[ClusterState]) {
    for (number, state) in states.iter().enumerate() {
        if number > 0 {
            println!();
        }
        for line in text::block(state).lines() {
            let indent = line.len() - line.trim_start().len();
            // Columns are kept; only lines that are too long for them are wrapped.
            if line.chars().count() <= columns() {
                println!("{line}");
            } else {
                println!("{}", wrapped(line, columns(), indent, indent + 4));
            }
        }
    }
}
