//! `console-gate migrate`

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use ledger::AuditEvent;

use super::{Common, Ended, announce, checkpoint, operator, watch, with_notary};
use crate::store::migrations::progress::{Progress, listed};
use crate::store::migrations::{MigrationTerms, Order, Seed};

/// Update the database schema and report what was done
///
/// On Postgres, run it as the owner of Console's tables. It waits for each lock half a second at a time, so that
/// Console can write in between; once it has the lock, a migration is not limited in time.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Seconds to wait for a lock before giving up
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Write the tables, groups and roles of documents too: `rbac-v2` for those of RBAC V2
    #[arg(long, value_name = "NAME", value_parser = seed)]
    seed: Option<Seed>,
}

fn seed(word: &str) -> Result<Seed, String> {
    Seed::parse(word).ok_or_else(|| format!("`{word}` is no seed: `rbac-v2` is the only one"))
}

pub(super) fn run(command: &Migrate, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let terms =
        MigrationTerms { patience: Duration::from_secs(command.patience), ..MigrationTerms::default() };
    let order = Order { terms, seed: command.seed };
    let screen = Screen::default();
    with_notary(&settings, async |store, notary| {
        let report = store.migrate_watched(order, &|progress| screen.show(&progress)).await?;
        if !report.applied.is_empty() {
            let event = AuditEvent::MigrationApplied { migrations: report.applied.clone(), by: operator() };
            store.record(&notary.note(event.into_record(chrono::Utc::now()))).await?;
            checkpoint::keep(&settings, &store, &notary).await;
        }
        watch::install(&store, terms).await?;
        for table in &report.adopted_tables {
            announce(format_args!("adopted  table {table}: it already existed and was not changed"));
        }
        for table in &report.created_tables {
            announce(format_args!("created  table {table}"));
        }
        for trigger in &report.triggers {
            announce(format_args!("trigger  {trigger}"));
        }
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
        Ok(Ended::Clean)
    })
}

/// Standard error, for who waits. Whom it waits for is said when that changes, and now and then.
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
