//! Bringing a schema up to date, and saying what was done.
//!
//! Migrations only ever add (`IF NOT EXISTS`, `ON CONFLICT DO NOTHING`): on Console's own database tables with these
//! names may be there already, and they are adopted as they are. sqlx keeps the ledger (`_sqlx_migrations`) and applies
//! each file in a transaction; a lock sees to it that two gates never migrate at once. On Postgres, where others work
//! on the same tables, [`patience`] waits for locks in turns.

mod patience;
mod postgres;
pub mod progress;
mod sqlite;

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgDatabaseError;

use self::progress::Progress;
use super::connection::Pool;
use super::{Store, StoreError};

/// What a migration run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// Files that were applied now, `0012 rbac core`.
    pub applied: Vec<String>,
    /// How many had been applied before.
    pub already_applied: usize,
    /// Tables that are new.
    pub created_tables: Vec<String>,
    /// Tables that were there before the gate's first migration and were taken as they are.
    pub adopted_tables: Vec<String>,
}

/// How a schema differs from the one that this release knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations that are not applied, `0012 rbac core`.
    pub pending: Vec<String>,
    /// Migrations that are applied and that this release does not have.
    pub unknown: Vec<String>,
    /// Whether no gate has ever migrated it, as far as the role can see.
    pub is_new: bool,
}

impl SchemaState {
    /// What to say of a schema that a newer release has migrated; `None` if none has.
    pub fn newer(&self) -> Option<String> {
        (!self.unknown.is_empty()).then(|| {
            format!(
                "a newer release migrated it: this one ({}) does not know {}. Run the newer release",
                env!("CARGO_PKG_VERSION"),
                self.unknown.join(", ")
            )
        })
    }
}

/// How patient a migration run is where others hold what it needs. SQLite waits as any statement does.
#[derive(Clone, Copy, Debug)]
pub struct MigrationTerms {
    /// How long one try waits for a lock. The statements behind it wait for as long, so it is short.
    pub lock_timeout: Duration,
    /// How long all tries of one step may take.
    pub patience: Duration,
}

impl Default for MigrationTerms {
    fn default() -> Self {
        MigrationTerms { lock_timeout: Duration::from_millis(500), patience: Duration::from_secs(300) }
    }
}

/// Receives the progress of a run.
pub type Watcher<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Store {
    /// Applies what is missing, and puts the triggers on Console's tables. Safe to repeat, and to run from several machines at
    /// once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] when an applied file was edited or the database is from a newer gate; otherwise
    /// what the database said. A migration that fails leaves nothing of itself behind.
    pub async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        let report = self.migrate_watched(MigrationTerms::default(), &|_| {}).await?;
        if !report.applied.is_empty() {
            self.install_triggers().await?;
        }
        Ok(report)
    }

    /// As [`Store::migrate`], reporting to `watcher` what is done and what is waited for, for as long as `terms` say.
    ///
    /// # Errors
    ///
    /// As [`Store::migrate`].
    pub async fn migrate_watched(
        &self,
        terms: MigrationTerms,
        watcher: Watcher<'_>,
    ) -> Result<MigrationReport, StoreError> {
        match &self.pool {
            Pool::Postgres(pool) => postgres::migrate(pool, terms, watcher).await,
            Pool::Sqlite(pool) => sqlite::migrate(pool, watcher).await,
        }
    }

    /// How the schema differs from the one that this release knows.
    ///
    /// # Errors
    ///
    /// The database did not answer, or the role may not read its ledger of migrations.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        self.bounded(async {
            Ok(match &self.pool {
                Pool::Postgres(pool) => {
                    let ledger = postgres::read_ledger(&mut *pool.acquire().await?).await?;
                    state(&postgres::MIGRATIONS, ledger.as_deref())
                }
                Pool::Sqlite(pool) => {
                    let ledger = sqlite::read_ledger(&mut *pool.acquire().await?).await?;
                    state(&sqlite::MIGRATIONS, ledger.as_deref())
                }
            })
        })
        .await
    }

    /// The migrations that are not applied, `0012 rbac core`; empty when the schema is current.
    ///
    /// # Errors
    ///
    /// As [`Store::schema_state`].
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.schema_state().await?.pending)
    }
}

/// A row of the ledger: its version, its description and the checksum of its file.
type Applied = (i64, String, Vec<u8>);

const LEDGER: &str = "SELECT version, description, checksum FROM _sqlx_migrations ORDER BY version";

fn label(version: i64, description: &str) -> String {
    format!("{version:04} {description}")
}

/// What the ledger, if there is one, means for `migrator`.
fn state(migrator: &Migrator, ledger: Option<&[Applied]>) -> SchemaState {
    let applied: BTreeSet<i64> = ledger.unwrap_or_default().iter().map(|(version, ..)| *version).collect();
    let pending = migrator.iter().filter(|migration| !applied.contains(&migration.version));
    let unknown =
        ledger.unwrap_or_default().iter().filter(|(version, ..)| !migrator.version_exists(*version));
    SchemaState {
        pending: pending.map(|migration| label(migration.version, &migration.description)).collect(),
        unknown: unknown.map(|(version, description, _)| label(*version, description)).collect(),
        is_new: ledger.is_none(),
    }
}

/// The migrations that are to be applied, unless the ledger says that it is another release's to do.
fn to_apply<'m>(
    migrator: &'m Migrator,
    ledger: Option<&[Applied]>,
) -> Result<Vec<&'m Migration>, StoreError> {
    if let Some(newer) = state(migrator, ledger).newer() {
        return Err(StoreError::Schema(newer));
    }
    let mut missing = Vec::new();
    for migration in migrator.iter() {
        let applied = ledger.unwrap_or_default().iter().find(|(version, ..)| *version == migration.version);
        match applied {
            None => missing.push(migration),
            Some((.., checksum)) if *checksum == *migration.checksum => {}
            Some((version, ..)) => return Err(schema_error(MigrateError::VersionMismatch(*version))),
        }
    }
    Ok(missing)
}

fn schema_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMismatch(version) => {
            StoreError::Schema(format!("migration {version:04} was applied from a file with other contents"))
        }
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, version) => {
            let detail = detail(&error);
            let cause = StoreError::from(error);
            StoreError::Schema(format!("migration {version:04} failed: {cause}{detail}"))
        }
        other => StoreError::Schema(other.to_string()),
    }
}

/// What Postgres adds to its message, such as which columns do not fit. A migration binds no value that it could show.
fn detail(error: &sqlx::Error) -> String {
    let refusal = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    refusal.and_then(PgDatabaseError::detail).map_or_else(String::new, |detail| format!(" ({detail})"))
}

/// The tables that the gate's migrations know.
fn is_ours(table: &str) -> bool {
    const OURS: [&str; 17] = [
        "admins",
        "admin_roles",
        "admin_sessions",
        "rbac_groups",
        "rbac_roles",
        "rbac_permissions",
        "rbac_role_permissions",
        "rbac_role_inheritance",
        "rbac_group_roles",
        "rbac_user_groups",
        "rbac_grants_audit",
        "rbac_ticket_grants",
        "rbac_ticket_grants_archive",
        "rbac_break_glass_sessions",
        "console_flag_promotions",
        "customer_audit_events",
        "_sqlx_migrations",
    ];
    OURS.contains(&table) || table.starts_with("gate_")
}

/// What was there before a run, and what is to say of it after.
struct Before {
    tables: BTreeSet<String>,
    is_new: bool,
}

impl Before {
    fn report(self, migrator: &Migrator, applied: Vec<String>, after: &BTreeSet<String>) -> MigrationReport {
        let own = |table: &&String| *table != "_sqlx_migrations";
        MigrationReport {
            already_applied: migrator.iter().count() - applied.len(),
            applied,
            created_tables: after.difference(&self.tables).filter(own).cloned().collect(),
            adopted_tables: if self.is_new { self.tables.into_iter().collect() } else { Vec::new() },
        }
    }
}
