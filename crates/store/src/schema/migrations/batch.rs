//! Statements that are applied to Postgres in one transaction: all of them, or none.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sqlx::migrate::Migration;
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::{label, triggers};
use crate::StoreError;
use crate::console::Console;
use crate::console::watch::{self, Fault, Watch};
use crate::engine::connection::Connection;
use crate::schema::placement::{LEDGER, Placement, Survey, quoted, search_path};

/// The name of the statement that sets it.
pub(super) const SEARCH_PATH: &str = "the search path";

/// What one transaction does, part by part.
pub(super) struct Batch<'m> {
    /// `migration 0400 baseline`, as the operator reads it while waiting.
    pub(super) name: String,
    pub(super) parts: Vec<Part<'m>>,
    /// Whether what was done stays; otherwise it is undone in the end.
    pub(super) keeps: bool,
}

pub(super) enum Part<'m> {
    /// The schemas in which the next parts work.
    Path(Vec<String>),
    /// Statements, under a name for people.
    Statements { what: String, text: Cow<'m, str> },
    /// A file, and its row in the ledger of this schema.
    File { migration: &'m Migration, ledger: &'m str },
    /// The triggers that are missing by then.
    Triggers { placement: &'m Placement, default: Option<String> },
    /// The triggers on what `[console]` reads.
    Watch { console: &'m Console },
    /// Takes the gate's triggers off Console's tables.
    Release { own: &'m str },
    /// Looks who holds which roles by then, if there are memberships.
    Roles,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Each text that was sent, under its name.
    pub(super) statements: Vec<(String, String)>,
    /// The triggers that were put there or taken off, by name.
    pub(super) triggers: Vec<String>,
    /// Who held which roles, each time that was looked at.
    pub(super) roles: Vec<Roles>,
    /// The state of the triggers on Console's tables.
    pub(super) watch: Watch,
}

/// Member ids with the names of the roles that they hold through groups.
pub(super) type Roles = BTreeMap<String, BTreeSet<String>>;

/// By group, and by what a role inherits. Ids are compared as texts: they may be of any type.
pub(super) const HELD: &str = "
    WITH RECURSIVE held(member, role) AS (
        SELECT CAST(ug.user_id AS TEXT), CAST(gr.role_id AS TEXT)
          FROM rbac_user_groups ug
          JOIN rbac_group_roles gr ON CAST(gr.group_id AS TEXT) = CAST(ug.group_id AS TEXT)
         WHERE ug.user_id IS NOT NULL
        UNION
        SELECT h.member, CAST(i.parent_role_id AS TEXT)
          FROM held h JOIN rbac_role_inheritance i ON CAST(i.child_role_id AS TEXT) = h.role
    )
    SELECT h.member, CAST(r.name AS TEXT)
      FROM held h JOIN rbac_roles r ON CAST(r.id AS TEXT) = h.role
     WHERE r.name IS NOT NULL
     ORDER BY 1, 2";

/// Why a batch failed; nothing of it stays.
#[derive(Debug)]
pub(super) enum Failed {
    /// A part was refused.
    Part {
        what: String,
        error: sqlx::Error,
    },
    Store(StoreError),
}

impl Failed {
    pub(super) fn in_part(what: &str, error: sqlx::Error) -> Failed {
        Failed::Part { what: what.to_owned(), error }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Store(error)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> StoreError {
        match failed {
            Failed::Store(error) => error,
            Failed::Part { what, error } => {
                let detail = detail(&error);
                match StoreError::from(error) {
                    // An unreachable server does not mean that the part failed.
                    away @ (StoreError::Unavailable(_) | StoreError::Timeout(_)) => away,
                    cause => StoreError::Schema(format!("{what} failed: {cause}{detail}")),
                }
            }
        }
    }
}

/// What Postgres adds to its message, such as which columns do not fit. A migration binds no value that it could show.
fn detail(error: &sqlx::Error) -> String {
    let refusal = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    refusal.and_then(PgDatabaseError::detail).map_or_else(String::new, |detail| format!(" ({detail})"))
}

/// The ledger, as sqlx makes it: an earlier release has to be able to read it.
pub(super) fn ledger_table(schema: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{LEDGER} (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
)",
        quoted(schema)
    )
}

pub(super) fn by_member(rows: Vec<(String, String)>) -> Roles {
    let mut roles = Roles::new();
    for (member, role) in rows {
        roles.entry(member).or_default().insert(role);
    }
    roles
}

impl Batch<'_> {
    pub(super) async fn run(&self, connection: &mut Connection) -> Result<Done, Failed> {
        let outcome = self.run_in_transaction(connection).await;
        if outcome.is_err() {
            // A connection that is lost has undone it already.
            let _ = connection.run("ROLLBACK").await;
        }
        outcome
    }

    async fn run_in_transaction(&self, connection: &mut Connection) -> Result<Done, Failed> {
        let fail = |error| Failed::in_part(&self.name, error);
        let mut done = Done::default();
        postgres(connection)?.execute("BEGIN").await.map_err(fail)?;
        for part in &self.parts {
            Box::pin(part.run(connection, self.keeps, &mut done)).await?;
        }
        let end = if self.keeps { "COMMIT" } else { "ROLLBACK" };
        postgres(connection)?.execute(end).await.map_err(fail)?;
        Ok(done)
    }
}

impl Part<'_> {
    async fn run(&self, connection: &mut Connection, keeps: bool, done: &mut Done) -> Result<(), Failed> {
        if let Part::Watch { console } = self {
            let watch = watch::postgres::within(connection, console, keeps).await.map_err(in_watch)?;
            let named = watch.statements.iter().map(|text| (WATCH.to_owned(), text.clone()));
            done.statements.extend(named);
            if watch.is_new {
                done.triggers.extend(watch.triggers());
            }
            done.watch = watch;
            return Ok(());
        }
        let connection = postgres(connection)?;
        match self {
            Part::Watch { .. } => Ok(()),
            Part::Path(schemas) => {
                let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
                let set = format!("SET LOCAL search_path = {}", search_path(&schemas));
                send(connection, SEARCH_PATH, set, done).await
            }
            Part::Statements { what, text } => send(connection, what, text.clone().into_owned(), done).await,
            Part::File { migration, ledger } => {
                let what = format!("migration {}", label(migration.version, &migration.description));
                send(connection, &what, migration.sql.as_str().to_owned(), done).await?;
                let record = format!(
                    "INSERT INTO {}.{LEDGER} (version, description, success, checksum, execution_time)
                     VALUES ($1, $2, TRUE, $3, -1)",
                    quoted(ledger)
                );
                sqlx::query(AssertSqlSafe(record))
                    .bind(migration.version)
                    .bind(&*migration.description)
                    .bind(&*migration.checksum)
                    .execute(connection)
                    .await
                    .map(drop)
                    .map_err(|error| Failed::in_part(&what, error))
            }
            Part::Triggers { placement, default } => {
                let survey = Survey::take(connection, placement, default.clone()).await?;
                for (name, statement) in triggers::missing(connection, &survey).await? {
                    let what = format!("the trigger {name}");
                    // A plan takes no lock on Console's tables.
                    if keeps {
                        send(connection, &what, statement, done).await?;
                    } else {
                        done.statements.push((what, statement));
                    }
                    done.triggers.push(name);
                }
                Ok(())
            }
            Part::Release { own } => {
                for (name, statement) in triggers::on_consoles_tables(connection, own).await? {
                    send(connection, &format!("the trigger {name}"), statement, done).await?;
                    done.triggers.push(name);
                }
                send(connection, "the epoch", triggers::after_release(own), done).await
            }
            Part::Roles => {
                const ALL_THERE: &str = "
                    SELECT count(to_regclass(name)) = 4
                      FROM unnest(ARRAY['rbac_user_groups', 'rbac_group_roles', 'rbac_role_inheritance', 'rbac_roles'])
                        AS name";
                let fail = |error| Failed::in_part("who holds which roles", error);
                let are_there: bool =
                    sqlx::query_scalar(ALL_THERE).fetch_one(&mut *connection).await.map_err(fail)?;
                let rows: Vec<(String, String)> = if are_there {
                    sqlx::query_as(HELD).fetch_all(connection).await.map_err(fail)?
                } else {
                    Vec::new()
                };
                done.roles.push(by_member(rows));
                Ok(())
            }
        }
    }
}

const WATCH: &str = "the triggers on Console's tables";

fn in_watch(fault: Fault) -> Failed {
    match fault {
        Fault::Sql(error) => Failed::in_part(WATCH, error),
        Fault::Store(error) => Failed::Store(error),
    }
}

/// The connection of a migration of Postgres.
pub(super) fn postgres(connection: &mut Connection) -> Result<&mut PgConnection, StoreError> {
    match connection {
        Connection::Postgres(lease) => Ok(lease),
        Connection::Sqlite(_) => Err(StoreError::Unusable("it is not a Postgres database".into())),
    }
}

async fn send(
    connection: &mut PgConnection,
    what: &str,
    text: String,
    done: &mut Done,
) -> Result<(), Failed> {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(text.clone())))
        .await
        .map_err(|error| Failed::in_part(what, error))?;
    done.statements.push((what.to_owned(), text));
    Ok(())
}
