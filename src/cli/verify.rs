//! `console-gate verify --gate URL`

mod ask;
mod people;
mod report;
mod through;

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::Utc;
use clap::Args;
use policy::decision::Control;
use policy::ids::{Epoch, MappingSha256};
use store::SharedStore;
use workbench::verify::plan;

use super::help::Examples;
use super::{Common, Ended, TextOrJson, kept, with_store};
use crate::outbound::Url;
use ask::Asker;
use people::People;
use report::{CaseResult, Report};
use through::{Cookie, Sender, Through};

pub(super) const EXAMPLES: Examples = &[(
    "verify",
    &[
        "console-gate --config gate.toml verify --gate http://127.0.0.1:8080",
        "console-gate --config gate.toml verify --gate http://127.0.0.1:8080 --cluster S3 --report verified.json",
    ],
)];

/// Test every route of a running gate
///
/// Expects for each route 302 without a session, the view with the role, and 403 with its audit row without the role.
/// Tests rows that read the body with each kind of body, an unreadable one included. Without `--cluster`, it also tests
/// paths and methods that no row covers.
///
/// Sends probes: requests that the gate decides but does not forward. Each probe states whom it is from and what that
/// person holds, so nobody is created in the database. It needs a probe key (CONSOLE_GATE_PROBE_KEYS), and reads the gate's
/// database. Exits 1 if an answer was not the expected one.
///
/// With `--through`, it also sends real requests to Console, and fails if Console answers 401, 403 or a redirect to
/// its login page to what the gate allows: then its own decorators still decide.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The gate's address for callers, `http://127.0.0.1:8080` or `unix:/run/console-gate/proxy.sock`
    #[arg(long, value_name = "URL")]
    gate: String,
    /// The Host header to send, if the gate's settings restrict it
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Also send real requests through this address of the gate to Console: GET and HEAD on rows that ask for a role, as
    /// the people whose cookies are given, where the gate allows it. Views run
    #[arg(long, value_name = "URL", requires = "cookies")]
    through: Option<String>,
    /// The session cookie of a person for `--through`, as the browser sends it; may be repeated
    #[arg(
        long = "cookie",
        id = "cookies",
        value_name = "NAME=VALUE",
        env = "CONSOLE_GATE_COOKIE",
        hide_env_values = true
    )]
    cookies: Vec<Cookie>,
    /// Only this cluster; may be repeated
    #[arg(long = "cluster", value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// Write the full report to this file as JSON, for example to attach to a promotion
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

pub(super) fn run(command: &Verify, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let url = Url::parse(&command.gate)?;
    let sender = match &command.through {
        Some(through) => Some(Sender::new(Url::parse(through)?, command.host.clone())?),
        None => None,
    };
    let report = with_store(&settings, async |store| {
        let asker = Asker::new(url, command.host.clone(), &settings)?;
        let running = asker.running().await?;
        let mapping = kept::mapping(&store, &MappingSha256::new(running.mapping_sha256.as_str()))
            .await
            .context("the gate uses a different database than this command")?;
        for cluster in &command.clusters {
            anyhow::ensure!(
                mapping.clusters().contains_key(cluster.as_str()),
                "there is no cluster `{cluster}`"
            );
        }
        let control = Control { epoch: Epoch(0), rbac_v2: running.rbac_v2, may_enforce: running.may_enforce };
        let wanted = |row: &policy::mapping::Row| {
            command.clusters.is_empty()
                || row.cluster.as_ref().is_some_and(|name| command.clusters.iter().any(|one| **one == **name))
        };
        let catalog = store.catalog().await?;
        let plan = plan(&mapping, &catalog, &control, wanted, command.clusters.is_empty());
        let began = Utc::now();
        let asked = asker.ask_all(&plan, &People::of(&plan)).await?;
        let mut through = match &sender {
            Some(sender) => Some(asker.ask_through(&plan, sender, &command.cookies, &settings).await?),
            None => None,
        };
        let outcomes = with_audit_rows(&store, asked, through.as_mut(), began).await?;
        anyhow::ensure!(
            asker.running().await?.mapping_sha256 == running.mapping_sha256,
            "the gate activated another mapping during the test: run it again"
        );
        Ok(Report::new(&command.gate, &running, &plan, outcomes, through, began))
    })?;
    let json = serde_json::to_string_pretty(&report)?;
    if let Some(file) = &command.report {
        std::fs::write(file, &json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    match command.format {
        TextOrJson::Text => report.print(),
        TextOrJson::Json => println!("{json}"),
    }
    Ok(if report.is_clean() { Ended::Clean } else { Ended::Findings })
}

/// Adds to each answer how many audit rows name its request. Rows in the gate's spool are not in the database yet.
async fn with_audit_rows(
    store: &SharedStore,
    mut outcomes: Vec<CaseResult>,
    through: Option<&mut Through>,
    began: chrono::DateTime<Utc>,
) -> anyhow::Result<Vec<CaseResult>> {
    let (sender, mut rows) = tokio::sync::mpsc::channel(64);
    let until = Utc::now() + chrono::TimeDelta::seconds(60);
    let counting = async {
        let mut counts = std::collections::HashMap::<String, usize>::new();
        while let Some(row) = rows.recv().await {
            let row: store::audit::StoredEvent = row;
            if row.event_type == "access_denied" {
                *counts.entry(row.request_id.unwrap_or_default()).or_default() += 1;
            }
        }
        counts
    };
    let since = began - chrono::TimeDelta::seconds(60);
    let (sent, counts) = futures::future::join(store.send_by_time(since, until, sender), counting).await;
    sent.context("the audit rows cannot be read")?;
    for outcome in &mut outcomes {
        outcome.audit_rows = counts.get(&outcome.request_id).copied().unwrap_or_default();
    }
    for passage in through.into_iter().flat_map(|through| &mut through.passages) {
        passage.audit_rows = counts.get(&passage.request_id).copied().unwrap_or_default();
    }
    Ok(outcomes)
}
