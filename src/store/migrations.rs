//! Bringing a schema up to date, and saying what was done.
//!
//! Migrations only ever add (`IF NOT EXISTS`, `ON CONFLICT DO NOTHING`): on Console's own database tables with these
//! names may be there already, and they are adopted as they are. sqlx keeps the ledger (`_sqlx_migrations`) and applies
//! each file in a transaction; a lock sees to it that two gates never migrate at once. On Postgres, where others work
//! on the same tables, [`patience`] waits for locks in turns.

mod patience;
pub mod progress;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgDatabaseError;

use self::patience::{Patience, Step};
use self::progress::Progress;
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
    /// How long one try waits for a lock. Whoever comes behind waits for as long, so it is short.
    pub lock_timeout: Duration,
    /// How long all tries of one step may take.
    pub patience: Duration,
}

impl Default for MigrationTerms {
    fn default() -> Self {
        MigrationTerms { lock_timeout: Duration::from_millis(500), patience: Duration::from_secs(300) }
    }
}

/// Is told how far a run has come.
pub type Watcher<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Migrates.
#[async_trait]
pub trait MigrationStore {
    /// Applies what is missing. Safe to repeat, and to run from several machines at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] when an applied file was edited or the database is from a newer gate; otherwise
    /// what the database said. A migration that fails leaves nothing of itself behind.
    async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        self.migrate_watched(MigrationTerms::default(), &|_| {}).await
    }

    /// As [`MigrationStore::migrate`], telling `watcher` what is done and what is waited for.
    ///
    /// # Errors
    ///
    /// As [`MigrationStore::migrate`].
    async fn migrate_watched(
        &self,
        terms: MigrationTerms,
        watcher: Watcher<'_>,
    ) -> Result<MigrationReport, StoreError>;

    /// How the schema differs from the one that this release knows.
    ///
    /// # Errors
    ///
    /// The database did not tell; the role may not read its ledger of migrations.
    async fn schema_state(&self) -> Result<SchemaState, StoreError>;

    /// The migrations that are not applied, `0012 rbac core`; empty when the schema is current.
    ///
    /// # Errors
    ///
    /// As [`MigrationStore::schema_state`].
    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
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

impl PostgresStore {
    /// The catalog tells everybody of every table; `information_schema` only of those that the role may use.
    const TABLES: &'static str = "
        SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')";

    async fn tables(connection: &mut sqlx::PgConnection) -> Result<BTreeSet<String>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(Self::TABLES).fetch_all(connection).await?;
        Ok(names.into_iter().filter(|name| is_ours(name)).collect())
    }

    /// The rows of the ledger, if there is one.
    async fn ledger(connection: &mut sqlx::PgConnection) -> Result<Option<Vec<Applied>>, StoreError> {
        const PLACE: &str = "
            SELECT current_schema()::text, current_user::text,
                   (SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE c.oid = to_regclass('_sqlx_migrations'))";
        let (schema, role, place): (Option<String>, String, Option<String>) =
            sqlx::query_as(PLACE).fetch_one(&mut *connection).await?;
        let Some(schema) = schema else {
            return Err(StoreError::Forbidden(format!(
                "the role `{role}` may use no schema that its `search_path` names: `GRANT USAGE ON SCHEMA ... TO {role}`"
            )));
        };
        match place {
            None => Ok(None),
            Some(place) if place != schema => Err(StoreError::Schema(format!(
                "the gate's tables are in the schema `{place}`, and the role `{role}` works in `{schema}`: set its \
                 `search_path` to `{place}`"
            ))),
            Some(_) => Ok(Some(sqlx::query_as(LEDGER).fetch_all(connection).await?)),
        }
    }

    /// Audit rows hold any text.
    async fn check_encoding(connection: &mut sqlx::PgConnection) -> Result<(), StoreError> {
        let encoding: String =
            sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(connection).await?;
        if encoding == "UTF8" {
            return Ok(());
        }
        Err(StoreError::Unusable(format!(
            "its encoding is {encoding}, and audit rows hold any Unicode text: create it with ENCODING 'UTF8'"
        )))
    }
}

#[async_trait]
impl MigrationStore for PostgresStore {
    async fn migrate_watched(
        &self,
        terms: MigrationTerms,
        watcher: Watcher<'_>,
    ) -> Result<MigrationReport, StoreError> {
        let mut run = Patience::begin(self, terms, watcher).await?;
        // Where there is nothing to do, no lock is taken and no right is needed but to look.
        let ledger = Self::ledger(run.connection()).await?;
        if !to_apply(&POSTGRES, ledger.as_deref())?.is_empty() {
            Self::check_encoding(run.connection()).await?;
            run.take(Step::Lock).await?;
        }
        let ledger = Self::ledger(run.connection()).await?;
        let before = Before { tables: Self::tables(run.connection()).await?, is_new: ledger.is_none() };
        let mut applied = Vec::new();
        for migration in to_apply(&POSTGRES, ledger.as_deref())? {
            if applied.is_empty() {
                run.take(Step::Ledger(&POSTGRES)).await?;
            }
            let name = label(migration.version, &migration.description);
            watcher(Progress::Applying(name.clone()));
            let took = run.take(Step::Apply(&POSTGRES, migration)).await?;
            watcher(Progress::Applied(name.clone(), took));
            applied.push(name);
        }
        let after = Self::tables(run.connection()).await?;
        Ok(before.report(&POSTGRES, applied, &after))
    }

    async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        bounded(self.limit, async {
            let ledger = Self::ledger(&mut *self.pool.acquire().await?).await?;
            Ok(state(&POSTGRES, ledger.as_deref()))
        })
        .await
    }
}

impl SqliteStore {
    async fn tables(connection: &mut sqlx::SqliteConnection) -> Result<BTreeSet<String>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(connection)
            .await?;
        Ok(names.into_iter().filter(|name| is_ours(name)).collect())
    }

    async fn ledger(connection: &mut sqlx::SqliteConnection) -> Result<Option<Vec<Applied>>, StoreError> {
        if !Self::tables(&mut *connection).await?.contains("_sqlx_migrations") {
            return Ok(None);
        }
        Ok(Some(sqlx::query_as(LEDGER).fetch_all(connection).await?))
    }
}

#[async_trait]
impl MigrationStore for SqliteStore {
    async fn migrate_watched(
        &self,
        _: MigrationTerms,
        watcher: Watcher<'_>,
    ) -> Result<MigrationReport, StoreError> {
        // sqlx has no lock for SQLite, so the whole run is one transaction of the file's only writer.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let ledger = Self::ledger(&mut transaction).await?;
        let before = Before { tables: Self::tables(&mut transaction).await?, is_new: ledger.is_none() };
        let missing = to_apply(&SQLITE, ledger.as_deref())?;
        let applied = missing.iter().map(|migration| label(migration.version, &migration.description));
        let applied: Vec<String> = applied.collect();
        if !applied.is_empty() {
            watcher(Progress::Applying(applied.join(", ")));
            SQLITE.run_direct(None, &mut *transaction, false).await.map_err(schema_error)?;
        }
        let after = Self::tables(&mut transaction).await?;
        transaction.commit().await?;
        Ok(before.report(&SQLITE, applied, &after))
    }

    async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        bounded(self.limit, async {
            let ledger = Self::ledger(&mut *self.pool.acquire().await?).await?;
            Ok(state(&SQLITE, ledger.as_deref()))
        })
        .await
    }
}
