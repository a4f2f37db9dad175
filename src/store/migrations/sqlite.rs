//! Migrating SQLite: all of it in one transaction.

use std::collections::BTreeSet;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool};

use super::progress::Progress;
use super::{Applied, Before, LEDGER, MigrationReport, Watcher, is_ours, label, schema_error, to_apply};
use crate::store::StoreError;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// As [`Store::migrate_watched`](crate::store::Store::migrate_watched).
pub(super) async fn migrate(pool: &SqlitePool, watcher: Watcher<'_>) -> Result<MigrationReport, StoreError> {
    // sqlx has no lock for SQLite, so the whole run is one transaction of the file's only writer.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let ledger = read_ledger(&mut transaction).await?;
    let before = Before { tables: tables(&mut transaction).await?, is_new: ledger.is_none() };
    let missing = to_apply(&MIGRATIONS, ledger.as_deref())?;
    let applied = missing.iter().map(|migration| label(migration.version, &migration.description));
    let applied: Vec<String> = applied.collect();
    if !applied.is_empty() {
        watcher(Progress::Applying(applied.join(", ")));
        // They name the gate's tables, and SQLite changes no table under a trigger that names it. Until they are put back,
        // what is read of Console is read for each request.
        drop_triggers(&mut transaction).await?;
        MIGRATIONS.run_direct(None, &mut *transaction, false).await.map_err(schema_error)?;
    }
    let after = tables(&mut transaction).await?;
    transaction.commit().await?;
    Ok(before.report(&MIGRATIONS, applied, &after))
}

async fn tables(connection: &mut SqliteConnection) -> Result<BTreeSet<String>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
        .fetch_all(connection)
        .await?;
    Ok(names.into_iter().filter(|name| is_ours(name)).collect())
}

async fn drop_triggers(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    const TRIGGERS: &str = "
        SELECT 'DROP TRIGGER \"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_master
         WHERE type = 'trigger' AND substr(name, 1, 13) = 'console_gate_'";
    let drops: Vec<String> = sqlx::query_scalar(TRIGGERS).fetch_all(&mut *connection).await?;
    for drop in drops {
        // A name of the catalog, in quotes.
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn read_ledger(
    connection: &mut SqliteConnection,
) -> Result<Option<Vec<Applied>>, StoreError> {
    if !tables(&mut *connection).await?.contains("_sqlx_migrations") {
        return Ok(None);
    }
    Ok(Some(sqlx::query_as(LEDGER).fetch_all(connection).await?))
}
