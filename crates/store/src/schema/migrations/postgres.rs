//! Migrating Postgres: every check first, then everything that is missing, with patience for the locks of others.
//!
//! The files, the seed and the triggers are one transaction: a run that fails leaves the database as it was. The triggers,
//! which need a lock on tables of Console's, come last, so that no writer waits for the rest.

use std::collections::BTreeSet;

use sqlx::migrate::{Migration, Migrator};
use sqlx::{AssertSqlSafe, PgConnection};

use super::batch::{Batch, Done, Part, SEARCH_PATH, ledger_table};
use super::patience::{Patience, Step};
use super::preflight::{self, Intent};
use super::progress::Progress;
use super::{
    Applied, BEFORE_THE_SEED, MigrationReport, MigrationTerms, Order, Plan, Releases, RolesChange, Watcher,
    is_ours, label, ledger_rows, triggers,
};
use crate::StoreError;
use crate::console::Console;
use crate::engine::postgres::PostgresPool;
use crate::schema::placement::{LEDGER, Placement, Survey, default_schema, quoted};

static FILES: Migrator = sqlx::migrate!("../../migrations/postgres");

pub(super) const RELEASES: Releases = Releases(&FILES);

/// The work to do, as far as the survey shows.
struct Task {
    survey: Survey,
    is_new: bool,
    already_applied: usize,
    files: Vec<&'static Migration>,
    /// That triggers are missing, where no file is.
    lacks_triggers: bool,
}

impl Task {
    async fn of(
        connection: &mut PgConnection,
        placement: &Placement,
        default: Option<String>,
        is_watched: bool,
    ) -> Result<Task, StoreError> {
        let survey = Survey::take(&mut *connection, placement, default).await?.unambiguous()?;
        let ledger = read_ledger(&mut *connection, &survey).await?;
        let files = RELEASES.to_apply(ledger.as_deref())?;
        let lacks_triggers =
            files.is_empty() && (!is_watched || !triggers::missing(connection, &survey).await?.is_empty());
        let already_applied = ledger.as_deref().map_or(0, <[Applied]>::len);
        Ok(Task { survey, is_new: ledger.is_none(), already_applied, files, lacks_triggers })
    }

    fn is_done(&self, order: &Order) -> bool {
        self.files.is_empty() && !self.lacks_triggers && order.seed.is_none()
    }
}

/// As [`Store::migrate_watched`](crate::Store::migrate_watched).
pub(super) async fn migrate(
    pool: &PostgresPool,
    console: &Console,
    order: &Order,
    is_watched: bool,
    watcher: Watcher<'_>,
) -> Result<MigrationReport, StoreError> {
    let mut run = Patience::begin(pool, order.terms, watcher).await?;
    let (placement, default) = pool.placement().await?;
    // Where there is nothing to do, no lock is taken and no right is needed but to look.
    let mut task = Task::of(run.connection()?, placement, default.clone(), is_watched).await?;
    if !task.is_done(order) {
        check(run.connection()?, placement, &task, order).await?;
        run.take(Step::Lock).await?;
        // Another may have migrated meanwhile.
        task = Task::of(run.connection()?, placement, default.clone(), is_watched).await?;
    }
    let before = tables(run.connection()?, &task.survey).await?;
    let mut report = MigrationReport {
        already_applied: task.already_applied,
        adopted_tables: if task.is_new { adopted(&task.survey) } else { Vec::new() },
        ..MigrationReport::default()
    };
    if task.is_done(order) {
        return Ok(report);
    }
    check(run.connection()?, placement, &task, order).await?;
    let batch = batch(&task, placement, console, default.as_deref(), order);
    report.applied = batch.parts.iter().filter_map(Part::label).collect();
    watcher(Progress::Applying(batch.name.clone()));
    let (Done { triggers, watch, .. }, took) = run.take(Step::Run(&batch)).await?;
    watcher(Progress::Applied(batch.name.clone(), took));
    report.triggers = triggers;
    report.watch = watch;
    report.seeded = order.seed;
    let survey = Survey::take(run.connection()?, placement, default).await?;
    let after = tables(run.connection()?, &survey).await?;
    report.created_tables = after.difference(&before).cloned().collect();
    Ok(report)
}

/// As [`Store::plan`](crate::Store::plan).
pub(super) async fn plan(
    pool: &PostgresPool,
    console: &Console,
    order: &Order,
    is_watched: bool,
) -> Result<Plan, StoreError> {
    let mut run = Patience::begin(pool, order.terms, &|_| {}).await?;
    let (placement, default) = pool.placement().await?;
    let task = Task::of(run.connection()?, placement, default.clone(), is_watched).await?;
    if task.is_done(order) {
        return Ok(Plan::default());
    }
    check(run.connection()?, placement, &task, order).await?;
    let schemas = task.survey.schemas().into_iter().map(str::to_owned).collect();
    // All of it in one transaction, which is undone.
    let mut parts = vec![Part::Path(schemas), Part::Roles];
    parts.extend(batch(&task, placement, console, default.as_deref(), order).parts);
    parts.push(Part::Roles);
    let batch = Batch { name: "the plan".to_owned(), parts, keeps: false };
    let (done, _) = run.take(Step::Run(&batch)).await?;
    let [before, after] = done.roles.as_slice() else { return Err(StoreError::Broken("a plan".into())) };
    Ok(Plan {
        changes: RolesChange::between(before, after),
        // The search path within a transaction is no business of a reader's.
        statements: done.statements.into_iter().filter(|(what, _)| what != SEARCH_PATH).collect(),
        adopted_tables: if task.is_new { adopted(&task.survey) } else { Vec::new() },
        gaps: done.watch.gaps,
    })
}

/// As [`Store::release`](crate::Store::release).
pub(super) async fn release(
    pool: &PostgresPool,
    terms: MigrationTerms,
    watcher: Watcher<'_>,
) -> Result<Vec<String>, StoreError> {
    let mut run = Patience::begin(pool, terms, watcher).await?;
    let (placement, default) = pool.placement().await?;
    let survey = Survey::take(run.connection()?, placement, default).await?.unambiguous()?;
    if !survey.own_tables.contains("gate_epoch") {
        return Err(StoreError::Schema(format!(
            "the schema `{}` has no tables of a gate, so there are no triggers of it",
            survey.own
        )));
    }
    run.take(Step::Lock).await?;
    let name = "the release of Console's tables".to_owned();
    let batch = Batch { name, parts: vec![Part::Release { own: &survey.own }], keeps: true };
    Ok(run.take(Step::Run(&batch)).await?.0.triggers)
}

async fn check(
    connection: &mut PgConnection,
    placement: &Placement,
    task: &Task,
    order: &Order,
) -> Result<(), StoreError> {
    check_encoding(connection).await?;
    let intent =
        Intent { is_new: task.is_new, console_is_given: placement.console_is_given, seed: order.seed };
    preflight::of_postgres(connection, &task.survey, intent).await
}

/// The transaction of a run.
fn batch<'t>(
    task: &'t Task,
    placement: &'t Placement,
    console: &'t Console,
    default: Option<&str>,
    order: &Order,
) -> Batch<'t> {
    let survey = &task.survey;
    let owned = |schemas: Vec<&str>| schemas.into_iter().map(str::to_owned).collect::<Vec<String>>();
    let files = task.files.clone();
    let mut parts = Vec::new();
    if !survey.own_exists {
        let create = format!("CREATE SCHEMA {}", quoted(&survey.own));
        parts.push(Part::Statements { what: format!("the schema `{}`", survey.own), text: create.into() });
    }
    parts.push(Part::Path(owned(survey.schemas())));
    if survey.ledger().is_none() {
        let what = "the ledger of migrations".to_owned();
        parts.push(Part::Statements { what, text: ledger_table(&survey.own).into() });
    }
    let names: Vec<String> = files.iter().map(|file| label(file.version, &file.description)).collect();
    // The seed needs the tables, and comes before what records writes to them.
    let (tables, later): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.version <= BEFORE_THE_SEED);
    parts.extend(tables.into_iter().map(|migration| Part::File { migration, ledger: &survey.own }));
    if let Some(seed) = order.seed {
        let console = survey.console().map(str::to_owned);
        let others = owned(survey.schemas());
        let path = console
            .iter()
            .cloned()
            .chain(others.into_iter().filter(|schema| Some(schema) != console.as_ref()));
        parts.push(Part::Path(path.collect()));
        let what = format!("the seed `{}`", seed.word());
        let texts = seed.postgres(placement.console_is_given).into_iter();
        parts.extend(texts.map(|text| Part::Statements { what: what.clone(), text: text.into() }));
        parts.push(Part::Path(owned(survey.schemas())));
    }
    parts.extend(later.into_iter().map(|migration| Part::File { migration, ledger: &survey.own }));
    parts.push(Part::Triggers { placement, default: default.map(str::to_owned) });
    parts.push(Part::Watch { console });
    let name = match names.as_slice() {
        [] => "the triggers on Console's tables".to_owned(),
        [only] => format!("migration {only}"),
        [first, .., last] => format!("migrations {first} to {last}"),
    };
    Batch { name, parts, keeps: true }
}

impl Part<'_> {
    /// The migration that it applies, `0400 baseline`.
    fn label(&self) -> Option<String> {
        match self {
            Part::File { migration, .. } => Some(label(migration.version, &migration.description)),
            _ => None,
        }
    }
}

fn adopted(survey: &Survey) -> Vec<String> {
    survey.adopted.iter().map(|(table, schema)| format!("{schema}.{table}")).collect()
}

/// The gate's tables and Console's, wherever they are.
async fn tables(connection: &mut PgConnection, survey: &Survey) -> Result<BTreeSet<String>, StoreError> {
    const TABLES: &str = "
        SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p')";
    let schemas: Vec<String> = survey.schemas().into_iter().map(str::to_owned).collect();
    let names: Vec<String> = sqlx::query_scalar(TABLES).bind(schemas).fetch_all(connection).await?;
    Ok(names.into_iter().filter(|name| is_ours(name) && name != LEDGER).collect())
}

/// The rows of the ledger, if there is one, wherever it is.
pub(super) async fn ledger(pool: &PostgresPool) -> Result<Option<Vec<Applied>>, StoreError> {
    let (placement, default) = pool.placement().await?;
    let mut lease = pool.acquire().await?;
    let default = match default {
        None => default_schema(&mut lease).await?,
        found => found,
    };
    let survey = Survey::take(&mut lease, placement, default).await?.unambiguous()?;
    read_ledger(&mut lease, &survey).await
}

async fn read_ledger(
    connection: &mut PgConnection,
    survey: &Survey,
) -> Result<Option<Vec<Applied>>, StoreError> {
    let Some(schema) = survey.ledger() else { return Ok(None) };
    let rows = ledger_rows(&format!("{}.{LEDGER}", quoted(schema)), "installed_on AT TIME ZONE 'UTC'");
    let rows: Vec<Applied> = sqlx::query_as(AssertSqlSafe(rows)).fetch_all(connection).await?;
    Ok((!rows.is_empty()).then_some(rows))
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
