//! `console-gate migrate`

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ledger::{AuditEvent, Notary};
use store::SharedStore;
use store::schema::migrations::progress::{Progress, listed};
use store::schema::migrations::{MigrationTerms, Order, Plan, RolesChange, Seed};
use store::schema::rights::Granting;

use super::help::Examples;
use super::{Common, Ended, announce, checkpoint, operator, watch, with_notary, with_store};

pub(super) const EXAMPLES: Examples = &[(
    "migrate",
    &[
        "console-gate --database sqlite:gate.sqlite migrate --seed rbac-v2",
        "console-gate migrate --plan",
        "console-gate migrate --grant-to console_gate",
    ],
)];

/// Update the database schema and report what was done
///
/// On Postgres the gate's tables get a schema of their own, and Console's tables get triggers and nothing else. Everything
/// is checked before the first statement, and a run that fails leaves Console's tables as they were. It waits for each
/// lock half a second at a time, so that Console can write in between; once it has the lock, a migration is not limited in
/// time.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Seconds to wait for a lock before giving up: `300`, `5m`
    #[arg(long, default_value = "300", value_parser = super::time::seconds)]
    patience: u64,
    /// Write the tables, groups and roles of documents too: `rbac-v2` for those of RBAC V2
    #[arg(long, value_name = "NAME", value_parser = seed)]
    seed: Option<Seed>,
    /// Print every statement that would run, and who would gain which roles; change nothing
    #[arg(long, conflicts_with = "grant_to")]
    plan: bool,
    /// Then grant this role what a serving gate needs, and no more (Postgres)
    #[arg(long, value_name = "ROLE")]
    grant_to: Option<String>,
    /// Take the gate's triggers off Console's tables again, and do nothing else
    #[arg(long, conflicts_with_all = ["seed", "plan", "grant_to"])]
    release: bool,
}

fn seed(word: &str) -> Result<Seed, String> {
    Seed::parse(word).ok_or_else(|| format!("`{word}` is not a seed: the only one is `rbac-v2`"))
}

pub(super) fn run(command: &Migrate, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let terms =
        MigrationTerms { patience: Duration::from_secs(command.patience), ..MigrationTerms::default() };
    let order = Order { terms, seed: command.seed };
    if command.plan {
        return with_store(&settings, async |store| {
            let plan = store.plan(order).await?;
            announce(shown(&plan, command.seed));
            Ok(Ended::Clean)
        });
    }
    let screen = Screen::default();
    let watcher = |progress: Progress| screen.show(&progress);
    if command.release {
        return with_notary(&settings, async |store, notary| {
            let released = store.release(terms, &watcher).await?;
            record(&store, &notary, vec!["release of Console's tables".to_owned()], None).await?;
            for trigger in &released {
                announce(format_args!("released {trigger}"));
            }
            announce(format_args!(
                "{} trigger(s) taken off Console's tables: the gate no longer notices Console's writes. \
                 `console-gate migrate` puts them back",
                released.len()
            ));
            Ok(Ended::Clean)
        });
    }
    with_notary(&settings, async |store, notary| {
        let report = store.migrate_watched(order, &watcher).await?;
        let mut done = report.applied.clone();
        done.extend(report.seeded.map(|seed| format!("seed {}", seed.word())));
        if !done.is_empty() {
            let begins = report.applied.iter().any(|applied| applied.starts_with(SEALING));
            let unsealed = if begins { Some(unsealed(&store).await?) } else { None };
            record(&store, &notary, done, unsealed).await?;
            checkpoint::keep(&settings, &store, &notary).await;
        }
        for table in &report.adopted_tables {
            announce(format_args!("adopted  table {table}: it already existed and was not changed"));
        }
        for table in &report.created_tables {
            announce(format_args!("created  table {table}"));
        }
        for trigger in &report.triggers {
            announce(format_args!("trigger  {trigger}"));
        }
        watch::show(&report.watch);
        if let Some(seed) = report.seeded {
            announce(format_args!("seeded   {}", seed.word()));
        }
        for migration in &report.applied {
            announce(format_args!("applied  {migration}"));
        }
        announce(format_args!(
            "{} migration(s) applied, {} already applied",
            report.applied.len(),
            report.already_applied
        ));
        match &command.grant_to {
            Some(role) => grant(&store, role).await,
            None => Ok(Ended::Clean),
        }
    })
}

/// The number of the first migration with which gates seal each grant with its content.
const SEALING: &str = "0400";

/// The number of grant rows from before, by table.
async fn unsealed(store: &SharedStore) -> anyhow::Result<serde_json::Value> {
    let counts = store.unsealed_grants().await.context("the grants of before could not be counted")?;
    Ok(counts.into_iter().map(|(table, count)| (table.to_owned(), serde_json::Value::from(count))).collect())
}

async fn record(
    store: &SharedStore,
    notary: &Notary,
    migrations: Vec<String>,
    unsealed: Option<serde_json::Value>,
) -> anyhow::Result<()> {
    let event = AuditEvent::MigrationApplied { migrations, unsealed, by: operator() };
    Ok(store.record(&notary.note(event.into_record(chrono::Utc::now()))).await?)
}

async fn grant(store: &SharedStore, role: &str) -> anyhow::Result<Ended> {
    let Granting { granted, left } = store.grant_to(role).await?;
    for statement in &granted {
        announce(format_args!("granted  {statement}"));
    }
    if left.is_empty() {
        return Ok(Ended::Clean);
    }
    announce(format_args!(
        "{} statement(s) are left to the owners of Console's tables, for this role may not grant them:",
        left.len()
    ));
    for statement in &left {
        announce(format_args!("{statement};"));
    }
    Ok(Ended::Findings)
}

/// A plan as a file for a person, and for psql.
fn shown(plan: &Plan, seed: Option<Seed>) -> String {
    let mut lines = Vec::new();
    if plan.statements.is_empty() {
        lines.push("-- Nothing is to be done.".to_owned());
    }
    for table in &plan.adopted_tables {
        lines.push(format!("-- {table} is there already, and stays as it is."));
    }
    for (what, text) in &plan.statements {
        lines.push(format!("\n-- {what}\n{};", text.trim_end().trim_end_matches(';')));
    }
    lines.push(String::new());
    if plan.changes.is_empty() {
        lines.push("-- Nobody who is a member of a group gains or loses a role.".to_owned());
    }
    let seed = seed.map_or("", Seed::word);
    for RolesChange { member, gained, lost } in &plan.changes {
        if !gained.is_empty() {
            lines.push(format!("-- {member} gains by `--seed {seed}`: {}", gained.join(", ")));
        }
        if !lost.is_empty() {
            lines.push(format!("-- {member} loses: {}", lost.join(", ")));
        }
    }
    lines.extend(plan.gaps.iter().map(|gap| format!("-- unheard: {gap}")));
    lines.push("-- This is a plan: nothing was changed.".to_owned());
    lines.join("\n")
}

/// Progress on standard error. The holders of the awaited lock are printed when they change, and now and then.
#[derive(Default)]
struct Screen {
    last: Mutex<Vec<i32>>,
}

const NOW_AND_THEN: u32 = 10;

impl Screen {
    fn show(&self, progress: &Progress) {
        match progress {
            Progress::Applying(migration) => eprintln!("applying {migration}"),
            Progress::Applied(migration, took) => {
                eprintln!("applied  {migration} in {:.1} s", took.as_secs_f64());
            }
            Progress::Waiting { what, tries, holders } => {
                let pids: Vec<i32> = holders.iter().map(|holder| holder.pid).collect();
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if *last != pids || *tries == 1 || tries.is_multiple_of(NOW_AND_THEN) {
                    eprintln!("waiting  {what} (try {tries}): the lock is held by {}", listed(holders));
                    *last = pids;
                }
            }
        }
    }
}
