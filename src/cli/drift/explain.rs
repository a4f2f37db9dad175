//! `console-gate drift --explain ID`

use serde::Serialize;
use store::soak::StoredRequest;
use workbench::drift::Disagreement;
use workbench::drift::explanation::{Explanation, Side, explain};
use workbench::report::style::columns;
use workbench::report::text::wrapped;

use super::{Present, list};
use crate::cli::TextOrJson;
use crate::cli::{Ended, kept, with_store};
use crate::facts::{self, GateRuns};
use crate::settings::Settings;

/// At most this many different requests are shown.
const MOST_REQUESTS: u32 = 20;

#[derive(Serialize)]
struct ExplainedDrift<'t> {
    #[serde(flatten)]
    drift: &'t Disagreement,
    #[serde(flatten)]
    explanation: Explanation,
    requests: Vec<StoredRequest>,
    #[serde(skip_serializing_if = "<[GateRuns]>::is_empty")]
    gates_differ: &'t [GateRuns],
}

pub(super) fn run(settings: &Settings, id: &str, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(settings, async |store| {
        let present = Present::read(&store).await?;
        let situation = present.situation();
        let report = facts::drift(&store, &situation).await?;
        let drift = report.named(id).map_err(anyhow::Error::msg)?;
        let explained = ExplainedDrift {
            drift,
            explanation: explain(&drift.key, &drift.reason, &situation),
            requests: store.requests_behind(&drift.key, MOST_REQUESTS).await?,
            gates_differ: &present.running.differing,
        };
        match format {
            TextOrJson::Json => println!("{}", serde_json::to_string_pretty(&explained)?),
            TextOrJson::Text => {
                kept::warn_where_gates_differ(&present.running);
                print_text(&explained);
            }
        }
        Ok(Ended::Clean)
    })
}

fn print_text(explained: &ExplainedDrift<'_>) {
    let ExplainedDrift { drift, explanation, requests, .. } = explained;
    let line = |name: &str, text: &str| println!("{}", wrapped_beside(name, text));
    line("id", &drift.id);
    line("row", &format!("`{}`", drift.key.route));
    line("cluster", &drift.cluster);
    line("who", &format!("{} {}", drift.key.actor_kind.word(), drift.key.actor_id));
    line("direction", drift.key.direction.word());
    line(
        "seen",
        &format!("{} time(s), {}", drift.count, list::times(drift.first_seen_at_utc, drift.last_seen_at_utc)),
    );
    if drift.reasons.len() > 1 {
        for one in &drift.reasons {
            line("reason", &format!("{} time(s) {}", one.count, one.reason));
        }
    }
    for (name, side) in [("legacy", &explanation.legacy), ("v2", &explanation.v2)] {
        if let Some(side) = side {
            line(name, &answer(side));
        }
    }
    for change in &explanation.changes {
        line("change", change);
    }
    if let Some(sign_off) = list::sign_off(drift) {
        line("sign-off", &sign_off);
    }
    for request in requests {
        let path = if request.path.is_empty() { "(path not recorded)" } else { &request.path };
        line(
            "request",
            &format!("{} time(s) `{} {path}`, {}", request.count, request.method, request.answer),
        );
    }
}

fn answer(side: &Side) -> String {
    let verb = if side.allows { "allows" } else { "denies" };
    let because = if side.because.is_empty() { String::new() } else { format!("; {}", side.because) };
    format!("{verb}: requires {}{because}", side.demand)
}

/// The text beside its label, both within the columns.
fn wrapped_beside(name: &str, text: &str) -> String {
    const BESIDE: usize = 11;
    let text = wrapped(text, columns(), BESIDE, BESIDE);
    format!("{name:<BESIDE$}{}", text.trim_start())
}
