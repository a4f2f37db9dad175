//! `console-gate drift`

mod explain;
mod list;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use grants::registry::Registry;
use ledger::AuditEvent;
use policy::decision;
use store::SharedStore;
use workbench::drift::{Disagreement, Key, SignOff, Situation};
use workbench::report::style::columns;
use workbench::report::text::wrapped;

use super::help::Examples;
use super::{Common, Ended, TextOrJson, announce, kept, operator, with_notary, with_store};
use crate::facts::{self, Running};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[(
    "drift",
    &[
        "console-gate --config gate.toml drift --cluster S3",
        "console-gate --config gate.toml drift --explain d41d8cd98f00",
        "console-gate --config gate.toml drift --sign-off d41d8cd98f00 --reason 'wanted, see #1473'",
    ],
)];

/// List where the legacy gate and V2 disagreed in shadow mode
///
/// Shows who would newly be denied or allowed if the cluster switched to V2: where, why, how often, first and last
/// seen; latest first. Signed-off disagreements are hidden until the row or the caller's grants change. Recently lost
/// evidence is reported too. The list exits 1 if anything is on it, so that CI can block a promotion; `--explain` exits 0.
#[derive(Debug, Args)]
pub(super) struct Drift {
    /// Only this cluster
    #[arg(long)]
    cluster: Option<String>,
    /// Only this row, as written in the mapping: `GET /console/flags/`
    #[arg(long)]
    route: Option<String>,
    /// Only this admin or machine token
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only this direction
    #[arg(long, value_enum)]
    direction: Option<DirectionArgument>,
    /// Include signed-off disagreements
    #[arg(long)]
    all: bool,
    /// Explain one disagreement and show what would end it; the beginning of its id is enough
    #[arg(long, value_name = "ID", conflicts_with_all = ["sign_off", "withdraw"])]
    explain: Option<String>,
    /// Sign off one disagreement as intended
    #[arg(long, value_name = "ID", requires = "reason", conflicts_with = "withdraw")]
    sign_off: Option<String>,
    /// Why the disagreement is intended; this is recorded
    #[arg(long, requires = "sign_off", value_parser = reason)]
    reason: Option<String>,
    /// Withdraw a sign-off
    #[arg(long, value_name = "ID")]
    withdraw: Option<String>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionArgument {
    /// Callers who are allowed today and would be denied
    Deny,
    /// Callers who are denied today and would be allowed
    Allow,
}

impl From<DirectionArgument> for decision::Direction {
    fn from(direction: DirectionArgument) -> Self {
        match direction {
            DirectionArgument::Deny => decision::Direction::WouldNewlyDeny,
            DirectionArgument::Allow => decision::Direction::WouldNewlyAllow,
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("give a reason".into()) } else { Ok(text.to_owned()) }
}

pub(super) fn run(command: &Drift, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    match (&command.explain, &command.sign_off, &command.reason, &command.withdraw) {
        (Some(id), ..) => explain::run(&settings, id, command.format),
        (_, Some(id), Some(reason), _) => sign_off(&settings, id, reason),
        (.., Some(id)) => withdraw(&settings, id),
        _ => with_store(&settings, async |store| {
            let present = Present::read(&store).await?;
            let report = facts::drift(&store, &present.situation()).await?;
            let cluster = command.cluster.as_deref();
            let lost = facts::evidence_lost(&store, &present.running.mapping, present.now, cluster).await?;
            if command.format == TextOrJson::Text {
                kept::warn_where_gates_differ(&present.running);
            }
            let listing = list::Listing::new(report, lost, present.running.differing, command);
            list::print(&listing, command.format)
        }),
    }
}

/// The state that drift is compared with.
struct Present {
    now: DateTime<Utc>,
    running: Running,
    registry: Registry,
}

impl Present {
    async fn read(store: &SharedStore) -> anyhow::Result<Present> {
        let now = Utc::now();
        let running = facts::running(store).await?;
        Ok(Present { now, running, registry: Registry::read(store, now).await? })
    }

    fn situation(&self) -> Situation<'_> {
        Situation::new(&self.running.mapping, &self.registry.catalog, &self.registry.people)
    }
}

impl Drift {
    pub(super) fn only_reads(&self) -> bool {
        self.sign_off.is_none() && self.withdraw.is_none()
    }

    fn asks_for(&self, drift: &Disagreement) -> bool {
        self.asks_for_cluster(&drift.cluster, drift.key.direction)
            && self.route.as_ref().is_none_or(|route| *route == drift.key.route)
            && self.actor.as_ref().is_none_or(|actor| *actor == drift.key.actor_id)
    }

    fn asks_for_cluster(&self, cluster: &str, direction: decision::Direction) -> bool {
        self.cluster.as_ref().is_none_or(|wanted| wanted == cluster)
            && self.direction.is_none_or(|wanted| decision::Direction::from(wanted) == direction)
    }
}

fn sign_off(settings: &Settings, id: &str, reason: &str) -> anyhow::Result<Ended> {
    with_notary(settings, async |store, notary| {
        let present = Present::read(&store).await?;
        let situation = present.situation();
        let report = facts::drift(&store, &situation).await?;
        let drift = report.named(id).map_err(anyhow::Error::msg)?;
        let sign_off = SignOff {
            key: drift.key.clone(),
            reason: reason.to_owned(),
            signed_by: operator(),
            signed_at_utc: present.now,
            fingerprints: situation.fingerprints(&drift.key),
        };
        let event = AuditEvent::DriftSignedOff {
            disagreement: drift.id.clone(),
            route: drift.key.route.clone(),
            direction: drift.key.direction.word(),
            reason: reason.to_owned(),
            by: operator(),
        };
        store.sign_off(&sign_off, &notary.note(event.into_record(present.now))).await?;
        let Key { route, actor_kind, actor_id, .. } = &drift.key;
        let message = format!(
            "{} is signed off: {} {actor_id} on `{route}`. It ends when the row's requirement or the grants of \
             {actor_id} change.",
            drift.id,
            actor_kind.word()
        );
        announce(wrapped(&message, columns(), 0, 0));
        Ok(Ended::Clean)
    })
}

fn withdraw(settings: &Settings, id: &str) -> anyhow::Result<Ended> {
    with_notary(settings, async |store, notary| {
        let present = Present::read(&store).await?;
        let report = facts::drift(&store, &present.situation()).await?;
        let drift = report.named(id).map_err(anyhow::Error::msg)?;
        let event = AuditEvent::DriftSignOffWithdrawn {
            disagreement: drift.id.clone(),
            route: drift.key.route.clone(),
            direction: drift.key.direction.word(),
            by: operator(),
        };
        let note = notary.note(event.into_record(present.now));
        anyhow::ensure!(
            store.withdraw_sign_off(&drift.key, &note).await?,
            "`{}` is not signed off",
            drift.id
        );
        announce(format_args!("the sign-off of {} is withdrawn", drift.id));
        Ok(Ended::Clean)
    })
}
