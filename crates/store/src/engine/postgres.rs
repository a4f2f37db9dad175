//! Postgres: how to connect, and a pool that gives up a connection that does not come back.
//!
//! sqlx pings each connection on its way back to the pool, for as long as that takes. Where packets vanish, the kernel
//! takes a quarter of an hour to notice, and behind a proxy that has forgotten the connection it never does; until then
//! the pool has a connection less. A hole of seconds could so cost all of them, and the gate would answer 503 long after
//! its database is back. Here the way back has a bound, and a connection that exceeds it is dropped and replaced.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::schema::placement::{Placement, Survey, default_schema};
use crate::{Limit, StoreError, bounded};

/// How to connect to `url`. Nothing is connected yet, so a gate can start while its database is away.
///
/// # Errors
///
/// The URL cannot be parsed.
pub(crate) fn connect_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Unusable("the postgres URL cannot be parsed".into()))?
        .application_name("console-gate")
        .disable_statement_logging())
}

/// The server, the database and the user of a URL.
pub(crate) fn in_words(url: &str) -> String {
    let Ok(options) = PgConnectOptions::from_str(url) else { return "Postgres".to_owned() };
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("Postgres, database `{database}` at {host} as `{}`", options.get_username())
}

/// As [`DatabaseUrl::dump_commands`](crate::DatabaseUrl::dump_commands).
pub(crate) fn dump_commands(url: &str, schema: &str, file: &std::path::Path) -> Option<[String; 2]> {
    let options = PgConnectOptions::from_str(url).ok()?;
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let server = format!(
        "--host={} --port={} --username={} --dbname={}",
        quoted(&host),
        options.get_port(),
        quoted(options.get_username()),
        quoted(database)
    );
    let (schema, file) = (quoted(schema), quoted(&file.display().to_string()));
    Some([
        format!("pg_dump --format=custom --schema={schema} --file={file} {server}"),
        format!("pg_restore --single-transaction --clean --if-exists {server} {file}"),
    ])
}

fn connecting(connect: &PgConnectOptions, limit: &Limit, only_reads: bool) -> PgConnectOptions {
    // A statement that the client has given up on must not go on holding locks.
    let connect = connect.clone().options([("statement_timeout", (limit.get().as_millis() * 5).to_string())]);
    if only_reads { connect.options([("default_transaction_read_only", "on")]) } else { connect }
}

/// Makes a new TCP connection send each write at once. sqlx 0.9 leaves `TCP_NODELAY` out (its next
/// release sets it: transact-rs/sqlx#4336), and has no way to a connection's socket.
async fn send_at_once(port: Option<u16>) -> Result<(), sqlx::Error> {
    let Some(port) = port else { return Ok(()) };
    // It lists every descriptor of the process.
    let set = spawn_blocking(move || sockets::send_at_once(port)).await;
    if let Ok(Err(error)) = set {
        tracing::warn!(error = %error, "a connection to Postgres may wait 40 ms for acknowledgements");
    }
    Ok(())
}

/// Where the tables are, found once for all pools of a store, by the first connection.
pub(crate) struct Pin {
    connect: PgConnectOptions,
    placement: Placement,
    limit: Limit,
    pinned: OnceCell<Pinned>,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // How to connect holds a password.
        f.debug_struct("Pin").field("placement", &self.placement).finish_non_exhaustive()
    }
}

/// What a connection is made with from then on.
struct Pinned {
    connect: PgConnectOptions,
    /// Where the role's own search path would make a table.
    default: Option<String>,
}

impl Pin {
    pub(crate) fn new(connect: PgConnectOptions, placement: Placement, limit: Limit) -> Arc<Pin> {
        Arc::new(Pin { connect, placement, limit, pinned: OnceCell::new() })
    }

    async fn pinned(&self) -> Result<&Pinned, StoreError> {
        self.pinned.get_or_try_init(|| bounded(self.limit.get(), self.find())).await
    }

    /// Connects as the role's own settings say, and looks through every schema.
    async fn find(&self) -> Result<Pinned, StoreError> {
        let mut connection =
            PgConnection::connect_with(&connecting(&self.connect, &self.limit, true)).await?;
        let default = default_schema(&mut connection).await?;
        let survey = Survey::take(&mut connection, &self.placement, default.clone()).await?.unambiguous()?;
        // The answers are read; a server that misses the end finds it out.
        let _ = connection.close().await;
        // Startup options are split at blanks, and a backslash keeps one.
        let path = survey.search_path().replace('\\', "\\\\").replace(' ', "\\ ");
        Ok(Pinned { connect: self.connect.clone().options([("search_path", path)]), default })
    }
}

/// A pool whose connections have a bound on their way back.
#[derive(Clone, Debug)]
pub(crate) struct PostgresPool {
    pub(crate) inner: PgPool,
    pin: Arc<Pin>,
    /// Whether nothing can be written on its connections.
    only_reads: bool,
    /// Whether this pool connects with the pinned search path already.
    is_pinned: Arc<AtomicBool>,
}

impl PostgresPool {
    /// A pool of at most `most` connections.
    pub(crate) fn new(pin: &Arc<Pin>, most: u32) -> PostgresPool {
        PostgresPool::connecting(pin, most, false)
    }

    /// A pool on whose connections nothing can be written: SELECTs of an operator's run on them.
    pub(crate) fn only_reading(pin: &Arc<Pin>, most: u32) -> PostgresPool {
        PostgresPool::connecting(pin, most, true)
    }

    fn connecting(pin: &Arc<Pin>, most: u32, only_reads: bool) -> PostgresPool {
        let port = pin.connect.get_socket().is_none().then(|| pin.connect.get_port());
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(pin.limit.get())
            // The next statement finds out; a ping before each would double every round trip.
            .test_before_acquire(false)
            .after_connect(move |_, _| Box::pin(send_at_once(port)))
            .connect_lazy_with(connecting(&pin.connect, &pin.limit, only_reads));
        PostgresPool { inner: pool, pin: pin.clone(), only_reads, is_pinned: Arc::default() }
    }

    /// Connects once, and leaves.
    pub(crate) async fn try_connecting(&self) -> Result<(), StoreError> {
        let connection = PgConnection::connect_with(&self.pin.connect).await?;
        // It has answered.
        let _ = connection.close().await;
        Ok(())
    }

    pub(crate) async fn acquire(&self) -> Result<Lease, StoreError> {
        self.pinned().await?;
        let connection = self.inner.acquire().await?;
        // A round trip that takes longer than this is not worth waiting for: a new connection takes less.
        Ok(Lease { connection, patience: self.pin.limit.get() / 4, closes: false })
    }

    /// Sees to it that every connection of the pool finds its tables, and returns how it connects.
    pub(crate) async fn pinned(&self) -> Result<PgConnectOptions, StoreError> {
        let pinned = self.pin.pinned().await?;
        if !self.is_pinned.load(Ordering::Acquire) {
            // Before the first connection is made.
            self.inner.set_connect_options(connecting(&pinned.connect, &self.pin.limit, self.only_reads));
            self.is_pinned.store(true, Ordering::Release);
        }
        Ok(connecting(&pinned.connect, &self.pin.limit, false))
    }

    /// Lets connections be made with the limit as it is now.
    pub(crate) async fn connect_anew(&self) -> Result<(), StoreError> {
        self.is_pinned.store(false, Ordering::Release);
        self.pinned().await.map(drop)
    }

    /// What the settings say about where tables are, and where the role's own search path would make one.
    pub(crate) async fn placement(&self) -> Result<(&Placement, Option<String>), StoreError> {
        Ok((&self.pin.placement, self.pin.pinned().await?.default.clone()))
    }
}

/// A connection until it goes back.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: PoolConnection<Postgres>,
    patience: Duration,
    closes: bool,
}

impl Lease {
    /// Lets the connection end with the lease.
    pub(crate) fn close_on_drop(&mut self) {
        self.closes = true;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.closes {
            // Bounded by sqlx itself.
            self.connection.close_on_drop();
            return;
        }
        let (patience, returning) = (self.patience, self.connection.return_to_pool());
        // Without a runtime the process is ending, and the connection with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { timeout(patience, returning).await });
        }
    }
}
