//! The database: one [`Store`], which runs each SQL text on the database that was chosen at start.
//!
//! Postgres is Console's own database, shared by any number of gates; SQLite is a file beside the gate. Each entity's
//! file holds its SQL and its part of [`Store`]. `sql.rs` and `connection.rs` run a statement on either database,
//! `postgres.rs` and `sqlite.rs` connect, and `change.rs` is the transaction of every audited change. This is the only
//! module with SQL in it.

pub mod access;
pub mod access_grants;
pub mod access_requests;
pub mod alerts;
pub mod audit;
pub mod audit_pages;
pub mod break_glass;
pub mod break_glass_scope;
pub mod catalog;
pub mod console;
pub mod control;
pub mod decisions;
pub mod directory;
pub mod drift;
pub mod engine;
pub mod everybody;
pub mod evidence;
pub mod grant_pages;
pub mod grant_records;
pub mod grantors;
pub mod history;
pub mod idempotency;
pub mod instances;
pub mod invalid_rows;
pub mod jobs;
pub mod mappings;
pub mod passkeys;
pub mod people;
pub mod rbac_changes;
pub mod refusals;
pub mod retention;
pub mod reviews;
pub mod running;
pub mod schema;
pub mod sessions;
pub mod signoffs;
pub mod soak;
pub mod tickets;
pub mod timeline;
pub mod tokens;
pub mod windows;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use access::AccessSource;
use arc_swap::ArcSwapOption;
pub use audit::AuditStore;
pub use engine::error::StoreError;
use policy::rbac::break_glass::BreakGlassRules;
pub use schema::placement::Placement;
use sqlx::{PgPool, SqlitePool};

use self::console::mirror::Mirror;
use self::console::select::Dialect;
use self::console::{Console, Relation, Relations};
use self::control::ProductionWords;
use self::engine::connection::Pool;
use self::engine::postgres::{Pin, PostgresPool};
use self::engine::reused::KeptConnections;
use self::engine::sql::{Record, Statement};
use self::everybody::{Everybody, Granted, Kept};

/// The database of a gate.
///
/// # Errors
///
/// Each operation fails with a [`StoreError`] that tells an operator what to do about it. Unless documented otherwise, it
/// takes no longer than [`StoreOptions::timeout`], and changes everything or nothing.
#[derive(Debug)]
pub struct Store {
    pool: Pool,
    /// For the control row alone, which every strict request waits for: other statements must not be in its way.
    control_pool: Pool,
    control_connections: KeptConnections,
    /// The state of the database in which all that watches Console's tables was last found to be there.
    watch_whole_at: ArcSwapOption<String>,
    /// For the audit's writer alone, which every 403 waits for.
    audit_pool: Pool,
    audit_connections: KeptConnections,
    /// For reads of access, by the operator's SELECTs too: its connections only read.
    access_pool: Pool,
    console: Console,
    limit: Limit,
    /// Which words mean production, where the settings say so.
    production: OnceLock<ProductionWords>,
    /// Who may have a break-glass session, where the settings say so.
    break_glass: OnceLock<BreakGlassRules>,
    /// Console's own audit table, where denials are mirrored there.
    mirror: OnceLock<Mirror>,
    placement: Placement,
    everybody: Kept<Everybody>,
    granted: Kept<Granted>,
}

/// A store, opened once at start.
pub type SharedStore = Arc<Store>;

/// A text as both databases take it: Postgres refuses U+0000.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The bound on any one operation, which all pools of a store share.
#[derive(Clone, Debug)]
pub(crate) struct Limit(Arc<AtomicU64>);

impl Limit {
    fn new(limit: Duration) -> Limit {
        let this = Limit(Arc::default());
        this.set(limit);
        this
    }

    fn set(&self, limit: Duration) {
        self.0.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Runs a database operation within `limit`: a database that hangs must not hang a decision.
pub(crate) async fn bounded<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, operation).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StoreError::Timeout(limit)),
    }
}

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file; `None` is a database in memory, which only tests use.
    Sqlite(std::path::PathBuf),
    /// A Postgres connection string. It may hold a password, so it is never printed.
    Postgres(String),
}

impl DatabaseUrl {
    /// Parses `sqlite:FILE`, `sqlite://FILE`, `postgres://...` or `postgresql://...`.
    ///
    /// # Errors
    ///
    /// Any other scheme, or a SQLite URL without a file. The message does not repeat the URL.
    pub fn parse(url: &str) -> Result<DatabaseUrl, String> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') {
                return Err("a sqlite URL needs a file: `sqlite:gate.sqlite`".into());
            }
            return Ok(DatabaseUrl::Sqlite(path.into()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(DatabaseUrl::Postgres(url.to_owned()));
        }
        Err("a database URL begins with `sqlite:` or `postgres://`".into())
    }
}

impl DatabaseUrl {
    /// The location and the user, without the password.
    pub fn in_words(&self) -> String {
        match self {
            DatabaseUrl::Sqlite(file) => format!("SQLite, {}", file.display()),
            DatabaseUrl::Postgres(url) => engine::postgres::in_words(url),
        }
    }
}

impl DatabaseUrl {
    /// The commands that copy the gate's schema out of Postgres and put it back, without the password; `None` for SQLite.
    pub fn dump_commands(&self, schema: &str, file: &std::path::Path) -> Option<[String; 2]> {
        match self {
            DatabaseUrl::Sqlite(_) => None,
            DatabaseUrl::Postgres(url) => engine::postgres::dump_commands(url, schema, file),
        }
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DatabaseUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            DatabaseUrl::Postgres(_) => f.write_str("postgres:(hidden)"),
        }
    }
}

/// Connections of the audit's writer: one that it keeps for the proxy's runtime and one for the admin address, one for what takes a
/// transaction, and one more while the pool gives one up.
const OF_AUDIT: u32 = 4;
/// Connections for the control row: one for the proxy's runtime and one for the admin address, one for what polls a SQLite file,
/// and one more while the pool gives one up.
const OF_CONTROL: u32 = 4;

/// How to talk to the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub url: DatabaseUrl,
    /// For access, and as many for everything else; beside those of the control row's reader and the audit's writer, one or
    /// two each.
    pub max_connections: u32,
    /// The bound on any one operation, until [`Store::set_limit`].
    pub timeout: Duration,
    /// What to read of Console.
    pub console: Relations,
}

/// Opens the database without changing it. The connections are made when they are first needed.
///
/// # Errors
///
/// The URL is unusable, or a SQLite file cannot be opened.
pub async fn open(options: &StoreOptions) -> Result<SharedStore, StoreError> {
    open_at(options, Placement::default()).await
}

/// As [`open`], where the settings say where the tables are.
///
/// # Errors
///
/// As [`open`].
pub async fn open_at(options: &StoreOptions, placement: Placement) -> Result<SharedStore, StoreError> {
    let console_is_given = placement.console_is_given || !options.console.is_documented(Relation::Admins);
    let placement = Placement { console_is_given, ..placement };
    let limit = Limit::new(options.timeout);
    let dialect = match &options.url {
        DatabaseUrl::Sqlite(_) => Dialect::Sqlite,
        DatabaseUrl::Postgres(_) => Dialect::Postgres,
    };
    let console = Console::new(options.console.clone(), dialect)?;
    let [pool, access_pool, control_pool, audit_pool] = match &options.url {
        DatabaseUrl::Sqlite(path) => engine::sqlite::open(path, options).await?.map(Pool::Sqlite),
        DatabaseUrl::Postgres(url) => {
            let pin = Pin::new(engine::postgres::connect_options(url)?, placement.clone(), limit.clone());
            let most = options.max_connections;
            [
                PostgresPool::new(&pin, most),
                PostgresPool::only_reading(&pin, most),
                PostgresPool::new(&pin, OF_CONTROL),
                PostgresPool::new(&pin, OF_AUDIT),
            ]
            .map(Pool::Postgres)
        }
    };
    Ok(Arc::new(Store {
        pool,
        control_pool,
        control_connections: KeptConnections::default(),
        watch_whole_at: ArcSwapOption::empty(),
        audit_pool,
        audit_connections: KeptConnections::default(),
        access_pool,
        console,
        limit,
        production: OnceLock::new(),
        break_glass: OnceLock::new(),
        mirror: OnceLock::new(),
        placement,
        everybody: Kept::default(),
        granted: Kept::default(),
    }))
}

/// How much of a pool of connections is used.
#[derive(Clone, Debug)]
pub struct PoolState {
    pub name: &'static str,
    pub idle: usize,
    pub used: usize,
    pub most: u32,
}

impl Store {
    /// How much of each pool is used.
    pub fn pools(&self) -> [PoolState; 4] {
        let Store { pool, access_pool, control_pool, audit_pool, .. } = self;
        [("rest", pool), ("access", access_pool), ("control", control_pool), ("audit", audit_pool)].map(
            |(name, pool)| {
                let (open, idle, most) = pool.counts();
                PoolState { name, idle, used: (open as usize).saturating_sub(idle), most }
            },
        )
    }

    /// The pool of a Postgres database, for tests that must reach around the gate.
    pub fn postgres(&self) -> Option<&PgPool> {
        if let Pool::Postgres(pool) = &self.pool { Some(&pool.inner) } else { None }
    }

    /// The pool of a SQLite file, for tests that must reach around the gate.
    pub fn sqlite(&self) -> Option<&SqlitePool> {
        if let Pool::Sqlite(pool) = &self.pool { Some(pool) } else { None }
    }

    /// The bound on any one operation from now on, for a process that is more patient at first. An operation waits for a
    /// connection for the limit with which the store was opened at most, so this only lowers it.
    ///
    /// # Errors
    ///
    /// The database does not say where the tables are.
    pub async fn set_limit(&self, limit: Duration) -> Result<(), StoreError> {
        self.limit.set(limit);
        // Their connections give a statement the limit with which they were made.
        self.control_connections.clear();
        self.audit_connections.clear();
        for pool in [&self.pool, &self.access_pool, &self.control_pool, &self.audit_pool] {
            pool.renew(limit).await?;
        }
        Ok(())
    }

    /// Whether the database takes a connection, outside the pools, whose errors say less.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn try_connecting(&self) -> Result<(), StoreError> {
        match &self.pool {
            Pool::Sqlite(_) => Ok(()),
            Pool::Postgres(pool) => self.bounded(pool.try_connecting()).await,
        }
    }

    async fn bounded<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        bounded(self.limit.get(), operation).await
    }

    /// Runs one statement within the limit, and returns the number of rows that it changed.
    async fn execute(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        self.bounded(async { self.pool.acquire().await?.execute(statement).await }).await
    }

    /// All rows of one statement, read within the limit.
    async fn all<T: Record>(&self, statement: Statement<'_>) -> Result<Vec<T>, StoreError> {
        self.bounded(async { self.pool.acquire().await?.all(statement).await }).await
    }

    /// The first row of one statement, if it yields one, read within the limit.
    async fn first<T: Record>(&self, statement: Statement<'_>) -> Result<Option<T>, StoreError> {
        self.bounded(async { self.pool.acquire().await?.first(statement).await }).await
    }
}
