//! The database: one trait an entity, two implementations, one SQL text wherever both databases read it.
//!
//! [`PostgresStore`] is Console's own database, shared by any number of gates; [`SqliteStore`] is a file beside the
//! gate. Each entity's file holds its trait and its SQL; `postgres.rs` and `sqlite.rs` hold what differs: connecting,
//! migrating, protecting. This is the only module with SQL in it.

pub mod access;
pub mod audit;
pub mod catalog;
pub mod census;
pub mod control;
pub mod decisions;
pub mod drift;
pub mod error;
pub mod evidence;
pub mod flaws;
pub mod grants;
pub mod instances;
mod lenient;
pub mod mappings;
pub mod migrations;
pub mod people;
pub mod postgres;
pub mod retention;
pub mod running;
pub mod signoffs;
pub mod soak;
pub mod sqlite;
pub mod tokens;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub use access::AccessStore;
pub use audit::AuditStore;
pub use catalog::CatalogStore;
pub use census::CensusStore;
pub use control::ControlStore;
pub use decisions::DecisionLogStore;
pub use drift::DriftStore;
pub use error::StoreError;
pub use evidence::EvidenceStore;
pub use flaws::FlawStore;
pub use instances::InstanceStore;
pub use mappings::MappingStore;
pub use migrations::MigrationStore;
pub use people::PeopleStore;
pub use postgres::PostgresStore;
pub use retention::RetentionStore;
pub use running::RunningStore;
pub use signoffs::SignOffStore;
pub use soak::SoakStore;
pub use sqlite::SqliteStore;
pub use tokens::TokenStore;

/// What access is decided from: what callers hold, the control row, and the gates that have it pushed.
pub trait AccessSource: AccessStore + ControlStore + InstanceStore + Send + Sync + 'static {}

impl<S: AccessStore + ControlStore + InstanceStore + Send + Sync + 'static> AccessSource for S {}

/// Everything that a gate asks of its database.
pub trait Store:
    AccessSource
    + AuditStore
    + CatalogStore
    + CensusStore
    + DecisionLogStore
    + DriftStore
    + EvidenceStore
    + FlawStore
    + MappingStore
    + MigrationStore
    + PeopleStore
    + RetentionStore
    + RunningStore
    + SignOffStore
    + SoakStore
    + TokenStore
    + Send
    + Sync
    + 'static
{
}

impl Store for PostgresStore {}
impl Store for SqliteStore {}

/// A store, chosen once at start.
pub type SharedStore = Arc<dyn Store>;

/// A text as both databases take it: Postgres refuses U+0000.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
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

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DatabaseUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            DatabaseUrl::Postgres(_) => f.write_str("postgres:(hidden)"),
        }
    }
}

/// Connections of each task that must not wait for others': one, and a second while the first is given up.
const RESERVED: u32 = 2;

/// How to talk to the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub url: DatabaseUrl,
    /// Beside those of the control row's reader and the audit's writer, one or two each.
    pub max_connections: u32,
    /// The bound on any one operation.
    pub timeout: Duration,
}

/// Opens the database without changing it. The connections are made when they are first needed.
///
/// # Errors
///
/// The URL is unusable, or a SQLite file cannot be opened.
pub async fn open(options: &StoreOptions) -> Result<SharedStore, StoreError> {
    match &options.url {
        DatabaseUrl::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path, options).await?)),
        DatabaseUrl::Postgres(url) => Ok(Arc::new(PostgresStore::open(url, options)?)),
    }
}
