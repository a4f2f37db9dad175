//! Migrating SQLite: all of it in one transaction.

use std::collections::BTreeSet;

use sqlx::migrate::{Migration, Migrator};
use sqlx::{AssertSqlSafe, Executor as _, SqliteConnection, SqlitePool};

use super::batch::{HELD, Roles, by_member};
use super::preflight::{self, Intent};
use super::progress::Progress;
use super::{
    Applied, BEFORE_THE_SEED, MigrationReport, Order, Plan, Releases, RolesChange, Watcher, is_ours, label,
    ledger_rows, triggers,
};
use crate::StoreError;
use crate::console::Console;
use crate::console::watch;
use crate::engine::connection::Connection;
use crate::schema::placement::{LEDGER, Placement, quoted};

static FILES: Migrator = sqlx::migrate!("../../migrations/sqlite");

pub(super) const RELEASES: Releases = Releases(&FILES);

/// As [`Store::migrate_watched`](crate::Store::migrate_watched).
pub(super) async fn migrate(
    pool: &SqlitePool,
    placement: &Placement,
    console: &Console,
    order: &Order,
    watcher: Watcher<'_>,
) -> Result<MigrationReport, StoreError> {
    let mut connection = Connection::Sqlite(pool.acquire().await?);
    connection.run("BEGIN IMMEDIATE").await?;
    match apply(&mut connection, placement, console, order, watcher).await {
        Ok((report, _)) => {
            connection.run("COMMIT").await?;
            Ok(report)
        }
        Err(error) => {
            connection.close_on_drop();
            Err(error)
        }
    }
}

/// As [`Store::plan`](crate::Store::plan).
pub(super) async fn plan(
    pool: &SqlitePool,
    placement: &Placement,
    console: &Console,
    order: &Order,
) -> Result<Plan, StoreError> {
    let mut connection = Connection::Sqlite(pool.acquire().await?);
    // What was done is undone with the connection.
    connection.close_on_drop();
    connection.run("BEGIN IMMEDIATE").await?;
    let before = roles(file(&mut connection)?).await?;
    let (report, statements) = apply(&mut connection, placement, console, order, &|_| {}).await?;
    let after = roles(file(&mut connection)?).await?;
    connection.run("ROLLBACK").await?;
    Ok(Plan {
        changes: RolesChange::between(&before, &after),
        adopted_tables: report.adopted_tables,
        statements,
        gaps: report.watch.gaps,
    })
}

/// The connection of a migration of SQLite.
fn file(connection: &mut Connection) -> Result<&mut SqliteConnection, StoreError> {
    match connection {
        Connection::Sqlite(connection) => Ok(connection),
        Connection::Postgres(_) => Err(StoreError::Unusable("it is not a SQLite file".into())),
    }
}

/// As [`Store::release`](crate::Store::release).
pub(super) async fn release(pool: &SqlitePool) -> Result<Vec<String>, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let tables = tables(&mut transaction).await?;
    let there: Vec<(String, String)> =
        sqlx::query_as("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
            .fetch_all(&mut *transaction)
            .await?;
    let ours = triggers::of_sqlite(&tables);
    let mut released = Vec::new();
    for (name, table) in there {
        if ours.contains_key(&name) || name.starts_with("console_gate_") {
            let drop = format!("DROP TRIGGER {}", quoted(&name));
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await?;
            released.push(format!("{name} on {table}"));
        }
    }
    if tables.contains("gate_console_watched") {
        transaction.execute("DELETE FROM gate_console_watched").await?;
        transaction.execute("DELETE FROM gate_console_watch").await?;
    }
    transaction.execute("UPDATE gate_epoch SET epoch = epoch + 1").await?;
    transaction.commit().await?;
    Ok(released)
}

async fn roles(connection: &mut SqliteConnection) -> Result<Roles, StoreError> {
    let tables = tables(&mut *connection).await?;
    let needed = ["rbac_user_groups", "rbac_group_roles", "rbac_role_inheritance", "rbac_roles"];
    if needed.iter().any(|table| !tables.contains(*table)) {
        return Ok(Roles::new());
    }
    Ok(by_member(sqlx::query_as(HELD).fetch_all(connection).await?))
}

/// Does all of it within a transaction, and returns the statements too, each under its name.
async fn apply(
    to: &mut Connection,
    placement: &Placement,
    console: &Console,
    order: &Order,
    watcher: Watcher<'_>,
) -> Result<(MigrationReport, Vec<(String, String)>), StoreError> {
    let connection = file(to)?;
    let ledger = read_ledger(connection).await?;
    let is_new = ledger.is_none();
    let files = RELEASES.to_apply(ledger.as_deref())?;
    let before = tables(connection).await?;
    let mut report = MigrationReport {
        already_applied: ledger.as_deref().map_or(0, <[Applied]>::len),
        adopted_tables: if is_new {
            before.iter().filter(|name| *name != LEDGER).cloned().collect()
        } else {
            Vec::new()
        },
        ..MigrationReport::default()
    };
    let mut sent = Vec::new();
    if !files.is_empty() || order.seed.is_some() {
        let intent = Intent { is_new, console_is_given: placement.console_is_given, seed: order.seed };
        preflight::of_sqlite(connection, &before, intent).await?;
    }
    report.applied = files.iter().map(|file| label(file.version, &file.description)).collect();
    if !files.is_empty() {
        watcher(Progress::Applying(report.applied.join(", ")));
        // They name the gate's tables, and SQLite changes no table under a trigger that names it. Until they are put back,
        // Console is read for each request.
        drop_triggers(connection).await?;
        send(connection, "the ledger of migrations", LEDGER_TABLE.to_owned(), &mut sent).await?;
    }
    // The seed needs the tables, and comes before what records writes to them.
    let (first, later): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.version <= BEFORE_THE_SEED);
    apply_files(connection, &first, &mut sent).await?;
    if let Some(seed) = order.seed {
        let text = seed.sqlite(connection, &before, placement.console_is_given).await?;
        send(connection, &format!("the seed `{}`", seed.word()), text, &mut sent).await?;
        report.seeded = Some(seed);
    }
    apply_files(connection, &later, &mut sent).await?;
    let after = tables(connection).await?;
    let mut watched = after.clone();
    if placement.console_is_given {
        watched.retain(|table| !crate::schema::placement::DOCUMENTS_TABLES.contains(&table.as_str()));
    }
    for (name, statement) in triggers::missing_of_sqlite(connection, &watched).await? {
        send(connection, &format!("the trigger {name}"), statement, &mut sent).await?;
        report.triggers.push(name);
    }
    report.created_tables = after.difference(&before).filter(|name| *name != LEDGER).cloned().collect();
    let watch = watch::sqlite::within(to, console).await.map_err(StoreError::from)?;
    let what = "the triggers on Console's tables";
    sent.extend(watch.statements.iter().map(|text| (what.to_owned(), text.clone())));
    if watch.is_new {
        report.triggers.extend(watch.triggers());
    }
    report.watch = watch;
    Ok((report, sent))
}

async fn apply_files(
    connection: &mut SqliteConnection,
    files: &[&Migration],
    sent: &mut Vec<(String, String)>,
) -> Result<(), StoreError> {
    for file in files {
        let what = format!("migration {}", label(file.version, &file.description));
        send(connection, &what, file.sql.as_str().to_owned(), sent).await?;
        sqlx::query(RECORD)
            .bind(file.version)
            .bind(&*file.description)
            .bind(&*file.checksum)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// As sqlx makes it.
const LEDGER_TABLE: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
)";

const RECORD: &str = "
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES ($1, $2, TRUE, $3, -1)";

async fn send(
    connection: &mut SqliteConnection,
    what: &str,
    text: String,
    sent: &mut Vec<(String, String)>,
) -> Result<(), StoreError> {
    let outcome = connection.execute(sqlx::raw_sql(AssertSqlSafe(text.clone()))).await;
    outcome.map_err(|error| StoreError::Schema(format!("{what} failed: {}", StoreError::from(error))))?;
    sent.push((what.to_owned(), text));
    Ok(())
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
    if !tables(&mut *connection).await?.contains(LEDGER) {
        return Ok(None);
    }
    let rows = AssertSqlSafe(ledger_rows(LEDGER, "installed_on"));
    let rows: Vec<Applied> = sqlx::query_as(rows).fetch_all(connection).await?;
    Ok((!rows.is_empty()).then_some(rows))
}
