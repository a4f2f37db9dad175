//! Bringing a schema up to date, and saying what was done.
//!
//! Migrations only ever add (`IF NOT EXISTS`, `ON CONFLICT DO NOTHING`): on Console's own database tables with these
//! names may be there already, and they are adopted as they are. sqlx keeps the ledger (`_sqlx_migrations`), checks
//! that an applied file was not edited since, and holds a lock, so that two gates never migrate at once.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::{PostgresStore, SqliteStore, StoreError};

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

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

/// Migrates.
#[async_trait]
pub trait MigrationStore {
    /// Applies what is missing. Safe to repeat, and to run from several machines at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] when an applied file was edited or the database is from a newer gate; otherwise
    /// what the database said. A migration that fails leaves nothing of itself behind.
    async fn migrate(&self) -> Result<MigrationReport, StoreError>;

    /// The migrations that are not applied, `0012 rbac core`; empty when the schema is current.
    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError>;
}

fn label(version: i64, description: &str) -> String {
    format!("{version:04} {description}")
}

fn schema_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMismatch(version) => {
            StoreError::Schema(format!("migration {version:04} was applied from a file with other contents"))
        }
        MigrateError::VersionMissing(version) => {
            StoreError::Schema(format!("migration {version:04} was applied by a newer gate"))
        }
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, version) => {
            let cause = StoreError::from(error);
            StoreError::Schema(format!("migration {version:04} failed: {cause}"))
        }
        other => StoreError::Schema(other.to_string()),
    }
}

/// The tables that the gate's migrations know.
fn is_ours(table: &str) -> bool {
    const OURS: [&str; 15] = [
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
        "rbac_break_glass_sessions",
        "console_flag_promotions",
        "_sqlx_migrations",
    ];
    OURS.contains(&table) || table.starts_with("gate_")
}

macro_rules! migration_store {
    ($store:ty, $migrator:expr, $tables:expr) => {
        impl $store {
            async fn tables(&self) -> Result<BTreeSet<String>, StoreError> {
                let names: Vec<String> = sqlx::query_scalar($tables).fetch_all(&self.pool).await?;
                Ok(names.into_iter().filter(|name| is_ours(name)).collect())
            }
        }

        #[async_trait]
        impl MigrationStore for $store {
            async fn migrate(&self) -> Result<MigrationReport, StoreError> {
                let before = self.tables().await?;
                let pending = self.pending_migrations().await?;
                $migrator.run(&self.pool).await.map_err(schema_error)?;
                let after = self.tables().await?;
                let is_first_run = !before.contains("_sqlx_migrations");
                let own = |table: &&String| *table != "_sqlx_migrations";
                Ok(MigrationReport {
                    already_applied: $migrator.iter().count() - pending.len(),
                    applied: pending,
                    created_tables: after.difference(&before).filter(own).cloned().collect(),
                    adopted_tables: if is_first_run { before.into_iter().collect() } else { Vec::new() },
                })
            }

            async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
                let all = $migrator.iter().map(|migration| (migration.version, &migration.description));
                if !self.tables().await?.contains("_sqlx_migrations") {
                    return Ok(all.map(|(version, description)| label(version, description)).collect());
                }
                let mut connection = self.pool.acquire().await?;
                let applied =
                    connection.list_applied_migrations(&$migrator.table_name).await.map_err(schema_error)?;
                let applied: BTreeSet<i64> = applied.into_iter().map(|migration| migration.version).collect();
                Ok(all
                    .filter(|(version, _)| !applied.contains(version))
                    .map(|(version, description)| label(version, description))
                    .collect())
            }
        }
    };
}

migration_store!(
    PostgresStore,
    POSTGRES,
    "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()"
);
migration_store!(SqliteStore, SQLITE, "SELECT name FROM sqlite_master WHERE type = 'table'");
