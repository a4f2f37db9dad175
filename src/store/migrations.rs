//! Bringing a schema up to date, and saying what was done.
//!
//! Migrations only ever add (`IF NOT EXISTS`, `ON CONFLICT DO NOTHING`): on Console's own database tables with these
//! names may be there already, and they are adopted as they are. sqlx keeps the ledger (`_sqlx_migrations`), checks
//! that an applied file was not edited since; a lock sees to it that two gates never migrate at once.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::PgDatabaseError;

use super::{PostgresStore, SqliteStore, StoreError, bounded};

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

macro_rules! migration_store {
    ($store:ty, $connection:ty, $migrator:expr, $tables:expr) => {
        impl $store {
            async fn tables(connection: &mut $connection) -> Result<BTreeSet<String>, StoreError> {
                let names: Vec<String> = sqlx::query_scalar($tables).fetch_all(connection).await?;
                Ok(names.into_iter().filter(|name| is_ours(name)).collect())
            }

            async fn pending(connection: &mut $connection) -> Result<Vec<String>, StoreError> {
                let all = $migrator.iter().map(|migration| (migration.version, &migration.description));
                if !Self::tables(connection).await?.contains("_sqlx_migrations") {
                    return Ok(all.map(|(version, description)| label(version, description)).collect());
                }
                let applied =
                    connection.list_applied_migrations(&$migrator.table_name).await.map_err(schema_error)?;
                let applied: BTreeSet<i64> = applied.into_iter().map(|migration| migration.version).collect();
                Ok(all
                    .filter(|(version, _)| !applied.contains(version))
                    .map(|(version, description)| label(version, description))
                    .collect())
            }

            /// Migrates on a connection that has seen to it that nobody migrates beside it: otherwise two gates
            /// would each report what one of them has done.
            async fn migrate_alone(connection: &mut $connection) -> Result<MigrationReport, StoreError> {
                let before = Self::tables(connection).await?;
                let pending = Self::pending(connection).await?;
                $migrator.run_direct(None, connection, false).await.map_err(schema_error)?;
                let after = Self::tables(connection).await?;
                let is_first_run = !before.contains("_sqlx_migrations");
                let own = |table: &&String| *table != "_sqlx_migrations";
                Ok(MigrationReport {
                    already_applied: $migrator.iter().count() - pending.len(),
                    applied: pending,
                    created_tables: after.difference(&before).filter(own).cloned().collect(),
                    adopted_tables: if is_first_run { before.into_iter().collect() } else { Vec::new() },
                })
            }
        }
    };
}

migration_store!(
    PostgresStore,
    sqlx::PgConnection,
    POSTGRES,
    "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()"
);
migration_store!(
    SqliteStore,
    sqlx::SqliteConnection,
    SQLITE,
    "SELECT name FROM sqlite_master WHERE type = 'table'"
);

#[async_trait]
impl MigrationStore for PostgresStore {
    async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        let mut connection = self.pool.acquire().await?;
        // The lock is the session's. It must not outlive this call in the pool, however the call ends.
        connection.close_on_drop();
        connection.lock().await.map_err(schema_error)?;
        Self::migrate_alone(&mut connection).await
    }

    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        bounded(self.limit, async { Self::pending(&mut *self.pool.acquire().await?).await }).await
    }
}

#[async_trait]
impl MigrationStore for SqliteStore {
    async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        // sqlx has no lock for SQLite, so the whole run is one transaction of the file's only writer.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let report = Self::migrate_alone(&mut transaction).await?;
        transaction.commit().await?;
        Ok(report)
    }

    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        bounded(self.limit, async { Self::pending(&mut *self.pool.acquire().await?).await }).await
    }
}
