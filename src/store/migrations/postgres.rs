//! Migrating Postgres: a step at a time, each with patience for the locks of others.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use sqlx::migrate::Migrator;

use super::patience::{Patience, Step};
use super::progress::Progress;
use super::{Applied, Before, LEDGER, MigrationReport, MigrationTerms, Watcher, is_ours, label, to_apply};
use crate::store::StoreError;
use crate::store::postgres::PostgresPool;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// As [`Store::migrate_watched`](crate::store::Store::migrate_watched).
pub(super) async fn migrate(
    pool: &PostgresPool,
    terms: MigrationTerms,
    watcher: Watcher<'_>,
) -> Result<MigrationReport, StoreError> {
    let mut run = Patience::begin(pool, terms, watcher).await?;
    // Where there is nothing to do, no lock is taken and no right is needed but to look.
    let ledger = read_ledger(run.connection()).await?;
    if !to_apply(&MIGRATIONS, ledger.as_deref())?.is_empty() {
        check_encoding(run.connection()).await?;
        run.take(Step::Lock).await?;
    }
    let ledger = read_ledger(run.connection()).await?;
    let before = Before { tables: tables(run.connection()).await?, is_new: ledger.is_none() };
    let mut applied = Vec::new();
    for migration in to_apply(&MIGRATIONS, ledger.as_deref())? {
        if applied.is_empty() {
            run.take(Step::Ledger(&MIGRATIONS)).await?;
        }
        let name = label(migration.version, &migration.description);
        watcher(Progress::Applying(name.clone()));
        let took = run.take(Step::Apply(&MIGRATIONS, migration)).await?;
        watcher(Progress::Applied(name.clone(), took));
        applied.push(name);
    }
    let after = tables(run.connection()).await?;
    Ok(before.report(&MIGRATIONS, applied, &after))
}

/// The catalog lists every table to every role; `information_schema` only those that the role may use.
const TABLES: &str = "
    SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')";

async fn tables(connection: &mut PgConnection) -> Result<BTreeSet<String>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(connection).await?;
    Ok(names.into_iter().filter(|name| is_ours(name)).collect())
}

/// The rows of the ledger, if there is one.
pub(super) async fn read_ledger(connection: &mut PgConnection) -> Result<Option<Vec<Applied>>, StoreError> {
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
async fn check_encoding(connection: &mut PgConnection) -> Result<(), StoreError> {
    let encoding: String =
        sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(connection).await?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "its encoding is {encoding}, and audit rows hold any Unicode text: create it with ENCODING 'UTF8'"
    )))
}
