//! A store under test, and a way around it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeZone as _, Utc};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use store::{DatabaseUrl, SharedStore, StoreOptions};
use tempfile::TempDir;

use crate::postgres::{self, Postgres};
use crate::template::Template;

/// Far above what any operation takes, because the machine may be busy; the tests of the limit set their own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An empty database, or one that has been migrated, and the store over it.
pub(crate) struct Database {
    pub(crate) store: SharedStore,
    pub(crate) raw: Raw,
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

/// SQL around the gate.
#[derive(Clone)]
pub(crate) enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// A migrated SQLite file.
    pub(crate) async fn sqlite() -> Database {
        Database::in_folder(|file| template().sqlite(file)).await
    }

    /// A migrated Postgres database.
    pub(crate) async fn postgres() -> Database {
        Database::open(&Postgres::shared().copy(&template().key(), template().migrate)).await
    }

    /// The folder of the migrations.
    pub(crate) fn migrations(&self) -> &'static str {
        if self.is_postgres() { "migrations/postgres" } else { "migrations/sqlite" }
    }

    pub(crate) async fn empty_sqlite() -> Database {
        Database::in_folder(|_| ()).await
    }

    async fn in_folder(prepare: impl FnOnce(&Path)) -> Database {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("gate.sqlite");
        prepare(&file);
        let mut database = Database::open(&format!("sqlite:{}", file.display())).await;
        database._folder = Some(folder);
        database
    }

    pub(crate) async fn empty_postgres() -> Database {
        Database::open(&Postgres::shared().database()).await
    }

    /// One more store on the database of `url`: another gate.
    pub(crate) async fn open(url: &str) -> Database {
        Database::open_with(url, store::console::Relations::default()).await
    }

    /// The same for a Console with tables of its own.
    pub(crate) async fn open_with(url: &str, console: store::console::Relations) -> Database {
        let options = StoreOptions { console, ..options(url, PATIENCE) };
        let store = store::open(&options).await.expect("SQLite opens, and Postgres has a usable URL");
        // The first look pins the search path, of the connections around the gate too. What it says is not the point.
        let _ = store.schema_state().await;
        let raw = match (store.sqlite(), store.postgres()) {
            (Some(pool), _) => Raw::Sqlite(pool.clone()),
            (_, Some(pool)) => Raw::Postgres(pool.clone()),
            (None, None) => unreachable!("a store is one of them"),
        };
        Database { store, raw, url: url.to_owned(), _folder: None }
    }

    /// The database under the eyes of a gate that reads Console so.
    pub(crate) async fn reading(self, console: store::console::Relations) -> Database {
        let other = Database::open_with(&self.url, console).await;
        Database { _folder: self._folder, ..other }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.raw, Raw::Postgres(_))
    }

    /// The epoch, read around the gate.
    pub(crate) async fn epoch(&self) -> i64 {
        self.number("SELECT epoch FROM gate_epoch").await
    }

    /// Runs statements, all of which must succeed.
    pub(crate) async fn execute(&self, statements: &str) {
        self.attempt(statements).await.unwrap_or_else(|error| panic!("{error}\nin {statements}"));
    }

    /// Runs statements; the error is what the database said.
    pub(crate) async fn attempt(&self, statements: &str) -> Result<(), String> {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        let outcome = match &self.raw {
            Raw::Sqlite(pool) => statements.execute(pool).await.map(drop),
            Raw::Postgres(pool) => statements.execute(pool).await.map(drop),
        };
        outcome.map_err(|error| error.to_string())
    }

    /// The one number that a query yields.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(query).fetch_one(pool).await,
            Raw::Postgres(pool) => sqlx::query_scalar(query).fetch_one(pool).await,
        }
        .expect("a query for one number")
    }

    /// The only column, a text, of the rows that a query yields.
    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(query).fetch_all(pool).await,
            Raw::Postgres(pool) => sqlx::query_scalar(query).fetch_all(pool).await,
        }
        .expect("a query for texts")
    }

    /// The tables, the migration ledger among them.
    pub(crate) async fn tables(&self) -> Vec<String> {
        let query = match self.raw {
            Raw::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
            Raw::Postgres(_) => {
                "SELECT tablename::text FROM pg_tables WHERE schemaname IN ('public', 'console_gate')
                  ORDER BY tablename"
            }
        };
        self.texts(query).await
    }

    /// Every row of a table, each as one text, in a fixed order.
    pub(crate) async fn rows(&self, table: &str) -> Vec<String> {
        let columns = match self.raw {
            Raw::Sqlite(_) => {
                let query = format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')");
                self.texts(&query).await.join(" || ',' || ")
            }
            Raw::Postgres(_) => "t::text".to_owned(),
        };
        self.texts(&format!("SELECT {columns} AS content FROM {table} t ORDER BY content")).await
    }

    /// Everything that is in the database.
    pub(crate) async fn everything(&self) -> Vec<(String, Vec<String>)> {
        let mut everything = Vec::new();
        for table in self.tables().await {
            let rows = self.rows(&table).await;
            everything.push((table, rows));
        }
        everything
    }
}

/// What the store of this program makes of an empty database, with the documents' groups and roles.
fn template() -> Template {
    Template {
        name: concat!("migrated_by_", env!("CARGO_CRATE_NAME")),
        program: std::env::current_exe().expect("the test's own program"),
        migrate: |url| {
            let url = url.to_owned();
            postgres::blocking(async move {
                let store = store::open(&options(&url, PATIENCE)).await.expect("an empty database opens");
                store.migrate_seeded().await.expect("an empty database can be migrated");
                if let Some(pool) = store.sqlite() {
                    pool.close().await;
                }
                if let Some(pool) = store.postgres() {
                    pool.close().await;
                }
            });
        },
    }
}

/// Options for `url` with a limit of `timeout`.
pub(crate) fn options(url: &str, timeout: Duration) -> StoreOptions {
    let url = DatabaseUrl::parse(url).expect("a database URL");
    StoreOptions { url, max_connections: 4, timeout, console: store::console::Relations::default() }
}

/// The time in all tests: some microseconds past a second, so that a database which drops them is found out.
pub(crate) fn noon() -> DateTime<Utc> {
    let noon = Utc.with_ymd_and_hms(2026, 3, 29, 12, 0, 0).single().expect("a time that exists");
    noon + Duration::from_micros(123_456)
}

/// A time as an SQL literal that both databases read.
pub(crate) fn literal(time: DateTime<Utc>) -> String {
    format!("'{}'", time.to_rfc3339_opts(SecondsFormat::AutoSi, false))
}

/// A folder of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
