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
pub mod instances;
pub mod mappings;
pub mod migrations;
pub mod people;
pub mod postgres;
pub mod retention;
pub mod signoffs;
pub mod soak;
pub mod sqlite;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

pub use access::AccessStore;
pub use audit::AuditStore;
pub use catalog::CatalogStore;
pub use census::CensusStore;
pub use control::ControlStore;
pub use decisions::DecisionLogStore;
pub use drift::DriftStore;
pub use instances::InstanceStore;
pub use mappings::MappingStore;
pub use migrations::MigrationStore;
pub use people::PeopleStore;
pub use postgres::PostgresStore;
pub use retention::RetentionStore;
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
    + MappingStore
    + MigrationStore
    + PeopleStore
    + RetentionStore
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

/// What can go wrong in the database. No variant holds a URL, a password or a bound value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, or none in time. A decision that needs the database is refused with 503.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The statement did not finish in time.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// The database refused what the statement says: it would refuse it again.
    #[error("the database refused a statement: {0}")]
    Refused(String),
    /// Something that must be unique is there already, or a row refers to nothing.
    #[error("{0}")]
    Conflict(String),
    /// A row holds what it must not.
    #[error("the database holds a broken row: {0}")]
    Broken(String),
    /// The schema is not the one that this gate knows.
    #[error("the schema needs attention: {0}")]
    Schema(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refusal)
                if refusal.is_unique_violation() || refusal.is_foreign_key_violation() =>
            {
                StoreError::Conflict(refusal.message().to_owned())
            }
            sqlx::Error::Database(refusal) if is_about_the_row(refusal.as_ref()) => {
                StoreError::Refused(refusal.message().to_owned())
            }
            sqlx::Error::Database(refusal) => StoreError::Unavailable(refusal.message().to_owned()),
            sqlx::Error::ColumnDecode { index, .. } => StoreError::Broken(format!("column {index}")),
            sqlx::Error::Configuration(_) => StoreError::Unavailable("the database URL is not usable".into()),
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

impl StoreError {
    /// Whether the statement can be blamed. It was not carried out then, and never will be; any other error leaves
    /// open whether it was, and may pass.
    pub fn is_final(&self) -> bool {
        matches!(self, StoreError::Refused(_) | StoreError::Conflict(_) | StoreError::Broken(_))
    }
}

/// Whether the database objects to the values, rather than that it cannot work: a full disk, a standby that only reads,
/// a lock held for too long, a right or a table that is missing are refusals too, and pass.
fn is_about_the_row(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    let code = refusal.code();
    let Some(code) = code.as_deref() else { return true };
    if refusal.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        // By class (PostgreSQL, Appendix A): data exception, constraint, a trigger's own word.
        return ["22", "23", "P0"].iter().any(|class| code.starts_with(class));
    }
    // SQLite's primary result code is the low byte: TOOBIG, CONSTRAINT (a trigger's word too), MISMATCH, RANGE.
    const ABOUT_THE_ROW: [u32; 4] = [18, 19, 20, 25];
    code.parse::<u32>().is_ok_and(|code| ABOUT_THE_ROW.contains(&(code & 0xff)))
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

/// How to talk to the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub url: DatabaseUrl,
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
